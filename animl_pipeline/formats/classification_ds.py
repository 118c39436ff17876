"""MegaDetector's classification dataset: classification_ds.csv beside splits.json."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole
from animl_pipeline.formats import csv_file

NAME = "classification_ds.csv"
COLUMNS = ("path", "dataset", "location", "dataset_class", "label")  # that are read
OUR_NAMES = {"path": "crop", "dataset_class": "category"}  # the others are called as ours
CROP_MARK = "___crop"

Unit = tuple[str, ...]  # dataset, location, and a third where the units are smaller


def read(folder: Path) -> pd.DataFrame:
    """Return crop, image_id, dataset, location, sequence, category, label, split of each crop.

    A crop whose location is in no split has the split "". One in two splits has two rows.

    Raises:
        InputMissing, InputInvalid: there is no such dataset.
    """
    rows = [row for _, row in csv_file.read_rows(folder / NAME, COLUMNS)]
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=str).rename(columns=OUR_NAMES)
    table["image_id"] = table["crop"].str.split(CROP_MARK).str[0]
    units = [(*unit[:2], split) for split, unit in read_units(folder / "splits.json")]
    splits = pd.DataFrame(units, columns=["dataset", "location", "split"], dtype=str)
    table = table.merge(splits.drop_duplicates(), how="left", on=["dataset", "location"])
    return table.assign(sequence="", split=table["split"].fillna(""))


def refuse_commas(labels: Iterable[str]) -> None:
    """Raise InputInvalid for a comma in a label: there it says that a crop has two."""
    for label in sorted(label for label in labels if "," in label):
        raise InputInvalid(
            f"label {label!r} has a comma, which {NAME} cannot hold; name it otherwise in the "
            "--label-spec, or leave out --classification-ds."
        )


def write(folder: Path, dataset: pd.DataFrame) -> None:
    """Write classification_ds.csv."""
    table = dataset.rename(columns={ours: name for name, ours in OUR_NAMES.items()})
    table = table[["path", "dataset", "location", "dataset_class", "confidence", "label"]]
    with whole.whole(folder / NAME) as part:
        table.to_csv(part, index=False, lineterminator="\n", encoding="utf-8")


def read_units(path: Path) -> Iterator[tuple[str, Unit]]:
    """Yield (split, unit) as splits.json lists them.

    Raises:
        InputMissing, InputInvalid: it is not there, or not lists of units by split.
    """
    content = whole.read_json(path, written_by="`pipeline split`")
    if not isinstance(content, dict):
        raise InputInvalid(f"{path} is to be an object of lists of locations by split.")
    for split, units in content.items():
        is_list = isinstance(units, list)
        if not is_list or not all(isinstance(unit, list) and len(unit) > 1 for unit in units):
            raise InputInvalid(f"{path}: {split!r} is to be a list of [dataset, location].")
        for unit in units:
            yield split, tuple(map(str, unit))
