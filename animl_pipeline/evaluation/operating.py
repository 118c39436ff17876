"""Choose thresholds for a wanted precision or recall, and measure the work left to a person.

Whatever is chosen is chosen on one set of crops (val) and checked on another, since a threshold
always looks good where it was chosen. Thresholds are of the probabilities as written in
predictions_<split>.csv, and short, so that they can be typed as they are shown.
"""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import numpy as np

from animl_pipeline.classifier.predictions import Bools, Floats, Ints, Predictions
from animl_pipeline.evaluation import intervals
from animl_pipeline.evaluation.average_precision import divide
from animl_pipeline.evaluation.settings import Metric

REVIEW_PRECISIONS = (0.9, 0.95, 0.99)
EMPTY_LOSSES = (0.0, 0.01, 0.05)
CURVE_POINTS = 200
WANTED: tuple[Metric, ...] = ("precision", "recall")
DECIMALS_MIN = 3


@dataclass(frozen=True)
class ImageResults:
    """Images (n): the least top `probability` of the crops of each, and whether all are `right`."""

    probability: Floats
    right: Bools


def choose_threshold(
    scores: Floats, positive: Bools, *, metric: str, wanted: float
) -> float | None:
    """Return the threshold at which the rows predictions so or higher have the wanted metric.

    For precision the lowest, which keeps most; for recall the highest, which errs least. None where
    none reaches it. It is rounded as by `round_down`.
    """
    values, hits, taken = _accumulate(scores, positive)
    if not positive.any():
        return None
    reached = (hits / taken if metric == "precision" else hits / positive.sum()) >= wanted
    steps = np.flatnonzero(reached)
    if not len(steps):
        return None
    return round_down(values, int(steps[-1] if metric == "precision" else steps[0]))


def choose_thresholds(
    predictions: Predictions, *, metric: str, wanted: float
) -> dict[str, float | None]:
    """Return each label's threshold for the wanted precision or recall; None where none has it."""
    columns = zip(predictions.labels, predictions.probabilities.T, strict=True)
    return {
        label: choose_threshold(column, predictions.truth == i, metric=metric, wanted=wanted)
        for i, (label, column) in enumerate(columns)
    }


def round_down(values: Floats, index: int) -> float:
    """Return values[index] of distinct scores from the highest, rounded down, yet above the next.

    To as few decimals, but DECIMALS_MIN, as take the same rows as the score itself.
    """
    value, below = float(values[index]), values[index + 1] if index + 1 < len(values) else -np.inf
    exact = Decimal(repr(value))
    for decimals in range(DECIMALS_MIN, -int(exact.as_tuple().exponent)):
        short = float(exact.quantize(Decimal(1).scaleb(-decimals), ROUND_FLOOR))
        if short > below:
            return short
    return value


def _accumulate(scores: Floats, positive: Bools) -> tuple[Floats, Ints, Ints]:
    """Return the distinct scores from the highest, and of the rows so far the hits and all."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of the rows of one score
    return scores[order][last], np.cumsum(positive[order])[last], np.flatnonzero(last) + 1


def check_thresholds(
    chosen_on: Predictions, checked_on: Predictions, wanted: dict[Metric, float]
) -> dict[str, Any]:
    """Return per wanted metric and label the threshold, what it gave, and what it gives here."""
    points: dict[str, Any] = {}
    for metric in WANTED:
        rows = {}
        thresholds = choose_thresholds(chosen_on, metric=metric, wanted=wanted[metric])
        for index, (label, value) in enumerate(thresholds.items()):
            rows[label] = {
                "threshold": value,
                "chosen": None if value is None else measure_threshold(chosen_on, index, value),
                "checked": None if value is None else measure_threshold(checked_on, index, value),
            }
        points[metric] = {"wanted": wanted[metric], "per_label": rows}
    return points


def measure_threshold(predictions: Predictions, label: int, value: float) -> dict[str, Any]:
    """Return precision, recall and F1 of the rows with that probability or more, with intervals."""
    weights = intervals.leave_one_out(predictions.groups)
    taken = predictions.probabilities[:, label] >= value
    is_own = predictions.truth == label
    both, said, held = (
        np.bincount(predictions.group, rows, predictions.groups) @ weights
        for rows in (taken & is_own, taken, is_own)
    )
    metrics: dict[str, Any] = {"n": int(taken.sum())}
    for name, of, bearing in (("precision", said, taken), ("recall", held, is_own)):
        values = divide(both, of)
        groups = len(np.unique(predictions.group[bearing]))
        metrics[name] = None if np.isnan(values[0]) else float(values[0])
        metrics[f"{name}_interval"] = intervals.resample_by_jackknife(values, groups=groups)
    known = said[0] + held[0] > 0
    return metrics | {"f1": float(2 * both[0] / (said[0] + held[0])) if known else None}


def judge_images(predictions: Predictions) -> ImageResults:
    """Return how sure the classifier is of each image, and whether it is right.

    An image is done without a person only if every crop on it is.
    """
    images = predictions.images
    number = {image: i for i, image in enumerate(sorted(set(images)))}
    index = np.array([number[image] for image in images], dtype=np.int64)
    probability, right = np.ones(len(number)), np.ones(len(number), dtype=bool)
    np.minimum.at(probability, index, predictions.probabilities.max(axis=1))
    np.logical_and.at(right, index, predictions.right)
    return ImageResults(probability, right)


def measure_review(chosen_on: ImageResults | None, checked_on: ImageResults) -> dict[str, Any]:
    """Return what share of the images a person still looks at so that the rest is right.

    Right to 90, 95 or 99 %. `curve` holds the share of images a person looks at, beside the
    precision of the others. Thresholds are of `chosen_on`, where there is one.
    """
    probability, right = checked_on.probability, checked_on.right
    _, hits, taken = _accumulate(probability, right)
    kept = np.unique(np.linspace(0, len(taken) - 1, CURVE_POINTS).round().astype(int))
    curve = [[float(1 - taken[i] / len(right)), float(hits[i] / taken[i])] for i in kept]
    rows = []
    for wanted in REVIEW_PRECISIONS:
        row: dict[str, Any] = {"precision": wanted, "with_hindsight": None, "checked": None}
        best = choose_threshold(probability, right, metric="precision", wanted=wanted)
        row["with_hindsight"] = 1.0 if best is None else float((probability < best).mean())
        if chosen_on is not None:
            row["threshold"] = choose_threshold(
                chosen_on.probability, chosen_on.right, metric="precision", wanted=wanted
            )
            row["checked"] = _check_review(checked_on, row["threshold"])
        rows.append(row)
    return {"images": len(right), "curve": curve, "wanted": rows}


def _check_review(images: ImageResults, value: float | None) -> dict[str, Any]:
    """Return what a threshold leaves to a person, and how precise the rest is."""
    taken = images.probability >= (np.inf if value is None else value)
    precision = float(images.right[taken].mean()) if taken.any() else None
    return {"review": float((~taken).mean()), "precision": precision}


def measure_skipped_empties(
    chosen_on: Predictions | None, checked_on: Predictions, empty: int
) -> list[dict[str, Any]]:
    """Return the share of the empty crops that can be skipped at the loss of so many of the others.

    Those are skipped whose probability of the label `empty` is highest.
    """
    rows = []
    for loss in EMPTY_LOSSES:
        best = _choose_skipping(checked_on, empty, loss)
        hindsight = _measure_skipped(checked_on, empty, best)["skipped"]
        row: dict[str, Any] = {"loss": loss, "with_hindsight": hindsight, "checked": None}
        if chosen_on is not None and (chosen_on.truth == empty).any():
            row["threshold"] = _choose_skipping(chosen_on, empty, loss)
            row["checked"] = _measure_skipped(checked_on, empty, row["threshold"])
        rows.append(row)
    return rows


def _choose_skipping(predictions: Predictions, empty: int, loss: float) -> float | None:
    """Return the highest threshold that skips the most empty crops at that loss; None for none."""
    is_empty = predictions.truth == empty
    values, hits, taken = _accumulate(predictions.probabilities[:, empty], is_empty)
    hits = hits[(taken - hits) / max(int((~is_empty).sum()), 1) <= loss]
    return round_down(values, int(hits.argmax())) if hits.any() else None


def _measure_skipped(
    predictions: Predictions, empty: int, value: float | None
) -> dict[str, float | None]:
    """Return what share of the empty crops a threshold skips, and what share of the others."""
    is_empty = predictions.truth == empty
    taken = predictions.probabilities[:, empty] >= (np.inf if value is None else value)
    return {
        name: float(taken[rows].mean()) if rows.any() else None
        for name, rows in (("skipped", is_empty), ("loss", ~is_empty))
    }
