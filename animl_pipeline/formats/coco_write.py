"""COCO Camera Traps, written as Animl and LILA write it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from animl_pipeline.catalogue.records import EMPTY, Annotation, Catalogue, Image, Size
from animl_pipeline.files import whole

DECIMALS_PX = 6  # a whole pixel comes back from fractions of 1e-16 as the whole number it was


def write(path: Path, catalogue: Catalogue) -> None:
    """Write a COCO file, a record a line; category 0 is `empty`, as the format has it.

    A box is in pixels where its image's size is known, else in fractions.
    """
    sizes = {
        row.image_id: (row.width_px, row.height_px) for row in catalogue.images if row.width_px
    }
    names = sorted({row.category for row in catalogue.annotations} - {EMPTY})
    ids = {name: number for number, name in enumerate([EMPTY, *names])}
    content = {
        "info": {"version": "1.0", "description": catalogue.dataset},
        "images": map(_make_image_record, catalogue.images),
        "annotations": _make_annotation_records(catalogue.annotations, ids, sizes),
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }
    whole.write_lines(path, content)


def _make_image_record(image: Image) -> dict[str, Any]:
    given = {
        "location": image.location,
        "datetime": image.datetime,
        "seq_id": image.sequence,
        "width": image.width_px,
        "height": image.height_px,
        "corrupt": image.corrupt,
    }
    record: dict[str, Any] = {"id": image.image_id, "file_name": image.file_name}
    return record | {key: value for key, value in given.items() if value}


def _make_annotation_records(
    rows: list[Annotation], ids: dict[str, int], sizes: dict[str, Size]
) -> Iterator[dict[str, Any]]:
    for row in rows:
        record: dict[str, Any] = {
            "id": row.annotation_id,
            "image_id": row.image_id,
            "category_id": ids[row.category],
            "sequence_level_annotation": row.sequence_level,
            "validated": row.validated,
        }
        if row.box and row.image_id in sizes:
            scale = (*sizes[row.image_id], *sizes[row.image_id])
            pixels = zip(row.box, scale, strict=True)
            record["bbox"] = [round(part * side, DECIMALS_PX) for part, side in pixels]
        elif row.box:
            record["bbox_relative"] = list(row.box)
        if row.confidence != 1:
            record["confidence"] = row.confidence
        yield record
