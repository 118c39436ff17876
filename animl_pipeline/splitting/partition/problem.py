"""The problem a split solves: which part each unit (location) goes to, and how good a choice is.

For label l and part s let C be the fraction of l's crops, and L of l's units, that lie in s; t is
the wanted fraction of s. Minimise

    sum over s, l of  2 (C - t)^2 + (L - t)^2

so that every part has a unit of every label. This is the score of MegaDetector's random search
(`create_splits_random` of its create_classification_dataset.py), which leaves coverage to chance.
Where no choice covers all, each (label, part) that is not covered costs a penalty far above all
else; most in the first part (train): what is not learned cannot be judged either.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

CROPS_WEIGHT, UNITS_WEIGHT = 2.0, 1.0
# All else is at most 6 for one label: fractions of crops and of units each sum to 1.
PENALTY_FIRST, PENALTY_OTHERS = 3000.0, 1000.0


@dataclass(frozen=True)
class Problem:
    """`crops` (units, labels), every label with some; `targets` (parts,) sum to 1.

    `allowed` (units, parts) says where a unit may go, at least one part each; a part whose target
    is 0 gets nothing by itself.
    """

    crops: "Ints"
    targets: "Floats"
    allowed: "Bools"

    @cached_property
    def has(self) -> "Floats":
        """Return 1 where a unit has crops of a label: (units, labels)."""
        return (self.crops > 0).astype("float64")

    @cached_property
    def fractions(self) -> "Floats":
        """Return each unit's fraction of every label's crops, then of its units: (units, 2 l)."""
        import numpy as np

        return np.hstack([self.crops / self.crops.sum(axis=0), self.has / self.has.sum(axis=0)])

    @cached_property
    def weights(self) -> "Floats":
        """Return the weight of each column of `fractions`."""
        import numpy as np

        return np.repeat([CROPS_WEIGHT, UNITS_WEIGHT], self.crops.shape[1])

    @cached_property
    def penalties(self) -> "Floats":
        """Return what it costs that a part has no unit of a label: (parts,)."""
        import numpy as np

        others = np.full(len(self.targets), PENALTY_OTHERS)
        others[0] = PENALTY_FIRST
        return np.where(self.targets > 0, others, 0.0)

    def held(self, part: "Ints") -> "Floats":
        """Return the fractions that each part holds: (parts, 2 labels)."""
        return self._summed(self.fractions, part)

    def units(self, part: "Ints") -> "Floats":
        """Return the number of units of each label in each part: (parts, labels)."""
        return self._summed(self.has, part)

    def cost(self, part: "Ints") -> float:
        """Return the objective, penalties included."""
        apart = self.held(part) - self.targets[:, None]
        return float((self.weights * apart**2).sum()) + self.lacking(part)

    def lacking(self, part: "Ints") -> float:
        """Return the penalties alone."""
        return float(self.penalties @ (self.units(part) == 0).sum(axis=1))

    def uncovered(self, part: "Ints") -> Iterator[tuple[int, int]]:
        """Yield (label, part) for each label without a unit in a part that should have some."""
        units = self.units(part)
        for label in range(units.shape[1]):
            for place, target in enumerate(self.targets):
                if target > 0 and not units[place, label]:
                    yield label, place

    def _summed(self, table: "Floats", part: "Ints") -> "Floats":
        import numpy as np

        return np.stack([table[part == place].sum(axis=0) for place in range(len(self.targets))])
