"""Walk a folder of images and show them to a detector, batch by batch."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL.Image import Image

from animl_pipeline.catalogue.records import DetectedImage, Facts
from animl_pipeline.detection import megadetector
from animl_pipeline.detection.megadetector import Detector
from animl_pipeline.detection.settings import DetectionRules
from animl_pipeline.errors import ImageUnusable, InputInvalid, InputMissing
from animl_pipeline.formats import json_file
from animl_pipeline.images import opening

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif", ".bmp", ".webp"}
BATCH_ON_GPU = 16


class OpenedImage(NamedTuple):
    """An image, upright in RGB, or the reason why it cannot be opened."""

    file_name: str
    time_ns: int  # of its last change
    image: Image | None
    reason: str


def list_images(folder: Path) -> dict[str, int]:
    """Return every image below a folder, in order, with its time of change in nanoseconds.

    Links to folders are followed, once each.

    Raises:
        InputMissing: it is no folder.
        InputInvalid: it holds no image.
    """
    if not folder.is_dir():
        raise InputMissing(f"{folder} is no folder of images. Check --images-dir.")
    times, seen = {}, set()
    for where, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for path in (Path(where, name) for name in names if Path(name).suffix.lower() in SUFFIXES):
            if not path.name.startswith("."):
                name = json_file.as_text(path.relative_to(folder).as_posix())
                times[name] = read_time_ns(path)
    if not times:
        suffixes = ", ".join(sorted(SUFFIXES))
        raise InputInvalid(f"{folder} holds no images ({suffixes}). Check --images-dir.")
    return dict(sorted(times.items()))


def read_time_ns(path: Path) -> int:
    """Return when a file was last changed, in nanoseconds; 0 where it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:  # a link to nowhere: opening it says so
        return 0


def choose_batch_size(wanted: int | None, detector: Detector) -> int:
    """Return how many images are looked at together."""
    return wanted or (1 if detector.device == "cpu" else BATCH_ON_GPU)


def open_batches(
    folder: Path, names: list[str], *, batch_size: int, threads: int
) -> Iterator[list[OpenedImage]]:
    """Yield batches of images; while one is looked at the next is opened, and no more."""
    batches = [names[at : at + batch_size] for at in range(0, len(names), batch_size)]
    ahead: list[Future[OpenedImage]] = []
    with ThreadPoolExecutor(threads) as pool:
        for batch in [*batches, []]:
            ready, ahead = ahead, [pool.submit(_open, folder, name) for name in batch]
            if ready:
                yield [future.result() for future in ready]


def _open(folder: Path, name: str) -> OpenedImage:
    path = folder / name
    time_ns = read_time_ns(path)
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
