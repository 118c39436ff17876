"""Measure where a classifier does well: by location, light, size of box and sequence.

With crops of fewer than two labels there is no macro average precision: any order of them is right.
"""

from typing import Any

import numpy as np
from scipy import special

from animl_pipeline.classifier.predictions import Ints, Predictions, to_logits
from animl_pipeline.evaluation import intervals
from animl_pipeline.evaluation.average_precision import average_macro, compute_label_aps
from animl_pipeline.evaluation.metrics import (
    HEADLINE,
    as_number,
    compute_headline,
    compute_interval,
)

SMALL_BOX_MAX = 0.02  # of the image's area: below it few pixels are left of the animal


def measure_headline(predictions: Predictions) -> dict[str, Any]:
    """Return n, locations, labels, and accuracy and macro average precision with intervals.

    The intervals are those of `metrics.measure_split`: one metric has one interval. `labels` is how
    many occur, over which macro average precision is the mean.
    """
    counts = {
        "n": len(predictions),
        "locations": len(set(predictions.locations)),
        "labels": len(np.unique(predictions.truth)),
    }
    if not len(predictions):
        nothing = dict.fromkeys(HEADLINE)
        return counts | nothing | {"intervals": nothing}
    headline = compute_headline(predictions, intervals.leave_one_out(predictions.groups))
    ends = {name: compute_interval(predictions, headline, name) for name in HEADLINE}
    values = {name: as_number(headline.overall[name][0]) for name in HEADLINE}
    return counts | values | {"intervals": ends}


def measure_locations(predictions: Predictions) -> list[dict[str, Any]]:
    """Return n, labels, accuracy and macro average precision of each location, by name."""
    rows: dict[tuple[str, str], list[int]] = {}
    for row, location in enumerate(predictions.locations):
        rows.setdefault(location, []).append(row)
    return [
        _measure_location(*name, predictions.select(np.array(rows[name]))) for name in sorted(rows)
    ]


def _measure_location(dataset: str, location: str, here: Predictions) -> dict[str, Any]:
    aps = compute_label_aps(here)
    return {
        "dataset": dataset,
        "location": location,
        "n": len(here),
        "labels": len(np.unique(here.truth)),
        "accuracy": float(here.right.mean()),
        "macro_average_precision": as_number(average_macro(here, aps)[0]),
    }


def measure_groups(predictions: Predictions) -> dict[str, Any]:
    """Return the headline by light, and by the box's share of the image's area."""
    width, height = (
        predictions.rows[side].to_numpy(dtype=np.float64) for side in ("width", "height")
    )
    grey, small = predictions.grey, width * height < SMALL_BOX_MAX
    masks = {"day": ~grey, "night": grey, "small box": small, "large box": ~small}
    return {name: measure_headline(predictions.select(mask)) for name, mask in masks.items()}


def measure_sequences(predictions: Predictions) -> dict[str, Any]:
    """Return the headline of whole sequences, by the mean logit over the crops of each.

    A sequence is of one location. One with crops of several labels has no one answer: it is left
    out and counted.
    """
    keys = list(zip(predictions.locations, predictions.sequences, strict=True))
    number = {key: i for i, key in enumerate(sorted(set(keys)))}
    index = np.array([number[key] for key in keys])
    n = len(number)
    logits = np.zeros((n, len(predictions.labels)))
    np.add.at(logits, index, to_logits(predictions.probabilities))
    means = special.softmax(logits / np.bincount(index, minlength=n)[:, None], axis=1)
    least, most = np.full(n, len(predictions.labels)), np.full(n, -1)
    np.minimum.at(least, index, predictions.truth)
    np.maximum.at(most, index, predictions.truth)
    locations = [location for location, _ in sorted(number)]
    every = Predictions.from_arrays(predictions.labels, means, most, locations)
    whole = every.select(least == most)
    return measure_headline(whole) | {"of_several_labels": int((least != most).sum())}


def compare_seen_and_new(seen: Predictions, new: Predictions) -> dict[str, Any]:
    """Return both sides, and by how much the classifier is better at the locations it knows.

    On the crops of the labels that both sides have, since labels differ in how hard they are;
    `left_out` counts the crops of the others on each side.
    """
    shared = np.intersect1d(seen.truth, new.truth)
    given = {"seen": seen, "new": new}
    sides = {
        name: measure_headline(side.select(np.isin(side.truth, shared)))
        for name, side in given.items()
    }
    return {
        "labels": [seen.labels[index] for index in shared],
        "left_out": {name: _count_left_out(side, shared) for name, side in given.items()},
        **sides,
        "gap": {name: _measure_gap(sides["seen"], sides["new"], name) for name in HEADLINE},
    }


def _count_left_out(predictions: Predictions, shared: Ints) -> dict[str, int]:
    """Return how many crops there are of each label that is not in `shared`."""
    counts = np.bincount(predictions.truth, minlength=len(predictions.labels))
    missing = np.setdiff1d(predictions.truth, shared)
    return {predictions.labels[index]: int(counts[index]) for index in missing}


def _measure_gap(seen: dict[str, Any], new: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a metric at seen locations less that at new ones, and its interval."""
    ends = seen["intervals"][name], new["intervals"][name]
    known = seen[name] is not None and new[name] is not None
    return {
        "gap": seen[name] - new[name] if known else None,
        "interval": None
        if None in ends
        else intervals.subtract_unpaired(seen[name], new[name], *ends),
    }
