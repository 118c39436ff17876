"""What earlier runs detected: one that ended, and one that was interrupted in the midst."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from animl_pipeline.catalogue.records import DetectedImage, Detection, Facts
from animl_pipeline.errors import InputInvalid
from animl_pipeline.files.journal import Journal, read_journal
from animl_pipeline.formats import megadetector

Settings = dict[str, Any]  # all that decides what is detected in an image
SETTINGS = "custom_metadata"  # where MegaDetector's package puts what else is to be said in `info`
Batch = list[tuple[int, DetectedImage]]  # each with its image's time of change in nanoseconds


def find_journal(output_file: Path) -> Path:
    """Return the journal that is beside the results until they are whole."""
    return output_file.with_name(f".{output_file.name}.unfinished")


def write_batch(journal: Journal, batch: Batch) -> None:
    """Keep the results of a batch."""
    journal.append([[time_ns, *_to_plain(image)] for time_ns, image in batch])


def read_earlier(
    output_file: Path, settings: Settings, times_ns: dict[str, int]
) -> dict[str, DetectedImage]:
    """Return, by name, what earlier runs of the same settings detected in images as they are now.

    `times_ns` are the times at which the images were last changed.

    Raises:
        InputInvalid: the file is there, and `detect` did not write it: it is not ours to replace.
    """
    earlier = {}
    if output_file.exists():
        written_ns = output_file.stat().st_mtime_ns
        for image in _read_finished(output_file, settings):
            if times_ns.get(image.file_name, written_ns + 1) <= written_ns:
                earlier[image.file_name] = image
    for time_ns, image in _read_unfinished(find_journal(output_file), settings):
        if times_ns.get(image.file_name) == time_ns:
            earlier[image.file_name] = image
    return earlier


def _read_finished(output_file: Path, settings: Settings) -> Iterator[DetectedImage]:
    results = megadetector.read(output_file)
    recorded = results.info.get(SETTINGS)
    if not isinstance(recorded, dict) or set(recorded) != set(settings):
        raise InputInvalid(
            f"{output_file} holds results that `pipeline detect` did not write. Move them, or "
            "name another --output-file."
        )
    if recorded != settings:
        return
    for name, detections in results.detections.items():
        if name not in results.failures:
            yield DetectedImage(name, detections, facts=results.facts.get(name, Facts()))


def _read_unfinished(path: Path, settings: Settings) -> Iterator[tuple[int, DetectedImage]]:
    for batch in read_journal(path, settings):
        with contextlib.suppress(ValueError, TypeError):  # cut off by a full disk
            yield from [(time_ns, _from_plain(*values)) for time_ns, *values in batch]


def _to_plain(image: DetectedImage) -> list[Any]:
    boxes = [[box.category, box.confidence, box.box] for box in image.detections]
    return [image.file_name, image.failure, image.facts.width_px, image.facts.height_px, boxes]


def _from_plain(
    name: str, failure: str, width_px: int, height_px: int, boxes: list[list[Any]]
) -> DetectedImage:
    detections = [Detection(category, conf, tuple(box)) for category, conf, box in boxes]
    return DetectedImage(name, detections, failure, Facts(width_px=width_px, height_px=height_px))
