"""The table trained_on.csv: the crops that a run was trained on, and chose its epoch by."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.artifacts.splits import TRAIN, VAL
from animl_pipeline.files import whole

TABLE = tables.TRAINED_ON
BEFORE = "before"  # the split of what the weights that a run started from were trained on


@dataclass(frozen=True)
class TrainedOn:
    """What a run was trained on: `rows` of trained_on.csv, or None where nobody knows.

    `weights` are what it started from, unless these were published ones.
    """

    run: str
    rows: pd.DataFrame | None
    weights: str | None

    def is_of(self, dataset: pd.DataFrame) -> bool:
        """Return whether it was trained on the crops and labels of a dataset's train and val."""
        if self.rows is None:
            return False
        tables_to_compare = (self.rows[self.rows["split"] != BEFORE], choose_rows(dataset))
        of_run, of_dataset = (
            rows.sort_values("crop").reset_index(drop=True) for rows in tables_to_compare
        )
        return of_run.equals(of_dataset)


def choose_rows(dataset: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of trained_on.csv of a run trained on a dataset."""
    return dataset.loc[dataset["split"].isin([TRAIN, VAL]), TABLE.names]


def write(folder: Path, dataset: pd.DataFrame, weights_file: Path | None) -> None:
    """Keep what a run is trained on, and what the run whose weights it starts from was."""
    rows = choose_rows(dataset)
    earlier = weights_file and weights_file.with_name(TABLE.name)
    if earlier and earlier.exists():
        before = table_io.read(TABLE, earlier).assign(split=BEFORE)
        rows = pd.concat([rows, before.drop_duplicates()])
    table_io.write(TABLE, folder / TABLE.name, rows)


def read(folder: Path, dataset: pd.DataFrame, dataset_file: Path) -> TrainedOn:
    """Return what the run in a folder was trained on.

    Of a run without the table it is the dataset, read from its file, if the run's record has that
    file's sha256.
    """
    card = whole.read_json(folder / "model.json", written_by="`pipeline train`")
    rows = None
    if (folder / TABLE.name).exists():
        rows = table_io.read(TABLE, folder / TABLE.name)
    elif whole.digest(dataset_file, "sha256") in _read_digests(folder / "train.json"):
        rows = choose_rows(dataset)
    return TrainedOn(folder.name, rows, card["options"].get("weights"))


def _read_digests(record: Path) -> set[str]:
    """Return the sha256 of a run's inputs, as far as it has a record."""
    content = whole.read_json(record, written_by="`pipeline train`") if record.exists() else {}
    inputs = content.get("inputs") if isinstance(content, dict) else None
    return set(map(str, inputs.values())) if isinstance(inputs, dict) else set()
