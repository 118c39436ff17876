"""Decisions: what holds of every box, image and sequence, whatever the network gives."""

from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from animl_pipeline.catalogue.records import Detection
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.prediction import decisions
from animl_pipeline.prediction.answers import BoxAnswer, ImageAnswer
from animl_pipeline.prediction.decisions import Frame, Rules, decide_frame
from animl_pipeline.prediction.sequence_decisions import decide_sequence

LABELS = ["bird", "empty", "fox", "mouse", "rat"]
BOX = (0.1, 0.1, 0.2, 0.2)
NONE = np.zeros(0, dtype=np.float32)
RULES = Rules(
    LABELS,
    temperature=1.5,
    thresholds={"bird": 0.6, "empty": 0.9, "fox": 0.8, "mouse": None, "rat": 0.9},
    wanted=0.9,
    alarms={"rat": 0.2},
    unknown=3.0,
    empty_label="empty",
)
PLAIN = replace(RULES, temperature=1.0, alarms={}, unknown=float("inf"))


def box(unknown: float = 0.0, category: str = "animal", **probabilities: float) -> BoxAnswer:
    """A box with these probabilities at temperature 1; the rest is shared by the other labels."""
    rest = (1 - sum(probabilities.values())) / (len(LABELS) - len(probabilities) or 1)
    soft = np.array([probabilities.get(label, rest) for label in LABELS])
    logits = np.log(np.maximum(soft, 1e-9)).astype(np.float32) if probabilities else None
    return BoxAnswer(Detection(category, 0.9, BOX), logits, unknown, NONE)


def image(*boxes: BoxAnswer, failure: str = "") -> ImageAnswer:
    return ImageAnswer("a.jpg", 0, 0, list(boxes), failure)


def frames(*images: ImageAnswer, rules: Rules = PLAIN) -> list[Frame]:
    return [decide_frame(answer, rules) for answer in images]


NUMBERS = st.floats(-8, 8, width=32)
BOXES = st.builds(
    lambda category, logits, unknown: BoxAnswer(
        Detection(category, 0.9, BOX),
        np.array(logits, dtype=np.float32) if category == "animal" and logits else None,
        unknown,
        NONE,
    ),
    st.sampled_from(["animal", "animal", "animal", "person", "vehicle"]),
    st.none() | st.lists(NUMBERS, min_size=5, max_size=5),
    st.floats(0, 4) | st.just(nan),
)
IMAGES = st.builds(
    lambda boxes, fails: image(*([] if fails else boxes), failure="truncated" if fails else ""),
    st.lists(BOXES, max_size=4),
    st.sampled_from([False, False, False, True]),
)
SEQUENCES = st.lists(IMAGES, min_size=1, max_size=5)
LIMITS = st.floats(0, 1)


def test_a_box_is_accepted_from_its_threshold_on() -> None:
    sure, unsure = decisions.decide_boxes([box(fox=0.85), box(fox=0.7)], PLAIN)
    assert (sure.label, sure.decision, sure.reason) == ("fox", "accept", "fox 0.85 >= 0.80")
    assert (unsure.label, unsure.decision, unsure.reason) == ("fox", "review", "fox 0.70 < 0.80")


@pytest.mark.parametrize(
    ("given_box", "decision", "reason"),
    [
        (box(mouse=0.99), "review", "no threshold of mouse reaches precision 0.9 on val"),
        (box(empty=0.7), "empty", "empty 0.70"),
        (box(fox=0.95, unknown=3.5), "review", "unknown: score 3.50 > 3.00; nearest is fox 0.95"),
        (box(empty=0.9, unknown=4), "review", "unknown: score 4.00 > 3.00; nearest is empty 0.90"),
        (box(fox=0.95, unknown=nan), "accept", "fox 0.95 >= 0.80"),
        (box(rat=0.3, fox=0.6), "alarm", "alarm: rat 0.30 >= 0.20; most probable is fox 0.60"),
        (box(rat=0.3, fox=0.6, unknown=9.0), "alarm",
         "alarm: rat 0.30 >= 0.20; most probable is fox 0.60"),
        (box(category="person"), "accept", "detector: person"),
        (box(category="animal"), "review", "not classified"),
    ],
)  # fmt: skip
def test_the_first_rule_that_holds_decides(
    given_box: BoxAnswer, decision: str, reason: str
) -> None:
    (decided,) = decisions.decide_boxes([given_box], replace(RULES, temperature=1.0))
    assert (decided.decision, decided.reason) == (decision, reason)


def test_without_thresholds_a_person_has_to_look() -> None:
    (decided,) = decisions.decide_boxes([box(fox=0.99)], Rules(LABELS))
    assert decided.decision == "review"
    assert "pipeline evaluate" in decided.reason


@given(st.lists(st.lists(NUMBERS, min_size=5, max_size=5), min_size=1, max_size=4), LIMITS)
def test_probabilities_are_those_that_evaluate_writes(logits: list[list[float]], t: float) -> None:
    temperature = 0.5 + t
    boxes = [BoxAnswer(Detection("animal", 0.9, BOX), np.float32(row), nan, NONE) for row in logits]
    decided = decisions.decide_boxes(boxes, Rules(LABELS, temperature))
    raw, truth = np.float32(logits), np.zeros(len(logits), dtype=np.int64)
    predictions = Predictions.from_arrays(
        LABELS, special.softmax(raw, axis=1), truth, [("", "")] * len(raw)
    )
    expected = replace(predictions, logits=raw).calibrate(temperature).probabilities
    assert np.array_equal([one.probabilities for one in decided], expected)


@given(st.lists(BOXES, max_size=5))
def test_an_image_is_accepted_only_where_no_box_needs_a_look(boxes: list[BoxAnswer]) -> None:
    frame = decide_frame(image(*boxes), RULES)
    kinds = {one.decision for one in frame.boxes}
    expected = next((kind for kind in ("alarm", "review", "accept") if kind in kinds), "empty")
    assert frame.decision.decision == expected
    assert frame.decision.count <= len(boxes)


@given(BOXES, LIMITS, LIMITS)
def test_a_lower_threshold_accepts_what_a_higher_one_does(
    one: BoxAnswer, low: float, high: float
) -> None:
    def accepts(threshold: float) -> bool:
        rules = replace(RULES, thresholds=dict.fromkeys(LABELS, threshold))
        return decisions.decide_boxes([one], rules)[0].decision == "accept"

    low, high = sorted((low, high))
    assert accepts(low) >= accepts(high)


@given(BOXES, LIMITS, LIMITS)
def test_a_lower_alarm_threshold_raises_what_a_higher_one_does(
    one: BoxAnswer, low: float, high: float
) -> None:
    def alarms(threshold: float) -> bool:
        rules = replace(RULES, alarms={"rat": threshold})
        return decisions.decide_boxes([one], rules)[0].decision == "alarm"

    low, high = sorted((low, high))
    assert alarms(low) >= alarms(high)


@given(SEQUENCES)
def test_an_alarm_in_any_image_is_one_of_the_sequence(images: list[ImageAnswer]) -> None:
    decided = frames(*images, rules=RULES)
    alarms = [frame.decision.decision == "alarm" for frame in decided]
    sequence = decide_sequence(decided, RULES)
    assert (sequence.decision == "alarm") == any(alarms)
    if any(alarms):
        assert "rat" in sequence.labels


@given(SEQUENCES, SEQUENCES)
def test_further_images_never_take_an_alarm_away(
    images: list[ImageAnswer], more: list[ImageAnswer]
) -> None:
    before = decide_sequence(frames(*images, rules=RULES), RULES)
    after = decide_sequence(frames(*images, *more, rules=RULES), RULES)
    assert (before.decision == "alarm") <= (after.decision == "alarm")
    if before.decision == after.decision == "alarm":
        assert after.probability >= before.probability


@given(SEQUENCES)
def test_what_further_images_cannot_settle_is_never_accepted(images: list[ImageAnswer]) -> None:
    decided = frames(*images, rules=RULES)
    standing = [
        one
        for frame in decided
        for one in frame.boxes
        if one.decision == "review" and not one.is_unsure
    ]
    fails = any(frame.answer.failure for frame in decided)
    if standing or fails:
        assert decide_sequence(decided, RULES).decision in {"review", "alarm"}


@given(IMAGES)
def test_a_sequence_of_one_image_is_decided_as_the_image(answer: ImageAnswer) -> None:
    (frame,) = frames(answer, rules=RULES)
    sequence = decide_sequence([frame], RULES)
    assert repr(sequence) == repr(frame.decision)


@given(SEQUENCES)
def test_a_sequence_is_empty_just_where_all_its_images_are(images: list[ImageAnswer]) -> None:
    decided = frames(*images, rules=RULES)
    is_empty = all(frame.decision.decision == "empty" for frame in decided)
    assert (decide_sequence(decided, RULES).decision == "empty") == is_empty


@given(SEQUENCES)
def test_labels_that_single_boxes_are_accepted_for_stay(images: list[ImageAnswer]) -> None:
    decided = frames(*images, rules=RULES)
    accepted = {one.label for f in decided for one in f.boxes if one.decision == "accept"}
    assert accepted <= set(decide_sequence(decided, RULES).labels)


@given(SEQUENCES, st.randoms(use_true_random=False))
def test_the_order_of_the_images_decides_nothing(images: list[ImageAnswer], rng: object) -> None:
    turned = list(reversed(images))
    one, other = (decide_sequence(frames(*each, rules=RULES), RULES) for each in (images, turned))
    assert (one.decision, one.count, set(one.labels)) == (
        other.decision, other.count, set(other.labels),
    )  # fmt: skip


def test_images_that_are_unsure_in_different_ways_are_sure_together() -> None:
    one, other = image(box(fox=0.75, bird=0.2)), image(box(fox=0.75, rat=0.2))
    decided = frames(one, other)
    assert [frame.decision.decision for frame in decided] == ["review", "review"]
    sequence = decide_sequence(decided, PLAIN)
    assert (sequence.labels, sequence.decision, sequence.count) == (("fox",), "accept", 1)
    assert sequence.reason.startswith("mean of 2 boxes: fox 0.83 >= 0.80")
    logits = np.mean([decided[0].answer.boxes[0].logits, decided[1].answer.boxes[0].logits], axis=0)
    soft = np.exp(logits) / np.exp(logits).sum()
    assert sequence.probability == pytest.approx(soft[LABELS.index("fox")], abs=1e-6)


def test_two_boxes_of_one_image_do_not_make_each_other_sure() -> None:
    both = image(box(fox=0.75, bird=0.2), box(fox=0.75, rat=0.2))
    sequence = decide_sequence(frames(both, image()), PLAIN)
    assert (sequence.decision, sequence.count) == ("review", 2)


def test_a_sequence_holds_two_species() -> None:
    sequence = decide_sequence(frames(image(box(fox=0.95)), image(box(bird=0.95))), PLAIN)
    assert (sequence.labels, sequence.decision, sequence.count) == (("fox", "bird"), "accept", 1)


def test_an_unsure_box_joins_the_sure_ones_of_its_label_alone() -> None:
    sure, other, unsure = image(box(fox=0.97)), image(box(bird=0.97)), image(box(fox=0.7))
    sequence = decide_sequence(frames(sure, other, unsure), PLAIN)
    assert sequence.decision == "accept"
    assert set(sequence.labels) == {"fox", "bird"}
    doubtful = decide_sequence(frames(other, unsure), PLAIN)
    assert doubtful.decision == "review"
    assert doubtful.reason == "fox 0.70 < 0.80"


def test_nine_foxes_do_not_hide_a_rat() -> None:
    rules = replace(RULES, temperature=1.0)
    burst = [image(box(fox=0.97))] * 9 + [image(box(fox=0.6, rat=0.3))]
    sequence = decide_sequence(frames(*burst, rules=rules), rules)
    assert (sequence.decision, sequence.labels[0]) == ("alarm", "rat")
    assert "fox" in sequence.labels
    assert sequence.probability == pytest.approx(0.3, abs=1e-6)


def test_an_image_that_cannot_be_read_is_looked_at_and_so_is_its_sequence() -> None:
    decided = frames(image(box(fox=0.97)), image(failure="image is truncated"))
    assert decided[1].decision.reason == "image is truncated"
    assert isnan(decided[1].decision.probability)
    sequence = decide_sequence(decided, PLAIN)
    assert (sequence.decision, sequence.reason) == ("review", "1 of 2 images cannot be read")


def test_people_are_no_animals() -> None:
    (frame,) = frames(image(box(category="person"), box(category="vehicle")))
    assert (frame.decision.decision, frame.decision.count) == ("accept", 0)
    assert frame.decision.labels == ("person", "vehicle")
