"""Divide units (locations) among parts (train, val, test) so that labels are spread as wanted.

The problem: choose one part for each unit; for label l and part s let C be the fraction of l's
crops, and L of l's units, that lie in s; t is the wanted fraction of s. Minimise

    sum over l, s of  2 |C - t| + |L - t|  +  PENALTY_s * (s has no unit of l)

The weights 2 and 1 are those of MegaDetector's random search, whose squares would not be linear;
the penalties make coverage come first wherever the units allow it, and the first part (train)
before the others: what is not learned cannot be judged either.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

CROPS_WEIGHT, UNITS_WEIGHT = 2.0, 1.0
# Far above all else: 2 |C - t| + |L - t| of one label is at most 6.
PENALTY_FIRST, PENALTY_OTHERS = 3000.0, 1000.0
EXACT_UP_TO = 2_000  # units x labels that HiGHS is asked for; beyond, local search alone
NODES = 300_000  # of branch and bound, divided by units x labels; counts, as time would, no clock
NOISE = 1e-9  # of sums of fractions
GAP_ENOUGH = 0.005
RESTARTS = 8
MOVES = 2_000_000  # of local search, divided by units


@dataclass(frozen=True)
class Partition:
    """`part` of each unit, the objective, and a proven lower bound of it (None: not sought)."""

    part: "Ints"
    objective: float
    bound: float | None
    method: str


def partition(
    crops: "Ints", targets: "Floats", allowed: "NDArray[np.bool_]", seed: int
) -> Partition:
    """Return a part for each unit, the same for the same input and seed.

    `crops` is (units, labels), the crops of each label; `targets` (parts,) sums to 1, a part with
    0 gets nothing; `allowed` (units, parts) says where a unit may go, at least one part each.
    """
    import numpy as np

    crops = np.asarray(crops, dtype=np.int64)[:, np.asarray(crops).sum(axis=0) > 0]
    order = np.random.default_rng(seed).permutation(len(crops))
    found = _search(crops[order], targets, allowed[order], np.random.default_rng(seed + 1))
    method, bound = "local search", None
    if crops.size <= EXACT_UP_TO:
        exact, bound = _solve(crops[order], targets, allowed[order], found)
        method = "milp (HiGHS)"
        if exact is not None and _cost(crops[order], exact, targets) <= _cost(
            crops[order], found, targets
        ):
            found = exact
    part = np.empty(len(crops), dtype=np.int64)
    part[order] = found
    return Partition(part, _cost(crops, part, targets), bound, method)


def uncovered(crops: "Ints", part: "Ints", targets: "Floats") -> Iterator[tuple[int, int]]:
    """Yield (label, part) for each label that has no crops in a part that should have some."""
    for place, target in enumerate(targets):
        held = crops[part == place].sum(axis=0)
        for label in range(crops.shape[1]):
            if target > 0 and not held[label]:
                yield label, place


def _penalties(parts: int) -> list[float]:
    return [PENALTY_FIRST, *[PENALTY_OTHERS] * (parts - 1)]


def _parts(targets: "Floats") -> list[tuple[int, float, float]]:
    """Return (number, target, penalty) of each part."""
    return list(zip(range(len(targets)), targets, _penalties(len(targets)), strict=True))


def _part_costs(held: "Floats", target: float, penalty: float) -> "Floats":
    """Return the cost (...) of a part that holds fractions (2, ..., labels) of crops and units."""
    import numpy as np

    crops, units = held[0], held[1]
    cost = CROPS_WEIGHT * np.abs(crops - target) + UNITS_WEIGHT * np.abs(units - target)
    missing = (units < NOISE) & (target > 0)
    return np.asarray((cost + penalty * missing).sum(axis=-1))


def _fractions(crops: "Ints") -> tuple["Floats", "Floats"]:
    """Return each unit's fraction of every label's crops, and of every label's units."""
    has = crops > 0
    return crops / crops.sum(axis=0), has / has.sum(axis=0)


def _cost(crops: "Ints", part: "Ints", targets: "Floats") -> float:
    import numpy as np

    fractions = np.stack(_fractions(crops))
    return sum(
        float(_part_costs(fractions[:, part == s].sum(axis=1), t, p)) for s, t, p in _parts(targets)
    )


def _search(
    crops: "Ints", targets: "Floats", allowed: "NDArray[np.bool_]", rng: "np.random.Generator"
) -> "Ints":
    """Return the best of several greedy starts, each improved by moving one unit at a time."""
    import numpy as np

    fractions = np.stack(_fractions(crops))  # (2, units, labels)
    rarity = fractions[1].max(axis=1)
    best, best_cost = np.zeros(len(crops), dtype=np.int64), np.inf
    restarts = max(1, min(RESTARTS, EXACT_UP_TO * RESTARTS // max(1, crops.size)))
    for _ in range(restarts):
        jitter = rng.uniform(0.5, 1.0, len(crops))
        part = _greedy(fractions, targets, allowed, np.argsort(-rarity * jitter, kind="stable"))
        part = _improve(fractions, targets, allowed, part)
        cost = _cost(crops, part, targets)
        if cost < best_cost:
            best, best_cost = part, cost
    return best


def _greedy(
    fractions: "Floats", targets: "Floats", allowed: "NDArray[np.bool_]", order: "Ints"
) -> "Ints":
    """Give each unit in turn to the part whose cost it lowers most."""
    import numpy as np

    part = np.zeros(len(order), dtype=np.int64)
    held = np.zeros((len(targets), 2, fractions.shape[2]))
    for unit in order:
        gains = np.full(len(targets), -np.inf)
        for s, t, p in _parts(targets):
            if allowed[unit, s]:
                more = held[s] + fractions[:, unit]
                gains[s] = _part_costs(held[s], t, p) - _part_costs(more, t, p)
        part[unit] = int(np.argmax(gains))
        held[part[unit]] += fractions[:, unit]
    return part


def _improve(
    fractions: "Floats", targets: "Floats", allowed: "NDArray[np.bool_]", part: "Ints"
) -> "Ints":
    """Move the unit that lowers the cost most, until none does."""
    import numpy as np

    part = part.copy()
    units = np.arange(len(part))
    for _ in range(max(100, MOVES // max(1, len(part)))):
        held = np.stack([fractions[:, part == s].sum(axis=1) for s in range(len(targets))])
        now = np.array([_part_costs(held[s], t, p) for s, t, p in _parts(targets)])
        change = np.full((len(part), len(targets)), np.inf)
        left = np.empty(len(part))
        for s, t, p in _parts(targets):
            inside = part == s
            less, more = held[s][:, None] - fractions[:, inside], held[s][:, None] + fractions
            left[inside] = _part_costs(less, t, p) - now[s]
            change[:, s] = _part_costs(more, t, p) - now[s]
        change += left[:, None]
        change[~allowed] = np.inf
        change[units, part] = np.inf
        unit, to = divmod(int(np.argmin(change)), len(targets))
        if change[unit, to] > -NOISE:
            break
        part[unit] = to
    return part


def _lacking(crops: "Ints", part: "Ints", targets: "Floats") -> float:
    """Return the penalties of the labels that some part lacks."""
    penalties = _penalties(len(targets))
    return sum(penalties[place] for _, place in uncovered(crops, part, targets))


def _solve(
    crops: "Ints", targets: "Floats", allowed: "NDArray[np.bool_]", found: "Ints"
) -> tuple["Ints | None", float | None]:
    """Return HiGHS's parts, and its proven lower bound, within a fixed number of nodes.

    `found` is a good start; what it lacks tells how much of the cost are penalties, of which the
    solver's relative gap must not be a part. Variables, in this order: x (units, parts) binary;
    then for each (label, part) the deviation of crops, the deviation of units, and 1 if the part
    has no unit of the label.
    """
    import numpy as np
    from scipy import sparse
    from scipy.optimize import Bounds, LinearConstraint, milp

    (units, labels), parts = crops.shape, len(targets)
    of_crops, of_units = _fractions(crops)
    pairs = labels * parts
    per_part = sparse.eye_array(parts)
    identity, nothing = sparse.eye_array(pairs), sparse.coo_array((pairs, pairs))
    crops_in, units_in = (sparse.kron(held.T, per_part) for held in (of_crops, of_units))
    has = sparse.kron((crops > 0).T.astype(float), per_part)
    rows = sparse.block_array(
        [
            [crops_in, identity, nothing, nothing],
            [crops_in, -identity, nothing, nothing],
            [units_in, nothing, identity, nothing],
            [units_in, nothing, -identity, nothing],
            [has, nothing, nothing, identity],
        ]
    )
    wanted, none = np.tile(targets, labels), np.full(pairs, np.inf)
    needed = np.tile(np.where(targets > 0, 1.0, 0.0), labels)
    low = np.concatenate([wanted, -none, wanted, -none, needed])
    high = np.concatenate([none, wanted, none, wanted, none])
    one_each = sparse.kron(sparse.eye_array(units), np.ones((1, parts)))
    one_part = sparse.hstack([one_each, sparse.coo_array((units, 3 * pairs))])
    free, zeros = np.zeros(units * parts), np.zeros(pairs)
    penalties = np.tile(_penalties(parts), labels)
    cost = _cost(crops, found, targets)
    result = milp(
        np.concatenate([free, zeros + CROPS_WEIGHT, zeros + UNITS_WEIGHT, penalties]),
        integrality=np.concatenate([np.ones(units * parts), np.zeros(3 * pairs)]),
        bounds=Bounds(0, np.concatenate([allowed.astype(float).ravel(), np.ones(3 * pairs)])),
        constraints=[
            LinearConstraint(sparse.csc_array(rows), low, high),
            LinearConstraint(sparse.csc_array(one_part), 1, 1),
        ],
        options={
            "node_limit": max(20, NODES // crops.size),
            "mip_rel_gap": GAP_ENOUGH * (cost - _lacking(crops, found, targets)) / max(cost, NOISE),
        },
    )
    bound = getattr(result, "mip_dual_bound", None)
    part = None if result.x is None else result.x[: units * parts].reshape(units, parts)
    return (
        None if part is None else part.argmax(axis=1),
        None if bound is None or not np.isfinite(bound) else float(bound),
    )
