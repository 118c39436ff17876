import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from animl_pipeline.catalogue.records import Detection
from animl_pipeline.evaluation.cameras import choose_cameras
from animl_pipeline.prediction.answers import BoxAnswer, ImageAnswer
from animl_pipeline.prediction.cameras import (
    BOXES_MIN,
    BoxTraits,
    CameraTally,
    add_summaries,
    judge_cameras,
    measure_differences,
    measure_distance,
    summarise,
)
from animl_pipeline.runs.policy import Cameras, CameraSummary, MeasuredOn

LABELS, TRAITS = 4, 6
ON = MeasuredOn(split="val", dataset_fingerprint="", n=0, locations=0)


def draw_boxes(
    seed: int, n: int = 60, *, moved: float = 0.0, sure: float = 2.0, grey: float = 0.4
) -> BoxTraits:
    """Boxes of a location: moved in their traits, as sure and as often grey as said."""
    rng = np.random.default_rng(seed)
    logits = sure * rng.normal(size=(n, LABELS))
    traits = rng.normal(moved, 1, (n, TRAITS)) + rng.normal(0, 0.3, TRAITS)
    return BoxTraits(
        special.softmax(logits, axis=1),
        traits.astype(np.float32),
        rng.uniform(0.001, 0.2, n),
        rng.random(n) < grey,
    )


def know(locations: int = 20) -> list[CameraSummary]:
    return [summarise("isle", str(number), draw_boxes(number)) for number in range(locations)]


@pytest.fixture(scope="module")
def cameras() -> Cameras:
    chosen = choose_cameras(know(), ON)
    assert chosen is not None
    return chosen


def tally(boxes: BoxTraits) -> CameraTally:
    one = CameraTally("new", 1.0)
    one.add_boxes(boxes)
    return one


@settings(deadline=None, max_examples=25)
@given(st.integers(1000, 2000), st.integers(1, 59))
def test_a_location_is_the_same_whether_its_boxes_come_at_once_or_in_parts(
    seed: int, cut: int
) -> None:
    whole = draw_boxes(seed)
    parts = [
        BoxTraits(whole.probabilities[at], whole.traits[at], whole.areas[at], whole.grey[at])
        for at in (slice(cut), slice(cut, None))
    ]
    summed = add_summaries([summarise("", "a", part) for part in parts])
    once = summarise("", "a", whole)
    assert summed.model_dump(exclude={"traits", "squares"}) == once.model_dump(
        exclude={"traits", "squares"}
    )
    np.testing.assert_allclose(summed.traits, once.traits)
    np.testing.assert_allclose(summed.squares, once.squares)


def test_images_are_tallied_as_their_boxes_are(cameras: Cameras) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(30, LABELS)).astype(np.float32)
    boxes = draw_boxes(4, 30)
    by_image = CameraTally("new", 2.0)
    for number in range(30):
        side = float(np.sqrt(boxes.areas[number]))
        detection = Detection("animal", 0.9, (0.1, 0.1, side, side))
        answer = BoxAnswer(
            detection, logits[number], 0.0, boxes.traits[number], bool(boxes.grey[number])
        )
        unclassified = BoxAnswer(
            Detection("person", 0.9, (0, 0, 1, 1)), None, float("nan"), boxes.traits[number]
        )
        by_image.add(ImageAnswer(f"{number}.jpg", 0, 0, [answer, unclassified]))
    by_image.add(ImageAnswer("empty.jpg", 0, 0, []))
    at_once = tally(
        BoxTraits(special.softmax(logits / 2, axis=1), boxes.traits, boxes.areas, boxes.grey)
    )
    [one], [other] = judge_cameras([by_image], cameras), judge_cameras([at_once], cameras)
    assert (one.images, one.boxes) == (31, 30)
    assert one.distance == pytest.approx(other.distance, rel=1e-5)


def test_of_known_locations_left_out_in_turn_at_most_one_in_twenty_is_unlike() -> None:
    known = know(40)
    cameras = choose_cameras(known, ON)
    assert cameras is not None
    unlike = 0
    for one in known:
        others = add_summaries([other for other in known if other is not one])
        distance = measure_distance(measure_differences(one, others), cameras.scales)
        unlike += distance > cameras.threshold
    assert unlike <= 0.05 * 40


def test_another_location_of_the_same_kind_is_seldom_unlike(cameras: Cameras) -> None:
    verdicts = judge_cameras((tally(draw_boxes(seed)) for seed in range(500, 600)), cameras)
    assert sum(verdict.is_unlike for verdict in verdicts) <= 20  # 1 in 21 is to be expected
    assert all("like the 20 cameras" in verdict.words for verdict in verdicts)


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (draw_boxes(7, moved=2), "what the crops look like"),
        (draw_boxes(7, sure=0.1), "how sure the classifier is"),
        (draw_boxes(7, moved=1.5, grey=1), "how many are grey"),
    ],
)
def test_a_location_that_differs_is_unlike_and_the_words_say_in_what(
    cameras: Cameras, boxes: BoxTraits, said: str
) -> None:
    [verdict] = judge_cameras([tally(boxes)], cameras)
    assert verdict.is_unlike
    assert said in verdict.words


@pytest.mark.parametrize("n", [0, 1, BOXES_MIN - 1])
def test_of_too_few_boxes_nothing_is_said_but_that(cameras: Cameras, n: int) -> None:
    one = tally(draw_boxes(8, n, moved=5)) if n else CameraTally("new", 1.0)
    [verdict] = judge_cameras([one], cameras)
    assert not verdict.is_unlike
    assert np.isnan(verdict.distance)
    assert f"too few boxes to say: {n} of at least {BOXES_MIN}" in verdict.words


def test_boxes_as_few_as_they_may_be_are_not_farther_for_that(cameras: Cameras) -> None:
    few = judge_cameras((tally(draw_boxes(seed, BOXES_MIN)) for seed in range(700, 800)), cameras)
    assert sum(verdict.is_unlike for verdict in few) <= 40


def test_a_run_without_cameras_says_nothing() -> None:
    assert judge_cameras([tally(draw_boxes(1))], None) == []


def test_too_few_known_locations_are_none_to_compare_with() -> None:
    assert choose_cameras(know(4), ON) is None
