"""MegaDetector's classification dataset: classification_ds.csv beside splits.json."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole
from animl_pipeline.formats import csv_file

if TYPE_CHECKING:
    import pandas as pd

NAME = "classification_ds.csv"
OUR_NAME = {"path": "crop", "dataset": "dataset", "location": "location",
            "dataset_class": "category", "confidence": "confidence", "label": "label"}  # fmt: skip
CROP_MARK = "___crop"

Place = tuple[str, ...]  # dataset, location, and a third where the units are smaller


def read(folder: Path) -> "pd.DataFrame":
    """Return crop, image_id, dataset, location, sequence, category, label, split of each crop.

    A crop whose location is in no part has the split ""; one whose location is in two has two rows.

    Raises:
        InputMissing, InputInvalid: there is no such dataset.
    """
    import pandas as pd

    columns = ("path", "dataset", "location", "dataset_class", "label")
    rows = [row for _, row in csv_file.read_rows(folder / NAME, columns)]
    table = pd.DataFrame(rows, columns=[OUR_NAME[name] for name in columns], dtype=str)
    table["image_id"] = table["crop"].str.split(CROP_MARK).str[0]
    pairs = [(*place[:2], part) for part, place in places(folder / "splits.json")]
    parts = pd.DataFrame(pairs, columns=["dataset", "location", "split"], dtype=str)
    table = table.merge(parts.drop_duplicates(), how="left", on=["dataset", "location"])
    return table.assign(sequence="", split=table["split"].fillna(""))


def refuse(labels: Iterable[str]) -> None:
    """Raise InputInvalid for a comma in a label: there it says that a crop has two."""
    for label in sorted(label for label in labels if "," in label):
        raise InputInvalid(
            f"label {label!r} has a comma, which {NAME} cannot hold; name it otherwise in the "
            "--label-spec, or leave out --classification-ds."
        )


def write(folder: Path, dataset: "pd.DataFrame") -> None:
    """Write classification_ds.csv."""
    table = dataset[list(OUR_NAME.values())].set_axis(list(OUR_NAME), axis="columns")
    with whole.whole(folder / NAME) as part:
        table.to_csv(part, index=False, lineterminator="\n", encoding="utf-8")


def places(path: Path) -> Iterator[tuple[str, Place]]:
    """Yield (part, unit) as splits.json lists them.

    Raises:
        InputMissing, InputInvalid: it is not there, or not lists of units by part.
    """
    content = whole.read_json(path, written_by="`pipeline split`")
    if not isinstance(content, dict):
        raise InputInvalid(f"{path} is to be an object of lists of locations by part.")
    for part, units in content.items():
        if not isinstance(units, list) or not all(
            isinstance(u, list) and len(u) > 1 for u in units
        ):
            raise InputInvalid(f"{path}: {part!r} is to be a list of [dataset, location].")
        for unit in units:
            yield str(part), tuple(map(str, unit))
