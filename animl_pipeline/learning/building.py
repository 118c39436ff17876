"""Put together a run: the crops it sees, their order, and what changes the network."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from animl_pipeline import artifacts, classifier, processes, recipe
from animl_pipeline.errors import InputInvalid
from animl_pipeline.learning import together
from animl_pipeline.learning.augmentation import augmentation
from animl_pipeline.learning.data import Crops, loader
from animl_pipeline.learning.optimisation import make_optimizer
from animl_pipeline.learning.sampling import Drawn, Draws, crop_weights
from animl_pipeline.learning.state import Learner


def build_learner(
    fabric: Fabric,
    network: nn.Module,
    dataset: pd.DataFrame,
    card: classifier.Card,
    *,
    crops_dir: Path,
    weights: NDArray[np.float64] | None,
    loss_weighted: bool,
    label_smoothing: float,
    batch_size: int,
    splits_batches: bool,
    readers: int | None,
    seed: int,
    optimizer: recipe.Optimizer,
    lr: float,
    weight_decay: float,
    schedule: recipe.Schedule,
    warmup_epochs: float,
    epochs: int,
) -> Learner:
    """Return a network with its data and all that changes it.

    `weights` (n,) of the crops of train decide how often each is drawn or, if `loss_weighted`, how
    much it counts in the loss. `readers` are the processes that read crops; None: the cores.
    """
    readers = readers if readers is not None else min(8, os.cpu_count() or 1)
    train = crops_of(dataset, "train", card, crops_dir, augmentation(card.image_size), replace=True)
    val = crops_of(dataset, "val", card, crops_dir, classifier.transform(card), replace=False)
    draws = Draws(
        len(train), None if loss_weighted else weights, batch_size=batch_size, seed=seed,
        rank=processes.rank(), ranks=processes.count(),
    )  # fmt: skip
    in_loss = weights / weights.mean() if loss_weighted and weights is not None else None
    network = together.share_batch_norm(network, fabric.device)
    network, stepper = fabric.setup(
        network, make_optimizer(optimizer, network, lr=lr, weight_decay=weight_decay)
    )
    own = together.share(len(val))
    return Learner(
        fabric, network, stepper,
        rate=partial(
            recipe.rate, lr, schedule, steps=draws.steps, epochs=epochs,
            warmup_epochs=warmup_epochs,
        ),
        labels=card.labels,
        draws=draws,
        train=loader(Drawn(train, in_loss), batches=draws, workers=readers),
        val=loader(val, batch_size=batch_size, workers=readers, order=own) if val else None,
        label_smoothing=label_smoothing,
        splits_batches=splits_batches,
    )  # fmt: skip


def crops_of(
    dataset: pd.DataFrame,
    split: str,
    card: classifier.Card,
    crops_dir: Path,
    transform: Callable[[Any], Any],
    *,
    replace: bool,
) -> Crops:
    """Return the crops of a split as a data set; its truth is numbers in the labels' order."""
    number = {label: index for index, label in enumerate(card.labels)}
    rows = dataset[dataset["split"] == split]
    truth = [number[label] for label in rows["label"]]
    return Crops(crops_dir, list(rows["crop"]), truth, transform, replace=replace)


def train_weights(
    dataset: pd.DataFrame, labels: list[str], *, by_confidence: bool, beta: float
) -> NDArray[np.float64]:
    """Return the weight of each crop of train (n,): see `crop_weights`.

    Raises:
        InputInvalid: a label has no crop with a confidence, by which they are to be weighted.
    """
    rows = dataset[dataset["split"] == "train"]
    confidence = rows[artifacts.CONFIDENCE]
    if by_confidence and not (sure := confidence.groupby(rows["label"]).sum() > 0).all():
        raise InputInvalid(
            f"No crop of {sure.idxmin()!r} in train has a confidence above 0, so that "
            "--confidence-weighted cannot choose among them: leave it out."
        )
    truth = np.array([labels.index(label) for label in rows["label"]])
    given = confidence.to_numpy(np.float64) if by_confidence else None
    return crop_weights(truth, given, beta=beta)
