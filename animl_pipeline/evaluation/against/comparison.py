"""Two classifiers on the same crops: which is better, or that one cannot tell."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from animl_pipeline.classifier.predictions import Bools, Floats, Ints, Predictions
from animl_pipeline.evaluation import intervals, metrics

# The first that can be had decides.
FIGURES = {"macro_average_precision": "macro average precision", "accuracy": "accuracy"}
EXAMPLES = 10  # of the other's classes: SpeciesNet has thousands


@dataclass(frozen=True)
class Other:
    """What another classifier said of the crops of a `Predictions`, row by row.

    `probabilities` (n, labels) of the same labels, `predicted` (n,) the index of the label it chose
    or -1 for one that is not among them; `known` (labels,) which labels it has at all; `others` its
    classes that are in none of the labels; `partial` (n,) where its results leave out a class of a
    label; `unmatched` (n,) why it says nothing of a crop, "" where it does.
    """

    name: str
    probabilities: Floats
    predicted: Ints
    known: Bools
    others: list[str]
    partial: Bools
    unmatched: list[str]


def compare(scored: Predictions, other: Other, *, seed: int) -> dict[str, Any]:
    """Return the figures of both on the crops and labels that both have, and the difference.

    `verdict` is one of `this`, `other`, `cannot tell`: whether the interval of the difference in
    the figure `verdict_by` is above 0, below it, or holds it; `in_words` says it. None where
    nothing can be compared. What was left out has no rank, which average precision is about, so
    partial results are compared by accuracy alone; a crop that either takes for a label or class
    that is not in both counts as a mistake.
    """
    matched = np.array([not reason for reason in other.unmatched], dtype=bool)
    labelled = other.known[scored.truth]
    rows, columns = np.flatnonzero(matched & labelled), np.flatnonzero(other.known)
    reasons = [reason for reason in other.unmatched if reason]
    found: dict[str, Any] = {
        "other": other.name,
        "n": len(rows),
        "locations": len({scored.locations[row] for row in rows}),
        "left_out": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "of_labels_unknown_to_it": int((matched & ~labelled).sum()),
        "labels": [scored.labels[column] for column in columns],
        "labels_unknown_to_it": [scored.labels[i] for i in np.flatnonzero(~other.known)],
        "its_other_classes": {"n": len(other.others), "examples": other.others[:EXAMPLES]},
        "partial": int(other.partial[rows].sum()),
        "figures": {},
        "verdict": None,
        "verdict_by": None,
    }
    why_not = _why_not(found, [scored.labels[i] for i in np.unique(scored.truth[rows])])
    if not why_not:
        names = list(FIGURES)[1:] if found["partial"] else list(FIGURES)
        found["figures"] = _figures(scored, other, rows, columns, seed, names)
        found["verdict"] = _verdict(found["figures"][names[0]]["interval"])
        found["verdict_by"] = names[0]
    return found | {"in_words": why_not or _in_words(found)}


def _why_not(found: dict[str, Any], occurring: list[str]) -> str:
    """Return why nothing can be compared, "" where it can; `occurring` are the labels of rows."""
    reasons = ", ".join(f"{n:,} times: {why}" for why, n in found["left_out"].items())
    if not found["labels"] and not found["its_other_classes"]["n"]:
        why = f"{found['other']} names no classes; give results with classifications"
    elif not found["labels"]:
        named = ", ".join(found["its_other_classes"]["examples"])
        why = (
            f"no label is in both. The classes of {found['other']} are {named}"
            f"{', ...' if found['its_other_classes']['n'] > EXAMPLES else ''}: say with "
            "--compare-mapping which of them make up which label"
        )
    elif not found["n"] and not found["of_labels_unknown_to_it"]:
        why = f"no crop is in both ({reasons})"
    elif not found["n"]:
        why = f"no crop that is in both has a label that both have ({', '.join(found['labels'])})"
    elif len(occurring) == 1:
        why = (
            f"the crops that are in both are all of one label, {occurring[0]}, so there is nothing "
            "to take them for by mistake"
        )
    else:
        return ""
    return f"Nothing can be compared: {why}."


def _in_words(found: dict[str, Any]) -> str:
    by, name = FIGURES[found["verdict_by"]], found["other"]
    said = {
        "this": f"This model is better than {name} in {by}.",
        "other": f"{name} is better than this model in {by}.",
        "cannot tell": f"One cannot tell which is better in {by}: "
        "their difference could be nothing.",
    }[found["verdict"]]
    if found["locations"] < intervals.LOCATIONS_MIN:
        said = (
            f"One cannot tell which is better in {by}: the crops in both are of too few locations."
        )
    if found["partial"]:
        said += (
            f" Of {found['partial']:,} crops {name} does not give the probability of every label, "
            "which would lower its average precision: so it is accuracy that is compared."
        )
    return said


def _figures(
    scored: Predictions, other: Other, rows: Ints, columns: Ints, seed: int, names: list[str]
) -> dict[str, Any]:
    """Return each figure of both on some rows and labels, and the difference with its interval."""
    number = np.cumsum(other.known) - 1
    sides = [
        _side(scored, scored.probabilities, scored.predicted, rows, columns, number),
        _side(scored, other.probabilities, other.predicted, rows, columns, number),
    ]
    groups = sides[0][0].groups
    weights = intervals.draw(groups, seed)
    this, that = (_values(side, right, weights) for side, right in sides)
    found = {}
    for name in names:
        difference = this[name] - that[name]
        found[name] = {
            "this": metrics.number(this[name][0]),
            "other": metrics.number(that[name][0]),
            "difference": metrics.number(difference[0]),
            "interval": intervals.paired(difference, groups),
        }
    return found


def _side(
    scored: Predictions,
    probabilities: Floats,
    predicted: Ints,
    rows: Ints,
    columns: Ints,
    number: Ints,
) -> tuple[Predictions, Bools]:
    """Return one classifier on the common rows and labels, and which rows it has right (n,)."""
    here = Predictions.from_arrays(
        [scored.labels[column] for column in columns],
        probabilities[np.ix_(rows, columns)],
        number[scored.truth[rows]],
        [scored.locations[row] for row in rows],
    )
    return here, np.asarray(predicted[rows] == scored.truth[rows])


def _values(scored: Predictions, right: Bools, weights: Floats) -> dict[str, Floats]:
    hits = np.bincount(scored.group, right, scored.groups) @ weights
    n = np.bincount(scored.group, minlength=scored.groups) @ weights
    aps = metrics.label_average_precisions(scored, weights)
    return {"accuracy": hits / n, "macro_average_precision": metrics.mean_of_known(aps)}


def _verdict(interval: list[float] | None) -> str:
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "cannot tell"
    return "this" if interval[0] > 0 else "other"
