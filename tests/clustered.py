"""Simulated predictions at locations that differ: in labels, in difficulty, in bursts.

`scripts/bench evaluate --only coverage` measures with them how often an interval holds the
truth, which here is known: the figure over very many locations.
"""

import numpy as np
from scipy import special

from animl_pipeline import metrics
from animl_pipeline.scored import Scored

LABELS = ["fox", "bird", "skunk", "rodent", "lizard"]
SHARES = np.array([0.35, 0.25, 0.2, 0.12, 0.08])
MANY = 12_000
BURST = 4  # crops
SKILL = 1.6  # macro average precision 0.57


def made(locations: int, seed: int, *, crops: float = 25.0, skill: float = SKILL) -> Scored:
    """Crops at so many locations, each with labels, difficulty and confusions of its own."""
    rng, c = np.random.default_rng(seed), len(LABELS)
    count = np.maximum(1, rng.lognormal(np.log(crops) - 0.5, 1.0, locations)).astype(int)
    place, n = np.repeat(np.arange(locations), count), count.sum()
    mix = rng.dirichlet(3 * SHARES, locations)[place].cumsum(axis=1)
    truth = (rng.random(n)[:, None] > mix).sum(axis=1).clip(0, c - 1)
    logits = rng.normal(0, 0.9, (n, c)) + rng.normal(0, 0.7, (locations, c))[place]
    logits += rng.normal(0, 0.7, (n // BURST + 1, c))[np.arange(n) // BURST]
    logits[np.arange(n), truth] += rng.normal(skill, 0.6, locations)[place]
    places = [("island", f"{number:05}") for number in place]
    return Scored(LABELS, special.softmax(logits, axis=1), truth, places)


def truth_of_macro(skill: float = SKILL) -> float:
    """The macro average precision over MANY locations."""
    aps = metrics.label_average_precisions(made(MANY, seed=1, skill=skill))
    return float(metrics.mean_of_known(aps)[0])
