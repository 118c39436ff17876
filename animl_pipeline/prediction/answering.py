"""Give each crop of the images that come to the network, in full batches, and keep the answers."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from animl_pipeline.classifier.engines import Engine
from animl_pipeline.prediction.answers import BoxAnswer, ImageAnswer
from animl_pipeline.prediction.looking import SeenBox, SeenImage
from animl_pipeline.prediction.packing import NO_TRAITS
from animl_pipeline.prediction.store import Store

KEPT_EVERY_S = 1.0  # what a crash can cost; to wait for the disk more often takes longer


@dataclass
class Answerer:
    """A network, and the images that wait for it."""

    engine: Engine
    batch_size: int
    _waiting: deque[SeenImage] = field(default_factory=deque)
    _pictures: deque[NDArray[np.uint8]] = field(default_factory=deque)
    _answers: deque[tuple[NDArray[np.float32], float, NDArray[np.float32]]] = field(
        default_factory=deque
    )

    def answer(self, images: Iterable[SeenImage]) -> Iterator[ImageAnswer]:
        """Yield an answer for every image, in their order."""
        for image in images:
            self._waiting.append(image)
            self._pictures += [box.picture for box in image.boxes if box.picture is not None]
            while len(self._pictures) >= self.batch_size:
                self._run()
            yield from self._drain()
        while self._pictures:
            self._run()
        yield from self._drain()

    def _run(self) -> None:
        """Show the network the next batch.

        All batches are of one size, the last one filled up: an answer must not depend on how many
        crops happened to be beside it.
        """
        count = min(self.batch_size, len(self._pictures))
        batch = np.zeros((self.batch_size, *self._pictures[0].shape), np.uint8)
        for place in range(count):
            batch[place] = self._pictures.popleft()
        logits, _ = self.engine.run(batch)
        for place in range(count):
            self._answers.append((logits[place], np.nan, NO_TRAITS))

    def _drain(self) -> Iterator[ImageAnswer]:
        """Yield the images in front whose crops are all answered."""
        while self._waiting:
            image = self._waiting[0]
            if sum(box.picture is not None for box in image.boxes) > len(self._answers):
                return
            self._waiting.popleft()
            boxes = [self._answer_box(box) for box in image.boxes]
            yield ImageAnswer(image.file_name, *image.state, boxes, image.failure, image.facts)

    def _answer_box(self, box: SeenBox) -> BoxAnswer:
        if box.picture is None:
            return BoxAnswer(box.detection, None, np.nan, NO_TRAITS)
        return BoxAnswer(box.detection, *self._answers.popleft(), box.is_grey)


def keep_answers(answers: Iterable[ImageAnswer], store: Store) -> Iterator[int]:
    """Put answers into a store, some at a time; yield how many each time."""
    pending: list[ImageAnswer] = []
    kept_at = time.monotonic()
    for answer in answers:
        pending.append(answer)
        if time.monotonic() - kept_at >= KEPT_EVERY_S:
            store.add(pending)
            yield len(pending)
            pending, kept_at = [], time.monotonic()
    store.add(pending)
    yield len(pending)
