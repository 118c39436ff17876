"""The numbers of a COCO Camera Traps annotation: its box in all of its forms, its confidence."""

from typing import Any

from animl_pipeline.boxes import ROUNDING, Box, clip_box
from animl_pipeline.catalogue.reasons import Reason
from animl_pipeline.formats import json_file

ROUNDING_PX = 1.0  # Animl rounds x and width apart, so a box may leave the frame by one pixel


def read(record: dict[str, Any], size: tuple[float, float] | None) -> tuple[Box | None, str, str]:
    """Return (box as clipped fractions or None, why None, what was odd)."""
    relative = record.get("bbox_relative")
    if record.get("bbox") is None and relative is None:
        level = "sequence" if record.get("sequence_level_annotation") is True else "image"
        return None, Reason("no box", f"no box: a label of the whole {level}"), ""
    numbers = parse_box(record["bbox"] if relative is None else relative)
    if numbers is None:
        values = record["bbox"] if relative is None else relative
        nulls = isinstance(values, list) and len(values) == 4 and None in values
        return None, "box is null" if nulls else "box is not four finite numbers", ""
    if relative is not None:
        wide, high, tolerance = 1.0, 1.0, ROUNDING
    elif size is not None:
        (wide, high), tolerance = size, ROUNDING_PX
    else:
        return None, "no width and height, in the record or of the image, for the box", ""
    x, y, width, height = numbers
    fractions = (x / wide, y / high, width / wide, height / high)
    clipped = clip_box(fractions, tolerance, frame=(wide, high))
    warning = clipped.warning and Reason("box leaves the frame", clipped.warning)
    return clipped.box, clipped.reason, warning


def parse_box(box: Any) -> Box | None:
    """Return x, y, width, height as finite floats, or None if that is not what it is."""
    if isinstance(box, dict):  # Animl from 2022-11 to 2023-01
        box = [box.get(key) for key in ("left", "top", "width", "height")]
    if not isinstance(box, list) or len(box) != 4:
        return None
    if not all(map(json_file.is_number, box)):
        return None
    x, y, width, height = (float(number) for number in box)
    return x, y, width, height


def parse_confidence(value: Any) -> float:
    """Return the confidence of a machine's label; of a person's, who gives none, 1."""
    return float(value) if json_file.is_number(value) and 0 <= value <= 1 else 1.0
