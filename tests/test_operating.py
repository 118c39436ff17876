import numpy as np
import pytest
from clustered import made
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, precision_score, recall_score

from animl_pipeline.evaluation import operating
from animl_pipeline.scored import Scored


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
    found = operating.threshold(scores, positive, figure="precision", wanted=wanted)
    assert found == (reach.min() if len(reach) else None)
    reach = thresholds[recall[:-1] >= wanted]
    assert operating.threshold(scores, positive, figure="recall", wanted=wanted) == reach.max()


def test_a_label_without_examples_has_no_threshold() -> None:
    nobody = np.zeros(4, dtype=bool)
    for figure in ("precision", "recall"):
        assert operating.threshold(np.ones(4), nobody, figure=figure, wanted=0.0) is None


def test_figures_at_a_threshold_are_scikit_learns() -> None:
    scored = made(20, seed=0)
    found = operating.at_threshold(scored, 1, 0.4)
    taken, own = scored.probabilities[:, 1] >= 0.4, scored.truth == 1
    assert found["precision"] == pytest.approx(precision_score(own, taken))
    assert found["recall"] == pytest.approx(recall_score(own, taken))
    assert found["n"] == taken.sum()
    assert found["precision_interval"][0] < found["precision"] < found["precision_interval"][1]


def test_thresholds_reach_the_wanted_figures_where_they_were_chosen() -> None:
    val, test = made(40, seed=0), made(40, seed=1)
    found = operating.points(val, test, {"precision": 0.8, "recall": 0.7})
    for figure, wanted in (("precision", 0.8), ("recall", 0.7)):
        rows = found[figure]["per_label"]
        reached = [row["chosen"][figure] for row in rows.values() if row["chosen"]]
        assert reached
        assert min(reached) >= wanted


def test_a_wanted_figure_lies_in_the_interval_of_what_the_threshold_gives_elsewhere() -> None:
    inside = []
    for seed in range(10):
        val, test = made(60, seed=seed), made(60, seed=1000 + seed)
        rows = operating.points(val, test, {"precision": 0.8, "recall": 0.8})
        inside += [
            ends[1] >= 0.8
            for figure in ("precision", "recall")
            for row in rows[figure]["per_label"].values()
            if row["checked"] and (ends := row["checked"][f"{figure}_interval"])
        ]
    assert np.mean(inside) > 0.85


def test_a_wanted_figure_that_no_threshold_reaches_is_none() -> None:
    scored = Scored(
        ["a", "b"], np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([1, 0]), [("d", "x")] * 2
    )
    row = operating.points(scored, scored, {"precision": 0.9, "recall": 0.5})["precision"]
    assert row["per_label"]["a"] == {"threshold": None, "chosen": None, "checked": None}


def test_an_image_is_as_sure_as_its_least_sure_crop_and_right_if_all_are() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    scored = Scored(["a", "b"], probabilities, np.array([0, 1, 1]), [("d", "x")] * 3)
    sure, right = operating.image_sureness(scored, [("d", "1"), ("d", "1"), ("d", "2")])
    assert sure.tolist() == [0.6, 0.8]
    assert right.tolist() == [False, True]


def test_review_says_how_many_images_are_left_to_a_person() -> None:
    sure = np.array([0.99, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    right = np.array([True] * 4 + [False] + [True] * 4 + [False])
    found = operating.review((sure, right), (sure, right))
    assert found["images"] == 10
    assert found["wanted"][0]["with_hindsight"] == pytest.approx(0.6)
    assert found["wanted"][0]["checked"] == {"review": pytest.approx(0.6), "precision": 1.0}
    assert found["curve"][0] == [pytest.approx(0.9), 1.0]
    assert found["curve"][-1] == [0.0, pytest.approx(0.8)]


def test_where_no_precision_is_reached_a_person_looks_at_all() -> None:
    sure, right = np.array([0.9, 0.8]), np.array([False, True])
    row = operating.review(None, (sure, right))["wanted"][0]
    assert row == {"precision": 0.9, "with_hindsight": 1.0, "checked": None}
    row = operating.review((sure, right), (sure, right))["wanted"][0]
    assert row["checked"] == {"review": 1.0, "precision": None}


def test_empties_are_skipped_from_the_surest_down_until_too_many_animals_are_lost() -> None:
    empty = np.array([0.99, 0.9, 0.8, 0.7, 0.6, 0.5])
    truth = np.array([0, 0, 1, 0, 1, 1])
    scored = Scored(["empty", "fox"], np.stack([empty, 1 - empty], axis=1), truth, [("d", "x")] * 6)
    rows = operating.skipped_empties(scored, 0)
    assert [row["loss"] for row in rows] == [0.0, 0.01, 0.05]
    assert rows[0]["skipped"] == pytest.approx(2 / 3)
