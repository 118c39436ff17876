"""Fit the temperature that mends how sure a classifier is, and measure how far it is believed.

Temperature scaling (Guo et al. 2017): the logits are divided by one number T, which changes how
sure the classifier is but not what it says.
"""

from typing import Any

import numpy as np
from scipy import optimize, special

from animl_pipeline.classifier.predictions import Floats, Ints, Predictions, to_logits

BINS = 15  # of equal width, as torchmetrics' default
ADDED_LOCATIONS = 2  # to those a temperature is fitted on; docs, Measured
TEMPERATURES = (0.05, 20.0)  # past them the fit has run away, on rows all right or all wrong


def soften(probabilities: Floats, temperature: float) -> Floats:
    """Return the probabilities (n, labels) with their logits divided by the temperature."""
    return np.asarray(special.softmax(to_logits(probabilities) / temperature, axis=1))


def fit_temperature(predictions: Predictions) -> float:
    """Return the temperature of the least log loss, drawn towards 1 by how little the rows tell.

    Locations differ in how sure a classifier may be, so a few of them tell little about the next.
    The fit sees two locations more, at which 1 is right and which tell as much as the mean one (as
    Agresti & Coull 1998 add to a proportion): else it would run away where all rows are right. With
    t = log T and its standard error e over the locations, t is then multiplied by 1 - (e / t)^2, or
    0 where that is below (James & Stein 1961, the positive part): a plain misfit is mended, one
    within the noise is left alone. 1 for three locations or fewer, whose error nobody knows. Within
    TEMPERATURES, to 6 decimals.
    """
    logits = predictions.get_logits()
    _, curvature = _compute_slopes(logits, predictions.truth)
    best = np.log(
        find_least_loss(
            predictions, towards_1=ADDED_LOCATIONS / predictions.groups * curvature.sum()
        )
    )
    error = _estimate_error(logits / np.exp(best), predictions)
    kept = max(0.0, 1 - (error / best) ** 2) if best else 0.0
    return round(float(np.exp(kept * best)), 6)


def find_least_loss(predictions: Predictions, *, towards_1: float = 0.0) -> float:
    """Return the temperature T of the least log loss on these very rows, within TEMPERATURES.

    To the sum of their losses `towards_1` (log T)^2 / 2 is added.
    """
    logits, rows = predictions.get_logits(), np.arange(len(predictions))

    def compute_loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        own = float((special.logsumexp(scaled, axis=1) - scaled[rows, predictions.truth]).sum())
        return (own + towards_1 * log_temperature**2 / 2) / len(predictions)

    # In 1 / T the loss is convex, so in log T it has one valley, which bounded search finds.
    low, high = np.log(TEMPERATURES)
    return float(
        np.exp(optimize.minimize_scalar(compute_loss, bounds=(low, high), method="bounded").x)
    )


def _compute_slopes(scaled: Floats, truth: Ints) -> tuple[Floats, Floats]:
    """Return d loss / d log T of each row (n,) from its logits at T, and its expected curvature."""
    soft = special.softmax(scaled, axis=1)
    mean = (soft * scaled).sum(axis=1)
    spread = (soft * (scaled - mean[:, None]) ** 2).sum(axis=1)
    return scaled[np.arange(len(truth)), truth] - mean, spread


def _estimate_error(scaled: Floats, predictions: Predictions) -> float:
    """Return the error of the best log T over the locations, from logits (n, labels) at it.

    The sandwich for clustered rows (Liang & Zeger 1986): the spread of the locations' slopes over
    the curvature of the whole; and, since that spread is known from as many locations only, as much
    wider as Student's t with one degree of freedom less is than the normal distribution. Infinite
    where the rows tell nothing: they are of three locations or fewer, or any temperature does.
    """
    slopes, spread = _compute_slopes(scaled, predictions.truth)
    curvature, locations = float((spread - slopes).sum()), predictions.groups
    if locations <= 3 or curvature <= 0:
        return float("inf")
    of_location = np.bincount(predictions.group, slopes, locations)
    variance = locations / (locations - 1) * float((of_location**2).sum()) / curvature**2
    return float(np.sqrt(variance * (locations - 1) / (locations - 3)))


def bin_probabilities(top: Floats) -> Ints:
    """Return the bin (n,) of each top probability: [0, 1/15), ..., [14/15, 1), and 1 itself.

    As torchmetrics has them.
    """
    edges = np.linspace(0, 1, BINS + 1)
    return np.asarray(np.searchsorted(edges, top, side="right") - 1)


def measure_reliability(probabilities: Floats, truth: Ints) -> list[dict[str, Any]]:
    """Return for each bin that has rows: n, mean top probability, and share that is right."""
    top = probabilities.max(axis=1)
    right, bins = probabilities.argmax(axis=1) == truth, bin_probabilities(top)
    return [
        {
            "n": int((bins == number).sum()),
            "probability": float(top[bins == number].mean()),
            "accuracy": float(right[bins == number].mean()),
        }
        for number in np.unique(bins)
    ]
