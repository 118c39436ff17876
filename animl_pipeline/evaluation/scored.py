"""What a classifier said of some crops, beside what they are and where: what every figure is of."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.bool_]

GROUPS_MAX = 500


@dataclass(frozen=True)
class Scored:
    """The rows of a split.

    `probabilities` (n, labels) in the order of `labels`, `truth` (n,) the index of each row's
    label, `places` (n,) the (dataset, location) of each row.
    """

    labels: list[str]
    probabilities: Floats
    truth: Ints
    places: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.truth)

    @cached_property
    def predicted(self) -> Ints:
        """Return the index of each row's most probable label (n,), the first where two are."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def right(self) -> Rows:
        """Return whether each row's most probable label is its own (n,)."""
        return np.asarray(self.predicted == self.truth)

    @cached_property
    def group(self) -> Ints:
        """Return the number of each row's location (n,): what the intervals resample.

        Beyond GROUPS_MAX locations several share a number, dealt out in the order of their names,
        so that the work grows with the rows alone.
        """
        number = {place: i % GROUPS_MAX for i, place in enumerate(sorted(set(self.places)))}
        return np.array([number[place] for place in self.places], dtype=np.int64)

    @property
    def groups(self) -> int:
        """Return how many numbers `group` has."""
        return min(len(set(self.places)), GROUPS_MAX)

    def only(self, rows: Rows | Ints) -> "Scored":
        """Return some of the rows, by number or by a truth value each (n,)."""
        kept = np.flatnonzero(rows) if rows.dtype == bool else rows
        places = [self.places[row] for row in kept]
        return Scored(self.labels, self.probabilities[kept], self.truth[kept], places)
