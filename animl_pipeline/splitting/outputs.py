"""The files of one split in their folder, and what an earlier split left there."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.artifacts.splits import SEEN_TEST
from animl_pipeline.files import whole
from animl_pipeline.formats import classification_ds
from animl_pipeline.splitting.division import Division, list_units
from animl_pipeline.splitting.settings import Settings

FOLD = re.compile(r"fold_\d+")
NAMES = (
    tables.DATASET.name,
    "splits.json",
    "label_index.json",
    "split_report.json",
    "split_report.html",
    classification_ds.NAME,
)


def make_table(division: Division) -> pd.DataFrame:
    """Return the rows of dataset.csv."""
    return division.allocation.dataset[tables.DATASET.names].sort_values("crop")


def write_split(
    folder: Path, division: Division, report: dict[str, Any], page: str, *, megadetector: bool
) -> None:
    """Write the dataset, its split, its labels and its reports; `page` is the report as HTML."""
    folder.mkdir(parents=True, exist_ok=True)
    table = make_table(division)
    table_io.write(tables.DATASET, folder / tables.DATASET.name, table)
    whole.write_json(folder / "splits.json", list_units(division.allocation))
    labels = sorted(table["label"].unique())
    whole.write_json(folder / "label_index.json", {str(i): name for i, name in enumerate(labels)})
    whole.write_json(folder / "split_report.json", report)
    whole.write_text(folder / "split_report.html", page)
    if megadetector:
        # Its splits are of locations, so what is set apart at one of train would be trained on.
        classification_ds.write(folder, table[table["split"] != SEEN_TEST])


def remove_stale(options: Settings) -> None:
    """Remove what an earlier split wrote and this one does not."""
    folder, folds = options.output_dir, options.folds
    if folds is not None:
        _remove(folder, NAMES)
    elif not options.classification_ds:
        _remove(folder, (classification_ds.NAME,))
    for path in folder.iterdir():
        if FOLD.fullmatch(path.name) and path.is_dir():
            number = int(path.name.removeprefix("fold_"))
            if folds is None or number >= folds:
                _remove(path, NAMES)
                if not any(path.iterdir()):
                    path.rmdir()
            elif not options.classification_ds:
                _remove(path, (classification_ds.NAME,))


def _remove(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)
