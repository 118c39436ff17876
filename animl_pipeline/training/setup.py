"""Put together a run: the crops it sees, their order, and what changes the network."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from animl_pipeline.artifacts import tables
from animl_pipeline.artifacts.splits import TRAIN, VAL
from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier.crops import Crops, loader, share_cache
from animl_pipeline.classifier.preprocessing import Transform, make_transform
from animl_pipeline.errors import InputInvalid, OptionError
from animl_pipeline.running import processes
from animl_pipeline.training import distributed, embeddings, freezing, recipe
from animl_pipeline.training.augmentation import augmented
from animl_pipeline.training.averaging import Average
from animl_pipeline.training.embeddings import Embeddings
from animl_pipeline.training.optimisation import make_optimizer
from animl_pipeline.training.sampling import Drawn, Draws, crop_weights
from animl_pipeline.training.state import Learner


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
    ema_epochs: float,
    epochs: int,
    freeze: recipe.Freeze,
    unfreeze_after: int,
    cache_embeddings: bool,
    augmentation: recipe.Augmentation,
    cache_gb: float,
) -> Learner:
    """Return a network with its data and all that changes it.

    `weights` (n,) of the crops of train decide how often each is drawn or, if `loss_weighted`, how
    much it counts in the loss. `readers` are the processes that read crops; None: the cores.

    Raises:
        OptionError: what is frozen does not go with the other options.
    """
    freeze = _checked(freeze, cache_embeddings=cache_embeddings)
    readers = readers if readers is not None else min(8, os.cpu_count() or 1)
    whole = distributed.share_batch_norm(network, fabric.device)
    network, train, val = _shown(
        fabric, whole, dataset, card, crops_dir=crops_dir, augmentation=augmentation,
        cache_embeddings=cache_embeddings, cache_gb=cache_gb, readers=readers,
    )  # fmt: skip
    readers = 0 if cache_embeddings else readers  # they are in memory
    draws = Draws(
        len(train), None if loss_weighted else weights, batch_size=batch_size, seed=seed,
        rank=processes.rank(), ranks=processes.count(),
    )  # fmt: skip

    def begin_epoch(epoch: int) -> None:
        freezing.train_mode(whole, frozen=freeze.holds(epoch, unfreeze_after=unfreeze_after))

    begin_epoch(0)  # several processes agree now on what there is to agree on
    in_loss = weights / weights.mean() if loss_weighted and weights is not None else None
    learns, stepper = fabric.setup(
        network, make_optimizer(optimizer, network, lr=lr, weight_decay=weight_decay)
    )
    own = distributed.share(len(val))
    return Learner(
        fabric, learns, Average(network, steps=ema_epochs * draws.steps), stepper,
        rate=partial(
            recipe.rate, lr, schedule, steps=draws.steps, epochs=epochs,
            warmup_epochs=warmup_epochs,
        ),
        labels=card.labels,
        draws=draws,
        train=loader(Drawn(train, in_loss), batches=draws, workers=readers),
        val=loader(val, batch_size=batch_size, workers=readers, order=own) if val else None,
        val_rows=dataset[dataset["split"] == "val"],
        label_smoothing=label_smoothing,
        splits_batches=splits_batches,
        begin_epoch=begin_epoch,
    )  # fmt: skip


def _shown(
    fabric: Fabric,
    network: nn.Module,
    dataset: pd.DataFrame,
    card: classifier.Card,
    *,
    crops_dir: Path,
    augmentation: recipe.Augmentation,
    cache_embeddings: bool,
    cache_gb: float,
    readers: int,
) -> tuple[nn.Module, Crops | Embeddings, Crops | Embeddings]:
    """Return the network as it is to learn, and what it is shown: train and val."""
    plain = make_transform(card)
    seen = plain if cache_embeddings else augmented(card, augmentation)
    train = crops_of(dataset, TRAIN, card, crops_dir, seen, replace=True)
    val = crops_of(dataset, VAL, card, crops_dir, plain, replace=False)
    if not cache_embeddings:
        share_cache([train, val], card, gigabytes=cache_gb)
        return network, train, val
    of_train, of_val = embeddings.of_parts(
        fabric, network, [train, val], card, gigabytes=cache_gb, readers=readers
    )
    return embeddings.OnEmbeddings(network), of_train, of_val


def _checked(freeze: recipe.Freeze, *, cache_embeddings: bool) -> recipe.Freeze:
    if cache_embeddings and freeze is recipe.Freeze.STAGED:
        raise OptionError(
            "--cache-embeddings trains a head alone: leave out --freeze staged, or start a second "
            "run from this one with --weights."
        )
    if freeze is recipe.Freeze.STAGED and processes.count() > 1:
        raise OptionError(
            "--freeze staged is for one process: freeze with --freeze head, then start a second "
            "run from the first with --weights."
        )
    return recipe.Freeze.HEAD if cache_embeddings else freeze


def crops_of(
    dataset: pd.DataFrame,
    split: str,
    card: classifier.Card,
    crops_dir: Path,
    transform: Transform,
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
    rows = dataset[dataset["split"] == TRAIN]
    confidence = rows[tables.CONFIDENCE]
    if by_confidence and not (sure := confidence.groupby(rows["label"]).sum() > 0).all():
        raise InputInvalid(
            f"No crop of {sure.idxmin()!r} in train has a confidence above 0, so that "
            "--confidence-weighted cannot choose among them: leave it out."
        )
    truth = np.array([labels.index(label) for label in rows["label"]])
    given = confidence.to_numpy(np.float64) if by_confidence else None
    return crop_weights(truth, given, beta=beta)
