import dataclasses

import numpy as np
import pytest
from clustered import made, truth_of_macro
from scipy import special

from animl_pipeline.classifier.predictions import Bools, Floats, Predictions
from animl_pipeline.evaluation import breakdown, metrics


def test_every_location_has_a_row_and_they_hold_every_crop() -> None:
    scored = made(12, seed=0)
    rows = breakdown.measure_locations(scored)
    assert [(row["dataset"], row["location"]) for row in rows] == sorted(set(scored.locations))
    assert sum(row["n"] for row in rows) == len(scored)
    here = np.array([place == scored.locations[0] for place in scored.locations])
    assert rows[0]["n"] == here.sum()
    assert rows[0]["accuracy"] == pytest.approx(scored.right[here].mean())


@pytest.mark.parametrize(("locations", "skill"), [(12, 1.6), (9, 5.0)])  # 5: labels are perfect
def test_the_headline_is_what_the_whole_evaluation_says(locations: int, skill: float) -> None:
    scored = made(locations, seed=104, skill=skill)
    whole, found = metrics.measure_split(scored), breakdown.measure_headline(scored)
    for name in ("accuracy", "macro_average_precision"):
        assert found[name] == pytest.approx(whole[name])
        assert found["intervals"][name] == pytest.approx(whole["intervals"][name])


def test_where_one_label_occurs_there_is_no_macro_average_precision_however_wrong_it_is() -> None:
    # Both foxes are taken for birds, yet any order of foxes alone is right.
    places = [("d", "x")] * 2 + [("d", "y")] * 2
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.9, 0.1], [0.1, 0.9]])
    scored = Predictions.from_arrays(["fox", "bird"], probabilities, np.array([0, 0, 0, 1]), places)
    alone, both = breakdown.measure_locations(scored)
    assert (alone["labels"], alone["accuracy"], alone["macro_average_precision"]) == (1, 0, None)
    assert (both["labels"], both["accuracy"], both["macro_average_precision"]) == (2, 1, 1)
    found = breakdown.measure_headline(scored.select(scored.truth == 0))
    assert (found["labels"], found["macro_average_precision"]) == (1, None)
    assert found["intervals"]["macro_average_precision"] is None


def with_light(scored: Predictions, grey: Bools, areas: Floats) -> Predictions:
    rows = scored.rows.assign(width=areas, height=1.0)
    return dataclasses.replace(scored, rows=rows, grey=grey)


def test_day_and_night_and_small_and_large_boxes_each_hold_every_crop() -> None:
    scored = made(12, seed=0)
    rng = np.random.default_rng(0)
    grey, areas = rng.random(len(scored)) < 0.3, rng.random(len(scored)) / 20
    found = breakdown.measure_groups(with_light(scored, grey, areas))
    assert found["night"]["n"] == grey.sum()
    assert found["day"]["n"] + found["night"]["n"] == len(scored)
    assert found["small box"]["n"] == (areas < 0.02).sum()
    assert found["small box"]["n"] + found["large box"]["n"] == len(scored)
    assert found["night"]["accuracy"] == pytest.approx(scored.right[grey].mean())


def test_a_group_without_crops_has_no_figures() -> None:
    scored = made(3, seed=0)
    day, whole = np.zeros(len(scored), dtype=bool), np.ones(len(scored))
    found = breakdown.measure_groups(with_light(scored, day, whole))
    assert found["night"]["n"] == 0
    assert found["night"]["accuracy"] is None
    assert found["night"]["labels"] == 0
    assert found["night"]["intervals"] == {"accuracy": None, "macro_average_precision": None}


def test_a_sequence_is_decided_by_the_mean_logit_of_its_crops() -> None:
    # Of the mean probability a would win, of the mean logit b does.
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 1.5], [3.0, 0.0]])
    scored = Predictions.from_arrays(
        ["a", "b"], special.softmax(logits, axis=1), np.array([1, 1, 1, 0]), [("d", "x")] * 4
    )
    scored.rows["sequence"] = ["burst", "burst", "burst", ""]
    scored.rows["image_id"] = ["1", "2", "3", "4"]
    found = breakdown.measure_sequences(scored)
    assert found["n"] == 2
    assert found["accuracy"] == 1


def test_bursts_of_one_name_at_two_locations_are_two() -> None:
    scored = Predictions.from_arrays(
        ["a"], np.ones((2, 1)), np.zeros(2, dtype=int), [("d", "x"), ("d", "y")]
    )
    scored.rows[["sequence", "image_id"]] = "1"
    assert breakdown.measure_sequences(scored)["n"] == 2


def test_a_sequence_of_several_labels_is_left_out_and_counted() -> None:
    scored = Predictions.from_arrays(
        ["a", "b"], np.full((3, 2), 0.5), np.array([0, 1, 1]), [("d", "x")] * 3
    )
    scored.rows["sequence"] = scored.rows["image_id"] = ["mixed", "mixed", "plain"]
    found = breakdown.measure_sequences(scored)
    assert (found["n"], found["of_several_labels"]) == (1, 1)


def test_the_gap_is_of_one_side_less_the_other_and_its_interval_holds_it() -> None:
    seen, new = made(20, seed=0), made(20, seed=1)
    found = breakdown.compare_seen_and_new(seen, new)
    assert found["seen"]["n"] == len(seen)
    for name, row in found["gap"].items():
        assert row["gap"] == pytest.approx(found["seen"][name] - found["new"][name])
        assert row["interval"][0] < row["gap"] < row["interval"][1]


def test_the_gap_is_of_the_labels_both_sides_have_and_the_others_are_counted() -> None:
    seen, new = made(20, seed=0), made(20, seed=1)
    lizards = new.truth == new.labels.index("lizard")
    found = breakdown.compare_seen_and_new(seen, new.select(~lizards))
    assert found["labels"] == ["fox", "bird", "skunk", "rodent"]
    own = seen.truth == seen.labels.index("lizard")
    assert found["left_out"] == {"seen": {"lizard": own.sum()}, "new": {}}
    assert found["seen"] == breakdown.measure_headline(seen.select(~own))
    assert found["new"] == breakdown.measure_headline(new.select(~lizards))


def test_without_a_label_in_common_there_is_no_gap() -> None:
    scored = made(6, seed=0)
    found = breakdown.compare_seen_and_new(
        scored.select(scored.truth < 2), scored.select(scored.truth >= 2)
    )
    assert found["labels"] == []
    assert found["gap"]["accuracy"] == {"gap": None, "interval": None}


def test_the_interval_of_a_gap_holds_the_truth_where_labels_are_perfect() -> None:
    truth = truth_of_macro(5.0) - truth_of_macro(4.0)
    held = 0
    for seed in range(100, 140):
        found = breakdown.compare_seen_and_new(
            made(6, seed, skill=5.0), made(6, seed + 6900, skill=4.0)
        )
        low, high = found["gap"]["macro_average_precision"]["interval"]
        held += low <= truth <= high
    assert held >= 38


def test_a_gap_is_no_surer_than_either_side_where_labels_are_perfect() -> None:
    name = "macro_average_precision"
    for seed in (104, 105, 106):
        found = breakdown.compare_seen_and_new(
            made(9, seed, skill=5.0), made(9, seed + 10, skill=5.0)
        )
        gap, (low, high) = (found["gap"][name][key] for key in ("gap", "interval"))
        assert gap - low >= found["seen"][name] - found["seen"]["intervals"][name][0] - 1e-12
        assert high - gap >= found["new"][name] - found["new"]["intervals"][name][0] - 1e-12
