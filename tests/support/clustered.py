"""Simulated predictions at locations that differ: in labels, in difficulty, in bursts.

`scripts/bench evaluate --only coverage` measures with them how often an interval holds the
truth, which here is known: the figure over very many locations.
"""

import numpy as np
from scipy import special

from animl_pipeline.classifier.predictions import Ints, Predictions
from animl_pipeline.evaluation import average_precision

LABELS = ["fox", "bird", "skunk", "rodent", "lizard"]
SHARES = np.array([0.35, 0.25, 0.2, 0.12, 0.08])
MANY = 12_000
BURST = 4  # crops
SKILL = 1.6  # macro average precision 0.57


def made(locations: int, seed: int, *, crops: float = 25.0, skill: float = SKILL) -> Predictions:
    """Crops at so many locations, each with labels, difficulty and confusions of its own."""
    rng, c = np.random.default_rng(seed), len(LABELS)
    place, truth = _crops(rng, locations, crops)
    n = len(truth)
    logits = rng.normal(0, 0.9, (n, c)) + rng.normal(0, 0.7, (locations, c))[place]
    logits += rng.normal(0, 0.7, (n // BURST + 1, c))[np.arange(n) // BURST]
    logits[np.arange(n), truth] += rng.normal(skill, 0.6, locations)[place]
    places = [("island", f"{number:05}") for number in place]
    return Predictions.from_arrays(LABELS, special.softmax(logits, axis=1), truth, places)


def pair(locations: int, seed: int, *, apart: float = 0.0) -> tuple[Predictions, Predictions]:
    """What two classifiers say of the same crops, which they tend to get wrong together.

    What is hard is so for both in part; the rest of noise, confusions and difficulty is each one's
    own. The first has `apart` more skill: with 0 they are equal over all locations.
    """
    rng, c = np.random.default_rng(seed), len(LABELS)
    place, truth = _crops(rng, locations, 25.0)
    n = len(truth)
    common, hard = rng.normal(0, 0.6, (n, c)), rng.normal(0, 0.4, locations)
    places, both = [("island", f"{number:05}") for number in place], []
    for better in (apart, 0.0):
        logits = common + rng.normal(0, 0.6, (n, c)) + rng.normal(0, 0.7, (locations, c))[place]
        logits += rng.normal(0, 0.7, (n // BURST + 1, c))[np.arange(n) // BURST]
        own = hard + rng.normal(SKILL + better, 0.45, locations)
        logits[np.arange(n), truth] += own[place]
        both.append(Predictions.from_arrays(LABELS, special.softmax(logits, axis=1), truth, places))
    return both[0], both[1]


def _crops(rng: np.random.Generator, locations: int, crops: float) -> tuple[Ints, Ints]:
    """The location and the label of each crop."""
    count = np.maximum(1, rng.lognormal(np.log(crops) - 0.5, 1.0, locations)).astype(int)
    place = np.repeat(np.arange(locations), count)
    mix = rng.dirichlet(3 * SHARES, locations)[place].cumsum(axis=1)
    truth = (rng.random(len(place))[:, None] > mix).sum(axis=1).clip(0, len(LABELS) - 1)
    return place, truth


def truth_of_macro(skill: float = SKILL) -> float:
    """The macro average precision over MANY locations."""
    aps = average_precision.compute_label_aps(made(MANY, seed=1, skill=skill))
    return float(average_precision.average_known(aps)[0])
