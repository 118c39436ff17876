"""The split as a mixed-integer linear program for HiGHS: a proven bound, and often a better choice.

A square is bounded from below by straight lines: chords between the values it can take where they
are few (k of n units), tangents else. What is optimal for the lines is a bound for the squares; new
tangents where the solver thinks to have found something make the lines exact there, round by round.
"""

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy import sparse

    from animl_pipeline.splitting.partition.problem import Problem

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

CHORDS = 16  # of one square; those near the target, where it matters
SUMS_OF = 6  # units at most whose sums of crops are written out: 2^6 values
TANGENTS_AT = (-0.3, -0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1, 0.3)  # from the target
GAP_ENOUGH = 0.005  # of the objective without penalties
ROUNDS = 6
MANY = 20  # units of a label


def solve(
    problem: "Problem", found: "Ints", *, nodes: int, lacking: float
) -> tuple["Ints", float | None]:
    """Return `found` or something better, and a proven bound; `nodes` of branch and bound at most.

    `lacking` is a bound of the penalties. With 0 nodes only the linear relaxation of all else is
    solved: a bound for any number of units.
    """
    lines = _Lines(problem)
    lines.touch(found)
    best, bound = found, None
    for _ in range(ROUNDS):
        enough = GAP_ENOUGH * (problem.cost(best) - problem.lacking(best))
        solved = _solve(problem, lines, best, enough=enough, nodes=nodes)
        if solved.bound is not None:
            bound = solved.bound if bound is None else max(bound, solved.bound)
        if solved.part is not None and problem.cost(solved.part) < problem.cost(best):
            best = solved.part
        proven = bound is not None and problem.cost(best) - bound <= enough
        left = nodes - solved.nodes
        if proven or left <= 0 or solved.part is None or not lines.touch(solved.part):
            break
        nodes = left
    return best, bound if bound is None or nodes else bound + lacking


def cover(problem: "Problem", *, nodes: int) -> tuple["Ints | None", float]:
    """Return the choice with the least penalties, if one was found, and a bound of them.

    Variables, in this order: x (units, parts), 1 where a unit is in a part; m (labels, parts), 1
    where a part lacks a label.
    """
    import numpy as np
    from scipy import sparse
    from scipy.optimize import Bounds, LinearConstraint, milp

    (units, labels), parts = problem.crops.shape, len(problem.targets)
    has = sparse.hstack([_has(problem), sparse.eye_array(labels * parts)])
    one_each = sparse.hstack([_one_each(problem), sparse.coo_array((units, labels * parts))])
    needed = np.concatenate([np.ones(units), _needed(problem)])
    at_most = np.concatenate([np.ones(units), np.full(labels * parts, np.inf)])
    unit = problem.penalties.max()  # so that the solver's tolerances are of numbers about 1
    result = milp(
        np.concatenate([np.zeros(units * parts), np.tile(problem.penalties / unit, labels)]),
        integrality=np.ones(units * parts + labels * parts),
        bounds=Bounds(
            0, np.concatenate([problem.allowed.astype(float).ravel(), np.ones(labels * parts)])
        ),
        constraints=LinearConstraint(
            sparse.csc_array(sparse.vstack([one_each, has])), needed, at_most
        ),
        options={"node_limit": nodes},
    )
    bound = getattr(result, "mip_dual_bound", None)
    # What is lacking is a number of whole penalties, each a third of the first or more.
    least = 0.0 if bound is None or not np.isfinite(bound) else _penalty_from(problem, bound * unit)
    return _part(problem, result.x), least


def _penalty_from(problem: "Problem", bound: float) -> float:
    """Return the least sum of penalties that is not below a bound of it."""
    import numpy as np

    least = problem.penalties[problem.penalties > 0].min()
    return float(np.ceil(bound / least - 1e-3) * least)


def _part(problem: "Problem", x: "Floats | None") -> "Ints | None":
    import numpy as np

    if x is None:
        return None
    units, parts = problem.allowed.shape
    return np.asarray(np.argmax(x[: units * parts].reshape(units, parts), axis=1))


class _Lines:
    """Lines `e >= slope z + start` below the squares: for each column of fractions and each part.

    A square is numbered column x parts + part.
    """

    def __init__(self, problem: "Problem") -> None:
        self._problem = problem
        self._known: set[tuple[int, float]] = set()
        self.of_square: list[int] = []
        self.slope: list[float] = []
        self.start: list[float] = []
        self._curved = []  # columns of which the tangents are told as they are needed
        parts = len(problem.targets)
        for column, part in itertools.product(range(problem.fractions.shape[1]), range(parts)):
            values, target = _values(problem, column), float(problem.targets[part])
            if values is None:
                self._curved.append((column, part))
                for apart in TANGENTS_AT:
                    self._tangent(column, part, target + apart)
            else:
                steps = [(abs(low - target), low, high) for low, high in itertools.pairwise(values)]
                for _, low, high in sorted(steps)[:CHORDS]:
                    self._line(column, part, low, high)

    def touch(self, part: "Ints") -> bool:
        """Add the tangents at the fractions of a choice; return whether there were new ones."""
        before, held = len(self.slope), self._problem.held(part)
        for column, place in self._curved:
            self._tangent(column, place, float(held[place, column]))
        return len(self.slope) > before

    def _tangent(self, column: int, part: int, at: float) -> None:
        key = (column * len(self._problem.targets) + part, round(at, 6))
        if key not in self._known:
            self._known.add(key)
            self._line(column, part, at, at)

    def _line(self, column: int, part: int, low: float, high: float) -> None:
        """Add the chord between two values, or the tangent where they are one."""
        target = float(self._problem.targets[part])
        slope = low + high - 2 * target
        self.of_square.append(column * len(self._problem.targets) + part)
        self.slope.append(slope)
        self.start.append((low - target) ** 2 - slope * low)


def _values(problem: "Problem", column: int) -> list[float] | None:
    """Return the values that a fraction can take, in order; None if they are many."""
    own = problem.fractions[:, column]
    own = own[own > 0]
    if column >= problem.crops.shape[1]:
        return [k / len(own) for k in range(len(own) + 1)]
    if len(own) > SUMS_OF:
        return None
    counts = range(len(own) + 1)
    return sorted({float(sum(some)) for k in counts for some in itertools.combinations(own, k)})


@dataclass(frozen=True)
class _Solved:
    """A choice of parts, if one was found, and a bound, if there is one."""

    part: "Ints | None"
    bound: float | None
    nodes: int


def _solve(
    problem: "Problem", lines: _Lines, best: "Ints", *, enough: float, nodes: int
) -> _Solved:
    """Return what HiGHS finds; `enough` is the gap at which it may stop.

    Variables, in this order: x (units, parts), 1 where a unit is in a part; z (columns, parts), the
    fractions; e (columns, parts), at least their squares; m (labels, parts), 1 where a part lacks
    a label (free of charge in the relaxation, which leaves the penalties to `cover`).
    """
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp

    (units, labels), parts = problem.crops.shape, len(problem.targets)
    squares, pairs = 2 * labels * parts, labels * parts
    exactly = np.concatenate([np.ones(units), np.zeros(squares)])
    needed = _needed(problem, relaxed=not nodes)
    low = np.concatenate([exactly, lines.start, needed])
    high = np.concatenate([exactly, np.full(len(low) - len(exactly), np.inf)])
    used = np.concatenate([np.full(len(low) - pairs, True), needed > 0])
    # Where `best` covers all, so does every optimum: m is 0, and coverage a hard constraint.
    may_lack = np.full(pairs, 1.0 if problem.lacking(best) else 0.0)
    places = problem.allowed.astype(float).ravel()
    result = milp(
        np.concatenate([
            np.zeros(units * parts + squares), np.repeat(problem.weights, parts),
            np.tile(problem.penalties, labels) * bool(nodes),
        ]),
        integrality=np.concatenate(
            [np.ones(units * parts), np.zeros(2 * squares), np.ones(pairs)]
        ) * bool(nodes),
        bounds=Bounds(0, np.concatenate([places, np.ones(squares), np.full(squares, 2), may_lack])),
        constraints=LinearConstraint(_rows(problem, lines)[used], low[used], high[used]),
        options={
            "node_limit": max(1, nodes), "mip_rel_gap": enough / max(problem.cost(best), 1e-9),
        },
    )  # fmt: skip
    if not nodes:
        return _Solved(None, float(result.fun) if result.status == 0 else None, 0)
    bound = getattr(result, "mip_dual_bound", None)
    return _Solved(
        _part(problem, result.x),
        None if bound is None or not np.isfinite(bound) else float(bound),
        max(1, int(getattr(result, "mip_node_count", None) or 0)),
    )


def _rows(problem: "Problem", lines: _Lines) -> "sparse.csr_array":
    """Return the constraints: one part each, z the fractions, e above the lines, coverage."""
    import numpy as np
    from scipy import sparse

    labels, parts = problem.crops.shape[1], len(problem.targets)
    squares, number = 2 * labels * parts, np.arange(len(lines.slope))

    def of_lines(values: "Floats") -> "sparse.coo_array":
        return sparse.coo_array((values, (number, lines.of_square)), shape=(len(number), squares))

    fractions = sparse.kron(sparse.coo_array(problem.fractions.T), sparse.eye_array(parts))
    slopes, ones = of_lines(-np.array(lines.slope)), of_lines(np.ones(len(number)))
    blocks: list[list[Any]] = [
        [_one_each(problem), None, None, None],
        [fractions, -sparse.eye_array(squares), None, None],
        [None, slopes, ones, None],
        [_has(problem), None, None, sparse.eye_array(labels * parts)],
    ]
    return sparse.csr_array(sparse.block_array(blocks))


def _one_each(problem: "Problem") -> "sparse.coo_array":
    import numpy as np
    from scipy import sparse

    units, parts = problem.allowed.shape
    return sparse.coo_array(sparse.kron(sparse.eye_array(units), np.ones((1, parts))))


def _has(problem: "Problem") -> "sparse.coo_array":
    from scipy import sparse

    parts = sparse.eye_array(len(problem.targets))
    return sparse.coo_array(sparse.kron(sparse.coo_array(problem.has.T), parts))


def _needed(problem: "Problem", *, relaxed: bool = False) -> "Floats":
    """Return how many units of each label each part needs, at least.

    Relaxed, what has many units needs none: fractions of them make up one in any case, and the
    rows would be the longest.
    """
    import numpy as np

    need = np.tile(np.where(problem.targets > 0, 1.0, 0.0), problem.crops.shape[1])
    many = np.repeat(problem.has.sum(axis=0) > MANY, len(problem.targets))
    return np.where(relaxed & many, 0.0, need)
