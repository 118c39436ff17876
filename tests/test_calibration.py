import clustered
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from torchmetrics.functional.classification import multiclass_calibration_error

from animl_pipeline.classifier.predictions import Floats, Ints, Predictions
from animl_pipeline.evaluation import calibration, intervals, metrics


def made(seed: int, *, n: int = 300, labels: int = 4, sure: float = 1.0) -> tuple[Floats, Ints]:
    """Probabilities whose truth is drawn from them; then made `sure` times as sure."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, labels))
    soft = special.softmax(logits, axis=1)
    truth = (rng.random(n)[:, None] > soft.cumsum(axis=1)).sum(axis=1).clip(0, labels - 1)
    return special.softmax(sure * logits, axis=1), truth


def scored_at(locations: int, probabilities: Floats, truth: Ints) -> Predictions:
    """The rows dealt out to so many locations in turn."""
    labels = [str(label) for label in range(probabilities.shape[1])]
    places = [("d", str(row % locations)) for row in range(len(truth))]
    return Predictions.from_arrays(labels, probabilities, truth, places)


def error_of(probabilities: Floats, truth: Ints) -> float:
    labels = [str(label) for label in range(probabilities.shape[1])]
    places = [("d", "a")] * len(truth)
    found: float = metrics.measure_calibration(
        Predictions.from_arrays(labels, probabilities, truth, places)
    )["ece"]
    return found


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(2, 6), st.integers(2, 10))
def test_calibration_error_is_torchmetrics(seed: int, n: int, labels: int, bits: int) -> None:
    probabilities, truth = made(seed, n=n, labels=labels, sure=3)
    # With ties and ones; whole in single precision, in which torchmetrics computes.
    probabilities = (probabilities * 2**bits).round() / 2**bits
    expected = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(truth), num_classes=labels, n_bins=15
    )
    assert error_of(probabilities, truth) == pytest.approx(float(expected), abs=1e-6)


def test_a_probability_of_one_is_in_a_bin_of_its_own_as_in_torchmetrics() -> None:
    probabilities, truth = np.array([[1.0, 0.0], [0.95, 0.05]]), np.array([1, 0])
    expected = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(truth), num_classes=2, n_bins=15
    )
    assert error_of(probabilities, truth) == pytest.approx((1 + 0.05) / 2)
    assert float(expected) == pytest.approx((1 + 0.05) / 2)


@pytest.mark.parametrize("sure", [0.5, 1.0, 2.0, 3.0])
def test_the_temperature_undoes_what_made_it_too_sure(sure: float) -> None:
    scored = scored_at(50, *made(0, n=20_000, sure=sure))
    assert calibration.fit_temperature(scored) == pytest.approx(sure, rel=0.05)


def test_the_temperature_lowers_log_loss_and_calibration_error_of_other_crops() -> None:
    temperature = calibration.fit_temperature(scored_at(20, *made(1, n=2000, sure=2.5)))
    probabilities, truth = made(2, n=2000, sure=2.5)
    labels, places = ["a", "b", "c", "d"], [("d", "a")] * 2000
    before, after = (
        metrics.measure_calibration(Predictions.from_arrays(labels, soft, truth, places))
        for soft in (probabilities, calibration.soften(probabilities, temperature))
    )
    assert after["log_loss"] < before["log_loss"]
    assert after["ece"] < before["ece"]


def test_no_other_temperature_has_less_log_loss() -> None:
    probabilities, truth = made(3, sure=1.7)

    def loss(temperature: float) -> float:
        own = calibration.soften(probabilities, temperature)[np.arange(len(truth)), truth]
        return float(-np.log(own).mean())

    best = calibration.find_least_loss(scored_at(3, probabilities, truth))
    assert all(loss(best) <= loss(best * factor) for factor in (0.5, 0.9, 1.1, 2))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_a_temperature_changes_no_prediction(seed: int, temperature: float) -> None:
    probabilities, _ = made(seed, n=50)
    soft = calibration.soften(probabilities, temperature)
    np.testing.assert_allclose(soft.sum(axis=1), 1)
    assert (soft.argmax(axis=1) == probabilities.argmax(axis=1)).all()


@pytest.mark.parametrize("right", [True, False])
def test_rows_all_right_or_all_wrong_give_a_temperature_within_its_limits(right: bool) -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
    truth = np.array([0, 0]) if right else np.array([1, 1])
    low, high = calibration.TEMPERATURES
    assert low <= calibration.fit_temperature(scored_at(2, probabilities, truth)) <= high


def all_right(locations: int) -> Predictions:
    """Bools said with 0.85 to 0.95, and all of them right."""
    top = np.random.default_rng(0).uniform(0.85, 0.95, 20 * locations)
    return scored_at(locations, np.stack([top, 1 - top], axis=1), np.zeros(len(top), dtype=int))


def test_where_all_is_right_the_temperature_does_not_run_away_and_falls_with_the_evidence() -> None:
    assert calibration.find_least_loss(all_right(30)) < 0.06
    kept = [calibration.fit_temperature(all_right(locations)) for locations in (3, 4, 6, 10, 30)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == 1
    assert 0.3 < kept[-1] < 0.5


@pytest.mark.parametrize("locations", [1, 2, 3])
def test_so_few_locations_tell_nothing_of_the_next_that_the_temperature_stays(
    locations: int,
) -> None:
    assert calibration.fit_temperature(scored_at(locations, *made(5, sure=3))) == 1


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(2, 8), st.sampled_from([0.6, 1.0, 1.2, 2.0]))
def test_the_temperature_lies_between_1_and_that_of_the_least_loss(
    seed: int, locations: int, sure: float
) -> None:
    scored = scored_at(locations, *made(seed, n=60, sure=sure))
    kept, best = calibration.fit_temperature(scored), calibration.find_least_loss(scored)
    assert min(1, best) - 1e-6 <= kept <= max(1, best) + 1e-6


def test_a_temperature_from_few_locations_that_differ_harms_others_less_than_the_best_fit() -> None:
    many = clustered.made(2000, seed=1)
    right = calibration.find_least_loss(many)
    others = calibration.soften(many.probabilities, right)[np.arange(len(many)), many.truth]
    worse = dict.fromkeys(["least loss", "kept"], 0.0)
    for seed in range(40):
        few = clustered.made(8, seed=100 + seed)
        few = Predictions.from_arrays(
            few.labels, calibration.soften(few.probabilities, right), few.truth, few.locations
        )
        ways = {"least loss": calibration.find_least_loss, "kept": calibration.fit_temperature}
        for name, fit in ways.items():
            soft = calibration.soften(many.probabilities, right * fit(few))
            own = soft[np.arange(len(many)), many.truth]
            worse[name] += float((np.log(others) - np.log(own)).mean())
    assert worse["kept"] < 0.6 * worse["least loss"]


def test_the_error_of_the_temperature_is_about_that_of_leaving_locations_out() -> None:
    scored = clustered.made(30, seed=3)
    best = calibration.find_least_loss(scored)
    left_out = [
        np.log(calibration.find_least_loss(scored.select(scored.group != group)))
        for group in range(scored.groups)
    ]
    jackknife = intervals.estimate_error(np.array([np.log(best), *left_out]))
    scaled = scored.get_logits() / best
    assert calibration._estimate_error(scaled, scored) == pytest.approx(jackknife, rel=0.25)


def test_the_bins_of_the_diagram_hold_every_row_once() -> None:
    probabilities, truth = made(4)
    bins = calibration.measure_reliability(probabilities, truth)
    assert sum(row["n"] for row in bins) == 300
    right = sum(row["n"] * row["accuracy"] for row in bins)
    assert right == pytest.approx((probabilities.argmax(axis=1) == truth).sum())
