import dataclasses

import numpy as np
import pandas as pd
import pytest

from animl_pipeline.catalogue.records import Detection, Results
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation.against import matching

LABELS = ["bird", "fox"]
CLASSES = ("Fox", "bird", "wolf")


def rows(*crops: tuple[str, tuple[float, float, float, float]]) -> Predictions:
    """Crops that we predicted, of boxes of images."""
    table = [(image, image, *box) for image, box in crops]
    columns = ["crop", "image", "x", "y", "width", "height"]
    return as_ours(pd.DataFrame(table, columns=columns))


def as_ours(table: pd.DataFrame) -> Predictions:
    n = len(table)
    return Predictions(table, LABELS, np.ones((n, 2)) / 2, np.zeros(n, dtype=bool), [])


def detection(box: tuple[float, float, float, float], *said: tuple[str, float]) -> Detection:
    return Detection("animal", 0.9, box, said)


LEFT, RIGHT = (0.1, 0.1, 0.2, 0.2), (0.6, 0.6, 0.2, 0.2)


def test_a_crop_is_its_box_of_its_image_whatever_their_order() -> None:
    results = Results(
        {"a.jpg": [detection(RIGHT, ("Fox", 0.8), ("wolf", 0.2)), detection(LEFT, ("bird", 0.7))]},
        {},
        CLASSES,
    )
    shifted = (0.11, 0.1, 0.2, 0.2)
    found = matching.match_results("it", results, rows(("a.jpg", shifted), ("a.jpg", RIGHT)), None)
    assert found.unmatched == ["", ""]
    np.testing.assert_allclose(found.probabilities, [[0.7, 0.0], [0.0, 0.8]])
    assert found.predicted.tolist() == [0, 1]
    assert found.known.tolist() == [True, True]


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        (Results({}, {}, CLASSES), "its results do not hold the image"),
        (Results({"a.jpg": []}, {"a.jpg": "broken"}, CLASSES), "its results fail on the image"),
        (Results({"a.jpg": []}, {}, CLASSES), "no box of its results is the crop's"),
        (
            Results({"a.jpg": [detection(RIGHT, ("bird", 1.0))]}, {}, CLASSES),
            "no box of its results",
        ),
        (Results({"a.jpg": [detection(LEFT)]}, {}, CLASSES), "its box has no classification"),
    ],
)
def test_what_cannot_be_matched_says_why(results: Results, reason: str) -> None:
    found = matching.match_results("it", results, rows(("a.jpg", LEFT)), None)
    assert reason in found.unmatched[0]


def test_one_box_is_no_two_crops() -> None:
    near = (0.12, 0.1, 0.2, 0.2)
    results = Results({"a.jpg": [detection(LEFT, ("bird", 1.0))]}, {}, CLASSES)
    found = matching.match_results("it", results, rows(("a.jpg", near), ("a.jpg", LEFT)), None)
    assert found.unmatched == ["no box of its results is the crop's", ""]


def test_a_class_that_is_none_of_the_labels_is_predicted_as_none() -> None:
    results = Results({"a.jpg": [detection(LEFT, ("wolf", 0.9), ("bird", 0.1))]}, {}, CLASSES)
    found = matching.match_results("it", results, rows(("a.jpg", LEFT)), None)
    assert found.predicted.tolist() == [-1]
    assert found.others == ["wolf"]


KINDS = ["jay", "wren", "fox", "wolf"]
OF_KINDS = {"bird": ["jay", "wren"], "fox": ["fox"]}


@pytest.mark.parametrize(
    ("soft", "predicted"),
    [
        ([0.3, 0.3, 0.35, 0.05], 0),  # the label's classes together
        ([0.2, 0.2, 0.15, 0.45], -1),  # a class of no label, more than they
        ([0.1, 0.1, 0.5, 0.3], 1),
        ([0.0, 0.0, 0.0, 0.0], -1),  # nothing is said
    ],
)
def test_the_label_chosen_is_that_of_the_largest_sum_unless_a_class_of_none_has_more(
    soft: list[float], predicted: int
) -> None:
    said = detection(LEFT, *zip(KINDS, soft, strict=True))
    results = Results({"a.jpg": [said]}, {}, tuple(KINDS))
    table = rows(("a.jpg", LEFT))
    of_results = matching.match_results("it", results, table, OF_KINDS)
    run = dataclasses.replace(table, labels=KINDS, probabilities=np.array([soft]))
    of_run = matching.match_predictions("it", run, table, OF_KINDS)
    for found in (of_results, of_run):
        assert found.predicted.tolist() == [predicted]
        assert found.others == ["wolf"]
        np.testing.assert_allclose(found.probabilities, [[soft[0] + soft[1], soft[2]]])


@pytest.mark.parametrize(
    ("said", "partial"),
    [
        ((("Fox", 0.9), ("bird", 0.1)), False),  # wolf is in no label: nobody asks for it
        ((("Fox", 0.9), ("wolf", 0.1)), True),
        ((("Fox", 1.0),), True),
    ],
)
def test_results_that_leave_out_a_class_of_a_label_are_partial(
    said: tuple[tuple[str, float], ...], partial: bool
) -> None:
    results = Results({"a.jpg": [detection(LEFT, *said)]}, {}, CLASSES)
    found = matching.match_results("it", results, rows(("a.jpg", LEFT)), None)
    assert found.partial.tolist() == [partial]


def test_a_mapping_gathers_classes_and_a_label_without_any_is_unknown() -> None:
    results = Results({"a.jpg": [detection(LEFT, ("wolf", 0.5), ("Fox", 0.3))]}, {}, CLASSES)
    given = {"fox": ["wolf", "Fox"]}
    found = matching.match_results("it", results, rows(("a.jpg", LEFT)), given)
    assert found.known.tolist() == [False, True]
    np.testing.assert_allclose(found.probabilities, [[0.0, 0.8]])
    assert found.predicted.tolist() == [1]


def test_predictions_of_another_run_are_put_under_our_labels() -> None:
    ours = rows(("a.jpg", LEFT), ("b.jpg", LEFT), ("c.jpg", LEFT))
    soft = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    theirs = dataclasses.replace(
        ours, labels=list(CLASSES), probabilities=soft, unreadable=["b.jpg"]
    )
    found = matching.match_predictions("it", theirs, ours, None)
    np.testing.assert_allclose(found.probabilities, [[0.5, 0.2], [0, 0], [0.3, 0.6]])
    assert found.predicted.tolist() == [0, -1, 1]
    assert found.unmatched == ["", "its crop cannot be read", ""]
    assert found.partial.tolist() == [False, False, False]
