"""What `crop` writes beside the crops: their table, what failed, what is odd, the boxes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.artifacts.names import DETECTIONS, WARNINGS
from animl_pipeline.catalogue import conversion
from animl_pipeline.catalogue.records import Image, Refused
from animl_pipeline.crops.cutting import Outcome
from animl_pipeline.crops.rule import name_crop
from animl_pipeline.crops.selection import ChosenBox
from animl_pipeline.errors import InputInvalid, OptionError
from animl_pipeline.files.names import explain_unsafe
from animl_pipeline.formats import megadetector

OUR_NAMES = {tables.CROPS.name, tables.REASONS.name, WARNINGS.name, DETECTIONS.name, "crop.json"}


class Rows(NamedTuple):
    """The rows of crops.csv, failures.csv and warnings.csv."""

    crops: list[dict[str, Any]]
    failures: list[Refused]
    warnings: list[Refused]


def check_dataset_name(name: str) -> str:
    """Return the name, if it can name a folder of crops.

    Raises:
        OptionError: it cannot; the message says why.
    """
    reason = explain_unsafe(name) or ("holds a /" if "/" in name else "")
    if name.casefold() in OUR_NAMES:
        reason = "is the name of a file this stage writes"
    if reason:
        raise OptionError(f"--dataset {name!r} {reason}; it is to name a folder of crops.")
    return name


def read_other_datasets(
    path: Path, dataset: str, images: list[Image], *, is_named: bool
) -> pd.DataFrame:
    """Return the rows of the other datasets cropped before into the same folder.

    Raises:
        InputInvalid: crops.csv is damaged.
        OptionError: a dataset of this name is there, but of quite other images, and its name was
            not given by an option.
    """
    if not path.exists():
        return pd.DataFrame(columns=tables.CROPS.names)
    try:
        table = table_io.read(tables.CROPS, path)
    except InputInvalid as error:
        raise InputInvalid(f"{error} If it was made by hand, mend it; else remove it.") from error
    is_ours = table["dataset"] == dataset
    ids = {image.image_id for image in images}
    if is_ours.any() and not is_named and not ids & set(table["image_id"][is_ours]):
        raise OptionError(
            f"{path} holds a dataset {dataset!r} already, of other images. Name this one with "
            f"--dataset, or replace that one with --dataset {dataset}."
        )
    return table[~is_ours]


def make_rows(outcomes: list[Outcome], refused: list[Refused], dataset: str) -> Rows:
    """Return a row for every box of the outcomes; `refused` are the rows without a box to cut."""
    pairs = [(outcome, box) for outcome in outcomes for box in outcome.boxes]
    return Rows(
        [_make_row(done.image, box, dataset) for done, box in pairs if not done.failure],
        refused
        + [
            Refused(done.image.file_name, box.annotation_id, done.failure)
            for done, box in pairs
            if done.failure
        ],
        [Refused(done.image.file_name, *odd) for done in outcomes for odd in done.warnings],
    )


def _make_row(image: Image, box: ChosenBox, dataset: str) -> dict[str, Any]:
    x, y, width, height = box.box
    return {
        "crop": name_crop(dataset, image.file_name, box.box_id),
        "image": image.file_name,
        "image_id": image.image_id,
        "annotation_id": box.annotation_id,
        "dataset": dataset,
        "location": image.location,
        "datetime": image.datetime,
        "sequence": image.sequence,
        "category": box.category,
        "confidence": box.confidence,
        "x": x,
        "y": y,
        "width": width,
        "height": height,
    }


def write_tables(folder: Path, rows: Rows, other_datasets: pd.DataFrame) -> None:
    """Write crops.csv, of all datasets, and failures.csv and warnings.csv, of this one."""
    table = pd.DataFrame(rows.crops, columns=tables.CROPS.names)
    table = table if other_datasets.empty else pd.concat([other_datasets, table])
    table_io.write(tables.CROPS, folder / tables.CROPS.name, table.sort_values("crop"))
    for name, content in ((tables.REASONS.name, rows.failures), (WARNINGS.name, rows.warnings)):
        frame = pd.DataFrame(content, columns=tables.REASONS.names)
        table_io.write(tables.REASONS, folder / name, frame)


def write_detections(
    folder: Path, images: Iterable[Image], outcomes: list[Outcome], *, source: str
) -> None:
    """Write the boxes that were used as MegaDetector results; `source` is whose boxes they are."""
    by_id = {outcome.image.image_id: outcome for outcome in outcomes}
    detected = [
        conversion.convert_image(image, outcome.boxes, outcome.failure)
        for image in images
        for outcome in (by_id.get(image.image_id, Outcome(image, [])),)
    ]
    megadetector.write(folder / DETECTIONS.name, detected, detector=f"boxes of {source}")
