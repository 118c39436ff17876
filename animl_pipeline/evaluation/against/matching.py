"""Find each crop of a table in another tool's results, by image and box."""

import numpy as np
import pandas as pd

from animl_pipeline.boxes import Box, compute_iou
from animl_pipeline.catalogue.records import Detection, Results
from animl_pipeline.classifier.predictions import Floats, Ints, Predictions, sum_members
from animl_pipeline.evaluation import mapping
from animl_pipeline.evaluation.against.comparison import Other
from animl_pipeline.evaluation.mapping import Mapping

OVERLAP_MIN = 0.5  # of intersection over union, as is usual for one box to be another


def match_results(name: str, results: Results, ours: Predictions, members: Mapping | None) -> Other:
    """Return what the results say of our crops.

    `members` says which of the results' classes make up which label; by default those of its name.
    """
    classes = list(dict.fromkeys(results.classes))
    rows = ours.rows
    members, label_of, others = _share_labels(classes, ours.labels, members)
    detections, unmatched = _match_detections(results, rows)
    probabilities = np.zeros((len(rows), len(ours.labels)))
    outside, partial = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    for row, detection in enumerate(detections):
        answers = detection.classifications if detection else ()
        for class_name, probability in answers:
            if class_name in label_of:
                probabilities[row, label_of[class_name]] += probability
            else:
                outside[row] = max(outside[row], probability)
        partial[row] = not label_of.keys() <= {class_name for class_name, _ in answers}
    known = np.array([bool(names) for names in members.values()])
    predicted = _choose(probabilities, outside)
    return Other(name, probabilities, predicted, known, others, partial, unmatched)


def match_predictions(
    name: str,
    theirs: Predictions,
    ours: Predictions,
    members: Mapping | None,
) -> Other:
    """Return what another run, which may have read fewer of our crops, says of them.

    `members` says which of its labels make up which of ours; by default those of the same name.
    """
    classes = theirs.labels
    readable = ~ours.rows["crop"].isin(theirs.unreadable).to_numpy()
    probabilities = np.zeros((len(ours), len(classes)))
    probabilities[readable] = theirs.probabilities
    members, _, others = _share_labels(classes, ours.labels, members)
    summed = sum_members(probabilities, classes, members)
    outside = probabilities[:, [classes.index(name) for name in others]].max(axis=1, initial=0)
    return Other(
        name,
        summed,
        _choose(summed, outside),
        np.array([bool(names) for names in members.values()]),
        others,
        np.zeros(len(summed), dtype=bool),
        ["" if read else "its crop cannot be read" for read in readable],
    )


def _share_labels(
    classes: list[str], labels: list[str], members: Mapping | None
) -> tuple[Mapping, dict[str, int], list[str]]:
    """Return the classes of each label, the label's index of each, and the classes of none."""
    members = members or mapping.match_by_name(labels, members=classes)
    members = {label: members.get(label, []) for label in labels}
    label_of = {name: i for i, names in enumerate(members.values()) for name in names}
    return members, label_of, [name for name in classes if name not in label_of]


def _choose(probabilities: Floats, outside: Floats) -> Ints:
    """Return the index of each row's most probable label (n,), -1 where that is a class of none.

    `probabilities` (n, labels) are sums over each label's classes, `outside` (n,) that of the most
    probable class of no label, which stands alone.
    """
    best = probabilities.max(axis=1)
    return np.where((best > 0) & (best >= outside), probabilities.argmax(axis=1), -1)


def _match_detections(
    results: Results, rows: pd.DataFrame
) -> tuple[list[Detection | None], list[str]]:
    """Return for each row its detection, and why there is none ("" where there is one)."""
    matches: list[Detection | None] = [None] * len(rows)
    reasons = ["no box of its results is the crop's"] * len(rows)
    boxes: list[Box] = list(
        zip(*(rows[side].astype(float) for side in ("x", "y", "width", "height")), strict=True)
    )
    by_image: dict[str, list[int]] = {}
    for number, image in enumerate(rows["image"]):
        by_image.setdefault(image, []).append(number)
    for image, numbers in by_image.items():
        if image not in results.detections or image in results.failures:
            why = "its results fail on the image" if image in results.failures else ""
            for number in numbers:
                reasons[number] = why or "its results do not hold the image"
            continue
        for number, detection in _pair_boxes(boxes, numbers, results.detections[image]):
            matches[number] = detection if detection.classifications else None
            reasons[number] = "" if detection.classifications else "its box has no classification"
    return matches, reasons


def _pair_boxes(
    boxes: list[Box], numbers: list[int], detections: list[Detection]
) -> list[tuple[int, Detection]]:
    """Return crops and detections of one image that are the same box, the best overlaps first."""
    overlaps = sorted(
        (-compute_iou(boxes[number], detection.box), number, i)
        for number in numbers
        for i, detection in enumerate(detections)
    )
    pairs: list[tuple[int, Detection]] = []
    crops, used = set(), set()
    for shared, number, i in overlaps:
        if -shared >= OVERLAP_MIN and number not in crops and i not in used:
            pairs.append((number, detections[i]))
            crops.add(number)
            used.add(i)
    return pairs
