"""95 % intervals by resampling locations, since the crops of one camera are not independent.

**One figure: the jackknife.** Every location is left out in turn; the spread of the figure over
those is its standard error (Tukey 1958), and the interval is Student's t for the number of
locations, on the logit scale for figures from 0 to 1, so that it stays inside. For a figure of one
label the locations that hold the label are counted.

The plain bootstrap of locations falls short, as a resample lacks locations and with them labels;
that of crops takes a burst for independent news. Share of 400 simulated data sets of locations
with labels, difficulty and bursts of their own whose interval holds the true macro average
precision, 0.95 being wanted (`scripts/bench evaluate --only coverage`):

    locations                                6     12     20     30     60
    this                                  0.96   0.96   0.95   0.95   0.94
    bootstrap of locations, percentiles   0.81   0.94   0.91   0.92   0.93
    the same, moved to the figure         0.82   0.92   0.90   0.91   0.92
    bootstrap of crops, percentiles       0.61   0.64   0.55   0.52   0.51

Near 1 the logit makes it wide below, and has to: of a classifier whose macro average precision is
0.98 it holds the truth in 0.90 of 150 data sets of 6 locations and 0.95 of those of 12; without the
logit in 0.71 and 0.86. A label that is right at every location shows no spread, yet a few locations
do not make it certain: its own doubt is added to that of the mean (`widen`), with 0.98 for both.

**One figure at two sets of locations.** The two are independent, so the distances from each to the
ends of its own interval add as squares (`subtract_unpaired`): the doubt of perfect labels is in
both.

**Two classifiers: the paired bootstrap.** Both are scored on the same draws of locations, and the
percentiles of their difference are widened to Student's t (`bound_paired`). The percentiles alone
tell equal classifiers apart far too often at few locations. Share of 400 simulated pairs that are
told apart, by macro average precision and by accuracy, 0.05 being wanted; and of pairs of 0.80 and
0.59 (`scripts/bench evaluate --only verdicts`):

    locations                          2      3      4      6      9     20     60
    equal, macro AP: this           0.00   0.01   0.02   0.03   0.06   0.05   0.06
    percentiles alone               0.33   0.14   0.14   0.12   0.11   0.08   0.07
    jackknife                       0.09   0.08   0.05   0.05   0.07   0.06   0.05
    equal, accuracy: this           0.00   0.03   0.04   0.05   0.06   0.06   0.07
    percentiles alone               0.36   0.19   0.21   0.15   0.12   0.08   0.07
    jackknife                       0.06   0.10   0.09   0.09   0.08   0.05   0.06
    not equal, macro AP: this       0.00   0.02   0.05   0.21   0.38   0.77   0.99
    jackknife                       0.12   0.12   0.15   0.25   0.34   0.66   0.96
"""

import numpy as np
from scipy import special, stats

from animl_pipeline.classifier.predictions import Bools, Floats

CONFIDENCE = 0.95
RESAMPLES = 1000
LOCATIONS_MIN = 3  # with two, the few ways to draw them say nothing of their spread
NEAREST, FURTHEST = 1e-12, 50.0  # to 0 or 1, and on the log scale: past them numbers overflow


def leave_one_out(groups: int) -> Floats:
    """Return weights (groups, 1 + groups): all groups once, then without each in turn."""
    return np.column_stack([np.ones(groups), 1 - np.eye(groups)])


def draw(groups: int, seed: int) -> Floats:
    """Return weights (groups, 1 + RESAMPLES): all once, then so many drawn with replacement."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES)
    return np.column_stack([np.ones(groups), drawn.T])


def resample_by_jackknife(
    values: Floats, *, groups: int | None = None, scale: str = "logit"
) -> list[float] | None:
    """Return the interval of a figure from its values (1 + m,) under `leave_one_out` weights.

    `scale` is logit for a figure from 0 to 1, log for one above 0, plain for one of either sign;
    `groups` is how many locations bear on it (default: all m). None where there are fewer than two.
    Where all are perfect, or none is, there is no spread: then the exact bound for a coin that fell
    `groups` times on one side (Clopper & Pearson 1934).
    """
    value, left_out = values[0], values[1:]
    groups = len(left_out) if groups is None else groups
    error = estimate_error(values)
    if groups < 2 or np.isnan(value) or np.isnan(error):
        return None
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, groups - 1)) * error
    if scale == "logit" and value in {0, 1}:
        return [1 - bound_doubt(groups), 1.0] if value == 1 else [0.0, bound_doubt(groups)]
    if reach == 0 or scale == "plain":
        return [float(value - reach), float(value + reach)]
    if scale == "log":
        factor = np.exp(min(reach / value, FURTHEST))
        return [float(value / factor), float(value * factor)]
    # The delta method: the derivative of the logit at p is 1 / (p (1 - p)).
    middle, reach = special.logit(value), reach / max(value * (1 - value), NEAREST)
    return [float(special.expit(middle - reach)), float(special.expit(middle + reach))]


def bound_doubt(groups: int) -> float:
    """Return how far from 1 a share may be that was 1 at each of so many locations."""
    return float(1 - ((1 - CONFIDENCE) / 2) ** (1 / groups))


def widen(ends: list[float], mean: float, doubts: Floats, *, perfect: Bools) -> list[float]:
    """Return the interval of a mean over labels with the doubt of those that show no spread added.

    `doubts` (labels,) is 0 for those that show some; `perfect` (labels,) are at 1, the others at 0.
    Where all locations have a label right the jackknife takes that for certain; its own interval
    does not, and a mean of such labels is no surer than they are (Zou & Donner 2008: distances from
    the estimates are added as squares).
    """
    below = np.sqrt((doubts[perfect] ** 2).sum()) / len(doubts)
    above = np.sqrt((doubts[~perfect] ** 2).sum()) / len(doubts)
    low, high = mean - np.hypot(mean - ends[0], below), mean + np.hypot(ends[1] - mean, above)
    return [max(0.0, float(low)), min(1.0, float(high))]


def estimate_error(values: Floats) -> float:
    """Return the jackknife's standard error from values (1 + m,) under `leave_one_out` weights.

    Where the figure has no value without a location, that location is taken to change nothing.
    NaN where fewer than two locations can be left out.
    """
    left_out = values[1:][~np.isnan(values[1:])]
    if len(left_out) < 2:
        return float("nan")
    m = len(left_out)
    return float(np.sqrt((m - 1) / m * ((left_out - left_out.mean()) ** 2).sum()))


def bound_percentiles(drawn: Floats) -> list[float] | None:
    """Return the bootstrap's interval from values (m,); None where most draws have no value."""
    known = drawn[~np.isnan(drawn)]
    if 2 * len(known) < len(drawn):
        return None
    tail = 100 * (1 - CONFIDENCE) / 2
    return [float(end) for end in np.percentile(known, [tail, 100 - tail])]


def bound_paired(values: Floats, groups: int) -> list[float] | None:
    """Return the interval of a difference from its values (1 + m,) under `draw` weights.

    Each end is the further of two: Student's t for the number of locations with the draws' own
    spread, and the percentiles' distance from the difference, as much wider as t is than the
    normal; both for draws of n spreading by (n - 1) / n of the truth (Efron 1982). None at fewer
    than `LOCATIONS_MIN` locations, or where most draws have no value.
    """
    ends = bound_percentiles(values[1:])
    if ends is None or groups < LOCATIONS_MIN:
        return None
    tail, value = (1 + CONFIDENCE) / 2, float(values[0])
    wider = float(np.sqrt(groups / (groups - 1)) * stats.t.ppf(tail, groups - 1))
    reach, of_normal = wider * float(np.nanstd(values[1:])), wider / float(stats.norm.ppf(tail))
    low, high = (value + of_normal * (end - value) for end in ends)
    return [min(low, value - reach), max(high, value + reach)]


def subtract_unpaired(
    one: float, other: float, ends: list[float], other_ends: list[float]
) -> list[float]:
    """Return the interval of one figure less another of other locations, from that of each.

    The difference is lowest where the one is low and the other high: the distances to those ends
    are added as squares, and those to the opposite ends for the upper one (Zou & Donner 2008).
    """
    below = np.hypot(one - ends[0], other_ends[1] - other)
    above = np.hypot(ends[1] - one, other - other_ends[0])
    return [float(one - other - below), float(one - other + above)]
