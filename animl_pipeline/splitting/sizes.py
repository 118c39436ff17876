"""How many crops, locations and sequences each split has."""

import pandas as pd

from animl_pipeline.artifacts.splits import SEEN_TEST, SPLITS
from animl_pipeline.splitting import locations
from animl_pipeline.splitting.times import name_sequences


def list_splits(dataset: pd.DataFrame) -> list[str]:
    """Return the splits that there may be: seen_test only where it has crops."""
    return [*SPLITS, *([SEEN_TEST] if (dataset["split"] == SEEN_TEST).any() else [])]


def describe_sizes(dataset: pd.DataFrame) -> str:
    """Return the crops and locations of each split, in words."""
    crops = dataset.groupby("split").size()
    located = dataset[dataset["location"] != ""].drop_duplicates(["split", *locations.COLUMNS])
    there = located.groupby("split").size()
    return ", ".join(
        f"{split} {crops.get(split, 0):,} crops at {there.get(split, 0):,} locations"
        for split in list_splits(dataset)
    )


def count_labels(dataset: pd.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    """Return crops, locations and sequences by label and split."""
    by = ["label", "split"]
    keyed = dataset.assign(sequence=name_sequences(dataset))
    distinct = {
        "crops": dataset,
        "locations": keyed.drop_duplicates([*by, "dataset", "location"]),
        "sequences": keyed.drop_duplicates([*by, "dataset", "sequence"]),
    }
    counts = {name: rows.groupby(by).size().to_dict() for name, rows in distinct.items()}
    return {
        str(label): {
            split: {name: int(sizes.get((label, split), 0)) for name, sizes in counts.items()}
            for split in list_splits(dataset)
        }
        for label in sorted(dataset["label"].unique())
    }
