import clustered
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation import average_precision, intervals


def held(locations: int, data_sets: int) -> tuple[float, float]:
    """The share of data sets whose interval holds the truth: ours, and a bootstrap of crops."""
    truth, ours, cropwise = clustered.truth_of_macro(), 0, 0
    for seed in range(data_sets):
        scored = clustered.made(locations, seed=100 + seed)
        values = macro(scored, intervals.leave_one_out(scored.groups))
        low, high = intervals.resample_by_jackknife(values) or (np.nan, np.nan)
        ours += low <= truth <= high
        each_alone = Predictions.from_arrays(
            scored.labels,
            scored.probabilities,
            scored.truth,
            [("crop", f"{row:06}") for row in range(len(scored))],
        )
        drawn = macro(each_alone, intervals.draw(each_alone.groups, seed)[:, :200])
        low, high = intervals.bound_percentiles(drawn) or (np.nan, np.nan)
        cropwise += low <= truth <= high
    return ours / data_sets, cropwise / data_sets


def macro(scored: Predictions, weights: np.ndarray) -> np.ndarray:
    return average_precision.average_known(average_precision.compute_label_aps(scored, weights))


def test_the_interval_holds_the_truth_about_as_often_as_it_says_and_a_crop_wise_one_does_not() -> (
    None
):
    ours, cropwise = held(locations=20, data_sets=60)
    assert ours >= 0.9
    assert cropwise <= 0.75


def test_the_standard_error_of_a_mean_is_the_textbook_one() -> None:
    sample = np.random.default_rng(0).normal(5, 2, 30)
    left_out = (sample.sum() - sample) / 29
    found = intervals.estimate_error(np.append(sample.mean(), left_out))
    assert found == pytest.approx(stats.sem(sample))


def test_on_a_plain_scale_the_interval_of_a_mean_is_students() -> None:
    sample = np.random.default_rng(0).normal(-5, 2, 30)
    left_out = (sample.sum() - sample) / 29
    found = intervals.resample_by_jackknife(np.append(sample.mean(), left_out), scale="plain")
    expected = stats.t.interval(0.95, 29, sample.mean(), stats.sem(sample))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "expected"), [(1.0, (0.025**0.1, 1)), (0.0, (0, 1 - 0.025**0.1))]
)
def test_where_all_are_perfect_the_bound_is_the_exact_one_of_a_coin(
    value: float, expected: tuple[float, float]
) -> None:
    found = intervals.resample_by_jackknife(np.full(11, value))
    assert found == pytest.approx(expected)
    low, high = stats.binomtest(round(10 * value), 10).proportion_ci(0.95)
    assert found == pytest.approx((low, high))


@pytest.mark.parametrize("values", [[0.5, np.nan], [0.5], [np.nan, 0.5, 0.6], [0.5, np.nan, 0.5]])
def test_without_two_values_to_compare_there_is_no_interval(values: list[float]) -> None:
    assert intervals.resample_by_jackknife(np.array(values)) is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=20), st.sampled_from(["logit", "log"]))
def test_an_interval_stays_on_its_scale_and_about_its_value(
    values: list[float], scale: str
) -> None:
    if values[0] == 0 and scale == "log":
        values[0] = 0.5
    low, high = intervals.resample_by_jackknife(np.array(values), scale=scale) or (0.0, 1.0)
    assert 0 <= low <= values[0] * (1 + 1e-9)
    assert high >= values[0] * (1 - 1e-9)
    assert high <= 1 or scale == "log"


def test_fewer_locations_that_bear_on_a_figure_make_it_wider() -> None:
    values = np.append(0.8, np.random.default_rng(0).normal(0.8, 0.01, 30))
    all_, three = (
        intervals.resample_by_jackknife(values),
        intervals.resample_by_jackknife(values, groups=3),
    )
    assert all_ is not None
    assert three is not None
    assert three[0] < all_[0] < all_[1] < three[1]


def test_the_same_seed_draws_the_same_locations_and_as_many_as_there_are() -> None:
    first, again, other = (intervals.draw(7, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert (first[:, 0] == 1).all()
    assert set(first.sum(axis=0)) == {7}


def test_percentiles_need_half_of_the_draws() -> None:
    drawn = np.append(np.full(10, np.nan), np.linspace(0, 1, 9))
    assert intervals.bound_percentiles(drawn) is None
    assert intervals.bound_percentiles(np.append(drawn, 1.0)) is not None


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_the_interval_of_a_gap_is_wider_than_that_of_either_side_and_within_its_scale(
    figures: list[float],
) -> None:
    (low, one, high), (least, other, most) = sorted(figures[:3]), sorted(figures[3:])
    below, above = intervals.subtract_unpaired(one, other, [low, high], [least, most])
    assert above - below >= max(high - low, most - least) - 1e-9
    assert -1 - 1e-9 <= below <= one - other + 1e-9
    assert one - other - 1e-9 <= above <= 1 + 1e-9


def test_the_interval_of_a_gap_of_means_is_the_textbook_one() -> None:
    below, above = intervals.subtract_unpaired(5.0, 3.0, [5 - 3, 5 + 3], [3 - 4, 3 + 4])
    assert (below, above) == (2 - 5, 2 + 5)
