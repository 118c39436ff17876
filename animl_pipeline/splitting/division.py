"""The crops of a dataset divided: by the optimiser, in folds, with a test at known locations."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from animl_pipeline.artifacts.splits import SEEN_TEST, SPLITS, TEST, TRAIN, VAL
from animl_pipeline.errors import InputInvalid
from animl_pipeline.splitting.allocation import Allocation
from animl_pipeline.splitting.partition.solve import partition
from animl_pipeline.splitting.settings import SplitRule
from animl_pipeline.splitting.times import name_sequences


@dataclass(frozen=True)
class Division:
    """Crops that all have a split, how good that is, and the wanted fraction of each split.

    A split that was given (an earlier test set) has no wanted fraction.
    """

    allocation: Allocation
    objective: float
    bound: float | None
    method: str
    targets: dict[str, float]


def divide(allocation: Allocation, rule: SplitRule) -> list[Division]:
    """Return the division of the crops, or those of the folds.

    Raises:
        InputInvalid: there are too few units for what is wanted.
    """
    if rule.folds:
        divisions = list(_divide_in_folds(allocation, rule, rule.folds))
    else:
        divisions = [choose_splits(allocation, _list_targets(rule), rule.seed)]
    return [_finish(division, rule) for division in divisions]


def _list_targets(rule: SplitRule) -> dict[str, float]:
    """Return the wanted fraction of each split that is chosen."""
    is_given = rule.match_test or rule.test_locations or rule.time_cutoff
    test = {} if is_given else {TEST: rule.test_frac}
    return {TRAIN: 1 - rule.val_frac - sum(test.values()), VAL: rule.val_frac} | test


def _finish(division: Division, rule: SplitRule) -> Division:
    """Return the division less rare crops outside of train, with a test at known locations."""
    allocation = division.allocation
    allocation = allocation.keep(~allocation.is_only_train | (allocation.split == TRAIN))
    if rule.seen_test_frac:
        rng = np.random.default_rng(rule.seed)
        allocation = set_seen_test_apart(allocation, rule.seen_test_frac, rng)
    division = dataclasses.replace(division, allocation=allocation)
    _refuse_empty(division)
    return division


def choose_splits(allocation: Allocation, targets: dict[str, float], seed: int) -> Division:
    """Return the crops with a split for each unit that is open.

    What is fixed in train counts as train's. What is fixed in another split (an earlier test set)
    is left out of the fractions.
    """
    crops, unit = allocation.crops, allocation.unit.columns
    in_train = crops[allocation.split == TRAIN][unit].drop_duplicates()
    counts = allocation.is_open
    if TRAIN in targets:
        counts = counts | (allocation.split == TRAIN)
    counted = crops[counts & ~allocation.is_only_train]
    if counted.empty:
        raise InputInvalid("train would be empty: every location is in the given test set.")
    table = counted.groupby([*unit, "label"]).size().unstack("label", fill_value=0).sort_index()
    units = table.index.to_frame(index=False)
    is_fixed = units.merge(in_train, how="left", on=unit, indicator=True)["_merge"] == "both"
    wanted = np.array(list(targets.values()))
    allowed = np.tile(wanted > 0, (len(units), 1))
    allowed[is_fixed.to_numpy()] = [split == TRAIN for split in targets]
    solution = partition(table.to_numpy(dtype="int64"), wanted, allowed, seed)
    units["chosen"] = np.array(list(targets), dtype=object)[solution.choice]
    chosen = crops[unit].merge(units, how="left", on=unit)["chosen"].fillna(TRAIN)
    split = allocation.split.mask(allocation.is_open, chosen)
    return Division(
        dataclasses.replace(allocation, split=split),
        solution.objective,
        solution.bound,
        solution.method,
        targets,
    )


def _divide_in_folds(allocation: Allocation, rule: SplitRule, count: int) -> Iterator[Division]:
    """Yield `count` divisions of the crops: each unit is in test exactly once.

    The units of the next fold are val, if there is to be one, and all others train.
    """
    has_val = rule.val_frac > 0
    names = [f"fold {number}" for number in range(count)]
    whole = choose_splits(allocation, dict.fromkeys(names, 1 / count), rule.seed)
    targets = {TRAIN: 1 - (1 + has_val) / count, VAL: has_val / count, TEST: 1 / count}
    for number, name in enumerate(names):
        new = dict.fromkeys(names, TRAIN)
        new |= {names[(number + 1) % count]: VAL if has_val else TRAIN, name: TEST}
        split = whole.allocation.split.replace(new)
        allocation = dataclasses.replace(whole.allocation, split=split)
        yield dataclasses.replace(whole, allocation=allocation, targets=targets)


def set_seen_test_apart(
    allocation: Allocation, fraction: float, rng: np.random.Generator
) -> Allocation:
    """Return the crops with whole sequences of train set apart as a test at known locations.

    Of each label at most the fraction of its training crops is set apart, and never its last
    sequence. Every location gives one sequence before any gives a second.
    """
    crops = allocation.crops
    is_train = (allocation.split == TRAIN) & (crops["location"] != "") & ~allocation.is_only_train
    train = crops[is_train]
    sequence = name_sequences(train)
    counts = train.groupby([train["dataset"], train["location"], sequence, train["label"]]).size()
    held: dict[tuple[str, ...], dict[str, int]] = {}
    for (*key, label), count in zip(counts.index.to_list(), counts.to_list(), strict=True):
        held.setdefault(tuple(key), {})[label] = count
    crops_of_label = train.groupby("label").size()
    left = (crops_of_label * fraction).astype(int).to_dict()
    sequences_left = counts.groupby(level=3).size().to_dict()
    taken = set()
    for key in _shuffle_by_location(list(held), rng):
        labels = held[key]
        if all(left[name] >= n and sequences_left[name] > 1 for name, n in labels.items()):
            taken.add(key)
            for name, n in labels.items():
                left[name] -= n
                sequences_left[name] -= 1
    rows = zip(train["dataset"], train["location"], sequence, strict=True)
    chosen = train.index[[key in taken for key in rows]]
    return allocation.fix(pd.Series(crops.index.isin(chosen), index=crops.index), SEEN_TEST)


def _shuffle_by_location(
    sequences: list[tuple[str, ...]], rng: np.random.Generator
) -> list[tuple[str, ...]]:
    """Return the sequences in random order, the first of every location before a second of one."""
    met: dict[tuple[str, ...], int] = {}
    order: list[tuple[int, int, tuple[str, ...]]] = []
    for index in rng.permutation(len(sequences)):
        key = sequences[index]
        turn = met[key[:2]] = met.get(key[:2], -1) + 1
        order.append((turn, len(order), key))
    return [key for _, _, key in sorted(order)]


def _refuse_empty(division: Division) -> None:
    """Raise InputInvalid if a split that was to have some has no crops."""
    allocation = division.allocation
    units = len(allocation.crops[allocation.unit.columns].drop_duplicates())
    for split, target in division.targets.items():
        if target > 0 and not (allocation.split == split).any():
            raise InputInvalid(
                f"{split} would be empty: there are only {units} {allocation.unit.plural}. Use "
                "--group-by sequence, --val-frac 0 or --test-frac 0, or fewer --folds."
            )


def describe_gaps(division: Division) -> list[str]:
    """Return a sentence for each label without crops in a split that was to have some."""
    allocation = division.allocation
    dataset = allocation.dataset[~allocation.is_only_train]
    wanted = [
        split
        for split in SPLITS
        if division.targets.get(split, 0) or (dataset["split"] == split).any()
    ]
    return [
        f"label {label!r} has no crop in {split}: {_explain_gap(division, rows, split)}"
        for label, rows in dataset.groupby("label")
        for split in wanted
        if not (rows["split"] == split).any()
    ]


def _explain_gap(division: Division, rows: pd.DataFrame, split: str) -> str:
    """Return why the crops of a label have none in a split."""
    is_test_given = TEST not in division.targets
    if split == TEST and is_test_given:
        return "the test set was given and holds none"
    unit = division.allocation.unit
    chosen = rows[rows["split"] != TEST] if is_test_given else rows
    units = len(chosen[unit.columns].drop_duplicates())
    where = " outside of the given test set" if is_test_given else ""
    if units < sum(target > 0 for target in division.targets.values()):
        return f"it is at {units} {unit.plural} only{where}"
    return f"no choice of {unit.plural}{where} gives it one without taking one from another label"


def list_units(allocation: Allocation) -> dict[str, Any]:
    """Return the units of each split, in order: what splits.json holds."""
    unit, dataset = allocation.unit.columns, allocation.dataset
    split = dataset["split"].replace(SEEN_TEST, TRAIN)
    rows = dataset[unit].assign(split=split).drop_duplicates().sort_values(unit)
    units = {split: rows[rows["split"] == split][unit].to_numpy().tolist() for split in SPLITS}
    seen = dataset[dataset["split"] == SEEN_TEST]
    if len(seen):
        keys = set(zip(seen["dataset"], seen["location"], name_sequences(seen), strict=True))
        units[SEEN_TEST] = [list(key) for key in sorted(keys)]
    return units
