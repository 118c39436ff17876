import itertools

import numpy as np
import pytest
from effort import count
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from animl_pipeline.splitting.partition import bound as relaxation
from animl_pipeline.splitting.partition import local_search
from animl_pipeline.splitting.partition.partitioning import Partitioning
from animl_pipeline.splitting.partition.solve import partition

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
TARGETS = np.array([0.6, 0.2, 0.2])
PENALTIES = np.array([3000.0, 1000.0, 1000.0])


def plain_cost(crops: Ints, part: Ints, targets: Floats) -> float:
    """The objective as the docstring of `partitioning` states it, label by label."""
    total = 0.0
    for of_label in crops.T:
        if not of_label.sum():
            continue
        has = of_label > 0
        for s, target in enumerate(targets):
            here = part == s
            total += 2 * (of_label[here].sum() / of_label.sum() - target) ** 2
            total += ((has & here).sum() / has.sum() - target) ** 2
            total += PENALTIES[s] * (target > 0 and not (has & here).any())
    return total


def everywhere(crops: Ints, targets: Floats = TARGETS) -> Bools:
    return np.tile(targets > 0, (len(crops), 1))


def every_assignment(allowed: Bools) -> list[Ints]:
    choices = [np.flatnonzero(row) for row in allowed]
    return [np.array(parts) for parts in itertools.product(*choices)]


def uncovered(crops: Ints, part: Ints, targets: Floats) -> list[tuple[int, int]]:
    return list(Partitioning(crops, targets, everywhere(crops, targets)).list_uncovered(part))


def covers(crops: Ints, part: Ints, targets: Floats) -> bool:
    return not uncovered(crops, part, targets)


@st.composite
def tables(draw: st.DrawFn, units: int = 6, labels: int = 4) -> Ints:
    n, m = draw(st.integers(3, units)), draw(st.integers(1, labels))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    crops = rng.poisson(12, (n, m)) * (rng.random((n, m)) < draw(st.floats(0.4, 1)))
    crops[0] += 1  # every label somewhere
    crops[:, 0] += crops.sum(axis=1) == 0  # every unit with something
    return crops.astype(np.int64)


wanted = st.sampled_from(
    [TARGETS, np.array([0.8, 0.2, 0.0]), np.array([0.8, 0.0, 0.2]), np.array([1.0, 0.0, 0.0])]
)


@settings(deadline=None, max_examples=count(20))
@given(tables(units=12, labels=5), wanted, st.integers(0, 2**32 - 1))
def test_every_unit_gets_a_part_it_may_have(crops: Ints, targets: Floats, seed: int) -> None:
    rng = np.random.default_rng(seed)
    allowed = everywhere(crops, targets) & (rng.random((len(crops), 3)) < 0.7)
    allowed[~allowed.any(axis=1), 0] = True
    part = partition(crops, targets, allowed, 0).choice
    assert part.shape == (len(crops),)
    assert allowed[np.arange(len(crops)), part].all()


@settings(deadline=None, max_examples=count(20))
@given(tables(units=12, labels=5), wanted)
def test_a_part_that_should_get_nothing_gets_nothing(crops: Ints, targets: Floats) -> None:
    part = partition(crops, targets, everywhere(crops, targets), 0).choice
    assert set(part.tolist()) <= set(np.flatnonzero(targets > 0).tolist())


@settings(deadline=None, max_examples=count(10))
@given(tables(units=12, labels=5), st.integers(0, 2**32 - 1))
def test_the_same_seed_gives_the_same_parts(crops: Ints, seed: int) -> None:
    first, again = (partition(crops, TARGETS, everywhere(crops), seed) for _ in range(2))
    np.testing.assert_array_equal(first.choice, again.choice)
    assert (first.objective, first.bound) == (again.objective, again.bound)


@settings(deadline=None, max_examples=count(20))
@given(tables(units=10, labels=5), wanted)
def test_the_objective_is_what_the_formula_says(crops: Ints, targets: Floats) -> None:
    found = partition(crops, targets, everywhere(crops, targets), 0)
    assert found.objective == pytest.approx(plain_cost(crops, found.choice, targets), abs=1e-9)


@settings(deadline=None, max_examples=count(20))
@given(tables(units=10, labels=5), wanted)
def test_the_bound_is_not_above_the_objective(crops: Ints, targets: Floats) -> None:
    found = partition(crops, targets, everywhere(crops, targets), 0)
    assert found.bound is not None
    assert found.bound <= found.objective + 1e-6


@settings(deadline=None, max_examples=count(30))
@given(tables())
def test_small_tables_are_divided_best_within_the_stated_gap(crops: Ints) -> None:
    found = partition(crops, TARGETS, everywhere(crops), 0)
    best = min(plain_cost(crops, part, TARGETS) for part in every_assignment(everywhere(crops)))
    assert found.objective <= best * (1 + relaxation.GAP_ENOUGH) + 1e-9
    assert found.bound is not None
    assert found.bound <= best + 1e-6


@settings(deadline=None, max_examples=count(30))
@given(tables())
def test_every_label_is_in_every_part_where_that_can_be(crops: Ints) -> None:
    can = any(covers(crops, part, TARGETS) for part in every_assignment(everywhere(crops)))
    assert covers(crops, partition(crops, TARGETS, everywhere(crops), 0).choice, TARGETS) == can


@settings(deadline=None, max_examples=count(30))
@given(tables())
def test_as_few_as_can_be_are_not_covered_least_of_all_in_train(crops: Ints) -> None:
    def lacking(part: Ints) -> float:
        return sum(PENALTIES[s] for _, s in uncovered(crops, part, TARGETS))

    found = partition(crops, TARGETS, everywhere(crops), 0)
    best = min(lacking(part) for part in every_assignment(everywhere(crops)))
    assert lacking(found.choice) == best


@pytest.mark.parametrize("seed", range(12))
def test_a_label_that_cannot_be_covered_does_not_spoil_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    crops = rng.poisson(15, (7, 4)) * (rng.random((7, 4)) < 0.8)
    crops[:, 0] = [9, 0, 0, 0, 0, 0, 0]  # at one location: two parts lack it, whatever one does
    crops[:, 1] += 1
    best = min(plain_cost(crops, part, TARGETS) for part in every_assignment(everywhere(crops)))
    found = partition(crops, TARGETS, everywhere(crops), 0)
    assert found.objective - best <= relaxation.GAP_ENOUGH * (best % 1000) + 1e-9


def test_uncovered_names_each_label_and_the_part_that_lacks_it() -> None:
    crops = np.array([[1, 1], [1, 0], [1, 1]])
    assert uncovered(crops, np.array([0, 1, 2]), TARGETS) == [(1, 1)]
    assert uncovered(crops, np.array([0, 1, 2]), np.array([0.8, 0.0, 0.2])) == []


def test_a_label_without_crops_changes_nothing() -> None:
    crops = np.random.default_rng(0).poisson(5, (8, 3)) + 1
    more = np.hstack([crops, np.zeros((8, 1), dtype=np.int64)])
    one, other = (partition(table, TARGETS, everywhere(crops), 0) for table in (crops, more))
    np.testing.assert_array_equal(one.choice, other.choice)
    assert one.objective == other.objective


def test_one_unit_goes_where_it_may() -> None:
    allowed = np.array([[False, False, True]])
    assert partition(np.array([[5]]), TARGETS, allowed, 0).choice.tolist() == [2]


def skewed(units: int, labels: int) -> Ints:
    rng = np.random.default_rng(0)
    crops = rng.lognormal(2, 1.5, (units, labels)) * (rng.random((units, labels)) < 0.1)
    return crops.astype(np.int64)


def test_hundreds_of_units_and_dozens_of_labels_are_divided_well() -> None:
    crops = skewed(300, 40)
    found = partition(crops, TARGETS, everywhere(crops), 0)
    assert covers(crops, found.choice, TARGETS)
    random = np.random.default_rng(0).choice(3, len(crops), p=TARGETS)
    assert found.objective < plain_cost(crops, random, TARGETS) / 2
    assert found.bound is not None
    assert 0 <= found.bound <= found.objective


def test_a_descent_stops_where_its_work_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    crops = skewed(60, 5) + 1
    problem = Partitioning(crops, TARGETS, everywhere(crops))
    start = np.random.default_rng(0).integers(0, 3, len(crops))
    optimum, work = local_search.descend(problem, start)
    monkeypatch.setattr(local_search, "WORK", work / 4)
    stopped, spent = local_search.descend(problem, start)
    step = 2 * crops.size * len(crops)  # at most, of one step
    assert spent <= work / 4 + step
    assert (
        problem.compute_cost(optimum) < problem.compute_cost(stopped) < problem.compute_cost(start)
    )


def test_labels_at_a_few_of_many_locations_are_proven_near_their_best() -> None:
    rng, crops = np.random.default_rng(0), skewed(40, 8) * 0
    for label in range(8):
        crops[rng.choice(40, 4, replace=False), label] = rng.integers(1, 90, 4)
    crops = crops[crops.sum(axis=1) > 0]
    found = partition(crops, TARGETS, everywhere(crops), 0)
    assert found.bound is not None
    assert found.objective - found.bound <= relaxation.GAP_ENOUGH * found.objective


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_of_the_relaxation_is_below_the_best_of_all_choices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    crops = (rng.poisson(9, (7, 4)) + 1) * (rng.random((7, 4)) < 0.6)
    crops[seed % 7] += 1
    problem = Partitioning(crops, TARGETS, everywhere(crops))
    best = min(every_assignment(everywhere(crops)), key=problem.compute_cost)
    _, least = relaxation.cover(problem, nodes=1000)
    assert least == problem.compute_penalty(best)
    _, bound = relaxation.solve(problem, np.zeros(7, dtype=np.int64), nodes=0, penalty=least)
    assert bound is not None
    assert least <= bound <= problem.compute_cost(best) + 1e-6


@settings(deadline=None, max_examples=count(30))
@given(tables(units=9, labels=4), st.integers(0, 2**32 - 1))
def test_no_move_and_no_swap_betters_a_local_optimum(crops: Ints, seed: int) -> None:
    problem = Partitioning(crops, TARGETS, everywhere(crops))
    start = np.random.default_rng(seed).integers(0, 3, len(crops))
    found, _ = local_search.descend(problem, start)
    now = plain_cost(crops, found, TARGETS)
    assert now <= plain_cost(crops, start, TARGETS) + 1e-9
    for one, other in itertools.product(range(len(crops)), repeat=2):
        swapped = found.copy()
        swapped[[one, other]] = found[[other, one]]
        moved = found.copy()
        moved[one] = other % 3
        assert min(plain_cost(crops, c, TARGETS) for c in (swapped, moved)) >= now - 1e-8


def test_equal_targets_give_each_part_as_many_units() -> None:
    crops = np.random.default_rng(1).poisson(6, (12, 3)) + 1
    fifths = np.full(4, 0.25)
    found = partition(crops, fifths, np.ones((12, 4), dtype=bool), 0)
    assert np.bincount(found.choice, minlength=4).tolist() == [3, 3, 3, 3]


@settings(deadline=None, max_examples=count(15))
@given(tables(units=12, labels=4), st.integers(0, 2**32 - 1))
def test_the_order_of_the_units_does_not_matter(crops: Ints, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(crops))
    one = partition(crops, TARGETS, everywhere(crops), 0)
    other = partition(crops[order], TARGETS, everywhere(crops), 0)
    assert (one.objective, one.bound) == (other.objective, other.bound)
    for place in range(3):
        mine, theirs = crops[one.choice == place], crops[order][other.choice == place]
        assert sorted(mine.tolist()) == sorted(theirs.tolist())
