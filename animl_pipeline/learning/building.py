"""Put together a run: the crops it sees, their order, and what changes the network."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import nn

from animl_pipeline import classifier
from animl_pipeline.learning.augmentation import augmentation
from animl_pipeline.learning.data import Crops, loader, sampler
from animl_pipeline.learning.optimisation import optimisation
from animl_pipeline.learning.state import Learner

LR_DECAY = 0.97 ** (1 / 2.4)  # per epoch; EfficientNet's published 0.97 every 2.4 epochs


def build_learner(
    fabric: Fabric,
    network: nn.Module,
    dataset: pd.DataFrame,
    card: classifier.Card,
    *,
    crops_dir: Path,
    batch_size: int,
    readers: int | None,
    label_weighted: bool,
    lr: float,
    weight_decay: float,
) -> Learner:
    """Return a network with its data; `readers` are processes that read crops, None: the cores."""
    readers = readers if readers is not None else min(8, os.cpu_count() or 1)
    generator = torch.Generator()
    train = crops_of(dataset, "train", card, crops_dir, augmentation(card.image_size), replace=True)
    val = crops_of(dataset, "val", card, crops_dir, classifier.transform(card), replace=False)
    order = sampler(train, label_weighted=label_weighted, generator=generator)
    optimizer, scheduler = optimisation(
        network, lr=lr, weight_decay=weight_decay, lr_decay=LR_DECAY
    )
    network, optimizer = fabric.setup(network, optimizer)
    return Learner(
        fabric, network, optimizer, scheduler,
        train=loader(
            train, batch_size=batch_size, workers=readers, generator=generator, order=order
        ),
        val=loader(val, batch_size=batch_size, workers=readers) if val else None,
        generator=generator,
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
