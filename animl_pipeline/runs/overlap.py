"""How many crops of a split are known to a run: by their image, or by their location."""

from typing import Any

import pandas as pd

from animl_pipeline.artifacts.splits import TRAIN, VAL
from animl_pipeline.catalogue.animl import MD5_OF_ID
from animl_pipeline.runs.trained_on import BEFORE, TrainedOn

LOCATION = ["dataset", "location"]  # a location is unique with its dataset


def count_overlap(trained_on: TrainedOn, rows: pd.DataFrame) -> dict[str, Any] | None:
    """Return how many crops (rows of dataset.csv) a run knows, or None where nobody can tell.

    `train` are of images it was trained on, `val` of others that chose its epoch, `locations` of
    others at the locations of both. `whole` is false where nobody can tell what the weights it
    started from were trained on.
    """
    used = trained_on.rows
    if used is None:
        return None
    images, images_used, is_val = _name_images(rows), _name_images(used), used["split"] == VAL
    in_train = images.isin(images_used[~is_val])
    in_val = images.isin(images_used[is_val]) & ~in_train
    locations_used = pd.MultiIndex.from_frame(used.loc[used["location"] != "", LOCATION])
    is_at_location = pd.MultiIndex.from_frame(rows[LOCATION]).isin(locations_used)
    counts = {
        "train": in_train.sum(),
        "val": in_val.sum(),
        "locations": (is_at_location & ~in_train & ~in_val).sum(),
    }
    is_whole = trained_on.weights is None or bool((used["split"] == BEFORE).any())
    return {name: int(count) for name, count in counts.items()} | {"whole": is_whole}


def count_by_label(
    trained_on: TrainedOn, splits: dict[str, pd.DataFrame]
) -> dict[str, dict[str, dict[str, int]]] | None:
    """Return crops and locations by label and split: of the run's train and val, and of others."""
    used = trained_on.rows
    if used is None:
        return None
    tables = {split: used[used["split"] == split] for split in (TRAIN, VAL)}
    tables |= {split: rows for split, rows in splits.items() if split not in tables}
    labels = sorted({label for rows in tables.values() for label in rows["label"]})
    return {
        label: {split: _count(rows[rows["label"] == label]) for split, rows in tables.items()}
        for label in labels
    }


def _name_images(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return what tells the images apart: the md5 in Animl's ids, else dataset and id."""
    md5 = rows["image_id"].str.extract(MD5_OF_ID, expand=False)
    return md5.fillna(rows["dataset"] + "\n" + rows["image_id"])


def _count(rows: pd.DataFrame) -> dict[str, int]:
    return {"crops": len(rows), "locations": len(rows[LOCATION].drop_duplicates())}
