"""Compute all metrics that an evaluation reports, and their intervals, from predictions."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from animl_pipeline.classifier.predictions import Bools, Floats, Ints, Predictions
from animl_pipeline.evaluation import calibration, intervals
from animl_pipeline.evaluation.average_precision import (
    average_macro,
    average_present,
    compute_average_precision,
    compute_label_aps,
    count_cells,
    divide,
)

TOP = (3, 5)  # the k of top-k accuracy
MEAN_OF = {  # the metric of each label that an overall one is the mean of
    "balanced_accuracy": "recall",
    "macro_average_precision": "average_precision",
    "macro_precision": "precision",
    "macro_recall": "recall",
    "macro_f1": "f1",
}
HEADLINE = ("accuracy", "macro_average_precision")


@dataclass(frozen=True)
class Metrics:
    """Metrics under m weightings of the locations, (m,) each, by the names of metrics.json.

    `overall` holds them by name, `per_label` by name and label.
    """

    overall: dict[str, Floats]
    per_label: dict[str, dict[str, Floats]]


def compute_metrics(predictions: Predictions, weights: Floats) -> Metrics:
    """Return every metric under m weightings of the locations (groups, m)."""
    aps = compute_label_aps(predictions, weights)
    c = len(predictions.labels)
    cells = predictions.truth * c + predictions.predicted
    confused = _sum_by_kind(predictions, cells, c * c, weights).reshape(c, c, -1)
    hits = np.einsum("iim->im", confused)
    of_label, taken = confused.sum(axis=1), confused.sum(axis=0)
    precision, recall = divide(hits, taken), divide(hits, of_label)
    f1 = divide(2 * hits, of_label + taken)
    present, n = of_label > 0, of_label.sum(axis=0)
    pooled = np.repeat(predictions.group, c)
    is_own = (predictions.truth[:, None] == np.arange(c)).ravel()
    overall = {
        "accuracy": divide(hits.sum(axis=0), n),
        **{
            f"top_{k}_accuracy": _compute_top_accuracy(predictions, k, weights)
            for k in TOP
            if k < c
        },
        "balanced_accuracy": average_present(recall, present),
        "macro_average_precision": average_present(aps, present),
        "weighted_average_precision": divide((np.nan_to_num(aps) * of_label).sum(axis=0), n),
        "micro_average_precision": compute_average_precision(
            predictions.probabilities.ravel(), is_own, pooled, weights
        ),
        # A label that is never predicted has no precision; in the mean it counts as 0.
        "macro_precision": average_present(np.nan_to_num(precision), present),
        "macro_recall": average_present(recall, present),
        "macro_f1": average_present(f1, present),
        "log_loss": divide(_sum_rows(predictions, compute_row_log_losses(predictions), weights), n),
        "ece": divide(_sum_calibration_gaps(predictions, weights), n),
    }
    f1 = np.where(present, f1, np.nan)
    of_labels = {"average_precision": aps, "precision": precision, "recall": recall, "f1": f1}
    return Metrics(
        overall,
        {name: _score_by_label(predictions, rows) for name, rows in of_labels.items()},
    )


def compute_headline(
    predictions: Predictions, weights: Floats, *, right: Bools | None = None
) -> Metrics:
    """Return HEADLINE, and each label's average precision, under m weightings (groups, m).

    `right` (n,) says which rows count as right; default: whose most probable label is their own.
    With crops of fewer than two labels macro average precision is NaN: any order of them is right.
    """
    right = predictions.right if right is None else right
    hits = _sum_rows(predictions, right, weights)
    n = _sum_rows(predictions, np.ones(len(predictions)), weights)
    aps = compute_label_aps(predictions, weights)
    return Metrics(
        {"accuracy": divide(hits, n), "macro_average_precision": average_macro(predictions, aps)},
        {"average_precision": _score_by_label(predictions, aps)},
    )


def _score_by_label(predictions: Predictions, rows: Floats) -> dict[str, Floats]:
    return dict(zip(predictions.labels, rows, strict=True))


def compute_row_log_losses(predictions: Predictions) -> Floats:
    """Return -log of the probability of the true label (n,), kept finite: the log loss of each."""
    own = predictions.probabilities[np.arange(len(predictions)), predictions.truth]
    own = own / predictions.probabilities.sum(axis=1)
    return np.asarray(-np.log(np.clip(own, np.finfo(np.float64).eps, 1.0)))


def _sum_calibration_gaps(predictions: Predictions, weights: Floats) -> Floats:
    """Return the sum over bins of |right - top probability|, summed over the rows of each (m,)."""
    top = predictions.probabilities.max(axis=1)
    bins = calibration.bin_probabilities(top)
    gaps = _sum_by_kind(
        predictions, bins, calibration.BINS + 1, weights, of=predictions.right - top
    )
    return np.asarray(np.abs(gaps).sum(axis=0))


def _compute_top_accuracy(predictions: Predictions, k: int, weights: Floats) -> Floats:
    """Return the share whose label is among the k most probable, ties broken as scikit-learn."""
    own = predictions.probabilities[np.arange(len(predictions)), predictions.truth][:, None]
    later = np.arange(len(predictions.labels)) > predictions.truth[:, None]
    ahead = (predictions.probabilities > own) | ((predictions.probabilities == own) & later)
    inside = (ahead.sum(axis=1) < k).astype(np.float64)
    return divide(
        _sum_rows(predictions, inside, weights),
        _sum_rows(predictions, np.ones(len(predictions)), weights),
    )


def _sum_rows(predictions: Predictions, values: Floats | Bools, weights: Floats) -> Floats:
    """Return the sum of values (n,) under each weighting (m,)."""
    return np.asarray(np.bincount(predictions.group, values, predictions.groups) @ weights)


def _sum_by_kind(
    predictions: Predictions, kind: Ints, kinds: int, weights: Floats, of: Floats | None = None
) -> Floats:
    """Return the count of rows, or the sum of `of` (n,), by kind (n,): (kinds, m)."""
    cells = kind * predictions.groups + predictions.group
    sums = np.bincount(cells, of, kinds * predictions.groups).reshape(kinds, predictions.groups)
    return np.asarray(sums @ weights)


def measure_calibration(predictions: Predictions) -> dict[str, Any]:
    """Return log loss, expected calibration error and the bins of the reliability diagram."""
    n = len(predictions)
    gaps = _sum_calibration_gaps(predictions, np.ones((predictions.groups, 1)))
    return {
        "log_loss": float(compute_row_log_losses(predictions).mean()),
        "ece": float(gaps[0] / n),
        "reliability": calibration.measure_reliability(
            predictions.probabilities, predictions.truth
        ),
    }


def compare_log_loss(before: Predictions, after: Predictions) -> dict[str, Any]:
    """Return by how much log loss rises (below 0: falls) on the same rows, with its interval."""
    weights = intervals.leave_one_out(before.groups)
    n = _sum_rows(before, np.ones(len(before)), weights)
    change = divide(
        _sum_rows(before, compute_row_log_losses(after) - compute_row_log_losses(before), weights),
        n,
    )
    return {
        "log_loss": float(change[0]),
        "interval": intervals.resample_by_jackknife(change, scale="plain"),
    }


def measure_split(predictions: Predictions) -> dict[str, Any]:
    """Return the metrics of one split of at least one row, as metrics.json holds them."""
    metrics = compute_metrics(predictions, intervals.leave_one_out(predictions.groups))
    counts = np.bincount(predictions.truth, minlength=len(predictions.labels))
    ends = {name: compute_interval(predictions, metrics, name) for name in metrics.overall}
    for name, by_label in metrics.per_label.items():
        for label in by_label:
            ends[f"{name}/{label}"] = compute_label_interval(predictions, metrics, name, label)
    return {
        "n": len(predictions),
        **{f"top_{k}_accuracy": None for k in TOP},
        **{name: as_number(values[0]) for name, values in metrics.overall.items()},
        "per_label": {
            label: {"n": int(counts[index])}
            | {name: as_number(by[label][0]) for name, by in metrics.per_label.items()}
            for index, label in enumerate(predictions.labels)
        },
        "labels_without_examples": [
            name for name, n in zip(predictions.labels, counts, strict=True) if not n
        ],
        "confusion_matrix": count_confusions(predictions).tolist(),
        "intervals": {name: interval for name, interval in ends.items() if name != "ece"},
    }


def compute_label_interval(
    predictions: Predictions, metrics: Metrics, name: str, label: str
) -> list[float] | None:
    """Return the interval of a label's metric, by the locations that hold the label.

    `metrics` are under `intervals.leave_one_out` weights.
    """
    values = metrics.per_label[name][label]
    return intervals.resample_by_jackknife(values, groups=_count_holders(predictions, label))


def compute_interval(predictions: Predictions, metrics: Metrics, name: str) -> list[float] | None:
    """Return the interval of an overall metric.

    `metrics` are under `intervals.leave_one_out` weights.
    """
    values = metrics.overall[name]
    ends = intervals.resample_by_jackknife(values, scale="log" if name == "log_loss" else "logit")
    if ends is None or name not in MEAN_OF:
        return ends
    by_label = metrics.per_label[MEAN_OF[name]]
    of_label = {
        label: by_label[label][0]
        for label in (predictions.labels[index] for index in np.unique(predictions.truth))
    }
    doubts = [
        intervals.bound_doubt(_count_holders(predictions, label)) if value in {0, 1} else 0.0
        for label, value in of_label.items()
    ]
    perfect = np.array([value == 1 for value in of_label.values()])
    return intervals.widen(ends, float(values[0]), np.array(doubts), perfect=perfect)


def _count_holders(predictions: Predictions, label: str) -> int:
    """Return how many locations hold a label."""
    return len(np.unique(predictions.group[predictions.truth == predictions.labels.index(label)]))


def count_confusions(predictions: Predictions) -> Ints:
    """Return counts (labels, labels), rows true, columns predicted."""
    c = len(predictions.labels)
    return count_cells(predictions.truth * c + predictions.predicted, c, c)


def as_number(value: Any) -> float | None:
    """Return a metric as JSON holds it: None where it could not be computed."""
    return None if np.isnan(value) else float(value)
