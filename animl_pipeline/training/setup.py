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
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.crops import Crops, make_loader, share_cache
from animl_pipeline.classifier.preprocessing import Transform, make_transform
from animl_pipeline.errors import InputInvalid, OptionError
from animl_pipeline.running import processes
from animl_pipeline.training import distributed, frozen, optimisation
from animl_pipeline.training.augmentation import make_training_transform
from animl_pipeline.training.averaging import WeightAverage
from animl_pipeline.training.sampling import SeededBatchSampler, SeededDataset, weigh_crops
from animl_pipeline.training.settings import Course, Freeze, Machine, Recipe
from animl_pipeline.training.state import Learner

READERS_MAX = 8  # unless more are asked for


def build_learner(
    fabric: Fabric,
    network: nn.Module,
    dataset: pd.DataFrame,
    card: Card,
    *,
    recipe: Recipe,
    course: Course,
    machine: Machine,
    crops_dir: Path,
) -> Learner:
    """Return a network with its data (the rows of `dataset.csv`) and all that changes it.

    Raises:
        OptionError: options contradict one another, or the network.
        InputInvalid: a label has no crop with a confidence, by which they are to be weighted.
    """
    refuse_contradictions(recipe)
    readers = machine.num_workers
    readers = min(READERS_MAX, os.cpu_count() or 1) if readers is None else readers
    whole = learns = distributed.share_batch_norms(network, fabric.device)
    data = make_splits(dataset, card, recipe, crops_dir)
    train: Crops | frozen.Embeddings
    val: Crops | frozen.Embeddings
    if recipe.cache_embeddings:
        train, val = frozen.embed_splits(
            fabric, whole, data, card, gigabytes=machine.cache_gb, readers=readers
        )
        learns, readers = frozen.HeadOnly(whole), 0  # they are in memory
    else:
        share_cache(data, card, gigabytes=machine.cache_gb)
        train, val = data
    sampler, in_loss = make_sampler(dataset, card.labels, recipe)

    def begin_epoch(epoch: int) -> None:
        freeze = Freeze.HEAD if recipe.cache_embeddings else recipe.freeze
        is_frozen = freeze.is_on(epoch, unfreeze_after=recipe.unfreeze_after)
        frozen.set_train_mode(whole, is_frozen=is_frozen)

    begin_epoch(0)  # several processes agree now on what there is to agree on
    wrapped, optimizer = fabric.setup(learns, optimisation.make_optimizer(recipe, learns))
    average = WeightAverage(learns, steps=recipe.ema_epochs * sampler.steps)  # on the device
    own = distributed.share_out(len(val))
    val_loader = make_loader(val, batch_size=recipe.crops_per_step, workers=readers, order=own)
    return Learner(
        fabric,
        wrapped,
        average,
        optimizer,
        rate=partial(optimisation.compute_rate, recipe, steps=sampler.steps, epochs=course.epochs),
        labels=card.labels,
        sampler=sampler,
        train=make_loader(SeededDataset(train, in_loss), batches=sampler, workers=readers),
        val=val_loader if len(val) else None,
        val_rows=dataset[dataset["split"] == VAL],
        label_smoothing=recipe.label_smoothing,
        splits_batches=recipe.batch_size == "auto",
        begin_epoch=begin_epoch,
    )


def refuse_contradictions(recipe: Recipe) -> None:
    """Raise OptionError where options of a recipe do not go together."""
    is_one_process = processes.count() == 1
    if recipe.confidence_weighted and not (recipe.label_weighted or recipe.loss_weighted):
        raise OptionError("--confidence-weighted needs --label-weighted or --loss-weighted.")
    if recipe.batch_size == "auto" and not is_one_process:
        raise OptionError("--batch-size auto is for one process: give a number.")
    if recipe.freeze is Freeze.STAGED and recipe.cache_embeddings:
        raise OptionError(
            "--cache-embeddings trains a head alone: leave out --freeze staged, or start a second "
            "run from this one with --weights."
        )
    if recipe.freeze is Freeze.STAGED and not is_one_process:
        raise OptionError(
            "--freeze staged is for one process: freeze with --freeze head, then start a second "
            "run from the first with --weights."
        )


def make_splits(dataset: pd.DataFrame, card: Card, recipe: Recipe, crops_dir: Path) -> list[Crops]:
    """Return the crops of train, as they are seen while training, and those of val."""
    plain = make_transform(card)
    changed = (
        plain if recipe.cache_embeddings else make_training_transform(card, recipe.augmentation)
    )
    return [
        make_crops(dataset, TRAIN, card, crops_dir, changed, replace=True),
        make_crops(dataset, VAL, card, crops_dir, plain, replace=False),
    ]


def make_crops(
    dataset: pd.DataFrame,
    split: str,
    card: Card,
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


def make_sampler(
    dataset: pd.DataFrame, labels: list[str], recipe: Recipe
) -> tuple[SeededBatchSampler, NDArray[np.float64] | None]:
    """Return the batches of train, and how much each of its crops (n,) counts in the loss.

    None: all the same.

    Raises:
        OptionError: a batch is smaller than the number of processes.
        InputInvalid: a label has no crop with a confidence, by which they are to be weighted.
    """
    weights = make_weights(dataset, labels, recipe)
    sampler = SeededBatchSampler(
        int((dataset["split"] == TRAIN).sum()),
        None if recipe.loss_weighted else weights,
        batch_size=recipe.crops_per_step,
        seed=recipe.seed,
        rank=processes.get_rank(),
        ranks=processes.count(),
    )
    if recipe.loss_weighted and weights is not None:
        return sampler, weights / weights.mean()
    return sampler, None


def make_weights(
    dataset: pd.DataFrame, labels: list[str], recipe: Recipe
) -> NDArray[np.float64] | None:
    """Return the weight of each crop of train (n,), by `weigh_crops`; None where none is asked for.

    Raises:
        InputInvalid: a label has no crop with a confidence, by which they are to be weighted.
    """
    if not (recipe.label_weighted or recipe.loss_weighted):
        return None
    rows = dataset[dataset["split"] == TRAIN]
    confidence = None
    if recipe.confidence_weighted:
        has_any = rows[tables.CONFIDENCE].groupby(rows["label"]).sum() > 0
        if not has_any.all():
            raise InputInvalid(
                f"No crop of {has_any.idxmin()!r} in train has a confidence above 0, so that "
                "--confidence-weighted cannot choose among them: leave it out."
            )
        confidence = rows[tables.CONFIDENCE].to_numpy(np.float64)
    truth = np.array([labels.index(label) for label in rows["label"]])
    return weigh_crops(truth, confidence, beta=recipe.effective_number)
