"""What is decided before the optimiser chooses: the unit of each crop, and parts that are given."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animl_pipeline.artifacts.splits import TEST, TRAIN
from animl_pipeline.errors import InputInvalid
from animl_pipeline.formats import classification_ds
from animl_pipeline.splitting import locations, times
from animl_pipeline.splitting.division import NOT_CHOSEN
from animl_pipeline.splitting.labels.applying import PAIR

if TYPE_CHECKING:
    import pandas as pd

Place = tuple[str, ...]  # dataset, location


class GroupBy(StrEnum):
    """What is never divided between two parts."""

    LOCATION = "location"
    SEQUENCE = "sequence"
    IMAGE = "image"


def given(
    dataset: "pd.DataFrame",
    group_by: GroupBy,
    *,
    cutoff: str | None,
    places: set[Place],
    source: Path | None,
) -> tuple["pd.DataFrame", list[dict[str, Any]]]:
    """Return the crops with a `split` where it is given, and `unit`; and records of those left out.

    `places` of the `source` are to be test, or all from the `cutoff` on. A crop without a location
    is for training only, since it may be of any.
    """
    if group_by is not GroupBy.LOCATION:
        by_image = group_by is GroupBy.IMAGE
        unit = dataset["image_id"] if by_image else times.sequence_of(dataset)
        return dataset.assign(split=NOT_CHOSEN, unit=unit), []
    nowhere = dataset["location"] == ""
    dataset = dataset.assign(split=nowhere.map({True: TRAIN, False: NOT_CHOSEN}))
    if cutoff is not None:
        return by_time(dataset, cutoff)
    return (in_test(dataset, places, source) if source else dataset), []


def by_time(dataset: "pd.DataFrame", cutoff: str) -> tuple["pd.DataFrame", list[dict[str, Any]]]:
    """Return the crops with all from the cutoff on in test, and a record of those without a date.

    The unit is a location before the cutoff, or from it.
    """
    dataset = dataset.assign(unit=times.period(dataset, cutoff))
    split = dataset["split"].mask(dataset["unit"] == times.FROM, TEST)
    undated = dataset["unit"] == times.UNKNOWN
    records = [
        {
            "dataset": pair[0],
            "category": pair[1],
            "crops": len(rows),
            "reason": "no datetime, so on no side of --time-cutoff",
        }
        for pair, rows in dataset[undated].groupby(PAIR)
    ]
    dataset = dataset.assign(split=split)[~undated].reset_index(drop=True)
    for period, name in ((times.BEFORE, "before"), (times.FROM, "from")):
        if not (dataset["unit"] == period).any():
            raise InputInvalid(f"No crop is {name} the --time-cutoff {cutoff}.")
    return dataset, records


def in_test(dataset: "pd.DataFrame", places: set[Place], source: Path) -> "pd.DataFrame":
    """Return the crops with these locations in test.

    Raises:
        InputInvalid: none of them is among the crops.
    """
    import numpy as np

    rows = zip(dataset["dataset"], dataset["location"], strict=True)
    here = np.array([place in places for place in rows])
    if not here.any():
        raise InputInvalid(f"None of the test locations of {source} is among the crops.")
    return dataset.assign(split=dataset["split"].mask(here, TEST))


def test_places(*, match_test: Path | None, test_locations: Path | None) -> set[Place]:
    """Return the (dataset, location) of an earlier test set, or of a list; else none."""
    if test_locations:
        return set(locations.read_places(test_locations))
    if not match_test:
        return set()
    path = match_test / "splits.json"
    found = {place[:2] for part, place in classification_ds.places(path) if part == TEST}
    if not found:
        raise InputInvalid(f"{path} has no list of test locations.")
    return found
