"""What is to be known of a COCO file before any work is done; its images are not needed."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from animl_pipeline.boxes import SMALL_SIDE_PX
from animl_pipeline.catalogue import animl, sequences
from animl_pipeline.catalogue.locations import find_variants
from animl_pipeline.catalogue.reasons import find_kind
from animl_pipeline.catalogue.records import Annotation, Catalogue, Image

EXAMPLES_MAX = 5
YEAR_MIN = 1990  # no camera trap took digital images before
# IMG_0007.JPG, Animl's of 2023 too.
COUNTED = re.compile(rf"(.*?)(\d{{1,8}})(?:_{animl.MD5})?\.\w+")

# What to do about a finding, where it is not plain.
ADVICE = {
    "no box": "It gives a crop only with the boxes of `pipeline detect`.",
    f"box of less than {SMALL_SIDE_PX} pixels": "It is cut, and hard to learn from.",
    "box leaves the frame": "It is cut at the edge of the image.",
    "box lies outside the frame": "It gives no crop: correct the box.",
    "annotation that no person validated": "It is left out, but with `crop --include-unvalidated`.",
    "image without an annotation": "It gives no crop.",
    "image without a location": "It cannot be kept apart by location: add the location.",
    "image without a datetime": "It has no sequence, so its neighbours may be in another split.",
    "image without width and height": "`crop` reads them from the image.",
    "image that the COCO file calls corrupt": "`crop` tries it all the same.",
    "datetime in the future": "Correct the clock of the camera or the datetimes.",
    "datetime before that of the image before": "Was the clock of the camera set back?",
    "location in several spellings": "If they are one, merge them with `split --location-map`.",
}

Finding = tuple[str, str]  # what, where


def make_report(catalogue: Catalogue, now: datetime) -> dict[str, Any]:
    """Return counts, findings (what, how many, the first few) and a table of the categories."""
    examples: dict[str, list[str]] = defaultdict(list)
    for what, where in _list_findings(catalogue, now):
        examples[what].append(where)
    return {
        "dataset": catalogue.dataset,
        "images": len(catalogue.images) + len(catalogue.refused_images),
        "annotations": len(catalogue.annotations) + len(catalogue.refused_annotations),
        "locations": len({image.location for image in catalogue.images if image.location}),
        "findings": [
            {"what": what, "count": len(where), "examples": where[:EXAMPLES_MAX]}
            for what, where in sorted(examples.items(), key=_rank)
        ],
        "categories": _count_categories(catalogue),
    }


def _list_findings(catalogue: Catalogue, now: datetime) -> Iterator[Finding]:
    for file_name, annotation_id, reason in [
        *catalogue.refused_images,
        *catalogue.refused_annotations,
    ]:
        yield find_kind(reason), " ".join(filter(None, (reason, file_name, annotation_id)))
    labelled = {row.image_id for row in catalogue.annotations}
    for image in catalogue.images:
        where = image.file_name or image.image_id
        for what in _check_image(image, now):
            yield what, where
        if image.image_id not in labelled:
            yield "image without an annotation", where
    sizes = {image.image_id: (image.width_px, image.height_px) for image in catalogue.images}
    for row in catalogue.annotations:
        for what in _check_annotation(row, *sizes[row.image_id]):
            yield what, row.annotation_id or row.image_id
    yield from _find_times_that_go_back(catalogue.images)
    for sentence in find_variants(
        {(catalogue.dataset, image.location) for image in catalogue.images}
    ):
        yield "location in several spellings", sentence


def _check_image(image: Image, now: datetime) -> Iterator[str]:
    if image.unsafe:
        yield find_kind(image.unsafe_reason)
    if image.corrupt:
        yield "image that the COCO file calls corrupt"
    if not image.location:
        yield "image without a location"
    if not image.width_px:
        yield "image without width and height"
    time = sequences.parse_datetime(image.datetime)
    if not image.datetime:
        yield "image without a datetime"
    elif time is None:
        yield "datetime that is none"
    elif time.year < YEAR_MIN:
        yield f"datetime before {YEAR_MIN}"
    elif time > now:
        yield "datetime in the future"


def _check_annotation(row: Annotation, width_px: int, height_px: int) -> Iterator[str]:
    if row.reason:
        yield find_kind(row.reason)
    if row.warning:
        yield find_kind(row.warning)
    if not row.validated:
        yield "annotation that no person validated"
    if row.box and width_px:
        side_px = max(row.box[2] * width_px, row.box[3] * height_px)
        if side_px < SMALL_SIDE_PX:
            yield f"box of less than {SMALL_SIDE_PX} pixels"


def _find_times_that_go_back(images: list[Image]) -> Iterator[Finding]:
    """Yield where a camera's own numbers go on and its time goes back.

    Names without a number, as Animl's of today, tell nothing.
    """
    series: dict[tuple[str, str], list[tuple[int, datetime, str]]] = defaultdict(list)
    for image in images:
        named, time = COUNTED.fullmatch(image.file_name), sequences.parse_datetime(image.datetime)
        if named and time:
            series[image.location, named[1]].append((int(named[2]), time, image.file_name))
    for shots in series.values():
        shots.sort()
        for before, after in pairwise(shots):
            if after[1] < before[1]:
                yield "datetime before that of the image before", after[2]


def _count_categories(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return a row for each category, the most common first."""
    locations = {image.image_id: image.location for image in catalogue.images}
    rows_of: dict[str, list[Annotation]] = defaultdict(list)
    for row in catalogue.annotations:
        if row.category:
            rows_of[row.category].append(row)
    return [
        {
            "category": category,
            "annotations": len(rows),
            "boxes": sum(row.box is not None for row in rows),
            "validated": sum(row.validated for row in rows),
            "images": len({row.image_id for row in rows}),
            "locations": len({locations[row.image_id] for row in rows} - {""}),
        }
        for category, rows in sorted(rows_of.items(), key=_rank)
    ]


def _rank(pair: tuple[str, Sequence[object]]) -> tuple[int, str]:
    """Return what to sort by: the longest list first, then the name."""
    name, items = pair
    return -len(items), name
