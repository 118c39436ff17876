"""MegaDetector results: reads formats 1.0 to 1.6, writes 1.4."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animl_pipeline import files
from animl_pipeline.boxes import Box
from animl_pipeline.errors import InputInvalid
from animl_pipeline.formats import json_file

FORMAT_VERSION = "1.4"
NUMBER_MAX = 1e9  # past it a fraction or a confidence is nonsense, or overflows
CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle"}  # MegaDetector's own


@dataclass(frozen=True)
class Detection:
    """A detector's box: category name, confidence, and fractions of the upright image.

    `classifications` is what a classifier said of it, (name, probability) each.
    """

    category: str
    confidence: float
    box: Box
    classifications: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Results:
    """Detections by file, and the reason for each file the detector could not look at.

    `classes` are the names of all labels a classifier had to choose from.
    """

    detections: dict[str, list[Detection]]
    failures: dict[str, str]
    classes: tuple[str, ...] = ()


def read(path: Path) -> Results:
    """Return MegaDetector results.

    Raises:
        InputMissing, InputInvalid: with the image's row and what is wrong in it.
    """
    content = json_file.read_object(path, what="a MegaDetector results file", lists=("images",))
    names = content.get("detection_categories", CATEGORIES)
    if not isinstance(names, dict):
        raise InputInvalid(f"{path}: detection_categories is not an object of id and name.")
    classes = content.get("classification_categories") or {}
    if not isinstance(classes, dict):
        raise InputInvalid(f"{path}: classification_categories is not an object of id and name.")
    detections: dict[str, list[Detection]] = {}
    failures: dict[str, str] = {}
    for row, record in enumerate(content["images"]):
        where = f"{path}: images[{row}]"
        if not isinstance(record, dict) or not isinstance(record.get("file"), str):
            raise InputInvalid(f"{where} has no file.")
        if record["file"] in detections:
            raise InputInvalid(f"{where}: {record['file']} is there twice.")
        if record.get("failure"):
            failures[record["file"]] = json_file.text(str(record["failure"]))
        found = record.get("detections") or []
        if not isinstance(found, list):
            raise InputInvalid(f"{where}: detections is not a list.")
        detections[record["file"]] = [_detection(item, names, classes, where) for item in found]
    return Results(detections, failures, tuple(map(str, classes.values())))


def _detection(
    record: Any, names: dict[str, Any], classes: dict[str, Any], where: str
) -> Detection:
    box = record.get("bbox") if isinstance(record, dict) else None
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise InputInvalid(f"{where}: a detection's bbox is not four numbers: {box!r}.")
    category = str(record.get("category"))
    if category not in names:
        raise InputInvalid(f"{where}: category {category!r} is not in detection_categories.")
    if not _is_number(record.get("conf")) or not 0 <= record["conf"] <= 1:
        raise InputInvalid(f"{where}: conf is not a number from 0 to 1: {record.get('conf')!r}.")
    x, y, width, height = map(float, box)
    said = _classifications(record.get("classifications") or [], classes, where)
    return Detection(str(names[category]), float(record["conf"]), (x, y, width, height), said)


def _classifications(
    found: Any, classes: dict[str, Any], where: str
) -> tuple[tuple[str, float], ...]:
    pairs = found if isinstance(found, list) else [found]
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or str(pair[0]) not in classes:
            raise InputInvalid(
                f"{where}: a classification is not an id of classification_categories and a "
                f"probability: {pair!r}."
            )
        if not _is_number(pair[1]) or not 0 <= pair[1] <= 1:
            raise InputInvalid(f"{where}: a classification's probability is {pair[1]!r}.")
    return tuple((str(classes[str(number)]), float(value)) for number, value in pairs)


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -NUMBER_MAX < value < NUMBER_MAX  # false for NaN, too


@dataclass(frozen=True)
class UsedImage:
    """An image and the boxes that were used of it: (category, confidence, box) each."""

    file_name: str
    location: str
    datetime: str
    failure: str
    boxes: list[tuple[str, float, Box]]


def write(path: Path, images: Iterable[UsedImage], *, detector: str) -> None:
    """Write boxes as MegaDetector results.

    Every box is an `animal` detection with its category as a classification, so that tools that
    filter on MegaDetector's categories see animals and tools that show species see species.
    """
    images = list(images)
    names = sorted({category for image in images for category, _, _ in image.boxes})
    ids = {name: str(number) for number, name in enumerate(names, start=1)}
    content = {
        "info": {"format_version": FORMAT_VERSION, "detector": detector},
        "detection_categories": CATEGORIES,
        "classification_categories": {number: name for name, number in ids.items()},
        "images": [_record(image, ids) for image in images],
    }
    files.write_json(path, content)


def _record(image: UsedImage, ids: dict[str, str]) -> dict[str, Any]:
    extra = {"location": image.location, "datetime": image.datetime}
    record: dict[str, Any] = {"file": image.file_name}
    record |= {key: value for key, value in extra.items() if value}
    if image.failure:
        return record | {"failure": image.failure, "detections": None}
    detections = [
        {
            "category": "1",
            "conf": confidence,
            "bbox": list(box),
            "classifications": [[ids[category], 1.0]],
        }
        for category, confidence, box in image.boxes
    ]
    return record | {"detections": detections}
