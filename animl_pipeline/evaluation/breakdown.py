"""Where a classifier does well and where it does not: by location, light, size of box, sequence.

With crops of fewer than two labels there is no macro average precision: any order of them is right.
"""

from typing import Any

import numpy as np
from scipy import special

from animl_pipeline.classifier.predictions import Bools, Floats, Ints, Predictions
from animl_pipeline.evaluation import calibration, intervals, metrics

SMALL_BOX_MAX = 0.02  # of the image's area: below it few pixels are left of the animal
FIGURES = ("accuracy", "macro_average_precision")


def headline(scored: Predictions) -> dict[str, Any]:
    """Return n, locations, labels, and accuracy and macro average precision with intervals.

    The intervals are those of `metrics.evaluate`: one figure has one interval. `labels` is how many
    occur, over which macro average precision is the mean.
    """
    values = _values(scored)
    return {
        "n": len(scored),
        "locations": len(set(scored.locations)),
        "labels": len(np.unique(scored.truth)),
        **{name: metrics.number(values[name][0]) for name in FIGURES},
        "intervals": {name: metrics.interval(scored, name, values) for name in FIGURES},
    }


def _values(scored: Predictions) -> dict[str, Floats]:
    """Return FIGURES, and each label's average precision, under `leave_one_out` weights."""
    if not len(scored):
        return {name: np.full(1, np.nan) for name in FIGURES}
    weights = intervals.leave_one_out(scored.groups)
    right = np.bincount(scored.group, scored.right, scored.groups) @ weights
    all_ = np.bincount(scored.group, minlength=scored.groups) @ weights
    accuracy = np.divide(right, all_, out=np.full_like(right, np.nan), where=all_ > 0)
    aps = metrics.label_average_precisions(scored, weights)
    return {
        "accuracy": accuracy,
        "macro_average_precision": _macro(scored, aps),
        **{f"average_precision/{name}": aps[i] for i, name in enumerate(scored.labels)},
    }


def _macro(scored: Predictions, aps: Floats) -> Floats:
    """Return the mean (m,) of the average precisions (labels, m); NaN with fewer than 2 labels."""
    several = len(np.unique(scored.truth)) > 1
    return metrics.mean_of_known(aps) if several else np.full(aps.shape[1], np.nan)


def by_location(scored: Predictions) -> list[dict[str, Any]]:
    """Return n, labels, accuracy and macro average precision of each location, by name."""
    rows: dict[tuple[str, str], list[int]] = {}
    for row, place in enumerate(scored.locations):
        rows.setdefault(place, []).append(row)
    return [_location(place, scored.only(np.array(rows[place]))) for place in sorted(rows)]


def _location(place: tuple[str, str], here: Predictions) -> dict[str, Any]:
    dataset, location = place
    aps = metrics.label_average_precisions(here)
    return {
        "dataset": dataset,
        "location": location,
        "n": len(here),
        "labels": len(np.unique(here.truth)),
        "accuracy": float(here.right.mean()),
        "macro_average_precision": metrics.number(_macro(here, aps)[0]),
    }


def groups(scored: Predictions, grey: Bools, areas: Floats) -> dict[str, Any]:
    """Return the headline by light (n,) and by the box's share of the image's area (n,)."""
    small = areas < SMALL_BOX_MAX
    masks = {"day": ~grey, "night": grey, "small box": small, "large box": ~small}
    return {name: headline(scored.only(mask)) for name, mask in masks.items()}


def sequences(scored: Predictions, names: list[str]) -> dict[str, Any]:
    """Return the headline of whole sequences, by the mean logit over the crops of each.

    `names` (n,) tells the sequences of one location apart. A sequence with crops of several
    labels has no one answer: it is left out and counted.
    """
    keys = list(zip(scored.locations, names, strict=True))
    number = {key: i for i, key in enumerate(sorted(set(keys)))}
    index = np.array([number[key] for key in keys])
    n = len(number)
    logits = np.zeros((n, len(scored.labels)))
    np.add.at(logits, index, calibration.logits(scored.probabilities))
    means = special.softmax(logits / np.bincount(index, minlength=n)[:, None], axis=1)
    least, most = np.full(n, len(scored.labels)), np.full(n, -1)
    np.minimum.at(least, index, scored.truth)
    np.maximum.at(most, index, scored.truth)
    places = [place for place, _ in sorted(number)]
    whole = Predictions.from_arrays(scored.labels, means, most, places).only(least == most)
    return headline(whole) | {"of_several_labels": int((least != most).sum())}


def gap(seen: Predictions, new: Predictions) -> dict[str, Any]:
    """Return both sides, and by how much the classifier is better at the locations it knows.

    On the crops of the labels that both sides have, since labels differ in how hard they are;
    `left_out` counts the crops of the others on each side.
    """
    both = np.intersect1d(seen.truth, new.truth)
    given = {"seen": seen, "new": new}
    sides = {name: headline(side.only(np.isin(side.truth, both))) for name, side in given.items()}
    return {
        "labels": [seen.labels[index] for index in both],
        "left_out": {name: _left_out(side, both) for name, side in given.items()},
        **sides,
        "gap": {name: _gap(sides["seen"], sides["new"], name) for name in FIGURES},
    }


def _left_out(scored: Predictions, both: Ints) -> dict[str, int]:
    """Return how many crops there are of each label that is not in `both`."""
    counts = np.bincount(scored.truth, minlength=len(scored.labels))
    others = np.setdiff1d(scored.truth, both)
    return {scored.labels[index]: int(counts[index]) for index in others}


def _gap(one: dict[str, Any], other: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a figure of one headline less that of another, and its interval."""
    ends = one["intervals"][name], other["intervals"][name]
    known = one[name] is not None and other[name] is not None
    return {
        "gap": one[name] - other[name] if known else None,
        "interval": None if None in ends else intervals.unpaired(one[name], other[name], *ends),
    }
