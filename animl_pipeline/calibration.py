"""How far a probability can be taken at its word, and the temperature that mends it.

Temperature scaling (Guo et al. 2017): the logits are divided by one number T, which changes how
sure the classifier is but not what it says. The log of a probability is its logit up to a constant
of its row, so all of it can be had from the written predictions.
"""

from typing import Any

import numpy as np
from scipy import optimize, special

from animl_pipeline.scored import Floats, Ints

BINS = 15  # of equal width, as torchmetrics' default
FLOOR = 5e-10  # half of the last decimal of a written probability, for those written as 0
TEMPERATURES = (0.05, 20.0)  # past them the fit has run away, on rows all right or all wrong


def logits(probabilities: Floats) -> Floats:
    """Return log(probability), kept off minus infinity."""
    return np.asarray(np.log(np.maximum(probabilities, FLOOR)))


def soften(probabilities: Floats, temperature: float) -> Floats:
    """Return the probabilities (n, labels) with their logits divided by the temperature."""
    return np.asarray(special.softmax(logits(probabilities) / temperature, axis=1))


def fit_temperature(probabilities: Floats, truth: Ints) -> float:
    """Return the temperature of the least log loss, to 6 decimals, within TEMPERATURES."""
    found, rows = logits(probabilities), np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        scaled = found / np.exp(log_temperature)
        return float((special.logsumexp(scaled, axis=1) - scaled[rows, truth]).mean())

    # In 1 / T the loss is convex, so in log T it has one valley, which bounded search finds.
    low, high = np.log(TEMPERATURES)
    best = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded")
    return round(float(np.exp(best.x)), 6)


def bins_of(top: Floats) -> Ints:
    """Return the bin (n,) of each top probability: [0, 1/15), ..., [14/15, 1), and 1 itself.

    As torchmetrics has them.
    """
    edges = np.linspace(0, 1, BINS + 1)
    return np.asarray(np.searchsorted(edges, top, side="right") - 1)


def reliability(probabilities: Floats, truth: Ints) -> list[dict[str, Any]]:
    """Return for each bin that has rows: n, mean top probability, and share that is right."""
    top = probabilities.max(axis=1)
    right, bins = probabilities.argmax(axis=1) == truth, bins_of(top)
    return [
        {
            "n": int((bins == number).sum()),
            "probability": float(top[bins == number].mean()),
            "accuracy": float(right[bins == number].mean()),
        }
        for number in np.unique(bins)
    ]
