"""The loop: epochs, batches, loss, step, validation, the best so far."""

import logging
import math
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from animl_pipeline.artifacts.splits import VAL
from animl_pipeline.classifier.predicting import predict_batches
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.errors import OptionError, Stopped, TrainingDiverged
from animl_pipeline.evaluation import metrics
from animl_pipeline.running.stopping import Stop
from animl_pipeline.training import distributed, memory
from animl_pipeline.training.epoch import EpochMonitor
from animl_pipeline.training.optimisation import set_rate
from animl_pipeline.training.settings import Course, SelectBy
from animl_pipeline.training.state import Learner, Progress

logger = logging.getLogger(__name__)

TOO_FEW = "Expected more than 1 value per channel"  # says PyTorch's batch norm


@dataclass(frozen=True)
class Validation:
    """What was predicted of val, and the metrics by their names.

    There are no metrics where no crop of val could be read.
    """

    predictions: Predictions
    metrics: dict[str, float]


class Recorder(Protocol):
    """Who keeps what the loop has reached."""

    def write_epoch(
        self, progress: Progress, validation: Validation | None, *, is_best: bool
    ) -> None:
        """Keep an epoch that is done; there is no validation where there is no val."""

    def write_state(self, progress: Progress) -> None:
        """Keep all that is needed to go on from here, between two steps."""


def fit(
    learner: Learner,
    progress: Progress,
    course: Course,
    *,
    select_by: SelectBy,
    stop: Stop,
    recorder: Recorder,
) -> None:
    """Train until the epochs are done or the score has stopped rising.

    All chance follows from the seed and the number of epoch, step and crop, so that a run that
    goes on from any step equals one undisturbed. Without val the last epoch is the best.

    Raises:
        Stopped: somebody asked to `stop`; the recorder has the state.
        TrainingDiverged: the loss, or what the network gives, is no number.
        CropsLost: of a label no crop can be read.
        OptionError: there is not enough memory, or there are too few crops for a batch norm.
    """
    network, sampler = learner.network, learner.sampler
    if learner.val is not None and not progress.is_over(course):
        # Its readers start now. Forked from a process that has grown to gigabytes they would share
        # these, and every page that training then writes to be copied first (docs, Measured).
        iter(learner.val)
    while not progress.is_over(course):
        epoch = sampler.epoch = progress.next_epoch
        sampler.step = progress.step
        network.train()
        learner.begin_epoch(epoch)
        monitor = EpochMonitor(
            learner,
            progress,
            title=f"epoch {epoch + 1}/{course.epochs}",
            stop=stop,
            save=lambda: recorder.write_state(progress),
            save_every_s=60 * course.save_minutes,
        )
        with monitor:
            for pictures, truth, read, weights in learner.train:
                set_rate(learner.optimizer, learner.rate(epoch * sampler.steps + progress.step))
                loss = compute_gradients(learner, progress, pictures, truth, weights)
                learner.optimizer.step()
                distributed.average_statistics(network, learner.fabric.device)
                learner.average.update(network)
                monitor.finish_step(loss, truth, read)
        try:
            with stop.heeded_at_once():
                validation = validate(learner)
        except Stopped:
            recorder.write_state(progress)
            raise
        row = make_row(learner, progress, validation, seconds=time.monotonic() - monitor.start)
        is_best = progress.finish_epoch(row, select_by.as_score(row[select_by.column]))
        recorder.write_epoch(progress, validation, is_best=is_best)


def compute_gradients(
    learner: Learner, progress: Progress, pictures: Tensor, truth: Tensor, weights: Tensor
) -> Tensor:
    """Leave the gradients of a batch in the network; return its loss, summed over its crops.

    Where memory runs out the batch is taken in twice as many pieces, then and from then on. The
    step is that of the whole batch; only batch norm sees a piece at a time.

    Raises:
        OptionError: there is not enough memory, or there are too few crops for a batch norm.
    """
    while True:
        torch.manual_seed(learner.sampler.make_step_seed(progress.step))  # of dropout
        learner.optimizer.zero_grad()
        try:
            return _add_up_pieces(learner, progress, pictures, truth, weights)
        except ValueError as error:
            if TOO_FEW not in str(error):
                raise
            raise OptionError(
                "One crop at a time is too few for the batch norms of this network at this "
                "--image-size: raise it, or --batch-size."
            ) from error
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
            memory.refuse_to_go_on(len(truth), progress.pieces, splits=learner.splits_batches)
        progress.pieces *= 2


def _add_up_pieces(
    learner: Learner, progress: Progress, pictures: Tensor, truth: Tensor, weights: Tensor
) -> Tensor:
    fabric, sampler = learner.fabric, learner.sampler
    # In all processes.
    size = sampler.count_before(progress.step + 1) - sampler.count_before(progress.step)
    total = torch.zeros((), device=fabric.device)
    batch = (tensor.chunk(progress.pieces) for tensor in (pictures, truth, weights))
    for piece in zip(*batch, strict=True):
        shown, wanted, weight = fabric.to_device(piece)
        logits = learner.network(shown.contiguous(memory_format=torch.channels_last))
        losses = nn.functional.cross_entropy(
            logits, wanted, reduction="none", label_smoothing=learner.label_smoothing
        )
        loss = (losses * weight).sum()
        fabric.backward(loss * (fabric.world_size / size))  # gradients of processes are averaged
        total += loss.detach()
    return total


def validate(learner: Learner) -> Validation | None:
    """Return what the averaged network predicts of val, in all processes; None without val.

    Raises:
        TrainingDiverged: the network gives no numbers any more.
    """
    if learner.val is None:
        return None
    outputs = None
    if len(learner.val):
        with learner.fabric.autocast():
            outputs = predict_batches(learner.fabric, learner.average.network, learner.val, VAL)
    gathered = distributed.gather_outputs(outputs, len(learner.val_rows))
    predictions = gathered.as_predictions(learner.val_rows, learner.labels)
    if unreadable := len(predictions.unreadable):
        logger.warning("val: %d crops could not be read: left out", unreadable)
    return Validation(predictions, compute_metrics(predictions))


def compute_metrics(predictions: Predictions) -> dict[str, float]:
    """Return the metrics by their names; none where there is no crop.

    Raises:
        TrainingDiverged: the network gives no numbers any more.
    """
    if not np.isfinite(predictions.probabilities).all():
        raise TrainingDiverged("The network gives no numbers any more.")
    if not len(predictions):
        return {}
    values = metrics.compute_metrics(predictions.as_one_location(), np.ones((1, 1)))
    figures = {name: float(value[0]) for name, value in values.overall.items()}
    for name, by_label in values.per_label.items():
        figures |= {f"{name}/{label}": float(value[0]) for label, value in by_label.items()}
    return figures


def make_row(
    learner: Learner, progress: Progress, validation: Validation | None, *, seconds: float
) -> dict[str, float]:
    """Return the epoch's row of history.csv."""
    values, sampler = validation.metrics if validation else {}, learner.sampler
    return {
        "epoch": progress.next_epoch,
        "lr": learner.rate(progress.next_epoch * sampler.steps),
        "train_loss": progress.loss / sampler.n,
        "val_loss": values.get("log_loss", math.nan),
        "val_balanced_accuracy": values.get("balanced_accuracy", math.nan),
        "val_macro_average_precision": values.get("macro_average_precision", math.nan),
        "seconds": round(seconds, 3),
        "images_per_second": round(sampler.n / progress.seconds, 2),
    }
