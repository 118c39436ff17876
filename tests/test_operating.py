import numpy as np
import pytest
from clustered import made
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, precision_score, recall_score

from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation import operating
from animl_pipeline.evaluation.operating import ImageResults


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(0, 1))
def test_no_other_threshold_with_the_wanted_figure_keeps_more_or_errs_less(
    seed: int, n: int, wanted: float
) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(9, size=n) / 8, rng.random(n) < 0.4
    positive[0] = True
    precision, recall, thresholds = precision_recall_curve(positive, scores)
    reach = thresholds[precision[:-1] >= wanted]
    found = operating.choose_threshold(scores, positive, metric="precision", wanted=wanted)
    assert found == (reach.min() if len(reach) else None)
    reach = thresholds[recall[:-1] >= wanted]
    assert (
        operating.choose_threshold(scores, positive, metric="recall", wanted=wanted) == reach.max()
    )


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40, unique=True), st.data())
def test_a_rounded_threshold_takes_the_rows_of_the_score_it_stands_for(
    scores: list[float], data: st.DataObject
) -> None:
    values = np.array(sorted(scores, reverse=True))
    index = data.draw(st.integers(0, len(values) - 1))
    found = operating.round_down(values, index)
    assert ((values >= found) == (values >= values[index])).all()
    assert found == round(found, 3) or len(repr(found)) <= len(repr(float(values[index])))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.999998, 0.5], 0.999), ([0.999998, 0.9999], 0.99999), ([0.25, 0.1], 0.25)],
)
def test_a_threshold_is_rounded_down_to_few_decimals(scores: list[float], expected: float) -> None:
    assert operating.round_down(np.array(scores), 0) == expected


def test_a_label_without_examples_has_no_threshold() -> None:
    nobody = np.zeros(4, dtype=bool)
    for figure in ("precision", "recall"):
        assert operating.choose_threshold(np.ones(4), nobody, metric=figure, wanted=0.0) is None


def test_figures_at_a_threshold_are_scikit_learns() -> None:
    scored = made(20, seed=0)
    found = operating.measure_threshold(scored, 1, 0.4)
    taken, own = scored.probabilities[:, 1] >= 0.4, scored.truth == 1
    assert found["precision"] == pytest.approx(precision_score(own, taken))
    assert found["recall"] == pytest.approx(recall_score(own, taken))
    assert found["n"] == taken.sum()
    assert found["precision_interval"][0] < found["precision"] < found["precision_interval"][1]


def test_thresholds_reach_the_wanted_figures_where_they_were_chosen() -> None:
    val, test = made(40, seed=0), made(40, seed=1)
    found = operating.check_thresholds(val, test, {"precision": 0.8, "recall": 0.7})
    for figure, wanted in (("precision", 0.8), ("recall", 0.7)):
        rows = found[figure]["per_label"]
        reached = [row["chosen"][figure] for row in rows.values() if row["chosen"]]
        assert reached
        assert min(reached) >= wanted


def test_a_wanted_figure_lies_in_the_interval_of_what_the_threshold_gives_elsewhere() -> None:
    inside = []
    for seed in range(10):
        val, test = made(60, seed=seed), made(60, seed=1000 + seed)
        rows = operating.check_thresholds(val, test, {"precision": 0.8, "recall": 0.8})
        inside += [
            ends[1] >= 0.8
            for figure in ("precision", "recall")
            for row in rows[figure]["per_label"].values()
            if row["checked"] and (ends := row["checked"][f"{figure}_interval"])
        ]
    assert np.mean(inside) > 0.85


def test_a_wanted_figure_that_no_threshold_reaches_is_none() -> None:
    scored = Predictions.from_arrays(
        ["a", "b"], np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([1, 0]), [("d", "x")] * 2
    )
    row = operating.check_thresholds(scored, scored, {"precision": 0.9, "recall": 0.5})["precision"]
    assert row["per_label"]["a"] == {"threshold": None, "chosen": None, "checked": None}


def test_an_image_is_as_sure_as_its_least_sure_crop_and_right_if_all_are() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    scored = Predictions.from_arrays(
        ["a", "b"], probabilities, np.array([0, 1, 1]), [("d", "x")] * 3
    )
    scored.rows["image"] = ["1", "1", "2"]
    images = operating.judge_images(scored)
    assert images.probability.tolist() == [0.6, 0.8]
    assert images.right.tolist() == [False, True]


def test_review_says_how_many_images_are_left_to_a_person() -> None:
    sure = np.array([0.99, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    right = np.array([True] * 4 + [False] + [True] * 4 + [False])
    images = ImageResults(sure, right)
    found = operating.measure_review(images, images)
    assert found["images"] == 10
    assert found["wanted"][0]["with_hindsight"] == pytest.approx(0.6)
    assert found["wanted"][0]["checked"] == {"review": pytest.approx(0.6), "precision": 1.0}
    assert found["curve"][0] == [pytest.approx(0.9), 1.0]
    assert found["curve"][-1] == [0.0, pytest.approx(0.8)]


def test_where_no_precision_is_reached_a_person_looks_at_all() -> None:
    images = ImageResults(np.array([0.9, 0.8]), np.array([False, True]))
    row = operating.measure_review(None, images)["wanted"][0]
    assert row == {"precision": 0.9, "with_hindsight": 1.0, "checked": None}
    row = operating.measure_review(images, images)["wanted"][0]
    assert row["checked"] == {"review": 1.0, "precision": None}


def of_empties(empty: list[float], truth: list[int]) -> Predictions:
    """Crops with so much probability of `empty`; a truth of 0 is one, 1 a fox."""
    probabilities = np.stack([empty, 1 - np.array(empty)], axis=1)
    return Predictions.from_arrays(
        ["empty", "fox"], probabilities, np.array(truth), [("d", "x")] * len(truth)
    )


def test_empties_are_skipped_from_the_surest_down_until_too_many_animals_are_lost() -> None:
    scored = of_empties([0.99, 0.9, 0.8, 0.7, 0.6, 0.5], [0, 0, 1, 0, 1, 1])
    rows = operating.measure_skipped_empties(scored, scored, 0)
    assert [row["loss"] for row in rows] == [0.0, 0.01, 0.05]
    assert rows[0]["with_hindsight"] == pytest.approx(2 / 3)
    assert rows[0]["checked"] == {"skipped": pytest.approx(2 / 3), "loss": 0}


def test_the_threshold_of_empties_is_chosen_on_val_and_loses_here_what_it_loses() -> None:
    val = of_empties([0.9, 0.6, 0.3], [0, 0, 1])
    test = of_empties([0.9, 0.8, 0.7, 0.5], [0, 1, 0, 0])
    row = operating.measure_skipped_empties(val, test, 0)[0]
    assert row["threshold"] == 0.6
    assert row["checked"] == {"skipped": pytest.approx(2 / 3), "loss": 1}
    assert row["with_hindsight"] == pytest.approx(1 / 3)


def test_no_animal_is_risked_where_no_further_empty_is_skipped_for_it() -> None:
    val = of_empties([0.9, *np.linspace(0.5, 0.1, 20)], [0] + [1] * 20)
    assert [row["threshold"] for row in operating.measure_skipped_empties(val, val, 0)] == [0.9] * 3


def test_where_an_animal_is_surest_to_be_empty_nothing_is_skipped() -> None:
    scored = of_empties([0.9, 0.8], [1, 0])
    row = operating.measure_skipped_empties(scored, scored, 0)[0]
    assert row["threshold"] is None
    assert row["checked"] == {"skipped": 0, "loss": 0}


def test_without_an_empty_the_share_that_is_skipped_is_not_known() -> None:
    none, some = of_empties([0.9, 0.2], [1, 1]), of_empties([0.8, 0.1], [0, 1])
    row = operating.measure_skipped_empties(some, none, 0)[0]
    assert (row["with_hindsight"], row["checked"]) == (None, {"skipped": None, "loss": 0.5})
    for val in (None, none):
        row = operating.measure_skipped_empties(val, some, 0)[0]
        assert row == {"loss": 0.0, "with_hindsight": 1.0, "checked": None}
