"""Where a classifier does well and where it does not: by location, light, size of box, sequence."""

from typing import Any

import numpy as np
from scipy import special

from animl_pipeline import calibration, intervals, metrics
from animl_pipeline.scored import Floats, Rows, Scored

SMALL_BOX_MAX = 0.02  # of the image's area: below it few pixels are left of the animal


def headline(scored: Scored) -> dict[str, Any]:
    """Return n, accuracy and macro average precision, each with its interval, and locations."""
    values = _values(scored)
    return {
        "n": len(scored),
        "locations": len(set(scored.places)),
        **{name: metrics.number(value[0]) for name, value in values.items()},
        "intervals": {name: intervals.jackknife(value) for name, value in values.items()},
    }


def _values(scored: Scored) -> dict[str, Floats]:
    """Return accuracy and macro average precision under `leave_one_out` weights."""
    if not len(scored):
        return {name: np.full(1, np.nan) for name in ("accuracy", "macro_average_precision")}
    weights = intervals.leave_one_out(scored.groups)
    right = np.bincount(scored.group, scored.right, scored.groups) @ weights
    all_ = np.bincount(scored.group, minlength=scored.groups) @ weights
    accuracy = np.divide(right, all_, out=np.full_like(right, np.nan), where=all_ > 0)
    aps = metrics.label_average_precisions(scored, weights)
    return {"accuracy": accuracy, "macro_average_precision": metrics.mean_of_known(aps)}


def by_location(scored: Scored) -> list[dict[str, Any]]:
    """Return n, accuracy and macro average precision of each location, in the order of names."""
    rows: dict[tuple[str, str], list[int]] = {}
    for row, place in enumerate(scored.places):
        rows.setdefault(place, []).append(row)
    return [_location(place, scored.only(np.array(rows[place]))) for place in sorted(rows)]


def _location(place: tuple[str, str], here: Scored) -> dict[str, Any]:
    dataset, location = place
    aps = metrics.label_average_precisions(here)
    return {
        "dataset": dataset,
        "location": location,
        "n": len(here),
        "accuracy": float(here.right.mean()),
        "macro_average_precision": metrics.number(metrics.mean_of_known(aps)[0]),
    }


def groups(scored: Scored, grey: Rows, areas: Floats) -> dict[str, Any]:
    """Return the headline by light (n,) and by the box's share of the image's area (n,)."""
    small = areas < SMALL_BOX_MAX
    masks = {"day": ~grey, "night": grey, "small box": small, "large box": ~small}
    return {name: headline(scored.only(mask)) for name, mask in masks.items()}


def sequences(scored: Scored, names: list[str]) -> dict[str, Any]:
    """Return the headline of whole sequences, by the mean logit over the crops of each.

    `names` (n,) tells the sequences of one location apart. A sequence with crops of several
    labels has no one answer: it is left out and counted.
    """
    keys = list(zip(scored.places, names, strict=True))
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
    whole = Scored(scored.labels, means, most, places).only(least == most)
    return headline(whole) | {"of_several_labels": int((least != most).sum())}


def gap(seen: Scored, new: Scored) -> dict[str, Any]:
    """Return both sides, and by how much the classifier is better at the locations it knows."""
    sides = {"seen": headline(seen), "new": headline(new)}
    values = _values(seen), _values(new)
    found: dict[str, Any] = {}
    for name in ("accuracy", "macro_average_precision"):
        one, other = (side[name] for side in values)
        found[name] = {
            "gap": metrics.number(one[0] - other[0]),
            "interval": intervals.unpaired(one, other),
        }
    return sides | {"gap": found}
