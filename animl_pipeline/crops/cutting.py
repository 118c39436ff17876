"""Cut the boxes of one image: which crops are out of date, what is odd about them."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from animl_pipeline import boxes
from animl_pipeline.catalogue.records import Image, Size
from animl_pipeline.crops.selection import Chosen
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.files import whole
from animl_pipeline.files.names import NAME_BYTES_MAX
from animl_pipeline.images import opening
from animl_pipeline.running import workers

CROP_MARK = "___"
RULE_OPTIONS = ("square_crops", "margin", "quality", "max_side")
# Of all threads together, at four bytes: a few pictures for each core, and the largest there is.
PIXELS_AT_A_TIME = max(200_000_000, 25_000_000 * (os.cpu_count() or 1))
_room = workers.Room(PIXELS_AT_A_TIME)


@dataclass(frozen=True)
class Rule:
    """Where pictures come from and crops go, and how they are cut."""

    images_dir: Path
    output_dir: Path
    dataset: str
    square: bool
    margin: float
    quality: int
    max_side_px: int | None
    # Why a picture is not what the export means, by image id and file name.
    not_right: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of an image's boxes: all cut, or all failed for one reason."""

    image: Image
    boxes: list[Chosen]
    failure: str = ""
    warnings: tuple[tuple[str, str], ...] = ()  # annotation id, what was odd
    cut_now: int = 0


class Plan(NamedTuple):
    """A crop: where it goes, what it shows, and the fingerprint of all that decides its bytes."""

    target: Path
    rectangle: boxes.Rectangle
    comment: str


def cut_image(image: Image, chosen: list[Chosen], rule: Rule) -> Outcome:
    """Cut the boxes of one image that are not there as they should be."""
    source = rule.images_dir / image.file_name
    try:
        with opening.opened(source) as picture:
            if not_right := rule.not_right.get((image.image_id, image.file_name)):
                raise ImageUnusable(not_right)
            size_px, stat = picture.size_px, os.fstat(picture.file.fileno())
            plans = [_plan(image, box, size_px, stat.st_size, rule) for box in chosen]
            todo = [plan for plan in plans if not _is_current(plan, stat.st_mtime_ns)]
            if todo:
                _cut(picture, todo, rule)
    except ImageUnusable as error:
        return Outcome(image, chosen, failure=str(error))
    return Outcome(
        image, chosen, warnings=tuple(_odd(image, chosen, size_px, rule)), cut_now=len(todo)
    )


def _cut(picture: opening.Picture, todo: list[Plan], rule: Rule) -> None:
    rectangles = [plan.rectangle for plan in todo]
    with _room.taking(opening.pixels_needed(picture, rectangles)):
        for crop, plan in zip(opening.cut(picture, rectangles), todo, strict=True):
            stored = opening.bounded(crop, rule.max_side_px)
            opening.save_jpeg(stored, plan.target, quality=rule.quality, comment=plan.comment)


def _plan(image: Image, box: Chosen, size_px: Size, source_bytes: int, rule: Rule) -> Plan:
    rectangle = boxes.compute_crop(box.box, *size_px, square=rule.square, margin=rule.margin)
    stored_px = opening.bounded_size(boxes.measure(rectangle), rule.max_side_px)
    decides = [boxes.CROP_RULE_VERSION, rectangle, stored_px, rule.quality, source_bytes]
    fingerprint = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]
    target = rule.output_dir / crop_name(rule.dataset, image.file_name, box.box_id)
    return Plan(target, rectangle, f"animl-pipeline crop {fingerprint}")


def crop_name(dataset: str, file_name: str, box_id: str) -> str:
    """Return the path of a crop, relative to the crops folder."""
    path = PurePosixPath(dataset, file_name)
    name = f"{path.name}{CROP_MARK}{box_id}.jpg"
    if len(name.encode()) > NAME_BYTES_MAX:
        name = f"{hashlib.sha256(path.name.encode()).hexdigest()[:32]}{CROP_MARK}{box_id}.jpg"
    return path.with_name(name).as_posix()


def _is_current(plan: Plan, source_mtime_ns: int) -> bool:
    """Return whether a crop is there, whole, newer than its picture and cut the same way."""
    try:
        newer = plan.target.stat().st_mtime_ns >= source_mtime_ns
    except FileNotFoundError:
        return False
    return newer and opening.jpeg_comment(plan.target) == plan.comment


def _odd(image: Image, chosen: list[Chosen], size_px: Size, rule: Rule) -> list[tuple[str, str]]:
    recorded = (image.width_px, image.height_px)
    odd = []
    for box in chosen:
        if box.warning:
            odd.append((box.annotation_id, box.warning))
        if image.width_px and recorded not in (size_px, size_px[::-1]):
            said = "the record says {}x{}, the picture is {}x{}".format(*recorded, *size_px)
            odd.append((box.annotation_id, f"{said}: placed by fractions"))
        left, top, right, bottom = boxes.to_pixels(box.box, *size_px)
        side_px = max(right - left, bottom - top)
        if side_px < boxes.SMALL_SIDE_PX:
            odd.append((box.annotation_id, f"small: {right - left}x{bottom - top} px"))
        elif rule.square and side_px > min(size_px):
            odd.append((box.annotation_id, "padded: the square is larger than the frame"))
    return odd


def crop_rule(crops_dir: Path) -> dict[str, Any]:
    """Return how the crops were cut, by the record of `crop`: a prediction has to cut alike."""
    rule: dict[str, Any] = {"version": boxes.CROP_RULE_VERSION}
    record = crops_dir / "crop.json"
    if record.exists():
        options = whole.read_json(record, written_by="`pipeline crop`")["options"]
        rule |= {name: options[name] for name in RULE_OPTIONS if name in options}
    return rule
