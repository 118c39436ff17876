"""Summarise the locations that a run was tested on, and choose how far from them is far."""

import numpy as np

from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.prediction.cameras import (
    BOXES_MIN,
    BoxTraits,
    add_summaries,
    measure_differences,
    measure_distance,
    summarise,
)
from animl_pipeline.runs.policy import Cameras, CameraSummary, MeasuredOn

FALSE_ALARMS = 0.05  # of the known locations, each left out in turn
KNOWN_MIN = 5  # locations with boxes enough: fewer tell nothing of how locations differ
SMALLEST = 0.05  # a scale below it would make much of nothing


def summarise_locations(splits: list[Predictions]) -> list[CameraSummary]:
    """Return what the boxes of each location are like, by name; of predictions with traits."""
    summaries = []
    for split in splits:
        names = np.array(["\n".join(location) for location in split.locations])
        for name in np.unique(names):
            here = split.select(names == name)
            summaries.append(summarise(*here.locations[0], describe_boxes(here)))
    return summaries


def describe_boxes(here: Predictions) -> BoxTraits:
    """Return what is compared of the boxes of a location."""
    width, height = (here.rows[side].to_numpy(dtype=np.float64) for side in ("width", "height"))
    traits = np.empty((len(here), 0), np.float32) if here.traits is None else here.traits
    return BoxTraits(here.probabilities, traits, width * height, here.grey)


def choose_cameras(known: list[CameraSummary], on: MeasuredOn) -> Cameras | None:
    """Return the known locations with the scales and the threshold that leaving each out gives.

    A scale is the mean of a difference. The threshold is the lowest distance that at most
    FALSE_ALARMS of the known locations are beyond. None where too few have boxes enough.
    """
    usable = [one for one in known if one.boxes >= BOXES_MIN]
    if len(usable) < KNOWN_MIN:
        return None
    differences = [measure_differences(one, add_summaries(leave_out(known, one))) for one in usable]
    scales = {
        name: max(float(np.mean([of[name].value for of in differences])), SMALLEST)
        for name in differences[0]
    }
    distances = sorted(measure_distance(of, scales) for of in differences)
    beyond = int(FALSE_ALARMS * len(distances))
    return Cameras(
        threshold=distances[len(distances) - 1 - beyond],
        wanted=FALSE_ALARMS,
        boxes_min=BOXES_MIN,
        scales=scales,
        measured_on=on,
        known=tuple(known),
    )


def leave_out(known: list[CameraSummary], one: CameraSummary) -> list[CameraSummary]:
    """Return the others."""
    return [other for other in known if other is not one]
