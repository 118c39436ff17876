import json
from typing import Any

import clustered
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation import average_precision, calibration, intervals, metrics

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
    return (
        metrics.measure_split(Predictions.from_arrays(labels, probabilities, truth, places)),
        probabilities,
        truth,
    )


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
    group = np.zeros(len(scores), dtype=np.int64)
    found = average_precision.compute_average_precision(scores, positive, group, np.ones((1, 1)))
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
    found = average_precision.compute_average_precision(
        scores, positive, np.arange(len(scores)), weights.T
    )
    expected = [sk.average_precision_score(positive, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_average_precision_without_a_weighted_positive_has_no_value() -> None:
    scores, positive = np.array([0.9, 0.5, 0.1]), np.array([True, False, False])
    weights = np.array([[0.0, 1, 1], [0, 0, 0]]).T
    found = average_precision.compute_average_precision(scores, positive, np.arange(3), weights)
    assert np.isnan(found).all()


def test_a_constant_score_has_the_prevalence_as_average_precision() -> None:
    positive = np.arange(16) < 2
    found = average_precision.compute_average_precision(
        np.full(16, 0.3), positive, np.arange(16), np.ones((16, 1))
    )
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
    probabilities, truth = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 1])
    found = metrics.measure_split(
        Predictions.from_arrays(["fox", "bird"], probabilities, truth, [("d", "a")] * 2)
    )
    assert found["log_loss"] == pytest.approx(sk.log_loss([1, 1], probabilities, labels=[0, 1]))


@pytest.mark.parametrize("seed", range(4))
def test_top_k_accuracy_is_scikit_learns_with_ties(seed: int) -> None:
    probabilities, truth, places = made(seed, labels=7)
    probabilities = probabilities.round(1)
    found = metrics.measure_split(
        Predictions.from_arrays(list("abcdefg"), probabilities, truth, places)
    )
    for k in (3, 5):
        expected = sk.top_k_accuracy_score(truth, probabilities, k=k, labels=range(7))
        assert found[f"top_{k}_accuracy"] == pytest.approx(expected, abs=1e-12)


def test_of_three_labels_there_is_no_top_3_accuracy() -> None:
    found, _, _ = figures(labels=3)
    assert (found["top_3_accuracy"], found["top_5_accuracy"]) == (None, None)


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
    scored = Predictions.from_arrays(
        ["fox", "bird"], probabilities, np.array([0, 0, 1]), [("d", "a")] * 3
    )
    found = metrics.measure_split(scored)
    assert found["per_label"]["bird"]["precision"] is None
    assert found["per_label"]["bird"]["recall"] == 0
    assert found["macro_precision"] == pytest.approx(1 / 3)
    assert found["macro_f1"] == pytest.approx(0.4)


def test_one_label_alone_has_every_figure() -> None:
    places = [("d", "a"), ("d", "a"), ("d", "b"), ("d", "c")]
    scored = Predictions.from_arrays(["fox"], np.ones((4, 1)), np.zeros(4, dtype=np.int64), places)
    found = metrics.measure_split(scored)
    for name in ("accuracy", "balanced_accuracy", "macro_average_precision", "macro_f1"):
        assert found[name] == 1
    assert (found["log_loss"], found["ece"]) == (0, 0)
    assert found["confusion_matrix"] == [[4]]


def test_one_crop_alone_has_figures() -> None:
    found, _, _ = figures(n=1)
    assert found["n"] == 1
    assert sum(map(sum, found["confusion_matrix"])) == 1


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 5))
def test_an_interval_holds_its_figure(seed: int, places: int, seen: int) -> None:
    found, _, _ = figures(seed, n=60, places=places, seen=seen)
    values = {name: found[name] for name in found["intervals"] if "/" not in name}
    for label, of_label in found["per_label"].items():
        values |= {f"{figure}/{label}": value for figure, value in of_label.items()}
    assert found["intervals"].keys() <= values.keys()
    for name, interval in found["intervals"].items():
        if interval is not None:
            assert 0 <= interval[0] <= values[name] + 1e-12
            assert values[name] - 1e-12 <= interval[1]
            assert name == "log_loss" or interval[1] <= 1


def test_every_figure_but_the_calibration_error_has_an_interval() -> None:
    found, _, _ = figures()
    single = {name for name, value in found.items() if isinstance(value, float)} - {"ece"}
    of_labels = {
        f"{figure}/label {i}"
        for figure in ("average_precision", "precision", "recall", "f1")
        for i in range(5)
    }
    assert {name for name, ends in found["intervals"].items() if ends} == (
        single - {"top_5_accuracy"} | of_labels
    )


def intervals_of(places: Places, seed: int = 0, n: int = 200) -> dict[str, Any]:
    probabilities, truth, _ = made(seed, n=n)
    return metrics.measure_split(Predictions.from_arrays(LABELS, probabilities, truth, places))[
        "intervals"
    ]


def test_one_location_gives_no_interval() -> None:
    assert set(intervals_of([("d", "a")] * 200).values()) == {None}


def test_one_name_in_two_datasets_is_two_locations() -> None:
    assert intervals_of([("d", "a")] * 100 + [("e", "a")] * 100)["accuracy"] is not None


def test_names_with_line_breaks_are_not_taken_for_each_other() -> None:
    assert intervals_of([("a\nb", "c")] * 100 + [("a", "b\nc")] * 100)["accuracy"] is not None


def test_seeing_every_crop_twice_leaves_the_intervals_as_they_are() -> None:
    probabilities, truth, places = made(0)
    once = Predictions.from_arrays(LABELS, probabilities, truth, places)
    twice = metrics.measure_split(once.select(np.repeat(np.arange(200), 2)))["intervals"]
    for name, interval in metrics.measure_split(once)["intervals"].items():
        assert twice[name] == pytest.approx(interval, abs=1e-9)


def test_more_locations_make_narrower_intervals() -> None:
    few, many = (
        intervals_of([("island", str(row // size)) for row in range(400)], n=400)["accuracy"]
        for size in (100, 10)
    )
    assert many[1] - many[0] < few[1] - few[0]


def test_a_label_at_one_location_has_no_interval() -> None:
    probabilities, truth, _ = made(0)
    places = [("island", "camera 9" if label == 4 else f"camera {label}") for label in truth]
    found = metrics.measure_split(Predictions.from_arrays(LABELS, probabilities, truth, places))[
        "intervals"
    ]
    assert found["average_precision/skunk"] is None
    assert found["macro_average_precision"] is not None


def test_the_order_of_rows_does_not_matter() -> None:
    probabilities, truth, places = made(0)
    there = Predictions.from_arrays(LABELS, probabilities, truth, places)
    order = np.random.default_rng(1).permutation(len(truth))
    expected, found = metrics.measure_split(there), metrics.measure_split(there.select(order))
    assert found["confusion_matrix"] == expected["confusion_matrix"]
    assert found["macro_average_precision"] == pytest.approx(expected["macro_average_precision"])
    for name, interval in expected["intervals"].items():
        assert found["intervals"][name] == pytest.approx(interval, abs=1e-9)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 3), st.integers(1, 3))
def test_figures_are_json_without_nan(seed: int, n: int, seen: int, places: int) -> None:
    found, _, _ = figures(seed, n=n, seen=seen, places=places)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_a_location_left_out_leaves_the_figures_of_the_others(seed: int, places: int) -> None:
    probabilities, truth, where = made(seed, n=40, places=places)
    scored = Predictions.from_arrays(LABELS, probabilities, truth, where)
    found = metrics.compute_metrics(scored, intervals.leave_one_out(scored.groups))
    for group in range(scored.groups):
        others = scored.select(scored.group != group)
        expected = metrics.compute_metrics(others, np.ones((others.groups, 1)))
        pairs = [(found.overall, expected.overall)]
        pairs += [(by, expected.per_label[name]) for name, by in found.per_label.items()]
        for all_, alone in pairs:
            for name, values in all_.items():
                assert values[1 + group] == pytest.approx(alone[name][0], abs=1e-12, nan_ok=True)


def test_more_locations_than_groups_share_them_and_each_row_counts_once() -> None:
    probabilities, truth, _ = made(0, n=1300)
    places = [("island", f"{row:04}") for row in range(1300)]
    scored = Predictions.from_arrays(LABELS, probabilities, truth, places)
    assert scored.groups == 500
    assert set(np.bincount(scored.group)) == {2, 3}
    assert metrics.measure_split(scored)["accuracy"] == pytest.approx(scored.right.mean())


def test_the_change_of_log_loss_is_the_difference_of_both_on_the_same_rows() -> None:
    before = clustered.made(12, seed=5)
    soft = calibration.soften(before.probabilities, 1.4)
    after = Predictions.from_arrays(before.labels, soft, before.truth, before.locations)
    losses = [sk.log_loss(before.truth, one.probabilities) for one in (before, after)]
    found = metrics.compare_log_loss(before, after)
    assert found["log_loss"] == pytest.approx(losses[1] - losses[0], abs=1e-12)
    assert found["interval"][0] < found["log_loss"] < found["interval"][1]


def test_a_mean_of_labels_that_are_all_right_is_no_surer_than_they_are() -> None:
    probabilities = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]] * 12)
    truth = np.array([0, 1, 2] * 12)
    probabilities[2] = [0.2, 0.5, 0.3]  # one crop of the last label is taken for the second
    places = [("d", str(row // 3 % 6)) for row in range(36)]
    found = metrics.measure_split(
        Predictions.from_arrays(["a", "b", "c"], probabilities, truth, places)
    )
    ends = found["intervals"]
    plain = intervals.resample_by_jackknife(
        metrics.compute_metrics(
            Predictions.from_arrays(["a", "b", "c"], probabilities, truth, places),
            intervals.leave_one_out(6),
        ).overall["macro_recall"]
    )
    assert plain is not None
    below = np.array([1 - ends["recall/a"][0], 1 - ends["recall/b"][0]])
    assert ends["recall/b"] == ends["recall/a"]
    assert found["macro_recall"] - ends["macro_recall"][0] == pytest.approx(
        np.hypot(found["macro_recall"] - plain[0], np.sqrt((below**2).sum()) / 3)
    )
    assert ends["macro_recall"][1] == pytest.approx(plain[1])
