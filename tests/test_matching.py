import numpy as np
import pandas as pd
import pytest

from animl_pipeline.evaluation import matching
from animl_pipeline.formats.megadetector import Detection, Results

LABELS = ["bird", "fox"]
CLASSES = ("Fox", "bird", "wolf")


def rows(*crops: tuple[str, tuple[float, float, float, float]]) -> pd.DataFrame:
    table = [(image, *box) for image, box in crops]
    return pd.DataFrame(table, columns=["image", "x", "y", "width", "height"])


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
    found = matching.from_results(
        "it", results, rows(("a.jpg", shifted), ("a.jpg", RIGHT)), LABELS, None
    )
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
    found = matching.from_results("it", results, rows(("a.jpg", LEFT)), LABELS, None)
    assert reason in found.unmatched[0]


def test_one_box_is_no_two_crops() -> None:
    near = (0.12, 0.1, 0.2, 0.2)
    results = Results({"a.jpg": [detection(LEFT, ("bird", 1.0))]}, {}, CLASSES)
    found = matching.from_results(
        "it", results, rows(("a.jpg", near), ("a.jpg", LEFT)), LABELS, None
    )
    assert found.unmatched == ["no box of its results is the crop's", ""]


def test_a_class_that_is_none_of_the_labels_is_predicted_as_none() -> None:
    results = Results({"a.jpg": [detection(LEFT, ("wolf", 0.9), ("bird", 0.1))]}, {}, CLASSES)
    found = matching.from_results("it", results, rows(("a.jpg", LEFT)), LABELS, None)
    assert found.predicted.tolist() == [-1]


def test_a_mapping_gathers_classes_and_a_label_without_any_is_unknown() -> None:
    results = Results({"a.jpg": [detection(LEFT, ("wolf", 0.5), ("Fox", 0.3))]}, {}, CLASSES)
    given = {"fox": ["wolf", "Fox"]}
    found = matching.from_results("it", results, rows(("a.jpg", LEFT)), LABELS, given)
    assert found.known.tolist() == [False, True]
    np.testing.assert_allclose(found.probabilities, [[0.0, 0.8]])
    assert found.predicted.tolist() == [1]


def test_predictions_of_another_run_are_put_under_our_labels() -> None:
    soft = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    readable = np.array([True, False])
    found = matching.from_predictions("it", soft, list(CLASSES), readable, LABELS, None)
    np.testing.assert_allclose(found.probabilities, [[0.5, 0.2], [0.3, 0.6]])
    assert found.predicted.tolist() == [0, 1]
    assert found.unmatched == ["", "its crop cannot be read"]
