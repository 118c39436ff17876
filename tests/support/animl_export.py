"""An Animl export and its bucket while they grow: one row per image, one per annotation."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = "sci_biosecurity"
NO_ANIMAL = ("empty", "person", "vehicle")
# Every label of the project, used or not; the names are free text.
CATEGORIES = (
    *("empty", "unknown", "animal", "person", "vehicle", "fox", "bird", "skunk", "rodent"),
    *("lizard", "scrub jay", "island fox", "Barn Owl", "mouse, deer", "dog/coyote"),
)
CLOCKS_FORWARD = datetime(2023, 3, 12, 2)
Record = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One annotation, or an image without any, and what is to become of it."""

    image_id: str
    file_name: str  # empty where the export has no such image
    annotation_id: str  # empty for an image without annotation
    location: str
    category: str  # empty where the export has none of that number
    expected: str  # "crop", or one word on why there is none
    note: str  # what is odd about it; empty for an ordinary row


@dataclass(frozen=True)
class Camera:
    """A camera and the location where it stands."""

    camera_id: str
    location: str
    folder: str  # the location as Animl writes it into file names


@dataclass
class Export:
    """The rows so far, and what is expected of the odd ones."""

    bucket_dir: Path
    images: list[Record] = field(default_factory=list)
    annotations: list[Record] = field(default_factory=list)
    odd: dict[str, tuple[str, str]] = field(default_factory=dict)  # id -> expected, note
    days: Counter[str] = field(default_factory=Counter)  # sequences so far, by camera
    files: Counter[str] = field(default_factory=Counter)  # images so far, by camera


def make_camera(location: str, number: int) -> Camera:
    """Returns the camera; a location `<camera>-default` is a deployment that nobody named."""
    if location.endswith("-default"):
        return Camera(location.removesuffix("-default"), location, "default")
    folder = location.lower().replace("'", "").replace(" ", "_")
    return Camera(f"X81145{number:02d}", location, folder)


def next_time(export: Export, camera: Camera, night: bool, rng: np.random.Generator) -> datetime:
    """Returns when the camera's next sequence begins: a day after the last, so that none merge."""
    day = datetime(2023, 2, 20) + timedelta(days=export.days[camera.camera_id])
    export.days[camera.camera_id] += 1
    hour = rng.choice([20, 21, 22, 23, 0, 1, 2, 3, 4]) if night else rng.integers(8, 18)
    when = day + timedelta(hours=int(hour), seconds=int(rng.integers(3600)))
    offset_h = -8 if when < CLOCKS_FORWARD else -7
    return when.replace(tzinfo=timezone(timedelta(hours=offset_h)))


def add_image(
    export: Export,
    camera: Camera,
    when: datetime,
    data: bytes,
    size_px: tuple[int, int],
    suffix: str = "jpg",
) -> Record:
    """Puts the file into the bucket; returns its row, which is in the export already."""
    image_id = f"{PROJECT}:{hashlib.md5(data).hexdigest()}"
    export.files[camera.camera_id] += 1
    stem = image_id.replace(":", "-", 1)
    image = {
        "id": image_id,
        "file_name": f"{PROJECT}/{camera.camera_id}/{camera.folder}/{stem}.{suffix}",
        "original_file_name": f"IMG_{export.files[camera.camera_id]:04d}.{suffix.upper()}",
        "serving_bucket_key": f"original/{image_id}-original.{suffix}",
        "datetime": when.isoformat(timespec="milliseconds"),
        "location": camera.location,
        "width": size_px[0],
        "height": size_px[1],
    }
    file = object_file(export, image)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    export.images.append(image)
    return image


def object_file(export: Export, image: Record) -> Path:
    return export.bucket_dir / str(image["serving_bucket_key"])


def annotate(
    export: Export,
    image_id: str,
    category: str,
    box_px: Sequence[int],
    rng: np.random.Generator,
) -> Record:
    """Returns the row of a label that a person gave or confirmed; it is in the export already."""
    annotation: Record = {
        "id": rng.bytes(12).hex(),
        "image_id": image_id,
        "category_id": CATEGORIES.index(category),
        "sequence_level_annotation": False,
        "bbox": [int(side) for side in box_px],
    }
    if rng.random() < 0.3:  # a model's label, confirmed; the key is absent on labels made by hand
        annotation["confidence"] = round(float(rng.uniform(0.6, 0.999)), 4)
    name = rng.choice(["reviewer", "botanist", "ranger"])
    annotation.update(validated=True, validated_by=f"{name}@example.org")
    export.annotations.append(annotation)
    return annotation


def write_export(export: Export, file: Path) -> None:
    content = {
        "images": export.images,
        "annotations": export.annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(CATEGORIES)],
        "info": {
            "version": "1.0",
            "description": f"Image data exported from Animl project '{PROJECT}'. "
            "Export ID: 64d6a9f0c0ffee0000000001",
            "year": 2026,
            "date_created": "2026-02-03T09:15:27.412-08:00",
        },
    }
    file.write_text(json.dumps(content, indent=4), encoding="utf-8")


def list_rows(export: Export) -> tuple[Row, ...]:
    """Returns every annotation in its order, then the images that have none."""
    images = {image["id"]: image for image in export.images}
    rows = []
    for annotation in export.annotations:
        number = annotation["category_id"]
        category = CATEGORIES[number] if number < len(CATEGORIES) else ""
        image = images.get(annotation["image_id"], {"file_name": "", "location": ""})
        ordinary = (category if category in NO_ANIMAL else "crop", "")
        expected, note = export.odd.get(annotation["id"], ordinary)
        place = annotation["image_id"], image["file_name"], annotation["id"], image["location"]
        rows.append(Row(*place, category, expected, note))
    annotated = {row.image_id for row in rows}
    for image in export.images:
        if image["id"] not in annotated:
            place = image["id"], image["file_name"], "", image["location"]
            rows.append(Row(*place, "", *export.odd[image["id"]]))
    return tuple(rows)
