"""The crops of a dataset divided: by the optimiser, in folds, with a test at known locations."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from animl_pipeline.artifacts.splits import SEEN_TEST, SPLITS, TEST, TRAIN, VAL
from animl_pipeline.errors import InputInvalid
from animl_pipeline.splitting.times import sequence_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

NOT_CHOSEN = ""  # the `split` of what the optimiser is to choose


@dataclass(frozen=True)
class Divided:
    """`dataset` with `split`, how good that is, and the wanted fraction of each part chosen."""

    dataset: "pd.DataFrame"
    objective: float
    bound: float | None
    method: str
    targets: dict[str, float]


def divide(
    dataset: "pd.DataFrame", unit: list[str], targets: dict[str, float], seed: int
) -> Divided:
    """Return the crops with a part for each unit whose `split` is not fixed yet.

    `unit` are the columns that make up a unit. What is fixed for train counts as train's; what is
    fixed for another part (an earlier test set) is left out of the fractions.
    """
    import numpy as np

    from animl_pipeline.splitting.partition.solve import partition

    fixed = dataset[dataset["split"] == TRAIN][unit].drop_duplicates()
    counts = [NOT_CHOSEN, TRAIN] if TRAIN in targets else [NOT_CHOSEN]
    counted = dataset[dataset["split"].isin(counts) & ~dataset["only_train"]]
    if counted.empty:
        raise InputInvalid("train would be empty: every location is in the given test set.")
    table = counted.groupby([*unit, "label"]).size().unstack("label", fill_value=0).sort_index()
    crops = table.to_numpy(dtype="int64")
    units = table.index.to_frame(index=False)
    is_fixed = units.merge(fixed, how="left", on=unit, indicator=True)["_merge"] == "both"
    wanted = np.array(list(targets.values()))
    allowed = np.tile(wanted > 0, (len(units), 1))
    allowed[is_fixed.to_numpy()] = [part == TRAIN for part in targets]
    found = partition(crops, wanted, allowed, seed)
    units["chosen"] = np.array(list(targets), dtype=object)[found.choice]
    chosen = dataset[unit].merge(units, how="left", on=unit)["chosen"].fillna(TRAIN)
    split = dataset["split"].mask(dataset["split"] == NOT_CHOSEN, chosen.to_numpy())
    return Divided(dataset.assign(split=split), found.objective, found.bound, found.method, targets)


def folds(
    dataset: "pd.DataFrame", unit: list[str], count: int, seed: int, *, val: bool
) -> Iterator[Divided]:
    """Yield `count` divisions of the crops: each unit is in test exactly once.

    The units of the next fold are val, if `val`, and all others train.
    """
    names = [f"fold {number}" for number in range(count)]
    parts = dict.fromkeys(names, 1 / count)
    found = divide(dataset, unit, parts, seed)
    for number, name in enumerate(names):
        new = dict.fromkeys(names, TRAIN)
        new |= {names[(number + 1) % count]: VAL if val else TRAIN, name: TEST}
        yield Divided(
            found.dataset.assign(split=found.dataset["split"].replace(new)),
            found.objective, found.bound, found.method,
            {TRAIN: 1 - (1 + val) / count, VAL: val / count, TEST: 1 / count},
        )  # fmt: skip


def with_seen_test(
    dataset: "pd.DataFrame", fraction: float, rng: "np.random.Generator"
) -> "pd.DataFrame":
    """Return the crops with whole sequences of train set apart as a test at known locations.

    Of each label at most the fraction of its training crops, as many locations as can be before
    two sequences of one, and never its last sequence.
    """
    train = dataset[
        (dataset["split"] == TRAIN) & (dataset["location"] != "") & ~dataset["only_train"]
    ]
    sequence = sequence_of(train)
    counts = train.groupby([train["dataset"], train["location"], sequence, train["label"]]).size()
    held: dict[tuple[str, ...], dict[str, int]] = {}
    for (*key, label), count in zip(counts.index.to_list(), counts.to_list(), strict=True):
        held.setdefault(tuple(key), {})[label] = count
    of_label = train.groupby("label").size()
    left = (of_label * fraction).astype(int).to_dict()
    remaining = counts.groupby(level=3).size().to_dict()  # sequences
    taken = set()
    for key in _by_location(list(held), rng):
        labels = held[key]
        if all(left[name] >= n and remaining[name] > 1 for name, n in labels.items()):
            taken.add(key)
            for name, n in labels.items():
                left[name] -= n
                remaining[name] -= 1
    rows = zip(train["dataset"], train["location"], sequence, strict=True)
    chosen = train.index[[key in taken for key in rows]]
    split = dataset["split"].copy()
    split[chosen] = SEEN_TEST
    return dataset.assign(split=split)


def _by_location(
    sequences: list[tuple[str, ...]], rng: "np.random.Generator"
) -> list[tuple[str, ...]]:
    """Return the sequences in random order, the first of every location before a second of one."""
    met: dict[tuple[str, ...], int] = {}
    order: list[tuple[int, int, tuple[str, ...]]] = []
    for index in rng.permutation(len(sequences)):
        key = sequences[index]
        turn = met[key[:2]] = met.get(key[:2], -1) + 1
        order.append((turn, len(order), key))
    return [key for _, _, key in sorted(order)]


def refuse_empty(divided: Divided, unit: list[str], units: str) -> None:
    """Raise InputInvalid if a part that was to have some has no crops; `units` is their name."""
    there = len(divided.dataset[unit].drop_duplicates())
    for part, target in divided.targets.items():
        if target > 0 and not (divided.dataset["split"] == part).any():
            raise InputInvalid(
                f"{part} would be empty: there are only {there} {units}. Use --group-by sequence, "
                "--val-frac 0 or --test-frac 0, or fewer --folds."
            )


def not_covered(divided: Divided) -> list[str]:
    """Return a sentence for each label without crops in a part that was to have some."""
    dataset = divided.dataset[~divided.dataset["only_train"]]
    sentences = []
    wanted = [
        part for part in SPLITS if divided.targets.get(part, 0) or (dataset["split"] == part).any()
    ]
    for label, rows in dataset.groupby("label"):
        places = len(rows[["dataset", "location"]].drop_duplicates())
        why = (
            f"it is at {places} locations only"
            if places < len(wanted)
            else "no choice of locations gives it one without taking one from another label"
        )
        lacking = [part for part in wanted if not (rows["split"] == part).any()]
        sentences += [f"label {label!r} has no crop in {part}: {why}" for part in lacking]
    return sentences


def splits_of(dataset: "pd.DataFrame", unit: list[str]) -> dict[str, Any]:
    """Return the units of each part, in order: what splits.json holds."""
    split = dataset["split"].replace(SEEN_TEST, TRAIN)
    rows = dataset[unit].assign(split=split).drop_duplicates().sort_values(unit)
    found = {part: rows[rows["split"] == part][unit].to_numpy().tolist() for part in SPLITS}
    seen = dataset[dataset["split"] == SEEN_TEST]
    if len(seen):
        keys = set(zip(seen["dataset"], seen["location"], sequence_of(seen), strict=True))
        found[SEEN_TEST] = [list(key) for key in sorted(keys)]
    return found
