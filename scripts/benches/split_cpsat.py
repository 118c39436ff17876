"""Measure the bound of a split beside that of OR-Tools' CP-SAT, on random tables of three sizes.

    pip install ortools && python scripts/benches/split_cpsat.py [SECONDS]

CP-SAT computes with whole numbers: fractions are rounded to thousandths, so its bound is right to
about that. It starts from the choice of our local search, has one worker, and the time given.
"""

import sys
import time

import numpy as np
from ortools.sat.python import cp_model

from animl_pipeline.splitting.partition import local_search
from animl_pipeline.splitting.partition.partitioning import Ints, Partitioning
from animl_pipeline.splitting.partition.solve import partition

TARGETS = np.array([0.6, 0.2, 0.2])
SIZES = ((12, 6), (20, 8), (50, 15))  # locations, labels
SCALE = 1000


def make_table(locations: int, labels: int) -> Ints:
    """Return crops (locations, labels), long-tailed, every label at 4 locations or more."""
    rng = np.random.default_rng(locations)
    crops = 1 + rng.lognormal(2, 1.5, (locations, labels)).astype(np.int64)
    crops *= rng.random((locations, labels)) < rng.uniform(0.3, 0.8, labels)
    for label in range(labels):
        few = rng.choice(locations, 4, replace=False)
        crops[few, label] = np.maximum(crops[few, label], 1)
    return crops


def solve_with_cpsat(problem: Partitioning, seconds: float) -> tuple[float, float]:
    """Return the objective and the bound that CP-SAT comes to."""
    model = cp_model.CpModel()
    units, splits = problem.allowed.shape
    x = [[model.new_bool_var(f"{u} {s}") for s in range(splits)] for u in range(units)]
    for row in x:
        model.add_exactly_one(row)
    fractions = np.rint(SCALE * problem.fractions).astype(int)
    terms = []
    for column in range(fractions.shape[1]):
        for split, target in enumerate(problem.targets):
            held = sum(int(fractions[u, column]) * x[u][split] for u in range(units))
            apart = model.new_int_var(-2 * SCALE, 2 * SCALE, "")
            square = model.new_int_var(0, 4 * SCALE**2, "")
            model.add(apart == held - round(SCALE * target))
            model.add_multiplication_equality(square, [apart, apart])
            terms.append(int(problem.weights[column]) * square)
    for label in range(problem.has.shape[1]):
        for split in range(splits):
            model.add_bool_or([x[u][split] for u in np.flatnonzero(problem.has[:, label])])
    start = local_search.search(problem, np.random.default_rng(0))
    for u in range(units):
        for split in range(splits):
            model.add_hint(x[u][split], int(start[u] == split))
    model.minimize(sum(terms))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = seconds
    solver.solve(model)
    choice = np.array([np.argmax([solver.value(v) for v in row]) for row in x])
    return problem.compute_cost(choice), solver.best_objective_bound / SCALE**2


def main() -> None:
    """Print a row for each size."""
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    print("locations x labels | ours: cost, bound, s | CP-SAT: cost, bound, s")
    for locations, labels in SIZES:
        crops = make_table(locations, labels)
        problem = Partitioning(crops, TARGETS, np.ones((locations, len(TARGETS)), dtype=bool))
        start = time.perf_counter()
        ours = partition(crops, TARGETS, problem.allowed, 0)
        middle = time.perf_counter()
        cost, bound = solve_with_cpsat(problem, limit)
        row = f"{ours.objective:.4f}, {ours.bound:.4f}, {middle - start:.1f}"
        row += f" | {cost:.4f}, {bound:.4f}, {time.perf_counter() - middle:.1f}"
        print(f"{locations} x {labels} | {row}")


if __name__ == "__main__":
    main()
