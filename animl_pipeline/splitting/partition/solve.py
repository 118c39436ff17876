"""Divide units (locations) among splits: solve a `Partitioning`.

A local search makes a choice. HiGHS improves it where it can and proves how far from the best it
can be: by branch and bound for small tables, by the linear relaxation alone for large ones.
"""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from animl_pipeline.splitting.partition import bound, local_search
from animl_pipeline.splitting.partition.partitioning import Bools, Floats, Ints, Partitioning

EXACT_UP_TO = 110  # (unit, label) with crops that are given to branch and bound
COVER_NODES = 1_000
BOUND_UP_TO = 120_000  # of which the linear relaxation is solved
NODES = 1_500  # of branch and bound, divided by the same: time would not be the same twice


@dataclass(frozen=True)
class Partition:
    """The split of each unit, the objective, and a proven lower bound of it (None: not sought)."""

    choice: Ints
    objective: float
    bound: float | None
    method: str


def partition(crops: Ints, targets: Floats, allowed: Bools, seed: int) -> Partition:
    """Return a split for each unit, the same for the same input and seed, in whatever order.

    `crops` is (units, labels), the crops of each label. `targets` (splits,) sums to 1; a split
    with 0 gets nothing. `allowed` (units, splits) says where a unit may go: one split at least.
    """
    crops = np.asarray(crops, dtype=np.int64)[:, np.asarray(crops).sum(axis=0) > 0]
    # What a unit holds decides its turn, and not its name, under which the caller sorts.
    by_content = np.lexsort(np.hstack([crops, allowed]).T[::-1])
    order = by_content[np.random.default_rng(seed).permutation(len(crops))]
    problem = Partitioning(crops[order], targets, allowed[order])
    # One thread of BLAS: on a busy computer several wait for one another, and how many there are
    # may change the last bit of a sum.
    with threadpool_limits(1, user_api="blas"):
        choice = local_search.search(problem, np.random.default_rng(seed + 1))
        penalty = problem.compute_penalty(choice)
        if penalty:
            covering, penalty = bound.cover(problem, nodes=COVER_NODES)
            if covering is not None and problem.compute_penalty(covering) < problem.compute_penalty(
                choice
            ):
                choice = local_search.improve(problem, covering, np.random.default_rng(seed + 2))
    occupied, proven = int((crops > 0).sum()), None
    nodes = max(1, NODES // occupied) if occupied <= EXACT_UP_TO else 0
    if occupied <= BOUND_UP_TO:
        choice, proven = bound.solve(problem, choice, nodes=nodes, penalty=penalty)
    in_given_order = np.empty(len(crops), dtype=np.int64)
    in_given_order[order] = choice
    solver = "milp (HiGHS)" if nodes else "bound by lp (HiGHS)"
    method = f"local search, {solver if occupied <= BOUND_UP_TO else 'without a bound'}"
    cost = problem.compute_cost(choice)  # a bound is right but for the solver's last digits
    proven = None if proven is None else min(proven, cost)
    return Partition(in_given_order, cost, proven, method)
