"""MegaDetector results: reads formats 1.0 to 1.6, writes 1.6."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from animl_pipeline.catalogue.records import (
    DETECTOR_CATEGORIES,
    DetectedImage,
    Detection,
    Facts,
    Results,
)
from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole
from animl_pipeline.formats import json_file

FORMAT_VERSION = "1.6"
CATEGORIES = dict(zip("123", DETECTOR_CATEGORIES, strict=True))
IDS = {name: number for number, name in CATEGORIES.items()}
FACT_KEYS = ("id", "location", "datetime", "seq_id", "width", "height")  # in the file, in order


def read(path: Path) -> Results:
    """Return MegaDetector results.

    Raises:
        InputMissing, InputInvalid: with the image's row and what is wrong in it.
    """
    content = json_file.read_object(path, what="a MegaDetector results file", lists=("images",))
    if "annotations" in content:
        raise InputInvalid(
            f"{path} is a COCO file, with people's labels; MegaDetector results were expected."
        )
    names = content.get("detection_categories")
    names = CATEGORIES if names is None else names
    if not isinstance(names, dict):
        raise InputInvalid(f"{path}: detection_categories is not an object of id and name.")
    classes = content.get("classification_categories") or {}
    if not isinstance(classes, dict):
        raise InputInvalid(f"{path}: classification_categories is not an object of id and name.")
    labels = tuple(json_file.as_text(str(label)) for label in classes.values())
    info = content.get("info")
    results = Results({}, {}, labels, info=info if isinstance(info, dict) else {})
    for row, record in enumerate(content["images"]):
        where = f"{path}: images[{row}]"
        if not isinstance(record, dict) or not isinstance(record.get("file"), str):
            raise InputInvalid(f"{where} has no file.")
        name = json_file.as_text(record["file"])
        if name in results.detections:
            raise InputInvalid(f"{where}: {name} is there twice.")
        if record.get("failure"):
            results.failures[name] = json_file.as_text(str(record["failure"]))
        items = record.get("detections") or []
        if not isinstance(items, list):
            raise InputInvalid(f"{where}: detections is not a list.")
        results.detections[name] = [_read_detection(item, names, classes, where) for item in items]
        if facts := _read_facts(record):
            results.facts[name] = facts
    return results


def _read_facts(record: dict[str, Any]) -> Facts | None:
    """Return what an image's record holds beside its detections, or None if that is nothing."""
    image_id, location, datetime, sequence = (
        json_file.as_text(record.get(key)) for key in FACT_KEYS[:4]
    )
    width_px, height_px = (json_file.as_side_px(record.get(key)) for key in FACT_KEYS[4:])
    sides = (width_px, height_px) if width_px and height_px else (0, 0)
    facts = Facts(image_id, location, datetime, sequence, *sides)
    return facts if any(facts) else None


def _read_detection(
    record: Any, names: dict[str, Any], classes: dict[str, Any], where: str
) -> Detection:
    box = record.get("bbox") if isinstance(record, dict) else None
    if not isinstance(box, list) or len(box) != 4 or not all(map(json_file.is_number, box)):
        raise InputInvalid(f"{where}: a detection's bbox is not four numbers: {box!r}.")
    category = str(record.get("category"))
    if category not in names:
        raise InputInvalid(f"{where}: category {category!r} is not in detection_categories.")
    if not json_file.is_number(record.get("conf")) or not 0 <= record["conf"] <= 1:
        raise InputInvalid(f"{where}: conf is not a number from 0 to 1: {record.get('conf')!r}.")
    x, y, width, height = map(float, box)
    classifications = _read_classifications(record.get("classifications") or [], classes, where)
    return Detection(
        json_file.as_text(str(names[category])),
        float(record["conf"]),
        (x, y, width, height),
        classifications,
        json_file.as_text(record.get("id")),
        record.get("validated") is True,
    )


def _read_classifications(
    value: Any, classes: dict[str, Any], where: str
) -> tuple[tuple[str, float], ...]:
    pairs = value if isinstance(value, list) else [value]
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or str(pair[0]) not in classes:
            raise InputInvalid(
                f"{where}: a classification is not an id of classification_categories and a "
                f"probability: {pair!r}."
            )
        if not json_file.is_number(pair[1]) or not 0 <= pair[1] <= 1:
            raise InputInvalid(f"{where}: a classification's probability is {pair[1]!r}.")
    return tuple(
        (json_file.as_text(str(classes[str(number)])), float(value)) for number, value in pairs
    )


def write(
    path: Path,
    images: Iterable[DetectedImage],
    *,
    detector: str,
    classes: Sequence[str] | None = None,
    info: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write MegaDetector results, an image a line; `info` is further members of `info`.

    A detection of another category than MegaDetector's three is an `animal` with its category as
    the classification: tools that filter on those three see an animal, those that show species
    see the species.

    `classes` are all names that a classifier had to choose from, in its order, and none of an image
    is another; the images are then taken one by one. By default they are those that occur.
    """
    if classes is None:
        images = list(images)
        detections = [detection for image in images for detection in image.detections]
        names = {name for detection in detections for name, _ in _list_labels(detection)}
        ids = {name: str(number) for number, name in enumerate(sorted(names), 1)}
    else:
        ids = {name: str(number) for number, name in enumerate(classes)}
    content = {
        "info": {"format_version": FORMAT_VERSION, "detector": detector, **info},
        "detection_categories": CATEGORIES,
        "classification_categories": {number: name for name, number in ids.items()},
        "images": (_make_record(image, ids) for image in images),
    }
    whole.write_lines(path, content)


def _list_labels(detection: Detection) -> tuple[tuple[str, float], ...]:
    if detection.category in IDS:
        return detection.classifications
    return detection.classifications or ((detection.category, 1.0),)


def _make_record(image: DetectedImage, ids: dict[str, str]) -> dict[str, Any]:
    facts = zip(FACT_KEYS, image.facts, strict=True)
    record: dict[str, Any] = {"file": image.file_name}
    record |= {str(key): value for key, value in facts if value}
    if image.failure:
        return record | {"failure": image.failure, "detections": None}
    return record | {"detections": [_make_box(detection, ids) for detection in image.detections]}


def _make_box(detection: Detection, ids: dict[str, str]) -> dict[str, Any]:
    labels = [[ids[name], probability] for name, probability in _list_labels(detection)]
    record: dict[str, Any] = {
        "category": IDS.get(detection.category, "1"),
        "conf": detection.confidence,
        "bbox": list(detection.box),
    }
    if labels:
        record["classifications"] = labels
    if detection.annotation_id:
        record["id"] = detection.annotation_id
    if detection.validated:
        record["validated"] = True
    return record
