"""Whether a camera is like those that a run was tested on, by what its boxes are like.

What is compared are boxes that the classifier saw: how sure it is, which labels it says, how many
are grey, how large they are, and where they lie in the principal directions of its features.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from animl_pipeline.prediction.answers import ImageAnswer
from animl_pipeline.runs.policy import Cameras, CameraSummary

BOXES_MIN = 10  # fewer say too little of a camera
PROBABILITY_EDGES = np.linspace(0, 1, 11)
AREA_EDGES = np.array([0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, np.inf])  # of the image's
WORDS = {
    "probability": "how sure the classifier is",
    "labels": "which labels it says",
    "area": "how large the boxes are",
    "grey": "how many are grey",
    "traits": "what the crops look like",
}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BoxTraits:
    """Boxes of a location: calibrated `probabilities` (n, labels), and per box what is compared.

    `traits` (n, k) of the features; `areas` (n,) of the image's; `grey` (n,).
    """

    probabilities: Floats
    traits: NDArray[np.float32]
    areas: Floats
    grey: NDArray[np.bool_]


@dataclass(frozen=True)
class CameraVerdict:
    """How far a location is from those that the run was tested on; `words` are for a person.

    `distance` is NaN where there are too few boxes to say; `is_unlike`: it is past the threshold.
    """

    location: str
    images: int
    boxes: int
    distance: float
    is_unlike: bool
    words: str


class CameraTally:
    """What a location's boxes are like, added up image by image in memory of one size."""

    def __init__(self, location: str, temperature: float, dataset: str = "") -> None:
        self.dataset, self.location, self.temperature = dataset, location, temperature
        self.images = 0
        self.summary: CameraSummary | None = None

    def add(self, image: ImageAnswer) -> None:
        """Add an image's classified boxes."""
        self.images += 1
        boxes = [
            (box.logits, box.traits, box.detection.box, box.is_grey)
            for box in image.boxes
            if box.logits is not None
        ]
        if not boxes:
            return
        logits, traits, places, grey = zip(*boxes, strict=True)
        scaled = np.stack(logits).astype(np.float64) / self.temperature
        areas = np.array([width * height for _, _, width, height in places])
        self.add_boxes(
            BoxTraits(special.softmax(scaled, axis=1), np.stack(traits), areas, np.array(grey))
        )

    def add_boxes(self, boxes: BoxTraits) -> None:
        """Add classified boxes."""
        one = summarise(self.dataset, self.location, boxes)
        self.summary = one if self.summary is None else add_summaries([self.summary, one])


def summarise(dataset: str, location: str, boxes: BoxTraits) -> CameraSummary:
    """Return the counts and sums of a location's boxes."""
    traits = boxes.traits.astype(np.float64)
    labels = boxes.probabilities.shape[1]
    return CameraSummary(
        dataset=dataset,
        location=location,
        boxes=len(boxes.probabilities),
        probability=_count(boxes.probabilities.max(axis=1), PROBABILITY_EDGES),
        labels=tuple(np.bincount(boxes.probabilities.argmax(axis=1), minlength=labels).tolist()),
        area=_count(boxes.areas, AREA_EDGES),
        grey=int(boxes.grey.sum()),
        traits=tuple(traits.sum(axis=0).tolist()),
        squares=tuple((traits**2).sum(axis=0).tolist()),
    )


def _count(values: Floats, edges: Floats) -> tuple[int, ...]:
    """Return how many values are in each bin, what lies outside in the first or last."""
    inside = np.searchsorted(edges[1:-1], values, side="right")
    return tuple(np.bincount(inside, minlength=len(edges) - 1).tolist())


def add_summaries(summaries: Iterable[CameraSummary]) -> CameraSummary:
    """Return the sum of some, under the name of the first."""
    every = list(summaries)
    sums = {
        name: tuple(np.sum([getattr(one, name) for one in every], axis=0).tolist())
        for name in ("probability", "labels", "area", "traits", "squares")
    }
    return every[0].model_copy(
        update=sums | {name: sum(getattr(one, name) for one in every) for name in ("boxes", "grey")}
    )


class Difference(NamedTuple):
    """A difference, less that which as few boxes as these have `by_chance`."""

    value: float
    by_chance: float


def measure_differences(one: CameraSummary, others: CameraSummary) -> dict[str, Difference]:
    """Return in what a location differs from the sum of others, each difference from 0 up.

    Of counts: the total variation, half the sum of the differences of the shares. Of traits: the
    root of the mean squared difference of the means, in standard deviations of the others.
    """
    differences = {
        name: _measure_variation(getattr(one, name), getattr(others, name))
        for name in ("probability", "labels", "area")
    }
    grey = [(of.grey, of.boxes - of.grey) for of in (one, others)]
    differences["grey"] = _measure_variation(*grey)
    if one.traits:
        mean = np.array(others.traits) / others.boxes
        variance = np.array(others.squares) / others.boxes - mean**2 + 1e-12
        gap = ((np.array(one.traits) / one.boxes - mean) ** 2 / variance).mean()
        by_chance = 1 / one.boxes
        value = float(np.sqrt(max(0.0, gap - by_chance)))
        differences["traits"] = Difference(value, float(np.sqrt(by_chance)))
    return differences


def _measure_variation(one: tuple[int, ...], others: tuple[int, ...]) -> Difference:
    """Return the total variation between the shares of two counts.

    By chance a share of n boxes is off by sqrt(2 share (1 - share) / (pi n)) in the mean.
    """
    n, shares = sum(one), np.array(others) / sum(others)
    by_chance = float(np.sqrt(2 * shares * (1 - shares) / (np.pi * n)).sum() / 2)
    variation = float(np.abs(np.array(one) / n - shares).sum() / 2)
    return Difference(max(0.0, variation - by_chance), by_chance)


def measure_distance(differences: dict[str, Difference], scales: dict[str, float]) -> float:
    """Return the root mean square of the scaled differences."""
    scaled = scale_differences(differences, scales)
    return float(np.sqrt(np.mean(np.square(list(scaled.values())))))


def scale_differences(
    differences: dict[str, Difference], scales: dict[str, float]
) -> dict[str, float]:
    """Return each difference over its scale, to which chance is added: few boxes tell less."""
    return {name: of.value / (scales[name] + of.by_chance) for name, of in differences.items()}


def judge_cameras(tallies: Iterable[CameraTally], cameras: Cameras | None) -> list[CameraVerdict]:
    """Return a verdict on each location; none where the run has no cameras to compare with."""
    if cameras is None:
        return []
    pooled = add_summaries(cameras.known)
    return [_judge_camera(tally, pooled, cameras) for tally in tallies]


def _judge_camera(tally: CameraTally, pooled: CameraSummary, cameras: Cameras) -> CameraVerdict:
    one = tally.summary
    boxes = one.boxes if one else 0
    if one is None or boxes < cameras.boxes_min:
        words = f"too few boxes to say: {boxes} of at least {cameras.boxes_min}"
        return CameraVerdict(tally.location, tally.images, boxes, float("nan"), False, words)
    differences = measure_differences(one, pooled)
    distance = measure_distance(differences, cameras.scales)
    is_unlike = distance > cameras.threshold
    words = f"like the {len(cameras.known)} cameras it was tested on"
    if is_unlike:
        scaled = scale_differences(differences, cameras.scales)
        most = sorted(scaled, key=lambda name: -scaled[name])
        words = (
            f"unlike the {len(cameras.known)} cameras it was tested on, most in "
            f"{WORDS[most[0]]} and {WORDS[most[1]]}: look at some of its images before you rely on "
            "its answers"
        )
    return CameraVerdict(tally.location, tally.images, boxes, distance, is_unlike, words)
