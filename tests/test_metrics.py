import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from animl_pipeline import metrics

LABELS = ["bird", "fox", "lizard", "rodent", "skunk"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Places = list[tuple[str, str]]


def made(
    seed: int, *, n: int = 200, labels: int = 5, seen: int | None = None, places: int = 8
) -> tuple[Floats, Ints, Places]:
    """Probabilities that are better than chance, with ties, for crops at several locations."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(seen or labels, size=n)
    logits = rng.normal(size=(n, labels)).round(1)
    logits[np.arange(n), truth] += 1
    soft = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    where = [("island", f"camera {place}") for place in rng.integers(places, size=n)]
    return soft, truth.astype(np.int64), where


def figures(seed: int = 0, **wanted: int) -> tuple[dict[str, Any], Floats, Ints]:
    probabilities, truth, places = made(seed, **wanted)
    labels = [f"label {i}" for i in range(probabilities.shape[1])]
    return metrics.evaluate(probabilities, truth, labels, places, 0), probabilities, truth


@st.composite
def scored_rows(draw: st.DrawFn) -> tuple[Floats, NDArray[np.bool_], int]:
    n = draw(st.integers(1, 60))
    levels = draw(st.integers(1, 8))  # few levels: many ties
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = rng.integers(levels, size=n) / levels
    positive = rng.random(n) < draw(st.floats(0.05, 0.95))
    positive[rng.integers(n)] = True
    return scores, positive, draw(st.integers(0, 2**32 - 1))


@settings(deadline=None, max_examples=150)
@given(scored_rows())
def test_average_precision_is_scikit_learns(rows: tuple[Floats, NDArray[np.bool_], int]) -> None:
    scores, positive, _ = rows
    found = metrics.average_precision(scores, positive, np.ones((1, len(scores))))
    assert found.shape == (1,)
    assert found[0] == pytest.approx(sk.average_precision_score(positive, scores), abs=1e-12)


@settings(deadline=None, max_examples=150)
@given(scored_rows(), st.booleans())
def test_average_precision_under_many_weightings_is_scikit_learns_under_each(
    rows: tuple[Floats, NDArray[np.bool_], int], whole: bool
) -> None:
    scores, positive, seed = rows
    rng = np.random.default_rng(seed)
    size = (3, len(scores))
    weights = rng.integers(0, 4, size).astype(float) if whole else rng.random(size)
    weights[:, np.flatnonzero(positive)[0]] += 1
    found = metrics.average_precision(scores, positive, weights)
    expected = [sk.average_precision_score(positive, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_average_precision_without_a_weighted_positive_has_no_value() -> None:
    scores, positive = np.array([0.9, 0.5, 0.1]), np.array([True, False, False])
    found = metrics.average_precision(scores, positive, np.array([[0.0, 1, 1], [0, 0, 0]]))
    assert np.isnan(found).all()


def test_a_constant_score_has_the_prevalence_as_average_precision() -> None:
    positive = np.arange(16) < 2
    found = metrics.average_precision(np.full(16, 0.3), positive, np.ones((1, 16)))
    assert found[0] == 2 / 16


@pytest.mark.parametrize("seed", range(5))
def test_overall_figures_are_scikit_learns(seed: int) -> None:
    found, probabilities, truth = figures(seed)
    predicted = probabilities.argmax(axis=1)
    own = truth[:, None] == np.arange(5)
    expected = {
        "n": 200,
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
        "macro_average_precision": sk.average_precision_score(own, probabilities),
        "weighted_average_precision": sk.average_precision_score(
            own, probabilities, average="weighted"
        ),
        "micro_average_precision": sk.average_precision_score(own, probabilities, average="micro"),
        "macro_precision": sk.precision_score(truth, predicted, average="macro"),
        "macro_recall": sk.recall_score(truth, predicted, average="macro"),
        "macro_f1": sk.f1_score(truth, predicted, average="macro"),
        "log_loss": sk.log_loss(truth, probabilities),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_figures_of_each_label_are_scikit_learns(seed: int) -> None:
    found, probabilities, truth = figures(seed)
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, n = sk.precision_recall_fscore_support(truth, predicted)
    for i, of_label in enumerate(found["per_label"].values()):
        ap = sk.average_precision_score(truth == i, probabilities[:, i])
        expected = {"n": n[i], "precision": precision[i], "recall": recall[i], "f1": f1[i]}
        assert of_label == pytest.approx(expected | {"average_precision": ap}, abs=1e-12)


def test_the_confusion_matrix_is_scikit_learns_with_a_row_for_every_label() -> None:
    found, probabilities, truth = figures(seen=3)
    expected = sk.confusion_matrix(truth, probabilities.argmax(axis=1), labels=range(5))
    assert found["confusion_matrix"] == expected.tolist()


def test_log_loss_stays_finite_where_the_true_label_got_nothing() -> None:
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = metrics.log_loss(probabilities, np.array([1, 1]))
    assert found == pytest.approx(sk.log_loss([1, 1], probabilities, labels=[0, 1]), abs=1e-12)


def test_labels_without_examples_have_no_figures_and_are_in_no_mean() -> None:
    found, probabilities, truth = figures(seen=3)
    predicted = probabilities.argmax(axis=1)
    of_label = found["per_label"]["label 4"]
    assert (of_label["n"], of_label["average_precision"]) == (0, None)
    assert (of_label["recall"], of_label["f1"]) == (None, None)
    assert found["labels_without_examples"] == ["label 3", "label 4"]
    own = truth[:, None] == np.arange(3)
    assert found["macro_average_precision"] == pytest.approx(
        sk.average_precision_score(own, probabilities[:, :3]), abs=1e-12
    )
    few = {"labels": [0, 1, 2], "average": "macro", "zero_division": 0.0}
    assert found["macro_recall"] == pytest.approx(sk.recall_score(truth, predicted, **few))
    assert found["macro_precision"] == pytest.approx(sk.precision_score(truth, predicted, **few))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(truth, predicted, **few))
    assert found["intervals"]["average_precision/label 4"] is None


def test_a_label_that_is_never_predicted_has_no_precision_and_counts_as_zero_in_the_mean() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    truth = np.array([0, 0, 1])
    found = metrics.evaluate(probabilities, truth, ["fox", "bird"], [("d", "a")] * 3, 0)
    assert found["per_label"]["bird"]["precision"] is None
    assert found["per_label"]["bird"]["recall"] == 0
    assert found["macro_precision"] == pytest.approx(1 / 3)
    assert found["macro_f1"] == pytest.approx(0.4)


def test_one_label_alone_has_every_figure() -> None:
    places = [("d", "a"), ("d", "a"), ("d", "b"), ("d", "c")]
    found = metrics.evaluate(np.ones((4, 1)), np.zeros(4, dtype=np.int64), ["fox"], places, 0)
    for name in ("accuracy", "balanced_accuracy", "macro_average_precision", "macro_f1"):
        assert found[name] == 1
    assert (found["log_loss"], found["ece"]) == (0, 0)
    assert found["confusion_matrix"] == [[4]]
    assert found["intervals"]["accuracy"] == [1, 1]


def test_one_crop_alone_has_figures() -> None:
    found, _, _ = figures(n=1)
    assert found["n"] == 1
    assert sum(map(sum, found["confusion_matrix"])) == 1


def plain_calibration_error(probabilities: Floats, truth: Ints, bins: int) -> float:
    """The definition, bin by bin: (a, b]."""
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    error = 0.0
    for low, high in pairwise(np.linspace(0, 1, bins + 1)):
        inside = (top > low) & (top <= high)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - top[inside].mean())
    return error


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(1, 6))
def test_calibration_error_is_the_plain_definition(seed: int, n: int, labels: int) -> None:
    probabilities, truth, _ = made(seed, n=n, labels=labels)
    found = metrics.expected_calibration_error(probabilities, truth)
    assert found == pytest.approx(plain_calibration_error(probabilities, truth, 15), abs=1e-12)


def test_a_probability_on_the_edge_of_two_bins_belongs_to_the_lower() -> None:
    edge = np.linspace(0, 1, 16)[9]  # 0.6: the bins below and above would cancel or not
    top = np.array([edge, edge - 0.01, edge + 0.01])
    probabilities, truth = np.stack([top, 1 - top], axis=1), np.array([0, 1, 0])
    found = metrics.expected_calibration_error(probabilities, truth)
    expected = (abs(1 - (2 * edge - 0.01)) + abs(1 - (edge + 0.01))) / 3
    assert found == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 5))
def test_an_interval_holds_its_figure(seed: int, places: int, seen: int) -> None:
    probabilities, truth, where = made(seed, n=60, places=places, seen=seen)
    found = metrics.evaluate(probabilities, truth, LABELS, where, seed)
    values = {name: found[name] for name in found["intervals"] if "/" not in name}
    values |= {
        f"average_precision/{label}": of_label["average_precision"]
        for label, of_label in found["per_label"].items()
    }
    assert values.keys() == found["intervals"].keys()
    for name, interval in found["intervals"].items():
        if interval is not None:
            low, high = interval
            assert 0 <= low <= values[name] + 1e-12
            assert values[name] - 1e-12 <= high <= 1


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    probabilities, truth, places = made(0)
    first, again, other = (
        metrics.intervals(probabilities, truth, LABELS, places, seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_one_location_gives_no_interval() -> None:
    probabilities, truth, _ = made(0)
    found = metrics.intervals(probabilities, truth, LABELS, [("d", "a")] * 200, 0)
    assert set(found.values()) == {None}


def test_one_name_in_two_datasets_is_two_locations() -> None:
    probabilities, truth, _ = made(0)
    places = [("d", "a")] * 100 + [("e", "a")] * 100
    assert metrics.intervals(probabilities, truth, LABELS, places, 0)["accuracy"] is not None


def test_names_with_line_breaks_are_not_taken_for_each_other() -> None:
    probabilities, truth, _ = made(0)
    places = [("a\nb", "c")] * 100 + [("a", "b\nc")] * 100
    assert metrics.intervals(probabilities, truth, LABELS, places, 0)["accuracy"] is not None


def test_seeing_every_crop_twice_leaves_the_intervals_as_they_are() -> None:
    probabilities, truth, places = made(0)
    once = metrics.intervals(probabilities, truth, LABELS, places, 0)
    twice = metrics.intervals(
        np.repeat(probabilities, 2, axis=0),
        np.repeat(truth, 2),
        LABELS,
        [place for place in places for _ in range(2)],
        0,
    )
    for name, interval in once.items():
        assert twice[name] == pytest.approx(interval, abs=1e-12)


def test_more_locations_make_narrower_intervals() -> None:
    probabilities, truth, few = made(0, n=400, places=4)
    many = [("island", str(row)) for row in range(400)]
    wide, narrow = (
        metrics.intervals(probabilities, truth, LABELS, places, 0)["balanced_accuracy"]
        for places in ([("island", str(row // 100)) for row in range(400)], many)
    )
    assert len(set(few)) == 4
    assert wide is not None
    assert narrow is not None
    assert narrow[1] - narrow[0] < 0.2
    assert narrow != wide


def test_the_order_of_rows_does_not_matter() -> None:
    probabilities, truth, places = made(0)
    order = np.random.default_rng(1).permutation(len(truth))
    there = metrics.evaluate(probabilities, truth, LABELS, places, 0)
    here = metrics.evaluate(
        probabilities[order], truth[order], LABELS, [places[i] for i in order], 0
    )
    assert here["confusion_matrix"] == there["confusion_matrix"]
    assert here["macro_average_precision"] == pytest.approx(there["macro_average_precision"])
    for name, interval in there["intervals"].items():
        assert here["intervals"][name] == pytest.approx(interval, abs=1e-9)


def test_every_location_has_a_row_and_they_hold_every_crop() -> None:
    probabilities, truth, places = made(0)
    rows = metrics.evaluate(probabilities, truth, LABELS, places, 0)["by_location"]
    assert [(row["dataset"], row["location"]) for row in rows] == sorted(set(places))
    assert sum(row["n"] for row in rows) == 200
    here = np.array([place == places[0] for place in places])
    (row,) = [row for row in rows if (row["dataset"], row["location"]) == places[0]]
    right = probabilities[here].argmax(axis=1) == truth[here]
    assert row["accuracy"] == pytest.approx(right.mean())


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 3), st.integers(1, 3))
def test_figures_are_json_without_nan(seed: int, n: int, seen: int, places: int) -> None:
    found, _, _ = figures(seed, n=n, seen=seen, places=places)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_thousands_of_rows_have_every_figure() -> None:
    probabilities, truth, places = made(0, n=2_000, places=60)
    found = metrics.evaluate(probabilities, truth, LABELS, places, 0)
    assert not math.isnan(found["macro_average_precision"])
