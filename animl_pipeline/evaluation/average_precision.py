"""Average precision of each label, one against the rest, for many weightings of locations at once.

AP = sum over k of (R_k - R_(k-1)) P_k, with precision P and recall R at every distinct probability
from the highest down; what scikit-learn's `average_precision_score` computes. Labels without an
example have no average precision: NaN here and null in files, never 0, and they are in no mean.
"""

from typing import Any

import numpy as np

from animl_pipeline.classifier.predictions import Bools, Floats, Ints, Predictions

BLOCK = 2048  # distinct scores at a time, to bound memory
EXACT_IN_FLOAT32 = 2**24  # whole numbers up to it, and so sums of them in any order


def compute_average_precision(
    scores: Floats, positive: Bools, group: Ints, weights: Floats
) -> Floats:
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
        counts = count_cells(cells, size, groups).cumsum(axis=0) + seen
        gained = _weigh(count_cells(cells[positive[rows]], size, groups), fast)
        hits_so_far, rows_so_far = gained.cumsum(axis=0) + hits, _weigh(counts, fast)
        area += divide(gained * hits_so_far, rows_so_far, empty=0.0).sum(axis=0)
        seen, hits = counts[-1:], hits_so_far[-1:]
    return divide(area, hits[0])


def compute_label_aps(predictions: Predictions, weights: Floats | None = None) -> Floats:
    """Return the average precision of every label (labels, m); NaN for one without examples.

    `weights` (groups, m) is of the locations; without it every row counts once, and m is 1.
    """
    group = predictions.group if weights is not None else np.zeros(len(predictions), dtype=np.int64)
    weights = np.ones((1, 1)) if weights is None else weights
    columns = enumerate(predictions.probabilities.T)
    truth = predictions.truth
    return np.stack(
        [compute_average_precision(column, truth == i, group, weights) for i, column in columns]
    )


def average_known(aps: Floats) -> Floats:
    """Return the mean over the labels that have a value (labels, m) -> (m,)."""
    return average_present(aps, ~np.isnan(aps))


def average_macro(predictions: Predictions, aps: Floats) -> Floats:
    """Return the mean (m,) of average precisions (labels, m); NaN with fewer than two labels."""
    several = len(np.unique(predictions.truth)) > 1
    return average_known(aps) if several else np.full(aps.shape[1], np.nan)


def count_cells(cells: Ints, rows: int, columns: int) -> Ints:
    """Return how often each number (row * columns + column) is there (rows, columns)."""
    return np.bincount(cells, minlength=rows * columns).reshape(rows, columns)


def _weigh(counts: Any, weights: Any) -> Floats:
    """Return counts @ weights, exactly where these are whole numbers."""
    return np.asarray((counts.astype(weights.dtype) @ weights).astype(np.float64))


def divide(part: Any, of: Any, empty: float = np.nan) -> Floats:
    """Return part / of, and `empty` where `of` is 0."""
    full = np.full(np.shape(part), empty)
    return np.asarray(np.divide(part, of, out=full, where=np.asarray(of) > 0))


def average_present(values: Floats, present: Bools) -> Floats:
    """Return the mean over the labels that are present (labels, m) -> (m,)."""
    return divide(np.where(present, values, 0.0).sum(axis=0), present.sum(axis=0))
