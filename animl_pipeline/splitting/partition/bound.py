"""A partition as a mixed-integer linear program for HiGHS: a proven bound, often a better choice.

The squares of the objective are bounded from below by straight `Lines`, which are made finer round
by round.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from animl_pipeline.splitting.partition.lines import Lines
from animl_pipeline.splitting.partition.partitioning import Floats, Ints, Partitioning

GAP_ENOUGH = 0.005  # of the objective without penalties
ROUNDS = 6
MANY = 20  # units of a label


def solve(
    problem: Partitioning, start: Ints, *, nodes: int, penalty: float
) -> tuple[Ints, float | None]:
    """Return the start, or a better choice, and a proven bound of the objective (None: no bound).

    `nodes` of branch and bound are spent at most. With 0 nodes only the linear relaxation is
    solved, of all but the penalties: a bound for any number of units. `penalty` is a bound of the
    penalties, which is added then.
    """
    lines = Lines(problem)
    lines.touch(start)
    best, bound = start, None
    for _ in range(ROUNDS):
        enough = GAP_ENOUGH * (problem.compute_cost(best) - problem.compute_penalty(best))
        answer = _solve_lines(problem, lines, best, enough=enough, nodes=nodes)
        if answer.bound is not None:
            bound = answer.bound if bound is None else max(bound, answer.bound)
        if answer.choice is not None and problem.compute_cost(answer.choice) < problem.compute_cost(
            best
        ):
            best = answer.choice
        is_proven = bound is not None and problem.compute_cost(best) - bound <= enough
        left = nodes - answer.nodes
        if is_proven or left <= 0 or answer.choice is None or not lines.touch(answer.choice):
            break
        nodes = left
    return best, bound if bound is None or nodes else bound + penalty


def cover(problem: Partitioning, *, nodes: int) -> tuple[Ints | None, float]:
    """Return the choice with the least penalties, if there is an answer, and a bound of them.

    Variables, in this order: x (units, splits), 1 where a unit is in a split; m (labels, splits),
    1 where a split lacks a label.
    """
    (units, labels), splits = problem.crops.shape, len(problem.targets)
    pairs = labels * splits
    coverage = sparse.hstack([_sum_labels(problem), sparse.eye_array(pairs)])
    one_each = sparse.hstack([_sum_units(problem), sparse.coo_array((units, pairs))])
    needed = np.concatenate([np.ones(units), _count_needed(problem)])
    at_most = np.concatenate([np.ones(units), np.full(pairs, np.inf)])
    unit = problem.penalties.max()  # so that the solver's tolerances are of numbers about 1
    result = milp(
        np.concatenate([np.zeros(units * splits), np.tile(problem.penalties / unit, labels)]),
        integrality=np.ones(units * splits + pairs),
        bounds=Bounds(0, np.concatenate([problem.allowed.astype(float).ravel(), np.ones(pairs)])),
        constraints=LinearConstraint(
            sparse.csc_array(sparse.vstack([one_each, coverage])), needed, at_most
        ),
        options={"node_limit": nodes},
    )
    bound = getattr(result, "mip_dual_bound", None)
    has_bound = bound is not None and np.isfinite(bound)
    least = _round_penalty_up(problem, bound * unit) if has_bound else 0.0
    return _make_choice(problem, result.x), least


def _round_penalty_up(problem: Partitioning, bound: float) -> float:
    """Return the least sum of penalties that is not below a bound of it.

    Penalties are whole multiples of the least one.
    """
    least = problem.penalties[problem.penalties > 0].min()
    return float(np.ceil(bound / least - 1e-3) * least)


def _make_choice(problem: Partitioning, x: Floats | None) -> Ints | None:
    if x is None:
        return None
    units, splits = problem.allowed.shape
    return np.asarray(np.argmax(x[: units * splits].reshape(units, splits), axis=1))


@dataclass(frozen=True)
class _Answer:
    """What HiGHS says: a choice and a bound, where it has them, and the nodes it took."""

    choice: Ints | None
    bound: float | None
    nodes: int


def _solve_lines(
    problem: Partitioning, lines: Lines, best: Ints, *, enough: float, nodes: int
) -> _Answer:
    """Return the answer of HiGHS; `enough` is the gap at which it may stop.

    Variables, in this order: x (units, splits), 1 where a unit is in a split; z (columns, splits),
    the fractions; e (columns, splits), at least their squares; m (labels, splits), 1 where a split
    lacks a label (free of charge in the relaxation, which leaves the penalties to `cover`).
    """
    (units, labels), splits = problem.crops.shape, len(problem.targets)
    squares, pairs = 2 * labels * splits, labels * splits
    exactly = np.concatenate([np.ones(units), np.zeros(squares)])
    needed = _count_needed(problem, relaxed=not nodes)
    low = np.concatenate([exactly, lines.start, needed])
    high = np.concatenate([exactly, np.full(len(low) - len(exactly), np.inf)])
    used = np.concatenate([np.full(len(low) - pairs, True), needed > 0])
    # Where `best` covers all, so does every optimum: m is 0, and coverage a hard constraint.
    may_lack = np.full(pairs, 1.0 if problem.compute_penalty(best) else 0.0)
    price = [
        np.zeros(units * splits + squares),
        np.repeat(problem.weights, splits),
        np.tile(problem.penalties, labels) * bool(nodes),
    ]
    whole = np.concatenate([np.ones(units * splits), np.zeros(2 * squares), np.ones(pairs)])
    highest = [
        problem.allowed.astype(float).ravel(),
        np.ones(squares),
        np.full(squares, 2),
        may_lack,
    ]
    gap = enough / max(problem.compute_cost(best), 1e-9)
    result = milp(
        np.concatenate(price),
        integrality=whole * bool(nodes),
        bounds=Bounds(0, np.concatenate(highest)),
        constraints=LinearConstraint(_constrain(problem, lines)[used], low[used], high[used]),
        options={"node_limit": max(1, nodes), "mip_rel_gap": gap},
    )
    if not nodes:
        return _Answer(None, float(result.fun) if result.status == 0 else None, 0)
    bound = getattr(result, "mip_dual_bound", None)
    return _Answer(
        _make_choice(problem, result.x),
        None if bound is None or not np.isfinite(bound) else float(bound),
        max(1, int(getattr(result, "mip_node_count", None) or 0)),
    )


def _constrain(problem: Partitioning, lines: Lines) -> sparse.csr_array:
    """Return the rows: one split each, z the fractions, e above the lines, coverage."""
    labels, splits = problem.crops.shape[1], len(problem.targets)
    squares, number = 2 * labels * splits, np.arange(len(lines.slope))

    def spread(values: Floats) -> sparse.coo_array:
        return sparse.coo_array((values, (number, lines.of_square)), shape=(len(number), squares))

    fractions = sparse.kron(sparse.coo_array(problem.fractions.T), sparse.eye_array(splits))
    slopes, ones = spread(-np.array(lines.slope)), spread(np.ones(len(number)))
    blocks: list[list[Any]] = [
        [_sum_units(problem), None, None, None],
        [fractions, -sparse.eye_array(squares), None, None],
        [None, slopes, ones, None],
        [_sum_labels(problem), None, None, sparse.eye_array(labels * splits)],
    ]
    return sparse.csr_array(sparse.block_array(blocks))


def _sum_units(problem: Partitioning) -> sparse.coo_array:
    """Return rows that sum over the splits of each unit: (units, units x splits)."""
    units, splits = problem.allowed.shape
    return sparse.coo_array(sparse.kron(sparse.eye_array(units), np.ones((1, splits))))


def _sum_labels(problem: Partitioning) -> sparse.coo_array:
    """Return rows that count each label's units in each split."""
    splits = sparse.eye_array(len(problem.targets))
    return sparse.coo_array(sparse.kron(sparse.coo_array(problem.has.T), splits))


def _count_needed(problem: Partitioning, *, relaxed: bool = False) -> Floats:
    """Return how many units of each label each split needs at least: (labels x splits,).

    In the relaxation a label at many units needs none: fractions of them make up one in any case,
    and the rows would be the longest.
    """
    need = np.tile(np.where(problem.targets > 0, 1.0, 0.0), problem.crops.shape[1])
    many = np.repeat(problem.has.sum(axis=0) > MANY, len(problem.targets))
    return np.where(relaxed & many, 0.0, need)
