import numpy as np
import pytest
from clustered import made
from scipy import special

from animl_pipeline.evaluation import comparison
from animl_pipeline.evaluation.comparison import Other
from animl_pipeline.scored import Floats, Scored


def other(scored: Scored, probabilities: Floats, **changed: object) -> Other:
    given = {
        "name": "other",
        "probabilities": probabilities,
        "predicted": probabilities.argmax(axis=1),
        "known": np.ones(len(scored.labels), dtype=bool),
        "unmatched": [""] * len(scored),
    }
    return Other(**given | changed)  # type: ignore[arg-type]


def noisier(scored: Scored, noise: float, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    logits = np.log(scored.probabilities) + rng.normal(0, noise, scored.probabilities.shape)
    return np.asarray(special.softmax(logits, axis=1))


def test_a_classifier_equals_itself_and_one_cannot_tell() -> None:
    scored = made(20, seed=0)
    found = comparison.compare(scored, other(scored, scored.probabilities), seed=0)
    assert found["verdict"] == "cannot tell"
    for row in found["figures"].values():
        assert row["this"] == row["other"]
        assert row["interval"] == [0, 0]


def test_a_much_noisier_classifier_is_worse_and_seen_from_there_this_is_better() -> None:
    scored = made(20, seed=0)
    noisy = noisier(scored, 3)
    found = comparison.compare(scored, other(scored, noisy), seed=0)
    assert found["verdict"] == "this"
    back = Scored(scored.labels, noisy, scored.truth, scored.places)
    turned = comparison.compare(back, other(back, scored.probabilities), seed=0)
    assert turned["verdict"] == "other"
    difference = found["figures"]["macro_average_precision"]
    mirrored = turned["figures"]["macro_average_precision"]
    assert mirrored["difference"] == pytest.approx(-difference["difference"])
    assert mirrored["interval"] == pytest.approx([-end for end in difference["interval"][::-1]])


def test_the_same_draws_for_both_make_the_interval_of_the_difference_narrow() -> None:
    scored = made(20, seed=0)
    found = comparison.compare(scored, other(scored, noisier(scored, 0.05)), seed=0)
    low, high = found["figures"]["macro_average_precision"]["interval"]
    assert high - low < 0.03


def test_crops_without_a_match_are_counted_by_reason_and_left_out_of_both() -> None:
    scored = made(20, seed=0)
    reasons = ["no image" if row % 3 == 0 else "" for row in range(len(scored))]
    noisy = noisier(scored, 1)
    found = comparison.compare(scored, other(scored, noisy, unmatched=reasons), seed=0)
    rest = np.array([not reason for reason in reasons])
    assert found["n"] == rest.sum()
    assert found["left_out"] == {"no image": (~rest).sum()}
    assert found["figures"]["accuracy"]["this"] == pytest.approx(scored.right[rest].mean())


def test_labels_the_other_does_not_know_are_held_against_neither() -> None:
    scored = made(20, seed=0)
    known = np.array([True, True, True, True, False])
    noisy = noisier(scored, 1)
    found = comparison.compare(scored, other(scored, noisy, known=known), seed=0)
    assert found["labels"] == scored.labels[:4]
    assert found["of_labels_unknown_to_it"] == (scored.truth == 4).sum()
    assert found["n"] == (scored.truth < 4).sum()


def test_a_label_of_its_own_that_is_none_of_ours_is_a_mistake_of_the_other() -> None:
    scored = made(20, seed=0)
    nothing = np.full(len(scored), -1)
    found = comparison.compare(
        scored, other(scored, scored.probabilities, predicted=nothing), seed=0
    )
    assert found["figures"]["accuracy"]["other"] == 0


def test_nothing_in_common_is_no_verdict() -> None:
    scored = made(5, seed=0)
    gone = other(scored, scored.probabilities, unmatched=["no image"] * len(scored))
    found = comparison.compare(scored, gone, seed=0)
    assert (found["n"], found["verdict"], found["figures"]) == (0, None, {})


def test_at_one_location_one_cannot_tell() -> None:
    scored = made(1, seed=0, crops=60)
    found = comparison.compare(scored, other(scored, noisier(scored, 3)), seed=0)
    assert found["verdict"] == "cannot tell"
    assert found["figures"]["accuracy"]["interval"] is None


def test_equal_classifiers_are_seldom_told_apart() -> None:
    wrong = 0
    for seed in range(30):
        scored = made(20, seed=seed)
        side = Scored(scored.labels, noisier(scored, 1, seed), scored.truth, scored.places)
        found = comparison.compare(side, other(scored, noisier(scored, 1, 999 + seed)), seed=0)
        wrong += found["verdict"] != "cannot tell"
    assert wrong <= 5
