import numpy as np
import pytest
from clustered import made, pair
from scipy import special

from animl_pipeline.classifier.predictions import Floats, Predictions
from animl_pipeline.evaluation.against import comparison
from animl_pipeline.evaluation.against.comparison import Other


def other(scored: Predictions, probabilities: Floats, **changed: object) -> Other:
    given = {
        "name": "other",
        "probabilities": probabilities,
        "predicted": probabilities.argmax(axis=1),
        "known": np.ones(len(scored.labels), dtype=bool),
        "others": [],
        "partial": np.zeros(len(scored), dtype=bool),
        "unmatched": [""] * len(scored),
    }
    return Other(**given | changed)  # type: ignore[arg-type]


def noisier(scored: Predictions, noise: float, seed: int = 0) -> Floats:
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
    back = Predictions.from_arrays(scored.labels, noisy, scored.truth, scored.locations)
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
    assert found["labels_unknown_to_it"] == scored.labels[4:]
    assert found["of_labels_unknown_to_it"] == (scored.truth == 4).sum()
    assert found["n"] == (scored.truth < 4).sum()


def test_a_label_of_its_own_that_is_none_of_ours_is_a_mistake_of_the_other() -> None:
    scored = made(20, seed=0)
    nothing = np.full(len(scored), -1)
    found = comparison.compare(
        scored, other(scored, scored.probabilities, predicted=nothing), seed=0
    )
    assert found["figures"]["accuracy"]["other"] == 0


def test_without_a_crop_in_common_nothing_is_compared_and_the_reason_is_said() -> None:
    scored = made(5, seed=0)
    gone = other(scored, scored.probabilities, unmatched=["no image"] * len(scored))
    found = comparison.compare(scored, gone, seed=0)
    assert (found["n"], found["verdict"], found["figures"]) == (0, None, {})
    assert f"no crop is in both ({len(scored):,} times: no image)" in found["in_words"]


def test_without_a_label_in_common_its_classes_are_named_and_a_mapping_asked_for() -> None:
    scored = made(5, seed=0)
    classes = [f"species {number}" for number in range(30)]
    strange = other(
        scored, scored.probabilities, known=np.zeros(len(scored.labels), dtype=bool), others=classes
    )
    found = comparison.compare(scored, strange, seed=0)
    assert (found["n"], found["verdict"], found["figures"]) == (0, None, {})
    assert found["its_other_classes"] == {"n": 30, "examples": classes[:10]}
    for words in ("no label is in both", "species 0, species 1,", "--compare-mapping"):
        assert words in found["in_words"]


def test_results_without_any_class_are_said_to_be_so() -> None:
    scored = made(5, seed=0)
    known = np.zeros(len(scored.labels), dtype=bool)
    found = comparison.compare(scored, other(scored, scored.probabilities, known=known), seed=0)
    assert "other names no classes; give results with classifications" in found["in_words"]


def test_crops_of_labels_that_it_lacks_alone_are_said_to_be_so() -> None:
    scored = made(5, seed=0)
    rare = scored.select(scored.truth != 4)
    known = np.array([False, False, False, False, True])
    found = comparison.compare(rare, other(rare, rare.probabilities, known=known), seed=0)
    assert "no crop that is in both has a label that both have (lizard)" in found["in_words"]


@pytest.mark.parametrize("known", [1, 5])
def test_crops_of_one_label_tell_nothing(known: int) -> None:
    scored = made(20, seed=0)
    scored = scored if known == 1 else scored.select(scored.truth == 0)
    columns = np.arange(len(scored.labels)) < known
    found = comparison.compare(scored, other(scored, noisier(scored, 3), known=columns), seed=0)
    assert (found["verdict"], found["figures"]) == (None, {})
    assert "all of one label, fox," in found["in_words"]


def test_partial_results_are_compared_by_accuracy_and_that_is_said() -> None:
    scored = made(20, seed=0)
    best = scored.probabilities == scored.probabilities.max(axis=1, keepdims=True)
    top = np.where(best, scored.probabilities, 0)
    some = np.arange(len(scored)) % 2 == 0
    found = comparison.compare(scored, other(scored, top, partial=some), seed=0)
    assert list(found["figures"]) == ["accuracy"]
    assert (found["verdict"], found["verdict_by"]) == ("cannot tell", "accuracy")
    assert found["partial"] == some.sum()
    assert f"Of {some.sum()} crops other does not give" in found["in_words"]
    worse = comparison.compare(scored, other(scored, noisier(scored, 3), partial=some), seed=0)
    assert "This model is better than other in accuracy." in worse["in_words"]


@pytest.mark.parametrize("locations", [1, 2])
def test_at_fewer_than_three_locations_one_cannot_tell(locations: int) -> None:
    scored = made(locations, seed=0, crops=60)
    nothing = np.full(len(scored), -1)
    found = comparison.compare(scored, other(scored, noisier(scored, 9), predicted=nothing), seed=0)
    assert found["verdict"] == "cannot tell"
    assert "too few locations" in found["in_words"]
    assert all(row["interval"] is None for row in found["figures"].values())


@pytest.mark.parametrize(
    ("locations", "pairs"),
    [(6, 30), *(pytest.param(n, 100, marks=pytest.mark.slow) for n in (3, 4, 6, 9, 20))],
)
def test_equal_classifiers_are_seldom_told_apart(locations: int, pairs: int) -> None:
    wrong = {"macro_average_precision": 0, "accuracy": 0}
    for seed in range(pairs):
        this, that = pair(locations, seed)
        figures = comparison.compare(this, other(that, that.probabilities), seed=0)["figures"]
        for name, row in figures.items():
            wrong[name] += not row["interval"][0] <= 0 <= row["interval"][1]
    assert max(wrong.values()) <= 0.1 * pairs  # it is 5 % at most that is wanted, of so few pairs


def test_a_better_classifier_is_found_out_at_many_locations_and_not_at_three() -> None:
    def told(locations: int) -> float:
        both = (pair(locations, seed, apart=0.8) for seed in range(20))
        verdicts = [
            comparison.compare(this, other(that, that.probabilities), seed=0)["verdict"]
            for this, that in both
        ]
        return verdicts.count("this") / len(verdicts)

    assert told(40) >= 0.7
    assert told(3) <= 0.1
