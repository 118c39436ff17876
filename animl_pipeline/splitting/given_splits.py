"""Splits that are given before the optimiser chooses: by location, by date, by a missing name."""

from pathlib import Path
from typing import Any

import pandas as pd

from animl_pipeline.artifacts.splits import TEST, TRAIN
from animl_pipeline.catalogue.locations import Location
from animl_pipeline.errors import InputInvalid
from animl_pipeline.formats import classification_ds
from animl_pipeline.splitting import locations, times
from animl_pipeline.splitting.allocation import Allocation, Unit
from animl_pipeline.splitting.labels.labelling import CATEGORY
from animl_pipeline.splitting.settings import GroupBy, SplitRule


def fix_given_splits(
    crops: pd.DataFrame, rule: SplitRule, test_locations: set[Location]
) -> tuple[Allocation, list[dict[str, Any]]]:
    """Return the labelled crops with the splits that are given, and records of those left out.

    Test are the `test_locations`, or all from the rule's cutoff on. A crop without a location is
    for training only, since it may be of any.

    Raises:
        InputInvalid: none of the crops is in the given test set, or all are.
    """
    plural = f"{rule.group_by}s"
    if rule.group_by is not GroupBy.LOCATION:
        by_image = rule.group_by is GroupBy.IMAGE
        crops = crops.assign(unit=crops["image_id"] if by_image else times.name_sequences(crops))
        return Allocation.start(crops, Unit([*locations.COLUMNS, "unit"], plural)), []
    if rule.time_cutoff is not None:
        return _fix_by_time(crops, rule.time_cutoff, Unit([*locations.COLUMNS, "unit"], plural))
    allocation = Allocation.start(crops, Unit(locations.COLUMNS, plural))
    allocation = allocation.fix(crops["location"] == "", TRAIN)
    source = rule.match_test or rule.test_locations
    return (_fix_test(allocation, test_locations, source) if source else allocation), []


def _fix_by_time(
    crops: pd.DataFrame, cutoff: str, unit: Unit
) -> tuple[Allocation, list[dict[str, Any]]]:
    """Return the crops with all from the cutoff on in test, and a record of those without a date.

    The unit is a location before the cutoff, or from it.
    """
    crops = crops.assign(unit=times.find_period(crops, cutoff))
    undated = crops["unit"] == times.UNKNOWN
    records = [
        {
            "dataset": category[0],
            "category": category[1],
            "crops": len(rows),
            "reason": "no datetime, so on no side of --time-cutoff",
        }
        for category, rows in crops[undated].groupby(CATEGORY)
    ]
    crops = crops[~undated].reset_index(drop=True)
    for period, name in ((times.BEFORE, "before"), (times.FROM, "from")):
        if not (crops["unit"] == period).any():
            raise InputInvalid(f"No crop is {name} the --time-cutoff {cutoff}.")
    allocation = Allocation.start(crops, unit).fix(crops["location"] == "", TRAIN)
    return allocation.fix(crops["unit"] == times.FROM, TEST), records


def _fix_test(allocation: Allocation, wanted: set[Location], source: Path) -> Allocation:
    crops = allocation.crops
    rows = zip(crops["dataset"], crops["location"], strict=True)
    is_wanted = pd.Series([row in wanted for row in rows], index=crops.index, dtype=bool)
    if not is_wanted.any():
        raise InputInvalid(f"None of the test locations of {source} is among the crops.")
    return allocation.fix(is_wanted, TEST)


def read_test_locations(rule: SplitRule) -> set[Location]:
    """Return the locations of an earlier test set, or of a list; else none.

    Raises:
        InputMissing, InputInvalid: the file is not there, or lists no test locations.
    """
    if rule.test_locations:
        return locations.read_locations(rule.test_locations)
    if not rule.match_test:
        return set()
    path = rule.match_test / "splits.json"
    units = classification_ds.read_units(path)
    test = {(unit[0], unit[1]) for split, unit in units if split == TEST}
    if not test:
        raise InputInvalid(f"{path} has no list of test locations.")
    return test
