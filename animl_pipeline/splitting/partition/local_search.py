"""A good choice of parts: a greedy start, then the best move or swap of units until none helps.

Squares make both exact and cheap. With f the fractions of a unit and h those a part holds, the
unit's coming costs sum w (2 (h - t) f + f^2) and its going sum w (-2 (h - t) f + f^2); a swap of u
and v costs the two moves less 4 sum w f_u f_v.
"""

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from animl_pipeline.splitting.partition.problem import Problem

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

NOISE = 1e-9  # of sums of fractions
MANY = 2_500  # units: all pairs of more are too many, and one descent is near enough
WORK = 2e9  # units x labels x parts, added up over the steps: time would not be the same twice
STARTS, KICKS_PER_UNIT, KICKS = 4, 8, 250
KICKED = (2, 10)  # units moved at random, from which the search goes on


def search(problem: "Problem", rng: "np.random.Generator") -> "Ints":
    """Return a part for each unit: the best local optimum met within a fixed amount of work."""
    if len(problem.crops) > MANY:
        return descend(problem, _greedy(problem, rng))[0]
    starts = [_greedy(problem, rng) for _ in range(STARTS)]
    return min((improve(problem, start, rng) for start in starts), key=problem.cost)


def improve(problem: "Problem", start: "Ints", rng: "np.random.Generator") -> "Ints":
    """Return the best of the local optima downhill of a start and of what kicks lead to from it."""
    import numpy as np

    best, work = descend(problem, start)
    work_left = WORK / STARTS - work
    best_cost = problem.cost(best)
    free = np.flatnonzero(problem.allowed.sum(axis=1) > 1)
    for _ in range(min(KICKS, KICKS_PER_UNIT * free.size)):
        if work_left < 0 or best_cost < NOISE:
            break
        part, number = best.copy(), int(rng.integers(*KICKED, endpoint=True))
        for unit in rng.choice(free, min(number, free.size), replace=False):
            part[unit] = rng.choice(np.flatnonzero(problem.allowed[unit]))
        part, work = descend(problem, part)
        work_left -= work
        if (cost := problem.cost(part)) < best_cost - NOISE:
            best, best_cost = part, cost
    return best


def _greedy(problem: "Problem", rng: "np.random.Generator") -> "Ints":
    """Give each unit in turn, those of rare labels first, to the part whose cost it lowers most."""
    import numpy as np

    units, parts = problem.allowed.shape
    rarity = problem.fractions[:, problem.crops.shape[1] :].max(axis=1)
    part = np.zeros(units, dtype=np.int64)
    held = np.zeros((parts, problem.fractions.shape[1]))
    count = np.zeros((parts, problem.has.shape[1]))
    for unit in np.argsort(-rarity * rng.uniform(0.5, 1.0, units), kind="stable"):
        f, has = problem.fractions[unit], problem.has[unit]
        gain = ((2 * (held - problem.targets[:, None]) + f) * f) @ problem.weights
        gain -= problem.penalties * ((count == 0) @ has)
        gain[~problem.allowed[unit]] = np.inf
        part[unit] = int(np.argmin(gain))
        held[part[unit]] += f
        count[part[unit]] += has
    return part


def descend(problem: "Problem", part: "Ints") -> tuple["Ints", float]:
    """Return the local optimum downhill of `part`, if it is not too far, and the work it took."""
    import numpy as np

    part, work = part.copy(), 0.0
    while work < WORK:
        moves = _moves(problem, part)
        work += moves.size * problem.crops.shape[1]
        unit, to = divmod(int(np.argmin(moves)), moves.shape[1])
        if moves[unit, to] < -NOISE:
            part[unit] = to
            continue
        if len(part) > MANY:
            return part, work
        change, one, other = _best_swap(problem, part, moves)
        work += len(part) ** 2 * problem.crops.shape[1] / 3
        if change >= -NOISE:
            return part, work
        part[[one, other]] = part[[other, one]]
    return part, work


def _moves(problem: "Problem", part: "Ints") -> "Floats":
    """Return what each unit's move to each part changes; inf where it is or may not go."""
    import numpy as np

    held, count = problem.held(part), problem.units(part)
    apart = 2 * (held - problem.targets[:, None]) * problem.weights
    own = np.arange(len(part)), part
    to = problem.fractions @ apart.T
    penalty = (problem.penalties[:, None] * (count == 0)).T
    alone = (problem.penalties[:, None] * (count == 1)).T
    square = (problem.fractions**2) @ problem.weights
    leaving = square - to[own] + (problem.has @ alone)[own]
    change = to + square[:, None] - problem.has @ penalty + leaving[:, None]
    change[~problem.allowed] = np.inf
    change[own] = np.inf
    return np.asarray(change)


def _best_swap(problem: "Problem", part: "Ints", moves: "Floats") -> tuple[float, int, int]:
    """Return the change of the best swap of two units of different parts, and the two."""
    import numpy as np

    count, best = problem.units(part), (np.inf, 0, 0)
    weighted = problem.fractions * problem.weights
    for r, s in itertools.combinations(range(moves.shape[1]), 2):
        left, right = np.flatnonzero(part == r), np.flatnonzero(part == s)
        if not (left.size and right.size):
            continue
        # What the two moves count as lost though the other unit brings it.
        kept = problem.penalties[r] * (count[r] == 1) + problem.penalties[s] * (count[s] == 1)
        both = 4 * weighted[left] @ problem.fractions[right].T
        both += (problem.has[left] * kept) @ problem.has[right].T
        change = moves[left, s][:, None] + moves[right, r] - both
        one, other = divmod(int(np.argmin(change)), right.size)
        if change[one, other] < best[0]:
            best = float(change[one, other]), int(left[one]), int(right[other])
    return best
