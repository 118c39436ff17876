"""Cut the boxes of one image: which crops are out of date, what is odd about them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from animl_pipeline import boxes, files, images
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.formats import coco
from animl_pipeline.selection import Chosen

SMALL_SIDE_PX = 40  # a square this small holds little that a classifier could learn
CROP_MARK = "___"


@dataclass(frozen=True)
class Rule:
    """Where pictures come from and crops go, and how they are cut."""

    images_dir: Path
    output_dir: Path
    dataset: str
    square: bool
    margin: float
    quality: int


@dataclass(frozen=True)
class Outcome:
    """What became of an image's boxes: all cut, or all failed for one reason."""

    image: coco.Image
    boxes: list[Chosen]
    failure: str = ""
    warnings: tuple[tuple[str, str], ...] = ()  # annotation id, what was odd
    cut_now: int = 0


def cut_image(image: coco.Image, chosen: list[Chosen], rule: Rule) -> Outcome:
    """Cut the boxes of one image that are not there as they should be."""
    source = rule.images_dir / image.file_name
    try:
        size_px = images.upright_size(source)
        todo = [
            (target, rectangle, comment)
            for target, rectangle, comment in (
                _plan(image, box, size_px, source, rule) for box in chosen
            )
            if not _is_current(target, comment, source)
        ]
        picture = images.open_upright(source) if todo else None
    except ImageUnusable as error:
        return Outcome(image, chosen, failure=str(error))
    for target, rectangle, comment in todo:
        cut = images.cut(picture, rectangle)  # type: ignore[arg-type]  # not None where todo
        images.save_jpeg(cut, target, quality=rule.quality, comment=comment)
    return Outcome(
        image, chosen, warnings=tuple(_odd(image, chosen, size_px, rule)), cut_now=len(todo)
    )


def _plan(
    image: coco.Image, box: Chosen, size_px: coco.Size, source: Path, rule: Rule
) -> tuple[Path, boxes.Rectangle, str]:
    """Return where a crop goes, what it shows, and the fingerprint of all that decides it."""
    rectangle = boxes.crop_rectangle(box.box, *size_px, square=rule.square, margin=rule.margin)
    decides = [boxes.CROP_RULE_VERSION, rectangle, rule.quality, source.stat().st_size]
    fingerprint = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]
    target = rule.output_dir / crop_name(rule.dataset, image.file_name, box.box_id)
    return target, rectangle, f"animl-pipeline crop {fingerprint}"


def crop_name(dataset: str, file_name: str, box_id: str) -> str:
    """Return the path of a crop, relative to the crops folder."""
    path = PurePosixPath(dataset, file_name)
    name = f"{path.name}{CROP_MARK}{box_id}.jpg"
    if len(name.encode()) > files.NAME_BYTES_MAX:
        name = f"{hashlib.sha256(path.name.encode()).hexdigest()[:32]}{CROP_MARK}{box_id}.jpg"
    return path.with_name(name).as_posix()


def _is_current(target: Path, comment: str, source: Path) -> bool:
    """Return whether a crop is there, whole, newer than its picture and cut the same way."""
    try:
        newer = target.stat().st_mtime_ns >= source.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    return newer and images.jpeg_comment(target) == comment


def _odd(
    image: coco.Image, chosen: list[Chosen], size_px: coco.Size, rule: Rule
) -> list[tuple[str, str]]:
    recorded = (image.width_px, image.height_px)
    odd = []
    for box in chosen:
        if box.warning:
            odd.append((box.annotation_id, box.warning))
        if image.width_px and recorded not in (size_px, size_px[::-1]):
            said = "the record says {}x{}, the picture is {}x{}".format(*recorded, *size_px)
            odd.append((box.annotation_id, f"{said}: placed by fractions"))
        left, top, right, bottom = boxes.pixels(box.box, *size_px)
        side_px = max(right - left, bottom - top)
        if side_px < SMALL_SIDE_PX:
            odd.append((box.annotation_id, f"small: {right - left}x{bottom - top} px"))
        elif rule.square and side_px > min(size_px):
            odd.append((box.annotation_id, "padded: the square is larger than the frame"))
    return odd


def crop_rule(crops_dir: Path) -> dict[str, Any]:
    """Return how the crops were cut, by the record of `crop`: a prediction has to cut alike."""
    rule: dict[str, Any] = {"version": boxes.CROP_RULE_VERSION}
    record = crops_dir / "crop.json"
    if record.exists():
        options = files.read_json(record, written_by="`pipeline crop`")["options"]
        rule |= {name: options[name] for name in ("square_crops", "margin", "quality")}
    return rule
