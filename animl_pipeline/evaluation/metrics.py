"""Arrays in, figures out: average precision and what else an evaluation reports.

Average precision of a label, one against the rest: AP = sum over k of (R_k - R_(k-1)) P_k, with
precision P and recall R at every distinct probability from the highest down; what scikit-learn's
`average_precision_score` computes, here for many weightings of the locations at once. Labels
without an example have no average precision: None, never 0, and they are in no mean.
"""

from typing import Any

import numpy as np

from animl_pipeline.classifier.predictions import Bools, Floats, Ints, Predictions
from animl_pipeline.evaluation import calibration, intervals

FORMAT_VERSION = "1"
TOP = (3, 5)  # the k of top-k accuracy
MEAN_OF = {  # the figure of each label that an overall one is the mean of
    "balanced_accuracy": "recall",
    "macro_average_precision": "average_precision",
    "macro_precision": "precision",
    "macro_recall": "recall",
    "macro_f1": "f1",
}
BLOCK = 2048  # distinct scores at a time, to bound memory
EXACT_IN_FLOAT32 = 2**24  # whole numbers up to it, and so sums of them in any order


def average_precision(scores: Floats, positive: Bools, group: Ints, weights: Floats) -> Floats:
    """Return the average precision (m,) of one label under m weightings of the groups of rows.

    `scores` (n,), `positive` (n,), `group` (n,) from 0, `weights` (groups, m). NaN where no
    positive has a weight. Only the scores of positives matter: the rows between two of them are
    counted by group, and the counts times the weights are one matrix product for all weightings.
    """
    order = np.argsort(-scores, kind="stable")
    scores, positive, group = scores[order], positive[order], group[order]
    run = np.cumsum(np.diff(scores, prepend=scores[:1]) != 0)  # rows of equal score share a number
    runs = np.unique(run[positive])
    step = np.searchsorted(runs, run)  # the first run with a positive that has the row in its count
    groups, m = weights.shape
    whole = len(scores) * weights.max(initial=0) < EXACT_IN_FLOAT32 and (weights % 1 == 0).all()
    fast = weights.astype(np.float32 if whole else np.float64)
    seen, hits, area = np.zeros((1, groups)), np.zeros((1, m)), np.zeros(m)
    for start in range(0, len(runs), BLOCK):
        size = min(BLOCK, len(runs) - start)
        rows = slice(*np.searchsorted(step, [start, start + size]))
        cells = (step[rows] - start) * groups + group[rows]
        counts = _table(cells, size, groups).cumsum(axis=0) + seen
        gained = _weighted(_table(cells[positive[rows]], size, groups), fast)
        found, looked_at = gained.cumsum(axis=0) + hits, _weighted(counts, fast)
        area += _ratio(gained * found, looked_at, empty=0.0).sum(axis=0)
        seen, hits = counts[-1:], found[-1:]
    return _ratio(area, hits[0])


def _table(cells: Ints, rows: int, columns: int) -> Ints:
    return np.bincount(cells, minlength=rows * columns).reshape(rows, columns)


def _weighted(counts: Any, weights: Any) -> Floats:
    """Return counts @ weights, exactly where these are whole numbers."""
    return np.asarray((counts.astype(weights.dtype) @ weights).astype(np.float64))


def label_average_precisions(scored: Predictions, weights: Floats | None = None) -> Floats:
    """Return the average precision of every label (labels, m); NaN for one without examples.

    `weights` (groups, m) is of the locations; without it every row counts once, and m is 1.
    """
    group = scored.group if weights is not None else np.zeros(len(scored), dtype=np.int64)
    weights = np.ones((1, 1)) if weights is None else weights
    return np.stack([
        average_precision(column, scored.truth == i, group, weights)
        for i, column in enumerate(scored.probabilities.T)
    ])  # fmt: skip


def figures(scored: Predictions, weights: Floats) -> dict[str, Floats]:
    """Return every figure (m,) under m weightings of the locations (groups, m).

    The keys are those of a split in metrics.json; of a label `<figure>/<label>`.
    """
    aps = label_average_precisions(scored, weights)
    c = len(scored.labels)
    cells = scored.truth * c + scored.predicted
    confused = _sums(scored, cells, c * c, weights).reshape(c, c, -1)
    hits = np.einsum("iim->im", confused)
    of_label, said = confused.sum(axis=1), confused.sum(axis=0)
    precision, recall = _ratio(hits, said), _ratio(hits, of_label)
    f1 = _ratio(2 * hits, of_label + said)
    present, n = of_label > 0, of_label.sum(axis=0)
    pooled = np.repeat(scored.group, c)
    own = (scored.truth[:, None] == np.arange(c)).ravel()
    found = {
        "accuracy": _ratio(hits.sum(axis=0), n),
        **{f"top_{k}_accuracy": _top(scored, k, weights) for k in TOP if k < c},
        "balanced_accuracy": _mean(recall, present),
        "macro_average_precision": _mean(aps, present),
        "weighted_average_precision": _ratio((np.nan_to_num(aps) * of_label).sum(axis=0), n),
        "micro_average_precision": average_precision(
            scored.probabilities.ravel(), own, pooled, weights
        ),
        # A label that is never predicted has no precision; in the mean it counts as 0.
        "macro_precision": _mean(np.nan_to_num(precision), present),
        "macro_recall": _mean(recall, present),
        "macro_f1": _mean(f1, present),
        "log_loss": _ratio(_summed(scored, surprise(scored), weights), n),
        "ece": _ratio(_calibration_gaps(scored, weights), n),
    }
    f1 = np.where(present, f1, np.nan)
    per_label = {"average_precision": aps, "precision": precision, "recall": recall, "f1": f1}
    for figure, rows in per_label.items():
        found |= {f"{figure}/{name}": rows[i] for i, name in enumerate(scored.labels)}
    return found


def surprise(scored: Predictions) -> Floats:
    """Return -log of the probability of the true label (n,), kept finite: the log loss of each."""
    own = scored.probabilities[np.arange(len(scored)), scored.truth]
    own = own / scored.probabilities.sum(axis=1)
    return np.asarray(-np.log(np.clip(own, np.finfo(np.float64).eps, 1.0)))


def _calibration_gaps(scored: Predictions, weights: Floats) -> Floats:
    """Return the sum over bins of |right - top probability|, summed over the rows of each (m,)."""
    top = scored.probabilities.max(axis=1)
    bins = calibration.bins_of(top)
    gaps = _sums(scored, bins, calibration.BINS + 1, weights, of=scored.right - top)
    return np.asarray(np.abs(gaps).sum(axis=0))


def _top(scored: Predictions, k: int, weights: Floats) -> Floats:
    """Return the share whose label is among the k most probable, ties broken as scikit-learn."""
    own = scored.probabilities[np.arange(len(scored)), scored.truth][:, None]
    later = np.arange(len(scored.labels)) > scored.truth[:, None]
    ahead = (scored.probabilities > own) | ((scored.probabilities == own) & later)
    inside = (ahead.sum(axis=1) < k).astype(np.float64)
    return _ratio(_summed(scored, inside, weights), _summed(scored, np.ones(len(scored)), weights))


def _summed(scored: Predictions, values: Floats, weights: Floats) -> Floats:
    """Return the sum of values (n,) under each weighting (m,)."""
    return np.asarray(np.bincount(scored.group, values, scored.groups) @ weights)


def _sums(
    scored: Predictions, kind: Ints, kinds: int, weights: Floats, of: Floats | None = None
) -> Floats:
    """Return the count of rows, or the sum of `of` (n,), by kind (n,): (kinds, m)."""
    cells = kind * scored.groups + scored.group
    sums = np.bincount(cells, of, kinds * scored.groups).reshape(kinds, scored.groups)
    return np.asarray(sums @ weights)


def _ratio(part: Any, of: Any, empty: float = np.nan) -> Floats:
    full = np.full(np.shape(part), empty)
    return np.asarray(np.divide(part, of, out=full, where=np.asarray(of) > 0))


def _mean(values: Floats, present: Bools) -> Floats:
    """Return the mean over the labels that are present (labels, m) -> (m,)."""
    return _ratio(np.where(present, values, 0.0).sum(axis=0), present.sum(axis=0))


def calibration_figures(scored: Predictions) -> dict[str, Any]:
    """Return log loss, expected calibration error and the bins of the reliability diagram."""
    n = len(scored)
    gaps = _calibration_gaps(scored, np.ones((scored.groups, 1)))
    return {
        "log_loss": float(surprise(scored).mean()),
        "ece": float(gaps[0] / n),
        "reliability": calibration.reliability(scored.probabilities, scored.truth),
    }


def log_loss_change(before: Predictions, after: Predictions) -> dict[str, Any]:
    """Return by how much log loss rises (below 0: falls) on the same rows, with its interval."""
    weights = intervals.leave_one_out(before.groups)
    n = _summed(before, np.ones(len(before)), weights)
    change = _ratio(_summed(before, surprise(after) - surprise(before), weights), n)
    return {
        "log_loss": float(change[0]),
        "interval": intervals.jackknife(change, scale="plain"),
    }


def mean_of_known(aps: Floats) -> Floats:
    """Return the mean over the labels that have a value (labels, m) -> (m,)."""
    return _mean(aps, ~np.isnan(aps))


def evaluate(scored: Predictions) -> dict[str, Any]:
    """Return the figures of one split of at least one row, as metrics.json holds them."""
    values = figures(scored, intervals.leave_one_out(scored.groups))
    counts = np.bincount(scored.truth, minlength=len(scored.labels))
    overall = {name: number(value[0]) for name, value in values.items() if "/" not in name}
    return {
        "n": len(scored),
        **{f"top_{k}_accuracy": None for k in TOP},
        **overall,
        "per_label": {
            label: {"n": int(counts[i])}
            | {
                figure: number(values[f"{figure}/{label}"][0])
                for figure in ("average_precision", "precision", "recall", "f1")
            }
            for i, label in enumerate(scored.labels)
        },
        "labels_without_examples": [
            name for name, n in zip(scored.labels, counts, strict=True) if not n
        ],
        "confusion_matrix": confusion_matrix(scored).tolist(),
        "intervals": {name: interval(scored, name, values) for name in values if name != "ece"},
    }


def interval(scored: Predictions, name: str, values: dict[str, Floats]) -> list[float] | None:
    """Return the interval of a figure; of a label's, by the locations that hold the label.

    `values` are all `figures` under `intervals.leave_one_out` weights.
    """
    _, _, label = name.partition("/")
    scale = "log" if name == "log_loss" else "logit"
    if label:
        return intervals.jackknife(values[name], groups=_holders(scored, label), scale=scale)
    ends = intervals.jackknife(values[name], scale=scale)
    if ends is None or name not in MEAN_OF:
        return ends
    of_label = {
        label: values[f"{MEAN_OF[name]}/{label}"][0]
        for label in (scored.labels[index] for index in np.unique(scored.truth))
    }
    doubts = [
        intervals.doubt(_holders(scored, label)) if value in {0, 1} else 0.0
        for label, value in of_label.items()
    ]
    perfect = np.array([value == 1 for value in of_label.values()])
    return intervals.widened(ends, float(values[name][0]), np.array(doubts), perfect=perfect)


def _holders(scored: Predictions, label: str) -> int:
    """Return how many locations hold a label."""
    return len(np.unique(scored.group[scored.truth == scored.labels.index(label)]))


def confusion_matrix(scored: Predictions) -> Ints:
    """Return counts (labels, labels), rows true, columns predicted."""
    c = len(scored.labels)
    return _table(scored.truth * c + scored.predicted, c, c)


def number(value: Any) -> float | None:
    """Return a figure as JSON holds it: None where it could not be computed."""
    return None if np.isnan(value) else float(value)
