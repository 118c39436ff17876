import numpy as np
import pytest
from clustered import made
from scipy import special

from animl_pipeline import metrics
from animl_pipeline.evaluation import breakdown
from animl_pipeline.scored import Scored


def test_every_location_has_a_row_and_they_hold_every_crop() -> None:
    scored = made(12, seed=0)
    rows = breakdown.by_location(scored)
    assert [(row["dataset"], row["location"]) for row in rows] == sorted(set(scored.places))
    assert sum(row["n"] for row in rows) == len(scored)
    here = np.array([place == scored.places[0] for place in scored.places])
    assert rows[0]["n"] == here.sum()
    assert rows[0]["accuracy"] == pytest.approx(scored.right[here].mean())


def test_the_headline_is_what_the_whole_evaluation_says() -> None:
    scored = made(12, seed=0)
    whole, found = metrics.evaluate(scored), breakdown.headline(scored)
    for name in ("accuracy", "macro_average_precision"):
        assert found[name] == pytest.approx(whole[name])
        assert found["intervals"][name] == pytest.approx(whole["intervals"][name])


def test_day_and_night_and_small_and_large_boxes_each_hold_every_crop() -> None:
    scored = made(12, seed=0)
    rng = np.random.default_rng(0)
    grey, areas = rng.random(len(scored)) < 0.3, rng.random(len(scored)) / 20
    found = breakdown.groups(scored, grey, areas)
    assert found["night"]["n"] == grey.sum()
    assert found["day"]["n"] + found["night"]["n"] == len(scored)
    assert found["small box"]["n"] == (areas < 0.02).sum()
    assert found["small box"]["n"] + found["large box"]["n"] == len(scored)
    assert found["night"]["accuracy"] == pytest.approx(scored.right[grey].mean())


def test_a_group_without_crops_has_no_figures() -> None:
    scored = made(3, seed=0)
    found = breakdown.groups(scored, np.zeros(len(scored), dtype=bool), np.ones(len(scored)))
    assert found["night"]["n"] == 0
    assert found["night"]["accuracy"] is None
    assert found["night"]["intervals"] == {"accuracy": None, "macro_average_precision": None}


def test_a_sequence_is_decided_by_the_mean_logit_of_its_crops() -> None:
    # Of the mean probability a would win, of the mean logit b does.
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 1.5], [3.0, 0.0]])
    scored = Scored(
        ["a", "b"], special.softmax(logits, axis=1), np.array([1, 1, 1, 0]), [("d", "x")] * 4
    )
    found = breakdown.sequences(scored, ["burst", "burst", "burst", "alone"])
    assert found["n"] == 2
    assert found["accuracy"] == 1


def test_bursts_of_one_name_at_two_locations_are_two() -> None:
    scored = Scored(["a"], np.ones((2, 1)), np.zeros(2, dtype=int), [("d", "x"), ("d", "y")])
    assert breakdown.sequences(scored, ["1", "1"])["n"] == 2


def test_a_sequence_of_several_labels_is_left_out_and_counted() -> None:
    scored = Scored(["a", "b"], np.full((3, 2), 0.5), np.array([0, 1, 1]), [("d", "x")] * 3)
    found = breakdown.sequences(scored, ["mixed", "mixed", "plain"])
    assert (found["n"], found["of_several_labels"]) == (1, 1)


def test_the_gap_is_of_one_side_less_the_other_and_its_interval_holds_it() -> None:
    seen, new = made(20, seed=0), made(20, seed=1)
    found = breakdown.gap(seen, new)
    assert found["seen"]["n"] == len(seen)
    for name, row in found["gap"].items():
        assert row["gap"] == pytest.approx(found["seen"][name] - found["new"][name])
        assert row["interval"][0] < row["gap"] < row["interval"][1]
