"""Predict the crops of a table: a probability per label, and what each picture is like."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from animl_pipeline.artifacts import tables
from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier.crops import Crops, loader
from animl_pipeline.classifier.networks import fold_batch_norms
from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.evaluation import mapping
from animl_pipeline.evaluation.mapping import Mapping

# On a CPU larger batches outgrow its caches: see the README, Measured.
BATCH_ON_CPU, BATCH_ON_GPU = 16, 128
# Infrared pictures are grey, up to a tint and the noise of JPEG: the mean over the pixels of the
# largest difference between two channels, 0 to 1.
GREY_SPREAD_MAX = 0.03
BLACK_MAX = 0.02  # 0 to 1; of padding, which may have been through JPEG

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predicted:
    """What was predicted (`artifacts.PREDICTIONS`) of the crops that could be read."""

    table: pd.DataFrame
    rows: pd.DataFrame  # of the dataset, one beside each of the table
    grey: NDArray[np.bool_]  # (n,)
    unreadable: list[str]  # crops

    def as_targets(self, targets: Mapping) -> "Predicted":
        """Return the same with probabilities of the labels that those of the network make up."""
        names = [name.removeprefix(tables.PROBABILITY) for name in self.table.columns[6:]]
        soft = self.table[[tables.PROBABILITY + name for name in names]].to_numpy(np.float64)
        found = mapping.normalised(mapping.summed(soft, names, targets)).round(9)
        labels = list(targets)
        table = self.table[list(tables.PREDICTIONS.columns)].assign(
            predicted=[labels[i] for i in found.argmax(axis=1)]
        )
        columns = [tables.PROBABILITY + label for label in labels]
        table = pd.concat([table, pd.DataFrame(found, columns=columns)], axis=1)
        return Predicted(table, self.rows, self.grey, self.unreadable)


class Watched(nn.Module):
    """A network that notes how colourful the pictures are that pass through it."""

    def __init__(self, network: nn.Module, card: classifier.Card) -> None:
        super().__init__()
        self.network = network
        self.std, self.mean = (torch.tensor(v).view(1, 3, 1, 1) for v in (card.std, card.mean))
        self.spreads: list[Tensor] = []

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits (b, labels) of normalised pictures (b, 3, side, side)."""
        shown = pictures * self.std.to(pictures.device) + self.mean.to(pictures.device)
        self.spreads.append(colour_spread(shown).cpu())
        logits: Tensor = self.network(pictures)
        return logits


def colour_spread(shown: Tensor) -> Tensor:
    """Return the mean largest difference between two channels (b,) of pictures (b, 3, h, w), 0..1.

    Rows and columns that are black from end to end are padding, and say nothing of the light.
    """
    most = shown.amax(dim=1)
    lit = most > BLACK_MAX
    own = lit.any(dim=2, keepdim=True) & lit.any(dim=1, keepdim=True)
    spread = (most - shown.amin(dim=1)) * own
    return spread.sum(dim=(1, 2)) / own.sum(dim=(1, 2)).clamp(min=1)


def predict(
    fabric: Fabric,
    network: nn.Module,
    card: classifier.Card,
    rows: pd.DataFrame,
    crops_dir: Path,
    title: str,
) -> Predicted:
    """Return what the network says of the crops of some rows of a dataset.

    Crops that cannot be read are left out, and said. The labels of the rows may be other than the
    network's own.
    """
    watched = Watched(fold_batch_norms(network), card).to(fabric.device)
    crops = Crops(crops_dir, list(rows["crop"]), [0] * len(rows), make_transform(card))
    batches = loader(
        crops,
        batch_size=BATCH_ON_CPU if fabric.device.type == "cpu" else BATCH_ON_GPU,
        workers=min(8, os.cpu_count() or 1),
    )
    found = classifier.predict(fabric, fabric.setup(watched), batches, title)
    unreadable = list(rows["crop"][~found.readable])
    for crop in unreadable:
        logger.warning("%s cannot be read: left out; run `pipeline crop` again", crop)
    rows = rows[found.readable].reset_index(drop=True)
    best = found.probabilities.argmax(axis=1)
    table = rows[["crop", "image", "dataset", "location", "label"]].assign(
        predicted=[card.labels[i] for i in best]
    )
    names = [tables.PROBABILITY + label for label in card.labels]
    spread = torch.cat(watched.spreads).numpy()[found.readable]
    return Predicted(
        pd.concat([table, pd.DataFrame(found.probabilities, columns=names)], axis=1),
        rows,
        spread <= GREY_SPREAD_MAX,
        unreadable,
    )
