import numpy as np
import pytest
from clustered import made

from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation import label_errors


def test_planted_errors_come_first() -> None:
    clean = made(40, seed=0, skill=4)
    rng = np.random.default_rng(0)
    flipped = rng.choice(len(clean), len(clean) // 20, replace=False)
    truth = clean.truth.copy()
    truth[flipped] = (truth[flipped] + rng.integers(1, 5, len(flipped))) % 5
    planted = Predictions.from_arrays(clean.labels, clean.probabilities, truth, clean.locations)
    order, _, suggested = label_errors.rank_suspects(planted)
    first = order[: len(clean) // 10]
    found = np.isin(flipped, first)
    assert found.mean() >= 0.6
    right = suggested[: len(first)] == clean.truth[first]
    assert right[np.isin(first, flipped)].mean() > 0.9


def test_the_margin_is_how_much_likelier_the_best_other_label_is() -> None:
    probabilities = np.array([[0.1, 0.3, 0.6], [0.7, 0.2, 0.1]])
    scored = Predictions.from_arrays(
        ["a", "b", "c"], probabilities, np.array([1, 0]), [("d", "x")] * 2
    )
    margin, best = label_errors.compute_margins(scored)
    assert margin == pytest.approx(np.log([2, 2 / 7]))
    assert best.tolist() == [2, 1]


def test_what_the_classifier_would_label_so_too_is_not_suspected() -> None:
    scored = made(10, seed=1)
    order, margin, _ = label_errors.rank_suspects(scored)
    assert set(order) == set(np.flatnonzero(~scored.right))
    assert (np.diff(margin) <= 0).all()


def test_one_label_alone_has_no_suspects() -> None:
    scored = Predictions.from_arrays(
        ["a"], np.ones((3, 1)), np.zeros(3, dtype=int), [("d", "x")] * 3
    )
    assert len(label_errors.rank_suspects(scored)[0]) == 0
