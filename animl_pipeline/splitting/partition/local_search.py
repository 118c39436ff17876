"""A good choice of splits: a greedy start, then the best move or swap of units until none helps.

Squares make both exact and cheap. With f the fractions of a unit and h those a split holds, the
unit's coming costs sum w (2 (h - t) f + f^2) and its going sum w (-2 (h - t) f + f^2); a swap of u
and v costs the two moves less 4 sum w f_u f_v.
"""

import itertools

import numpy as np

from animl_pipeline.splitting.partition.partitioning import Floats, Ints, Partitioning

NOISE = 1e-9  # of sums of fractions
MANY = 2_500  # units: all pairs of more are too many, and one descent is near enough
WORK = 2e9  # units x labels x splits, added up over the steps: time would not be the same twice
STARTS, KICKS_PER_UNIT, KICKS = 4, 8, 250
KICKED = (2, 10)  # units moved at random, from which the search goes on


def search(problem: Partitioning, rng: np.random.Generator) -> Ints:
    """Return the choice of the best local optimum met within a fixed amount of work."""
    if len(problem.crops) > MANY:
        return descend(problem, _start_greedily(problem, rng))[0]
    starts = [_start_greedily(problem, rng) for _ in range(STARTS)]
    return min((improve(problem, start, rng) for start in starts), key=problem.compute_cost)


def improve(problem: Partitioning, start: Ints, rng: np.random.Generator) -> Ints:
    """Return the best of the local optima downhill of a start and of what kicks lead to from it."""
    best, work = descend(problem, start)
    work_left = WORK / STARTS - work
    best_cost = problem.compute_cost(best)
    free = np.flatnonzero(problem.allowed.sum(axis=1) > 1)
    for _ in range(min(KICKS, KICKS_PER_UNIT * free.size)):
        if work_left < 0 or best_cost < NOISE:
            break
        choice, number = best.copy(), int(rng.integers(*KICKED, endpoint=True))
        for unit in rng.choice(free, min(number, free.size), replace=False):
            choice[unit] = rng.choice(np.flatnonzero(problem.allowed[unit]))
        choice, work = descend(problem, choice)
        work_left -= work
        if (cost := problem.compute_cost(choice)) < best_cost - NOISE:
            best, best_cost = choice, cost
    return best


def _start_greedily(problem: Partitioning, rng: np.random.Generator) -> Ints:
    """Give each unit, those of rare labels first, to the split whose cost it lowers most."""
    units, splits = problem.allowed.shape
    rarity = problem.fractions[:, problem.crops.shape[1] :].max(axis=1)
    choice = np.zeros(units, dtype=np.int64)
    held = np.zeros((splits, problem.fractions.shape[1]))
    count = np.zeros((splits, problem.has.shape[1]))
    for unit in np.argsort(-rarity * rng.uniform(0.5, 1.0, units), kind="stable"):
        f, has = problem.fractions[unit], problem.has[unit]
        gain = ((2 * (held - problem.targets[:, None]) + f) * f) @ problem.weights
        gain -= problem.penalties * ((count == 0) @ has)
        gain[~problem.allowed[unit]] = np.inf
        choice[unit] = int(np.argmin(gain))
        held[choice[unit]] += f
        count[choice[unit]] += has
    return choice


def descend(problem: Partitioning, choice: Ints) -> tuple[Ints, float]:
    """Return the local optimum downhill of a choice, if it is not too far, and the work it took."""
    choice, work = choice.copy(), 0.0
    while work < WORK:
        moves = _price_moves(problem, choice)
        work += moves.size * problem.crops.shape[1]
        unit, to = divmod(int(np.argmin(moves)), moves.shape[1])
        if moves[unit, to] < -NOISE:
            choice[unit] = to
            continue
        if len(choice) > MANY:
            return choice, work
        change, first, second = _find_best_swap(problem, choice, moves)
        work += len(choice) ** 2 * problem.crops.shape[1] / 3
        if change >= -NOISE:
            return choice, work
        choice[[first, second]] = choice[[second, first]]
    return choice, work


def _price_moves(problem: Partitioning, choice: Ints) -> Floats:
    """Return what each unit's move to each split changes: (units, splits).

    It is infinite where the unit is already, or may not go.
    """
    held, count = problem.sum_fractions(choice), problem.count_units(choice)
    apart = 2 * (held - problem.targets[:, None]) * problem.weights
    here = np.arange(len(choice)), choice
    to = problem.fractions @ apart.T
    penalty = (problem.penalties[:, None] * (count == 0)).T
    alone = (problem.penalties[:, None] * (count == 1)).T
    square = (problem.fractions**2) @ problem.weights
    leaving = square - to[here] + (problem.has @ alone)[here]
    change = to + square[:, None] - problem.has @ penalty + leaving[:, None]
    change[~problem.allowed] = np.inf
    change[here] = np.inf
    return np.asarray(change)


def _find_best_swap(problem: Partitioning, choice: Ints, moves: Floats) -> tuple[float, int, int]:
    """Return the change of the best swap of two units of different splits, and the two."""
    count, best = problem.count_units(choice), (np.inf, 0, 0)
    weighted = problem.fractions * problem.weights
    for r, s in itertools.combinations(range(moves.shape[1]), 2):
        left, right = np.flatnonzero(choice == r), np.flatnonzero(choice == s)
        if not (left.size and right.size):
            continue
        # What the two moves count as lost though the other unit brings it.
        kept = problem.penalties[r] * (count[r] == 1) + problem.penalties[s] * (count[s] == 1)
        both = 4 * weighted[left] @ problem.fractions[right].T
        both += (problem.has[left] * kept) @ problem.has[right].T
        change = moves[left, s][:, None] + moves[right, r] - both
        i, j = divmod(int(np.argmin(change)), right.size)
        if change[i, j] < best[0]:
            best = float(change[i, j]), int(left[i]), int(right[j])
    return best
