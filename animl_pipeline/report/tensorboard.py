"""Show in TensorBoard, as pictures, the most extreme examples of each label."""

import re
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from torchvision.transforms.v2 import functional

from animl_pipeline.classifier.predictions import Ints, Predictions
from animl_pipeline.classifier.preprocessing import pad_to_square
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.images import opening

SIDE_PX = 112
KINDS = ("true positive", "false positive", "false negative")


def find_most_extreme(predictions: Predictions, label: int, kind: str, count: int) -> Ints:
    """Return the rows of the `count` most confident examples of a kind, the most extreme first.

    True positives by the lead over the second label; false ones by the lead of the wrong label
    over the true one: filed under the predicted label (false positive) or the true (false
    negative).
    """
    probabilities, truth = predictions.probabilities, predictions.truth
    chosen, rows = predictions.predicted, np.arange(len(truth))
    own, top = probabilities[rows, truth], probabilities[rows, chosen]
    others = probabilities.copy()
    others[rows, chosen] = 0
    wanted, lead = {
        "true positive": ((truth == label) & (chosen == label), top - others.max(axis=1)),
        "false positive": ((truth != label) & (chosen == label), top - own),
        "false negative": ((truth == label) & (chosen != label), top - own),
    }[kind]
    of_kind = rows[wanted]
    return np.asarray(of_kind[np.argsort(-lead[wanted], kind="stable")][:count])


def log_extremes(
    writer: SummaryWriter, predictions: Predictions, crops_dir: Path, *, count: int, epoch: int
) -> None:
    """Write a strip of pictures per label and kind, and below its name what is on it."""
    crops = list(predictions.rows["crop"])
    for index, label in enumerate(predictions.labels):
        for kind in KINDS:
            rows = find_most_extreme(predictions, index, kind, count)
            if not len(rows):
                continue
            strip = torch.cat([_read_picture(crops_dir / crops[row]) for row in rows], dim=2)
            writer.add_image(f"{label}/{kind}", strip, epoch)
            writer.add_text(f"{label}/{kind}", _make_table(predictions, rows), epoch)


def _make_table(predictions: Predictions, rows: Ints) -> str:
    """Return the crops of a strip, from left to right, as a table in Markdown."""
    labels = predictions.labels
    lines = [("crop", "label", "predicted", "probability"), ("---",) * 4]
    for row in rows:
        truth, best = labels[predictions.truth[row]], labels[predictions.predicted[row]]
        probability = f"{predictions.probabilities[row].max():.3f}"
        lines.append((predictions.rows["crop"].iloc[row], truth, best, probability))
    return "\n".join("| " + " | ".join(_escape(cell) for cell in line) + " |" for line in lines)


def _escape(name: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|])", r"\\\1", name)


def _read_picture(path: Path) -> torch.Tensor:
    """Return a crop as (3, side, side), 0..1; black where it cannot be read any more."""
    try:
        image = pad_to_square(opening.open_upright(path)).resize((SIDE_PX, SIDE_PX))
    except ImageUnusable:
        return torch.zeros(3, SIDE_PX, SIDE_PX)
    picture: torch.Tensor = functional.to_dtype(functional.to_image(image), scale=True)
    return picture
