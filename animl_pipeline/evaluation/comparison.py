"""Two classifiers on the same crops: which is better, or that one cannot tell."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from animl_pipeline import intervals, metrics
from animl_pipeline.scored import Floats, Ints, Rows, Scored

FIGURES = ("macro_average_precision", "accuracy")


@dataclass(frozen=True)
class Other:
    """What another classifier said of the crops of a `Scored`, row by row.

    `probabilities` (n, labels) of the same labels, `predicted` (n,) the index of the label it chose
    or -1 for one that is not among them; `known` (labels,) which labels it has at all; `unmatched`
    (n,) why it says nothing of a crop, "" where it does.
    """

    name: str
    probabilities: Floats
    predicted: Ints
    known: Rows
    unmatched: list[str]


def compare(scored: Scored, other: Other, *, seed: int) -> dict[str, Any]:
    """Return the figures of both on the crops and labels that both have, and the difference.

    `verdict` is one of `this`, `other`, `cannot tell`: whether the interval of the difference in
    macro average precision is above 0, below it, or holds it. None where nothing can be compared.
    """
    matched = np.array([not reason for reason in other.unmatched], dtype=bool)
    labelled = other.known[scored.truth]
    rows, columns = np.flatnonzero(matched & labelled), np.flatnonzero(other.known)
    reasons = [reason for reason in other.unmatched if reason]
    found: dict[str, Any] = {
        "other": other.name,
        "n": len(rows),
        "left_out": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "of_labels_unknown_to_it": int((matched & ~labelled).sum()),
        "labels": [scored.labels[column] for column in columns],
        "figures": {},
        "verdict": None,
    }
    if not len(rows):
        return found
    number = np.cumsum(other.known) - 1
    sides = [
        _side(scored, scored.probabilities, scored.predicted, rows, columns, number),
        _side(scored, other.probabilities, other.predicted, rows, columns, number),
    ]
    groups = sides[0][0].groups
    weights = intervals.draw(groups, seed)
    this, that = (_values(side, right, weights) for side, right in sides)
    for name in FIGURES:
        difference = this[name] - that[name]
        found["figures"][name] = {
            "this": metrics.number(this[name][0]),
            "other": metrics.number(that[name][0]),
            "difference": metrics.number(difference[0]),
            "interval": intervals.paired(difference, groups),
        }
    found["verdict"] = _verdict(found["figures"][FIGURES[0]]["interval"])
    return found


def _side(
    scored: Scored, probabilities: Floats, predicted: Ints, rows: Ints, columns: Ints, number: Ints
) -> tuple[Scored, Rows]:
    """Return one classifier on the common rows and labels, and which rows it has right (n,)."""
    here = Scored(
        [scored.labels[column] for column in columns],
        probabilities[np.ix_(rows, columns)],
        number[scored.truth[rows]],
        [scored.places[row] for row in rows],
    )
    return here, np.asarray(predicted[rows] == scored.truth[rows])


def _values(scored: Scored, right: Rows, weights: Floats) -> dict[str, Floats]:
    hits = np.bincount(scored.group, right, scored.groups) @ weights
    n = np.bincount(scored.group, minlength=scored.groups) @ weights
    aps = metrics.label_average_precisions(scored, weights)
    return {"accuracy": hits / n, "macro_average_precision": metrics.mean_of_known(aps)}


def _verdict(interval: list[float] | None) -> str:
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "cannot tell"
    return "this" if interval[0] > 0 else "other"
