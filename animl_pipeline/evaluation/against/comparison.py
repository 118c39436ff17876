"""Compare two classifiers on the same crops: which is better, or that one cannot tell."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from animl_pipeline.classifier.predictions import Bools, Floats, Ints, Predictions
from animl_pipeline.evaluation import intervals
from animl_pipeline.evaluation.metrics import as_number, compute_headline

# The first that can be had decides.
METRICS = {"macro_average_precision": "macro average precision", "accuracy": "accuracy"}
EXAMPLES = 10  # of the other's classes: SpeciesNet has thousands


@dataclass(frozen=True)
class Other:
    """What another classifier said of crops that we predicted, row by row.

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


def compare(ours: Predictions, other: Other, *, seed: int) -> dict[str, Any]:
    """Return the metrics of both on the crops and labels that both have, and the difference.

    `verdict` is one of `this`, `other`, `cannot tell`: whether the interval of the difference in
    the metric `verdict_by` is above 0, below it, or holds it; `in_words` says it. None where
    nothing can be compared. What was left out has no rank, which average precision is about, so
    partial results are compared by accuracy alone; a crop that either takes for a label or class
    that is not in both counts as a mistake.
    """
    matched = np.array([not reason for reason in other.unmatched], dtype=bool)
    labelled = other.known[ours.truth]
    rows, columns = np.flatnonzero(matched & labelled), np.flatnonzero(other.known)
    reasons = [reason for reason in other.unmatched if reason]
    comparison: dict[str, Any] = {
        "other": other.name,
        "n": len(rows),
        "locations": len({ours.locations[row] for row in rows}),
        "left_out": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "of_labels_unknown_to_it": int((matched & ~labelled).sum()),
        "labels": [ours.labels[column] for column in columns],
        "labels_unknown_to_it": [ours.labels[i] for i in np.flatnonzero(~other.known)],
        "its_other_classes": {"n": len(other.others), "examples": other.others[:EXAMPLES]},
        "partial": int(other.partial[rows].sum()),
        "figures": {},
        "verdict": None,
        "verdict_by": None,
    }
    why_not = _explain_why_not(comparison, [ours.labels[i] for i in np.unique(ours.truth[rows])])
    if not why_not:
        names = list(METRICS)[1:] if comparison["partial"] else list(METRICS)
        differences = _measure_differences(ours, other, rows, seed)
        comparison["figures"] = {name: differences[name] for name in names}
        comparison["verdict"] = _judge(differences[names[0]]["interval"])
        comparison["verdict_by"] = names[0]
    return comparison | {"in_words": why_not or _put_in_words(comparison)}


def _explain_why_not(comparison: dict[str, Any], occurring: list[str]) -> str:
    """Return why nothing can be compared, "" where it can; `occurring` are the labels of rows."""
    reasons = ", ".join(f"{n:,} times: {why}" for why, n in comparison["left_out"].items())
    name, classes = comparison["other"], comparison["its_other_classes"]
    labels = comparison["labels"]
    if not labels and not classes["n"]:
        why = f"{name} names no classes; give results with classifications"
    elif not labels:
        named = ", ".join(classes["examples"]) + (", ..." if classes["n"] > EXAMPLES else "")
        why = (
            f"no label is in both. The classes of {name} are {named}: say with --compare-mapping "
            "which of them make up which label"
        )
    elif not comparison["n"] and not comparison["of_labels_unknown_to_it"]:
        why = f"no crop is in both ({reasons})"
    elif not comparison["n"]:
        why = f"no crop that is in both has a label that both have ({', '.join(labels)})"
    elif len(occurring) == 1:
        why = (
            f"the crops that are in both are all of one label, {occurring[0]}, so there is nothing "
            "to take them for by mistake"
        )
    else:
        return ""
    return f"Nothing can be compared: {why}."


def _put_in_words(comparison: dict[str, Any]) -> str:
    by, name = METRICS[comparison["verdict_by"]], comparison["other"]
    sentence = {
        "this": f"This model is better than {name} in {by}.",
        "other": f"{name} is better than this model in {by}.",
        "cannot tell": f"One cannot tell which is better in {by}: "
        "their difference could be nothing.",
    }[comparison["verdict"]]
    if comparison["locations"] < intervals.LOCATIONS_MIN:
        sentence = (
            f"One cannot tell which is better in {by}: the crops in both are of too few locations."
        )
    if comparison["partial"]:
        sentence += (
            f" Of {comparison['partial']:,} crops {name} does not give the probability of every "
            "label, which would lower its average precision: so it is accuracy that is compared."
        )
    return sentence


def _measure_differences(
    ours: Predictions, other: Other, rows: Ints, seed: int
) -> dict[str, dict[str, Any]]:
    """Return each metric of both on the common rows and labels, and its difference."""
    this = _keep_common(ours, ours.probabilities, other.known, rows)
    that = _keep_common(ours, other.probabilities, other.known, rows)
    weights = intervals.draw(this.groups, seed)
    headlines = [
        compute_headline(side, weights, right=predicted[rows] == ours.truth[rows]).overall
        for side, predicted in ((this, ours.predicted), (that, other.predicted))
    ]
    differences = {}
    for name in METRICS:
        mine, its = (headline[name] for headline in headlines)
        differences[name] = {
            "this": as_number(mine[0]),
            "other": as_number(its[0]),
            "difference": as_number((mine - its)[0]),
            "interval": intervals.bound_paired(mine - its, this.groups),
        }
    return differences


def _keep_common(ours: Predictions, probabilities: Floats, known: Bools, rows: Ints) -> Predictions:
    """Return one classifier's probabilities (n, labels) of the rows and labels that both have."""
    return replace(
        ours.select(rows),
        labels=[label for label, is_known in zip(ours.labels, known, strict=True) if is_known],
        probabilities=probabilities[np.ix_(rows, np.flatnonzero(known))],
    )


def _judge(interval: list[float] | None) -> str:
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "cannot tell"
    return "this" if interval[0] > 0 else "other"
