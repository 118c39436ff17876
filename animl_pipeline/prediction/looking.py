"""Open each image once: its boxes, their crops as the network takes them, when it was taken."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from animl_pipeline.boxes import clip_box
from animl_pipeline.catalogue.records import ANIMAL, Detection, Facts, Results
from animl_pipeline.classifier.predicting import BLACK_MAX, GREY_SPREAD_MAX
from animl_pipeline.classifier.preprocessing import Transform
from animl_pipeline.crops import cutting
from animl_pipeline.crops.settings import CropRule
from animl_pipeline.detection import looking as detecting
from animl_pipeline.detection.looking import OpenedImage
from animl_pipeline.detection.megadetector import Detector
from animl_pipeline.detection.settings import DetectionRules
from animl_pipeline.detection.walking import FileState
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.images import opening
from animl_pipeline.prediction.metadata import read_datetime
from animl_pipeline.running import workers
from animl_pipeline.running.budget import PixelBudget

WHOLE_FRAME = Detection(ANIMAL, 1.0, (0.0, 0.0, 1.0, 1.0))
BYTE_MAX = 255
FindBoxes = Callable[[str], list[Detection]]  # of an image; raises ImageUnusable


class Asked(NamedTuple):
    """An image to look at, and the chunk of images that it belongs to."""

    chunk: int
    file_name: str


class SeenBox(NamedTuple):
    """A box, and what the network is to be shown (3, side, side) if it is to be shown anything."""

    detection: Detection
    picture: NDArray[np.uint8] | None = None
    is_grey: bool = False


@dataclass(frozen=True)
class SeenImage:
    """An image that was opened, with its boxes; or the reason why it could not be."""

    chunk: int
    file_name: str
    state: FileState = field(default_factory=FileState)
    facts: Facts = field(default_factory=Facts)  # its size, and the datetime that is in it
    boxes: list[SeenBox] = field(default_factory=list)
    failure: str = ""


@dataclass(frozen=True)
class Eye:
    """Where images are, and how their crops are made."""

    folder: Path
    rule: CropRule
    transform: Transform
    memory: PixelBudget

    def look(self, asked: Asked, find_boxes: FindBoxes) -> SeenImage:
        """Return an image with the crops of its boxes; only as much is decoded as they need."""
        state, facts = FileState(), Facts()
        try:
            detections = find_boxes(asked.file_name)
            with opening.opened(self.folder / asked.file_name) as picture:
                state, facts = read_about(picture)
                boxes = self.cut(picture, detections)
        except ImageUnusable as error:
            return SeenImage(*asked, state, facts, failure=str(error))
        return SeenImage(*asked, state, facts, boxes)

    def cut(self, picture: opening.Picture, detections: list[Detection]) -> list[SeenBox]:
        """Return the boxes, those of animals with what the network is to be shown.

        Raises:
            ImageUnusable: the message is the reason.
        """
        animals = [of.box for of in detections if of.category == ANIMAL]
        crops = cutting.cut_in_memory(picture, animals, self.rule, self.memory)
        pictures = iter([self.transform.prepare(crop).numpy() for crop in crops])
        seen = []
        for detection in detections:
            if detection.category == ANIMAL:
                shown = next(pictures)
                seen.append(SeenBox(detection, shown, is_grey(shown)))
            else:
                seen.append(SeenBox(detection))
        return seen

    def open_whole(self, asked: Asked) -> tuple[OpenedImage, SeenImage]:
        """Return an image decoded, for a detector, and what is known of it beside."""
        state, facts = FileState(), Facts()
        try:
            with opening.opened(self.folder / asked.file_name) as picture:
                state, facts = read_about(picture)
                image = opening.cut_whole(picture)
        except ImageUnusable as error:
            reason = str(error)
            about = SeenImage(*asked, state, facts, failure=reason)
            return OpenedImage(asked.file_name, state.time_ns, None, reason), about
        opened = OpenedImage(asked.file_name, state.time_ns, image, "")
        return opened, SeenImage(*asked, state, facts)


def read_about(picture: opening.Picture) -> tuple[FileState, Facts]:
    """Return what an open file is now, and what is known of the picture in it."""
    stat = os.fstat(picture.file.fileno())
    width_px, height_px = picture.size_px
    facts = Facts(datetime=read_datetime(picture.stored), width_px=width_px, height_px=height_px)
    return FileState(stat.st_mtime_ns, stat.st_size), facts


def is_grey(picture: NDArray[np.uint8]) -> bool:
    """Return whether a picture (3, side, side) has no colour.

    This is `predicting.measure_colour_spread` in whole numbers, and colour by colour: NumPy's `max`
    over three colours, and its `sum` with a mask, took a third of the time of opening and cutting.
    """
    red, green, blue = picture
    highest = np.maximum(np.maximum(red, green), blue)
    lit = highest > BLACK_MAX * BYTE_MAX
    rows, columns = lit.any(axis=1), lit.any(axis=0)
    spread = highest - np.minimum(np.minimum(red, green), blue)
    if not (rows.all() and columns.all()):
        spread = spread[rows][:, columns]
    most = GREY_SPREAD_MAX * BYTE_MAX * max(1, int(spread.size))
    return int(spread.sum(dtype=np.int64)) <= most


def choose_boxes(detections: Sequence[Detection], threshold: float) -> list[Detection]:
    """Return what is kept of a detector's boxes, surest first: inside the frame, each once."""
    kept: dict[tuple[object, ...], Detection] = {}
    for detection in sorted(detections, key=lambda of: (-of.confidence, of.box)):
        inside = clip_box(detection.box).box
        if inside and detection.confidence >= threshold:
            kept.setdefault((detection.category, inside), replace(detection, box=inside))
    return list(kept.values())


def make_finder(results: Results | None, threshold: float) -> FindBoxes:
    """Return what finds the boxes of an image in results; in none, its whole frame."""

    def find(name: str) -> list[Detection]:
        if results is None:
            return [WHOLE_FRAME]
        if name in results.failures:
            raise ImageUnusable("the detector failed on it", results.failures[name])
        if name not in results.detections:
            raise ImageUnusable("the detector's results do not hold it")
        return choose_boxes(results.detections[name], threshold)

    return find


def look_at_boxes(
    eye: Eye, asked: Sequence[Asked], find_boxes: FindBoxes, *, threads: int
) -> Iterator[SeenImage]:
    """Yield images whose boxes are known, as they are ready, in any order."""
    look = partial(eye.look, find_boxes=find_boxes)
    return workers.map_threads(look, asked, workers=threads)


def look_with_detector(
    eye: Eye, asked: Sequence[Asked], detector: Detector, rules: DetectionRules, *, threads: int
) -> Iterator[SeenImage]:
    """Yield images as a detector sees them, in order: while it looks, others are opened and cut."""
    ahead: list[Future[SeenImage]] = []
    batches = detecting.open_batches(
        eye.open_whole,
        asked,
        batch_size=detecting.choose_batch_size(None, detector),
        threads=threads,
    )
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            detected = detecting.detect_batch([opened for opened, _ in batch], detector, rules)
            ready, ahead = (
                ahead,
                [
                    pool.submit(
                        _cut_detected, eye, opened, about, result.detections, result.failure
                    )
                    for (opened, about), result in zip(batch, detected, strict=True)
                ],
            )
            yield from (future.result() for future in ready)
        yield from (future.result() for future in ahead)


def _cut_detected(
    eye: Eye, opened: OpenedImage, about: SeenImage, detections: list[Detection], failure: str
) -> SeenImage:
    if opened.image is None:
        return about
    if failure:
        return replace(about, failure=f"the detector failed on it: {failure}")
    try:
        boxes = eye.cut(opening.show(opened.image), choose_boxes(detections, 0.0))
    except ImageUnusable as error:
        return replace(about, failure=str(error))
    return replace(about, boxes=boxes)
