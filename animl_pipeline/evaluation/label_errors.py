"""Rank labels that are likely wrong: the classifier is surest that these are not so.

They are ranked by the margin: the log of the most probable other label's probability over the
label's own. It needs no second network, and no temperature changes its order by much.
"""

import numpy as np

from animl_pipeline.classifier.predictions import Floats, Ints, Predictions, to_logits


def compute_margins(predictions: Predictions) -> tuple[Floats, Ints]:
    """Return for each row the margin of the best other label over its own, and that label (n,)."""
    logits, rows = to_logits(predictions.probabilities), np.arange(len(predictions))
    own = logits[rows, predictions.truth]
    others = logits.copy()
    others[rows, predictions.truth] = -np.inf
    best = others.argmax(axis=1)
    return others[rows, best] - own, np.asarray(best)


def rank_suspects(predictions: Predictions) -> tuple[Ints, Floats, Ints]:
    """Return the rows from the likeliest error down, their margins, and the label suggested.

    Bools that the classifier would label as they are labelled are not among them.
    """
    margin, suggested = compute_margins(predictions)
    order = np.argsort(-margin, kind="stable")
    order = order[margin[order] > 0]
    return order, margin[order], suggested[order]
