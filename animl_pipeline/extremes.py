"""The most extreme examples per label, as pictures in TensorBoard."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from animl_pipeline.classifier import Predictions

KINDS = ("true positive", "false positive", "false negative")


def most_extreme(predicted: Predictions, label: int, kind: str, count: int) -> NDArray[np.int64]:
    """Return the rows of the `count` most confident examples of a kind, the most extreme first.

    True positives by the lead over the second label; false ones by the lead of the wrong label
    over the true one: filed under the predicted label (false positive) or the true (false
    negative).
    """
    probabilities, truth = predicted.probabilities, predicted.truth
    chosen, rows = probabilities.argmax(axis=1), np.arange(len(truth))
    own, top = probabilities[rows, truth], probabilities[rows, chosen]
    others = probabilities.copy()
    others[rows, chosen] = 0
    wanted, lead = {
        "true positive": ((truth == label) & (chosen == label), top - others.max(axis=1)),
        "false positive": ((truth != label) & (chosen == label), top - own),
        "false negative": ((truth == label) & (chosen != label), top - own),
    }[kind]
    found = rows[wanted]
    return np.asarray(found[np.argsort(-lead[wanted], kind="stable")][:count])


def log(
    writer: SummaryWriter,
    predicted: Predictions,
    labels: list[str],
    picture: Callable[[int], Any],
    *,
    count: int,
    epoch: int,
) -> None:
    """Write a strip of pictures per label and kind; `picture(row)` is (3, side, side), 0..1."""
    for index, label in enumerate(labels):
        for kind in KINDS:
            rows = most_extreme(predicted, index, kind, count)
            if not len(rows):
                continue
            strip = torch.cat([picture(int(row)) for row in rows], dim=2)
            writer.add_image(f"{label}/{kind}", strip, epoch)
