"""What a partition is to achieve: which split each unit (location) goes to, and how good that is.

For label l and split s let C be the fraction of l's crops, and L of l's units, that lie in s; t is
the wanted fraction of s. Minimise

    sum over s, l of  2 (C - t)^2 + (L - t)^2

so that every split has a unit of every label. This is the score of MegaDetector's random search
(`create_splits_random` of its create_classification_dataset.py), which leaves coverage to chance.
Where no choice covers all, each (label, split) that is not covered costs a penalty far above all
else. It is highest for the first split (train): what is not learned cannot be judged either.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CROPS_WEIGHT, UNITS_WEIGHT = 2.0, 1.0
# All else is at most 6 for one label: fractions of crops and of units each sum to 1.
PENALTY_FIRST, PENALTY_OTHERS = 3000.0, 1000.0


@dataclass(frozen=True)
class Partitioning:
    """Units to divide among splits.

    `crops` (units, labels) counts the crops of each label; every label has some.
    `targets` (splits,) are the wanted fractions, which sum to 1; a split of target 0 gets nothing
    by itself. `allowed` (units, splits) says where a unit may go: to one split at least.

    A choice (units,) is the number of the split of each unit.
    """

    crops: Ints
    targets: Floats
    allowed: Bools

    @cached_property
    def has(self) -> Floats:
        """Return 1 where a unit has crops of a label: (units, labels)."""
        return (self.crops > 0).astype("float64")

    @cached_property
    def fractions(self) -> Floats:
        """Return each unit's fraction of every label's crops, then of its units: (units, 2 l)."""
        return np.hstack([self.crops / self.crops.sum(axis=0), self.has / self.has.sum(axis=0)])

    @cached_property
    def weights(self) -> Floats:
        """Return the weight of each column of `fractions`."""
        return np.repeat([CROPS_WEIGHT, UNITS_WEIGHT], self.crops.shape[1])

    @cached_property
    def penalties(self) -> Floats:
        """Return what it costs that a split has no unit of a label: (splits,)."""
        others = np.full(len(self.targets), PENALTY_OTHERS)
        others[0] = PENALTY_FIRST
        return np.where(self.targets > 0, others, 0.0)

    def sum_fractions(self, choice: Ints) -> Floats:
        """Return the fractions that each split holds: (splits, 2 labels)."""
        return self._sum_by_split(self.fractions, choice)

    def count_units(self, choice: Ints) -> Floats:
        """Return the number of units of each label in each split: (splits, labels)."""
        return self._sum_by_split(self.has, choice)

    def compute_cost(self, choice: Ints) -> float:
        """Return the objective, penalties included."""
        apart = self.sum_fractions(choice) - self.targets[:, None]
        return float((self.weights * apart**2).sum()) + self.compute_penalty(choice)

    def compute_penalty(self, choice: Ints) -> float:
        """Return the penalties alone: 0 if every split has every label."""
        return float(self.penalties @ (self.count_units(choice) == 0).sum(axis=1))

    def list_uncovered(self, choice: Ints) -> Iterator[tuple[int, int]]:
        """Yield (label, split) for each label without a unit in a split that should have one."""
        units = self.count_units(choice)
        for label in range(units.shape[1]):
            for split, target in enumerate(self.targets):
                if target > 0 and not units[split, label]:
                    yield label, split

    def _sum_by_split(self, table: Floats, choice: Ints) -> Floats:
        return np.stack([table[choice == split].sum(axis=0) for split in range(len(self.targets))])
