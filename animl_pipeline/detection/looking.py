"""Open the images of a folder and show them to a detector, batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL.Image import Image

from animl_pipeline.catalogue.records import DetectedImage, Facts
from animl_pipeline.detection import megadetector, walking
from animl_pipeline.detection.megadetector import Detector
from animl_pipeline.detection.settings import DetectionRules
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.images import opening

Item = TypeVar("Item")
Opened = TypeVar("Opened")
BATCH_ON_GPU = 16


class OpenedImage(NamedTuple):
    """An image, upright in RGB, or the reason why it cannot be opened."""

    file_name: str
    time_ns: int  # of its last change
    image: Image | None
    reason: str


def choose_batch_size(wanted: int | None, detector: Detector) -> int:
    """Return how many images are looked at together."""
    return wanted or (1 if detector.device == "cpu" else BATCH_ON_GPU)


def open_batches(
    open_one: Callable[[Item], Opened], items: Sequence[Item], *, batch_size: int, threads: int
) -> Iterator[list[Opened]]:
    """Yield batches of opened images; while one is looked at the next is opened, and no more."""
    ahead: list[Future[Opened]] = []
    with ThreadPoolExecutor(threads) as pool:
        for at in range(0, len(items) + batch_size, batch_size):
            batch = items[at : at + batch_size]
            ready, ahead = ahead, [pool.submit(open_one, item) for item in batch]
            if ready:
                yield [future.result() for future in ready]


def open_image(folder: Path, name: str) -> OpenedImage:
    """Return an image of a folder, decoded, or why it cannot be."""
    path = folder / name
    time_ns = walking.read_state(path).time_ns
    try:
        return OpenedImage(name, time_ns, opening.open_upright(path), "")
    except ImageUnusable as error:
        return OpenedImage(name, time_ns, None, str(error))


def detect_batch(
    batch: list[OpenedImage], detector: Detector, rules: DetectionRules
) -> list[DetectedImage]:
    """Return what is detected in each image of a batch, or why nothing can be."""
    readable = [(opened.file_name, opened.image) for opened in batch if opened.image]
    results = megadetector.detect(
        detector,
        [image for _, image in readable],
        [name for name, _ in readable],
        threshold=rules.threshold,
        image_size=rules.image_size,
    )
    by_name = {result.file_name: result for result in results}
    return [
        by_name[opened.file_name]._replace(
            facts=Facts(width_px=opened.image.width, height_px=opened.image.height)
        )
        if opened.image
        else megadetector.report_unreadable(opened.file_name, opened.reason)
        for opened in batch
    ]
