"""Divide units (locations) among parts (train, val, test): the problem of `balance`, solved.

A local search finds a choice; HiGHS improves it where it can and proves how far from the best it
can be: by branch and bound for small tables, by the linear relaxation alone for large ones.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from animl_pipeline.splitting.partition.problem import Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

EXACT_UP_TO = 110  # (unit, label) with crops that are given to branch and bound
COVER_NODES = 1_000
BOUND_UP_TO = 120_000  # of which the linear relaxation is solved
NODES = 1_500  # of branch and bound, divided by the same: time would not be the same twice


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
    """Return a part for each unit, the same for the same input and seed, in whatever order.

    `crops` is (units, labels), the crops of each label; `targets` (parts,) sums to 1, a part with
    0 gets nothing; `allowed` (units, parts) says where a unit may go, at least one part each.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    from animl_pipeline.splitting.partition import bound as relaxation
    from animl_pipeline.splitting.partition import local_search

    crops = np.asarray(crops, dtype=np.int64)[:, np.asarray(crops).sum(axis=0) > 0]
    # What a unit holds decides its turn, and not its name, under which the caller sorts.
    by_content = np.lexsort(np.hstack([crops, allowed]).T[::-1])
    order = by_content[np.random.default_rng(seed).permutation(len(crops))]
    problem = Problem(crops[order], targets, allowed[order])
    # One thread: on a busy computer BLAS's wait for one another (docs, Measured), and how many
    # there are may change the last bit of a sum.
    with threadpool_limits(1, user_api="blas"):
        found = local_search.search(problem, np.random.default_rng(seed + 1))
        lacking = problem.lacking(found)
        if lacking:
            other, lacking = relaxation.cover(problem, nodes=COVER_NODES)
            if other is not None and problem.lacking(other) < problem.lacking(found):
                found = local_search.improve(problem, other, np.random.default_rng(seed + 2))
    occupied, bound = int((crops > 0).sum()), None
    nodes = max(1, NODES // occupied) if occupied <= EXACT_UP_TO else 0
    if occupied <= BOUND_UP_TO:
        found, bound = relaxation.solve(problem, found, nodes=nodes, lacking=lacking)
    part = np.empty(len(crops), dtype=np.int64)
    part[order] = found
    solver = "milp (HiGHS)" if nodes else "bound by lp (HiGHS)"
    method = f"local search, {solver if occupied <= BOUND_UP_TO else 'without a bound'}"
    cost = problem.cost(found)  # a bound is right but for the solver's last digits
    return Partition(part, cost, None if bound is None else min(bound, cost), method)
