"""Straight lines below the squares of the objective, which make it a linear program.

Where a fraction can take few values (k of n units) they are the chords between these, tangents
else. What is optimal for the lines is a bound for the squares. More tangents, where the solver
seems to have an answer, make the lines exact there.
"""

import itertools

from animl_pipeline.splitting.partition.partitioning import Ints, Partitioning

CHORDS = 16  # of one square; those near the target, where it matters
SUMS_OF = 6  # units at most whose sums of crops are written out: 2^6 values
TANGENTS_AT = (-0.3, -0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1, 0.3)  # from the target


class Lines:
    """Lines `e >= slope z + start` below the square of each column of fractions and each split.

    A square is numbered column x splits + split. The lists are parallel: one entry per line.
    """

    def __init__(self, problem: Partitioning) -> None:
        self._problem = problem
        self._known: set[tuple[int, float]] = set()
        self.of_square: list[int] = []
        self.slope: list[float] = []
        self.start: list[float] = []
        self._curved = []  # (column, split) whose tangents are added as they are needed
        splits = len(problem.targets)
        for column, split in itertools.product(range(problem.fractions.shape[1]), range(splits)):
            values, target = _list_values(problem, column), float(problem.targets[split])
            if values is None:
                self._curved.append((column, split))
                for apart in TANGENTS_AT:
                    self._add_tangent(column, split, target + apart)
            else:
                steps = [(abs(low - target), low, high) for low, high in itertools.pairwise(values)]
                for _, low, high in sorted(steps)[:CHORDS]:
                    self._add_line(column, split, low, high)

    def touch(self, choice: Ints) -> bool:
        """Add the tangents at the fractions of a choice; return whether there were new ones."""
        before, held = len(self.slope), self._problem.sum_fractions(choice)
        for column, split in self._curved:
            self._add_tangent(column, split, float(held[split, column]))
        return len(self.slope) > before

    def _add_tangent(self, column: int, split: int, at: float) -> None:
        key = (column * len(self._problem.targets) + split, round(at, 6))
        if key not in self._known:
            self._known.add(key)
            self._add_line(column, split, at, at)

    def _add_line(self, column: int, split: int, low: float, high: float) -> None:
        """Add the chord between two values, or the tangent where they are one."""
        target = float(self._problem.targets[split])
        slope = low + high - 2 * target
        self.of_square.append(column * len(self._problem.targets) + split)
        self.slope.append(slope)
        self.start.append((low - target) ** 2 - slope * low)


def _list_values(problem: Partitioning, column: int) -> list[float] | None:
    """Return the values that a fraction can take, in order; None if they are many."""
    steps = problem.fractions[:, column]
    steps = steps[steps > 0]
    if column >= problem.crops.shape[1]:
        return [k / len(steps) for k in range(len(steps) + 1)]
    if len(steps) > SUMS_OF:
        return None
    sizes = range(len(steps) + 1)
    return sorted({float(sum(some)) for k in sizes for some in itertools.combinations(steps, k)})
