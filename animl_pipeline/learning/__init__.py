"""The loop: epochs, batches, loss, step, validation, the best so far."""

import logging
import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from animl_pipeline import classifier, metrics
from animl_pipeline.errors import InputInvalid, TrainingDiverged
from animl_pipeline.learning.data import LOST, REPLACED
from animl_pipeline.learning.state import Learner, Progress
from animl_pipeline.scored import Scored
from animl_pipeline.workers import progress

REMEDY = (
    "Lower --lr, or use --precision 32-true; the last good state is kept, --no-resume starts over."
)

logger = logging.getLogger(__name__)


def fit(
    learner: Learner,
    state: Progress,
    *,
    epochs: int,
    patience: int,
    seed: int,
    on_epoch: Callable[[Progress, classifier.Predictions | None, bool], None],
) -> None:
    """Train until the epochs are done or the score has stopped rising.

    The score is macro average precision on val; without val the last epoch is the best. Chance is
    seeded anew for every epoch, so that a run resumed after any epoch equals one undisturbed.
    `on_epoch(state, predictions on val, is the best so far)` is called after each.
    """
    while not state.ended(epochs=epochs, patience=patience):
        epoch, start = state.next_epoch, time.monotonic()
        torch.manual_seed(seed * 1_000_003 + epoch)
        learner.generator.manual_seed(seed * 1_000_003 + epoch)
        lr = float(learner.scheduler.get_last_lr()[0])
        train_loss, seen = train_epoch(learner, title=f"epoch {epoch + 1}/{epochs}")
        train_seconds = time.monotonic() - start
        learner.scheduler.step()
        predicted = None
        if learner.val is not None:
            predicted = classifier.predict(learner.fabric, learner.network, learner.val, "val")
        figures = score(predicted) if predicted else (math.nan, math.nan, math.nan)
        state.history.append({
            "epoch": epoch,
            "lr": lr,
            "train_loss": train_loss,
            "val_loss": figures[0],
            "val_balanced_accuracy": figures[1],
            "val_macro_average_precision": figures[2],
            "seconds": round(time.monotonic() - start, 3),
            "images_per_second": round(seen / train_seconds, 2),
        })  # fmt: skip
        is_best = math.isnan(figures[2]) or figures[2] > state.best_score
        if is_best:
            state.best_epoch = epoch
            state.best_score = -math.inf if math.isnan(figures[2]) else figures[2]
        state.next_epoch = epoch + 1
        on_epoch(state, predicted, is_best)


def train_epoch(learner: Learner, *, title: str) -> tuple[float, int]:
    """Return the mean loss over an epoch of training, and how many crops it saw.

    Raises:
        TrainingDiverged: the loss is not a number.
    """
    learner.network.train()
    total, seen, replaced = 0.0, 0, 0
    with progress(len(learner.train.sampler), title=title, unit="crop") as bar:  # type: ignore[arg-type]
        for batch in learner.train:
            pictures, truth, read = learner.fabric.to_device(batch)
            if (read == LOST).any():
                raise InputInvalid(
                    "Of one label no crop can be read any more: run `pipeline crop` again."
                )
            learner.optimizer.zero_grad()
            logits = learner.network(pictures.contiguous(memory_format=torch.channels_last))
            loss = nn.functional.cross_entropy(logits, truth)
            learner.fabric.backward(loss)
            learner.optimizer.step()
            if not math.isfinite(value := loss.item()):
                raise TrainingDiverged(f"{title}: the loss is {value}. {REMEDY}")
            total += value * len(truth)
            seen += len(truth)
            replaced += int((read == REPLACED).sum())
            bar.set_postfix_str(f"loss {total / seen:.3f}", refresh=False)
            bar.update(len(truth))
    if replaced:
        logger.warning("%s: %d crops could not be read; others took their place", title, replaced)
    return total / seen, seen


def score(predicted: classifier.Predictions) -> tuple[float, float, float]:
    """Return loss, balanced accuracy and macro average precision on val.

    Raises:
        TrainingDiverged: the network gives no numbers any more.
    """
    probabilities, truth = predicted.probabilities, predicted.truth
    if not np.isfinite(probabilities).all():
        raise TrainingDiverged(f"The network gives no numbers any more. {REMEDY}")
    if not len(truth):
        return math.nan, math.nan, math.nan
    labels = [str(number) for number in range(probabilities.shape[1])]
    scored = Scored(labels, probabilities, truth, [("", "")] * len(truth))
    found = metrics.figures(scored, np.ones((1, 1)))
    names = ("log_loss", "balanced_accuracy", "macro_average_precision")
    loss, accuracy, average_precision = (float(found[name][0]) for name in names)
    return loss, accuracy, average_precision
