"""Which crops a run was trained on, and how many of others that makes known to it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animl_pipeline.artifacts import tables
from animl_pipeline.artifacts.splits import SEEN_TEST, TEST, TRAIN, VAL
from animl_pipeline.catalogue.animl import MD5_OF_ID
from animl_pipeline.files import whole as files

if TYPE_CHECKING:
    import pandas as pd

TABLE = tables.TRAINED_ON
BEFORE = "before"  # the split of what the weights that a run started from were trained on
REMEDY = "Evaluate with the dataset it was trained on (--dataset-dir), or train again on this one."


def of_dataset(dataset: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows (`artifacts.TRAINED_ON`) of a run trained on a dataset."""
    return dataset.loc[dataset["split"].isin([TRAIN, VAL]), TABLE.names]


def write(folder: Path, dataset: "pd.DataFrame", weights_file: Path | None) -> None:
    """Keep what a run is trained on, and what the run whose weights it starts from was."""
    import pandas as pd

    rows = of_dataset(dataset)
    earlier = weights_file and weights_file.with_name(TABLE.name)
    if earlier and earlier.exists():
        before = tables.read(TABLE, earlier).assign(split=BEFORE)
        rows = pd.concat([rows, before.drop_duplicates()])
    tables.write(TABLE, folder / TABLE.name, rows)


@dataclass(frozen=True)
class TrainedOn:
    """What a run was trained on: `rows` of `artifacts.TRAINED_ON`, or None where nobody knows.

    `weights` are what it started from, unless these were published ones.
    """

    run: str
    rows: "pd.DataFrame | None"
    weights: str | None

    def is_of(self, dataset: "pd.DataFrame") -> bool:
        """Whether it was trained on the crops and labels of a dataset's train and val."""
        if self.rows is None:
            return False
        own = self.rows[self.rows["split"] != BEFORE]
        one, other = (
            rows.sort_values("crop").reset_index(drop=True) for rows in (own, of_dataset(dataset))
        )
        return one.equals(other)

    def known(
        self, splits: "dict[str, pd.DataFrame]"
    ) -> tuple[dict[str, dict[str, Any] | None], list[str]]:
        """Return each split's `overlap` with it, and what a person has to beware of therefore."""
        found = {name: self.overlap(rows) for name, rows in splits.items()}
        return found, list(_warnings(self, found, splits))

    def overlap(self, rows: "pd.DataFrame") -> dict[str, Any] | None:
        """Return how many crops are known to it, or None where nobody knows.

        `train` are of images it was trained on, `val` of others that chose its epoch, `locations`
        of others at the locations of both. `whole` is false where nobody knows what the weights it
        started from were trained on.
        """
        import pandas as pd

        if self.rows is None:
            return None
        shown, used, in_val = _pictures(rows), _pictures(self.rows), self.rows["split"] == VAL
        train = shown.isin(used[~in_val])
        val = shown.isin(used[in_val]) & ~train
        place = ["dataset", "location"]
        places = pd.MultiIndex.from_frame(self.rows.loc[self.rows["location"] != "", place])
        there = pd.MultiIndex.from_frame(rows[place]).isin(places) & ~train & ~val
        counts = {"train": train.sum(), "val": val.sum(), "locations": there.sum()}
        whole = self.weights is None or bool((self.rows["split"] == BEFORE).any())
        return {name: int(count) for name, count in counts.items()} | {"whole": whole}

    def label_counts(
        self, splits: "dict[str, pd.DataFrame]"
    ) -> dict[str, dict[str, dict[str, int]]] | None:
        """Return crops and locations by label of its train and val, and of other splits."""
        if self.rows is None:
            return None
        parts = {part: self.rows[self.rows["split"] == part] for part in (TRAIN, VAL)}
        parts |= {name: rows for name, rows in splits.items() if name not in parts}
        return {
            label: {part: _count(rows[rows["label"] == label]) for part, rows in parts.items()}
            for label in sorted({label for rows in parts.values() for label in rows["label"]})
        }


def read(folder: Path, dataset: "pd.DataFrame", where: Path) -> TrainedOn:
    """Return what the run in a folder was trained on.

    Of a run without the table it is the dataset, read from the file `where`, if the run's record
    has that file's sha256.
    """
    card = files.read_json(folder / "model.json", written_by="`pipeline train`")
    rows = None
    if (folder / TABLE.name).exists():
        rows = tables.read(TABLE, folder / TABLE.name)
    elif files.digest(where, "sha256") in _digests(folder / "train.json"):
        rows = of_dataset(dataset)
    return TrainedOn(folder.name, rows, card["options"].get("weights"))


def _digests(record: Path) -> set[str]:
    """Return the sha256 of a run's inputs, as far as it has a record."""
    content = files.read_json(record, written_by="`pipeline train`") if record.exists() else {}
    inputs = content.get("inputs") if isinstance(content, dict) else None
    return set(map(str, inputs.values())) if isinstance(inputs, dict) else set()


def _pictures(rows: "pd.DataFrame") -> "pd.Series[str]":
    """Return what tells the images apart: the md5 in Animl's ids, else dataset and id."""
    md5 = rows["image_id"].str.extract(MD5_OF_ID, expand=False)
    return md5.fillna(rows["dataset"] + "\n" + rows["image_id"])


def _count(rows: "pd.DataFrame") -> dict[str, int]:
    places = rows[["dataset", "location"]].drop_duplicates()
    return {"crops": len(rows), "locations": len(places)}


def _warnings(
    used: TrainedOn,
    overlaps: dict[str, dict[str, Any] | None],
    splits: "dict[str, pd.DataFrame]",
) -> Iterator[str]:
    names = ", ".join(overlaps)
    if used.rows is None:
        yield (
            f"Crops of {names} may have been trained on: {used.run} does not say which were, and "
            f"the dataset is not the one that its record names. Figures may flatter it. {REMEDY}"
        )
    for split, known in overlaps.items():
        of_train = known["train"] if known and split != TRAIN else 0
        of_val = known["val"] if known and split in {TEST, SEEN_TEST} else 0
        if of_train or of_val:
            yield (
                f"{of_train + of_val:,} of {len(splits[split]):,} crops of {split} were used to "
                f"train {used.run}, or to choose its epoch: they flatter it. {REMEDY}"
            )
    if any(known and not known["whole"] for known in overlaps.values()):
        yield (
            f"Crops of {names} may have been trained on: {used.run} started from {used.weights}, "
            f"and no {TABLE.name} beside it says what that was trained on. To know, start from "
            "the folder of a run that has one, or from ImageNet's weights."
        )
