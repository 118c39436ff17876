"""Show the network the crops of the images that come, chunk by chunk, while others are opened.

A network's answer differs in its last digits with the crops beside it in a batch. So batches are
made of the images of one chunk alone, in the order of their names. What is a chunk follows from
the images there are, and a chunk is kept whole or not at all: whatever interrupts a run, the
answers are those of a run without interruption.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from animl_pipeline.classifier.engines import Engine
from animl_pipeline.classifier.reference import Reference
from animl_pipeline.prediction.answers import BoxAnswer, Floats32, ImageAnswer
from animl_pipeline.prediction.looking import SeenBox, SeenImage
from animl_pipeline.prediction.packing import NO_TRAITS


class Said(NamedTuple):
    """What is said of a crop."""

    logits: Floats32
    unknown: float
    traits: Floats32


@dataclass(frozen=True)
class Network:
    """What runs the classifier, so many crops at a time, and what it knows of train's features."""

    engine: Engine
    reference: Reference | None
    batch_size: int

    def answer(self, images: Iterable[SeenImage]) -> list[ImageAnswer]:
        """Return what is answered of the images of a chunk, in the order of their names."""
        images = sorted(images, key=lambda image: image.file_name)
        shown = [box.picture for image in images for box in image.boxes if box.picture is not None]
        said = self._say_of_all(shown)
        return [
            ImageAnswer(
                image.file_name,
                *image.state,
                [_answer_box(box, said) for box in image.boxes],
                image.failure,
                image.facts,
            )
            for image in images
        ]

    def _say_of_all(self, pictures: Sequence[NDArray[np.uint8]]) -> Iterator[Said]:
        for at in range(0, len(pictures), self.batch_size):
            yield from self._say(np.stack(pictures[at : at + self.batch_size]))

    def _say(self, pictures: NDArray[np.uint8]) -> Iterator[Said]:
        logits, features = self.engine.run(pictures)
        if not self.reference:
            return (Said(of_crop, math.nan, NO_TRAITS) for of_crop in logits)
        unknown = self.reference.score_unknown(features, logits).tolist()
        return map(Said, logits, unknown, self.reference.measure_traits(features))


def _answer_box(box: SeenBox, said: Iterator[Said]) -> BoxAnswer:
    if box.picture is None:
        return BoxAnswer(box.detection, None, math.nan, NO_TRAITS)
    return BoxAnswer(box.detection, *next(said), box.is_grey)


def answer_chunks(
    seen: Iterable[SeenImage], sizes: Sequence[int], network: Network
) -> Iterator[list[ImageAnswer]]:
    """Yield the answers of each chunk that is whole; the network runs while the next is gathered.

    `sizes` are how many images each chunk has. Those seen come in any order.
    """
    with ThreadPoolExecutor(1) as pool:
        ahead: Future[list[ImageAnswer]] | None = None
        for chunk in _gather(seen, sizes):
            ready = ahead.result() if ahead else None
            ahead = pool.submit(network.answer, chunk)
            if ready:
                yield ready
        if ahead:
            yield ahead.result()


def _gather(seen: Iterable[SeenImage], sizes: Sequence[int]) -> Iterator[list[SeenImage]]:
    chunks: dict[int, list[SeenImage]] = {}
    for image in seen:
        chunk = chunks.setdefault(image.chunk, [])
        chunk.append(image)
        if len(chunk) == sizes[image.chunk]:
            yield chunks.pop(image.chunk)
