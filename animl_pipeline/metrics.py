"""Arrays in, figures out: average precision and what else an evaluation reports.

Average precision of a label, one against the rest: AP = sum over k of (R_k - R_(k-1)) P_k, with
precision P and recall R at every distinct probability from the highest down; what scikit-learn's
`average_precision_score` computes, here for many weightings of the rows at once. Labels without
an example have no average precision: None, never 0, and they are in no mean.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FORMAT_VERSION = "1"
ECE_BINS = 15  # of equal width, as torchmetrics' default
RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # percentiles: 95 %
BATCH = 100  # resamples at a time, to bound memory


def average_precision(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return the average precision (m,) of one label under m weightings of the n rows.

    `scores` (n,), `positive` (n,), `weights` (m, n). NaN where no positive has a weight.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # the last row of every distinct score
    weights = weights[:, order]
    hits = np.cumsum(weights * positive[order], axis=1)[:, last]
    seen = np.cumsum(weights, axis=1)[:, last]
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    gained = np.diff(hits, axis=1, prepend=0.0)
    total = hits[:, -1]
    with np.errstate(invalid="ignore"):
        return np.asarray((gained * precision).sum(axis=1) / total)


def evaluate(
    probabilities: Floats, truth: Ints, labels: list[str], places: list[tuple[str, str]], seed: int
) -> dict[str, Any]:
    """Return the figures of one split of at least one row, as metrics.json holds them.

    `probabilities` (n, labels), `truth` (n,) the index of each row's label, `places` (n,) the
    (dataset, location) of each row: what the intervals resample, since the crops of one camera
    are not independent.
    """
    predicted = probabilities.argmax(axis=1)
    numbers = list(range(len(labels)))
    counts = np.bincount(truth, minlength=len(labels))
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        truth, predicted, labels=numbers, zero_division=np.nan
    )
    # Recall of a label without examples, and precision of one never predicted, have no value;
    # in the means over the labels with examples a precision without value counts as 0.
    present = counts > 0
    aps = label_average_precisions(probabilities, truth)
    overall = {
        "n": len(truth),
        "accuracy": _number((predicted == truth).mean()),
        "balanced_accuracy": _number(recall[present].mean()),
        "macro_average_precision": _number(aps[present].mean()),
        "weighted_average_precision": _number(np.average(aps[present], weights=counts[present])),
        "micro_average_precision": _number(
            average_precision(
                probabilities.ravel(),
                (truth[:, None] == numbers).ravel(),
                np.ones((1, probabilities.size)),
            )[0]
        ),
        "macro_precision": _number(np.nan_to_num(precision[present]).mean()),
        "macro_recall": _number(recall[present].mean()),
        "macro_f1": _number(np.nan_to_num(f1[present]).mean()),
        "log_loss": _number(log_loss(probabilities, truth)),
        "ece": _number(expected_calibration_error(probabilities, truth)),
    }
    per_label = {
        label: {
            "n": int(counts[i]),
            "average_precision": _number(aps[i]),
            "precision": _number(precision[i]),
            "recall": _number(recall[i]) if counts[i] else None,
            "f1": _number(f1[i]) if counts[i] else None,
        }
        for i, label in enumerate(labels)
    }
    return {
        **overall,
        "per_label": per_label,
        "labels_without_examples": [name for name, n in zip(labels, counts, strict=True) if not n],
        "confusion_matrix": confusion_matrix(truth, predicted, len(labels)).tolist(),
        "by_location": _by_location(probabilities, truth, places),
        "intervals": intervals(probabilities, truth, labels, places, seed),
    }


def label_average_precisions(probabilities: Floats, truth: Ints) -> Floats:
    """Return the average precision of every label (labels,); NaN for one without examples."""
    once = np.ones((1, len(truth)))
    return np.array([
        average_precision(column, truth == i, once)[0] for i, column in enumerate(probabilities.T)
    ])  # fmt: skip


def confusion_matrix(truth: Ints, predicted: Ints, labels: int) -> Ints:
    """Return counts (labels, labels), rows true, columns predicted."""
    counts = np.bincount(truth * labels + predicted, minlength=labels * labels)
    return np.asarray(counts.reshape(labels, labels))


def log_loss(probabilities: Floats, truth: Ints) -> float:
    """Return the mean of -log of the probability of the true label, kept off 0."""
    own = probabilities[np.arange(len(truth)), truth] / probabilities.sum(axis=1)
    return float(-np.log(np.clip(own, np.finfo(np.float64).eps, 1.0)).mean())


def expected_calibration_error(probabilities: Floats, truth: Ints) -> float:
    """Return the mean over rows of |accuracy - confidence| of their bin of top probability."""
    top = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    edges = np.linspace(0, 1, ECE_BINS + 1)
    bins = np.clip(np.searchsorted(edges, top, side="left") - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, weights=right - top, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(truth))


def intervals(
    probabilities: Floats, truth: Ints, labels: list[str], places: list[tuple[str, str]], seed: int
) -> dict[str, list[float] | None]:
    """Return 95 % intervals by resampling locations with replacement.

    Percentiles of the resamples, moved so that their median is the figure itself: a resample lacks
    some locations, and with them labels, so its macro average precision is too high on average.
    A figure is None where there are fewer than two locations to resample, or where fewer than
    half of the resamples have it.
    """
    number = {place: index for index, place in enumerate(sorted(set(places)))}
    place = np.array([number[place] for place in places])
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[Floats]] = {}
    for _ in range(RESAMPLES // BATCH if len(number) > 1 else 0):
        draws = rng.multinomial(len(number), np.full(len(number), 1 / len(number)), size=BATCH)
        weights = draws[:, place].astype(np.float64)
        for name, values in _resampled_figures(probabilities, truth, labels, weights).items():
            drawn.setdefault(name, []).append(values)
    figures = _resampled_figures(probabilities, truth, labels, np.ones((1, len(truth))))
    return {
        name: _interval(np.concatenate(drawn[name]), float(value[0])) if drawn else None
        for name, value in figures.items()
    }


def _resampled_figures(
    probabilities: Floats, truth: Ints, labels: list[str], weights: Floats
) -> dict[str, Floats]:
    """Return every figure that gets an interval (m,), under m weightings of the rows (m, n)."""
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    aps = np.stack(
        [average_precision(p, truth == i, weights) for i, p in enumerate(probabilities.T)]
    )
    own = [truth == i for i in range(len(labels))]
    recalls = np.stack([_ratio(weights, mine * right, mine) for mine in own])
    return {
        "accuracy": _ratio(weights, right, np.ones_like(right)),
        "balanced_accuracy": _mean_of_known(recalls),
        "macro_average_precision": _mean_of_known(aps),
        **{f"average_precision/{name}": aps[i] for i, name in enumerate(labels)},
    }


def _interval(drawn: Floats, value: float) -> list[float] | None:
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or len(drawn) < RESAMPLES / 2:
        return None
    moved = np.percentile(drawn, INTERVAL) + value - np.median(drawn)
    return [float(x) for x in np.clip(moved, 0.0, 1.0)]


def _ratio(weights: Floats, hits: NDArray[Any], of: NDArray[Any]) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ hits.astype(np.float64)) / (weights @ of.astype(np.float64)))


def _mean_of_known(values: Floats) -> Floats:
    """Return the mean over labels (labels, m) -> (m,), of those that have a value."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0))


def _by_location(
    probabilities: Floats, truth: Ints, places: list[tuple[str, str]]
) -> list[dict[str, Any]]:
    right = probabilities.argmax(axis=1) == truth
    rows = []
    for dataset, location in sorted(set(places)):
        here = np.array([place == (dataset, location) for place in places])
        aps = label_average_precisions(probabilities[here], truth[here])
        rows.append({
            "dataset": dataset,
            "location": location,
            "n": int(here.sum()),
            "accuracy": _number(right[here].mean()),
            "macro_average_precision": _number(aps[~np.isnan(aps)].mean()),
        })  # fmt: skip
    return rows


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
