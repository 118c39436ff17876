"""The most extreme examples per label, as pictures in TensorBoard."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter
from torchvision.transforms.v2 import functional

from animl_pipeline.classifier.card import Predictions
from animl_pipeline.classifier.preprocessing import pad_to_square
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.images import opening

SIDE_PX = 112
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
    crops: Any,
    *,
    count: int,
    epoch: int,
) -> None:
    """Write a strip of pictures per label and kind, and below its name what is on it.

    `crops` (a data set) were predicted.
    """
    read = [name for name, ok in zip(crops.names, predicted.readable, strict=True) if ok]
    for index, label in enumerate(labels):
        for kind in KINDS:
            rows = most_extreme(predicted, index, kind, count)
            if not len(rows):
                continue
            strip = torch.cat([_picture(crops.folder / read[row]) for row in rows], dim=2)
            writer.add_image(f"{label}/{kind}", strip, epoch)
            writer.add_text(f"{label}/{kind}", _table(predicted, labels, read, rows), epoch)


def _table(
    predicted: Predictions, labels: list[str], read: list[str], rows: NDArray[np.int64]
) -> str:
    """Return the crops of a strip, from left to right, as a table in Markdown."""
    lines = [("crop", "label", "predicted", "probability"), ("---",) * 4]
    for row in rows:
        soft, truth = predicted.probabilities[row], predicted.truth[row]
        best = soft.argmax()
        lines.append((read[row], labels[truth], labels[best], f"{soft[best]:.3f}"))
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _escaped(name: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|])", r"\\\1", name)


def _picture(path: Path) -> torch.Tensor:
    """Return a crop as (3, side, side), 0..1; black where it cannot be read any more."""
    try:
        image = pad_to_square(opening.open_upright(path)).resize((SIDE_PX, SIDE_PX))
    except ImageUnusable:
        return torch.zeros(3, SIDE_PX, SIDE_PX)
    picture: torch.Tensor = functional.to_dtype(functional.to_image(image), scale=True)
    return picture
