"""Operating points: thresholds for a wanted precision or recall, and the work left to a person.

Whatever is chosen is chosen on one set of crops (val) and checked on another, since a threshold
always looks good where it was chosen. Thresholds are of the probabilities as written in
predictions_<split>.csv, and short, so that they can be typed as they are shown.
"""

from decimal import ROUND_FLOOR, Decimal
from typing import Any

import numpy as np

from animl_pipeline.classifier.predictions import Bools, Floats, Ints, Predictions
from animl_pipeline.evaluation import intervals

REVIEW_PRECISIONS = (0.9, 0.95, 0.99)
EMPTY_LOSSES = (0.0, 0.01, 0.05)
CURVE_POINTS = 200
WANTED = ("precision", "recall")
DECIMALS_MIN = 3


def threshold(scores: Floats, positive: Bools, *, figure: str, wanted: float) -> float | None:
    """Return the threshold at which the rows scored so or higher have the wanted figure.

    For precision the lowest, which keeps most; for recall the highest, which errs least. None where
    none reaches it. It is `rounded`.
    """
    values, hits, taken = _downwards(scores, positive)
    if not positive.any():
        return None
    reached = (hits / taken if figure == "precision" else hits / positive.sum()) >= wanted
    found = np.flatnonzero(reached)
    if not len(found):
        return None
    return rounded(values, int(found[-1] if figure == "precision" else found[0]))


def rounded(values: Floats, index: int) -> float:
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


def _downwards(scores: Floats, positive: Bools) -> tuple[Floats, Ints, Ints]:
    """Return the distinct scores from the highest, and of the rows so far the hits and all."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of the rows of one score
    return scores[order][last], np.cumsum(positive[order])[last], np.flatnonzero(last) + 1


def points(
    chosen_on: Predictions, checked_on: Predictions, wanted: dict[str, float]
) -> dict[str, Any]:
    """Return per wanted figure and label the threshold, what it gave, and what it gives here."""
    found = {}
    for figure in WANTED:
        rows = {}
        for index, label in enumerate(chosen_on.labels):
            scores, positive = chosen_on.probabilities[:, index], chosen_on.truth == index
            value = threshold(scores, positive, figure=figure, wanted=wanted[figure])
            rows[label] = {
                "threshold": value,
                "chosen": None if value is None else at_threshold(chosen_on, index, value),
                "checked": None if value is None else at_threshold(checked_on, index, value),
            }
        found[figure] = {"wanted": wanted[figure], "per_label": rows}
    return found


def at_threshold(scored: Predictions, label: int, value: float) -> dict[str, Any]:
    """Return precision, recall and F1 of the rows with that probability or more, with intervals."""
    weights = intervals.leave_one_out(scored.groups)
    taken, own = scored.probabilities[:, label] >= value, scored.truth == label
    sums = [
        np.bincount(scored.group, rows, scored.groups) @ weights
        for rows in (taken & own, taken, own)
    ]
    both, said, held = sums
    found: dict[str, Any] = {"n": int(taken.sum())}
    for name, of, bearing in (("precision", said, taken), ("recall", held, own)):
        values = np.divide(both, of, out=np.full(len(of), np.nan), where=of > 0)
        groups = len(np.unique(scored.group[bearing]))
        found[name] = None if np.isnan(values[0]) else float(values[0])
        found[f"{name}_interval"] = intervals.jackknife(values, groups=groups)
    known = said[0] + held[0] > 0
    return found | {"f1": float(2 * both[0] / (said[0] + held[0])) if known else None}


def image_sureness(scored: Predictions, images: list[tuple[str, str]]) -> tuple[Floats, Bools]:
    """Return for each image the least top probability of its crops, and whether all are right.

    An image is done without a person only if every crop on it is.
    """
    number = {image: i for i, image in enumerate(sorted(set(images)))}
    index = np.array([number[image] for image in images], dtype=np.int64)
    sure, right = np.ones(len(number)), np.ones(len(number), dtype=bool)
    np.minimum.at(sure, index, scored.probabilities.max(axis=1))
    np.logical_and.at(right, index, scored.right)
    return sure, right


def review(
    chosen_on: tuple[Floats, Bools] | None, checked_on: tuple[Floats, Bools]
) -> dict[str, Any]:
    """Return the review-effort curve: sureness of images, and whether they are right, in; work out.

    `curve` holds the share of images a person looks at, beside the precision of the others.
    """
    sure, right = checked_on
    _, hits, taken = _downwards(sure, right)
    kept = np.unique(np.linspace(0, len(taken) - 1, CURVE_POINTS).round().astype(int))
    curve = [[float(1 - taken[i] / len(sure)), float(hits[i] / taken[i])] for i in kept]
    rows = []
    for wanted in REVIEW_PRECISIONS:
        row: dict[str, Any] = {"precision": wanted, "with_hindsight": None, "checked": None}
        best = threshold(sure, right, figure="precision", wanted=wanted)
        row["with_hindsight"] = 1.0 if best is None else float((sure < best).mean())
        if chosen_on is not None:
            row["threshold"] = threshold(*chosen_on, figure="precision", wanted=wanted)
            row["checked"] = _checked(sure, right, row["threshold"])
        rows.append(row)
    return {"images": len(sure), "curve": curve, "wanted": rows}


def _checked(sure: Floats, right: Bools, value: float | None) -> dict[str, Any]:
    """Return what a threshold leaves to a person, and how precise the rest is."""
    taken = sure >= (np.inf if value is None else value)
    precision = float(right[taken].mean()) if taken.any() else None
    return {"review": float((~taken).mean()), "precision": precision}


def skipped_empties(
    chosen_on: Predictions | None, checked_on: Predictions, empty: int
) -> list[dict[str, Any]]:
    """Return the share of the empty crops that can be skipped at the loss of so many of the others.

    Those are skipped whose probability of the label `empty` is highest.
    """
    rows = []
    for loss in EMPTY_LOSSES:
        best = _skipping(checked_on, empty, loss)
        hindsight = _skipped(checked_on, empty, best)["skipped"]
        row: dict[str, Any] = {"loss": loss, "with_hindsight": hindsight, "checked": None}
        if chosen_on is not None and (chosen_on.truth == empty).any():
            row["threshold"] = _skipping(chosen_on, empty, loss)
            row["checked"] = _skipped(checked_on, empty, row["threshold"])
        rows.append(row)
    return rows


def _skipping(scored: Predictions, empty: int, loss: float) -> float | None:
    """Return the highest threshold that skips the most empty crops at that loss; None for none."""
    own = scored.truth == empty
    values, hits, taken = _downwards(scored.probabilities[:, empty], own)
    hits = hits[(taken - hits) / max(int((~own).sum()), 1) <= loss]
    return rounded(values, int(hits.argmax())) if hits.any() else None


def _skipped(scored: Predictions, empty: int, value: float | None) -> dict[str, float | None]:
    """Return what share of the empty crops a threshold skips, and what share of the others."""
    own = scored.truth == empty
    taken = scored.probabilities[:, empty] >= (np.inf if value is None else value)
    return {
        name: float(taken[rows].mean()) if rows.any() else None
        for name, rows in (("skipped", own), ("loss", ~own))
    }
