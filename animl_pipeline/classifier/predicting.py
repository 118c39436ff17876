"""Predict crops: a probability per label, and whether each picture has colour."""

import logging
import os
from collections.abc import Callable, Sized
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from animl_pipeline.classifier import networks
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.crops import Crops, make_loader
from animl_pipeline.classifier.predictions import DECIMALS, Bools, Floats, Floats32, Predictions
from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.classifier.reference import Reference
from animl_pipeline.running.progress import progress

# On a CPU larger batches outgrow its caches: see docs, Measured.
BATCH_ON_CPU, BATCH_ON_GPU = 16, 128
# Infrared pictures are grey, up to a tint and the noise of JPEG: the mean over the pixels of the
# largest difference between two channels, 0 to 1.
GREY_SPREAD_MAX = 0.03
BLACK_MAX = 0.02  # 0 to 1; of padding, which may have been through JPEG

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predictor:
    """A trained network, its card, and the device that runs it."""

    fabric: Fabric
    network: nn.Module
    card: Card


# What is made of the features (b, width) and logits (b, labels) of a batch.
Observed = tuple[Floats32, ...]
Observe = Callable[[Floats32, Floats32], Observed]


@dataclass(frozen=True)
class Outputs:
    """What a network gave for all crops of a loader, in its order.

    `probabilities` (n, labels); `spread` (n,) of the colours, 0 to 1, or NaN where it was not
    asked for; `readable` (n,): the other values of a crop that could not be read mean nothing.
    Where asked for: `logits` (n, labels) and what was made of the features of each batch, in turn.
    """

    probabilities: Floats
    spread: Floats
    readable: Bools
    logits: Floats32 | None = None
    observed: tuple[Observed, ...] = ()

    def gather(self, part: int) -> Floats32:
        """Return one part of what was observed, of the readable crops, in their order."""
        return np.concatenate([batch[part] for batch in self.observed])[self.readable]

    def as_predictions(self, rows: pd.DataFrame, labels: list[str]) -> Predictions:
        """Return them beside the rows of dataset.csv (n) that the loader read the crops of."""
        return Predictions(
            rows[self.readable].reset_index(drop=True),
            labels,
            # By column, as a table holds them: the last digit of a sum over labels follows from it.
            np.asfortranarray(self.probabilities[self.readable]),
            self.spread[self.readable] <= GREY_SPREAD_MAX,
            list(rows["crop"][~self.readable]),
            logits=None if self.logits is None else self.logits[self.readable],
        )


class CropsWithSpread(Dataset[tuple[Tensor, int, int, Tensor]]):
    """Crops as of `Crops`, with the colour spread of each picture (a scalar) at the end."""

    def __init__(self, crops: Crops, card: Card) -> None:
        self.crops = crops
        self.std, self.mean = (torch.tensor(v).view(3, 1, 1) for v in (card.std, card.mean))

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int, Tensor]:
        picture, truth, read = self.crops[index]
        return picture, truth, read, measure_colour_spread(picture * self.std + self.mean)


def measure_colour_spread(shown: Tensor) -> Tensor:
    """Return the mean largest difference between two channels (a scalar) of a picture, 0 to 1.

    `shown` (3, h, w) is from 0 to 1. Rows and columns that are black from end to end are padding,
    and say nothing of the light.
    """
    highest = shown.amax(dim=0)
    lit = highest > BLACK_MAX
    inside = lit.any(dim=1, keepdim=True) & lit.any(dim=0, keepdim=True)
    spread = (highest - shown.amin(dim=0)) * inside
    return spread.sum() / inside.sum().clamp(min=1)


def predict_rows(
    predictor: Predictor,
    rows: pd.DataFrame,
    crops_dir: Path,
    title: str,
    reference: Reference | None = None,
) -> Predictions:
    """Return what the network says of the crops of some rows of dataset.csv.

    The probabilities are without temperature; see `Predictions.calibrate`. Crops that cannot be
    read are left out, and named in the log. The labels of the rows may be others than the
    network's own. With a reference there are unknown scores and traits.
    """
    observe = None if reference is None else _observe_unknown(reference)
    outputs = _predict(predictor, rows, crops_dir, title, observe)
    predictions = outputs.as_predictions(rows, predictor.card.labels)
    for crop in predictions.unreadable:
        logger.warning("%s cannot be read: left out; run `pipeline crop` again", crop)
    if reference is None:
        return predictions
    unknown, traits = outputs.gather(0)[:, 0].astype(np.float64), outputs.gather(1)
    return replace(predictions, unknown=unknown, traits=traits)


def embed_rows(
    predictor: Predictor, rows: pd.DataFrame, crops_dir: Path, title: str
) -> tuple[Floats32, Predictions]:
    """Return the features (n, width) of the crops that can be read, and their predictions."""
    outputs = _predict(predictor, rows, crops_dir, title, lambda features, _: (features,))
    return outputs.gather(0), outputs.as_predictions(rows, predictor.card.labels)


def _observe_unknown(reference: Reference) -> Observe:
    """Return what makes the unknown score (b, 1) and the traits (b, k) of a batch."""

    def observe(features: Floats32, logits: Floats32) -> Observed:
        unknown = reference.score_unknown(features, logits).astype(np.float32)
        return unknown[:, None], reference.measure_traits(features)

    return observe


def _predict(
    predictor: Predictor,
    rows: pd.DataFrame,
    crops_dir: Path,
    title: str,
    observe: Observe | None,
) -> Outputs:
    """Return what the network gives for the crops of some rows, as fast as the device can."""
    fabric, card = predictor.fabric, predictor.card
    network = networks.fold_batch_norms(predictor.network).to(fabric.device)
    crops = Crops(crops_dir, list(rows["crop"]), [0] * len(rows), make_transform(card))
    batches = make_loader(
        CropsWithSpread(crops, card),
        batch_size=BATCH_ON_CPU if fabric.device.type == "cpu" else BATCH_ON_GPU,
        workers=min(8, os.cpu_count() or 1),
    )
    return predict_batches(fabric, fabric.setup(network), batches, title, observe)


@torch.inference_mode()
def predict_batches(
    fabric: Fabric,
    network: nn.Module,
    batches: "DataLoader[Any]",
    title: str,
    observe: Observe | None = None,
) -> Outputs:
    """Return what a network gives for the batches of a loader, in its order.

    A batch is (pictures, truth, what was read), as of `Crops`, and maybe the colour spreads. What
    `observe` makes of each batch is kept, so that features need no room for all crops.
    """
    network.eval()
    logits, spreads, readables, observed = [], [], [], []
    with (
        progress(len(cast(Sized, batches.sampler)), title=title, unit="crop") as bar,
        networks.watch_features(network) if observe else nullcontext() as watched,
    ):
        for batch in batches:
            pictures, _, read, *spread = fabric.to_device(batch)
            output = network(pictures.contiguous(memory_format=torch.channels_last))
            logits.append(output.float().cpu())
            spreads.append(spread[0].cpu() if spread else torch.full(read.shape, torch.nan))
            readables.append((read == 0).cpu())
            if observe and watched:
                features = watched.features.float().cpu().numpy()
                observed.append(observe(features, logits[-1].numpy()))
            bar.update(len(read))
    every = torch.cat(logits)
    return Outputs(
        to_probabilities(every),
        torch.cat(spreads).double().numpy(),
        torch.cat(readables).numpy(),
        every.numpy(),
        tuple(observed),
    )


def to_probabilities(logits: Tensor) -> Floats:
    """Return softmax of logits (n, labels) in double precision, to 9 decimals, as files hold it."""
    soft = torch.softmax(logits.double(), dim=1).cpu().numpy()
    return np.asarray(np.round(soft, DECIMALS))
