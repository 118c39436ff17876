"""The loop: epochs, batches, loss, step, validation, the best so far."""

import logging
import math
import time
from collections.abc import Callable

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
from animl_pipeline.training.epoch import Watch
from animl_pipeline.training.optimisation import set_rate
from animl_pipeline.training.recipe import SelectBy
from animl_pipeline.training.state import Learner, Progress

logger = logging.getLogger(__name__)

TOO_FEW = "Expected more than 1 value per channel"  # says PyTorch's batch norm

Figures = dict[str, float]  # by the names of metrics.figures


def fit(
    learner: Learner,
    state: Progress,
    *,
    epochs: int,
    patience: int,
    select_by: SelectBy,
    stop: Stop,
    save_every_s: float,
    save: Callable[[Progress], None],
    on_epoch: Callable[[Progress, Predictions | None, Figures, bool], None],
) -> None:
    """Train until the epochs are done or the score has stopped rising.

    `save(state)` is called every so many seconds, between two steps, and where somebody asks to
    `stop`; `on_epoch(state, predictions on val, their figures, is the best so far)` after each
    epoch. All chance follows from the seed and the number of epoch, step and crop, so that a run
    that goes on from any step equals one undisturbed. Without val the last epoch is the best.
    """
    network, optimizer, draws = learner.network, learner.optimizer, learner.draws
    if learner.val is not None and not state.ended(epochs=epochs, patience=patience):
        # Its readers start now. Forked from a process that has grown to gigabytes they would share
        # these, and every page that training then writes to be copied first (docs, Measured).
        iter(learner.val)
    while not state.ended(epochs=epochs, patience=patience):
        epoch = draws.epoch = state.next_epoch
        draws.step = state.step
        network.train()
        learner.begin_epoch(epoch)
        watch = Watch(
            learner, state, title=f"epoch {epoch + 1}/{epochs}", stop=stop,
            save=lambda: save(state), save_every_s=save_every_s,
        )  # fmt: skip
        with watch:
            for pictures, truth, read, weights in learner.train:
                set_rate(optimizer, learner.rate(epoch * draws.steps + state.step))
                loss = compute_gradients(learner, state, pictures, truth, weights)
                optimizer.step()
                learner.average.update_parameters(network)
                watch.stepped(loss, truth, read)
        try:
            with stop.heeded_at_once():
                predicted = predict_val(learner)
        except Stopped:
            save(state)
            raise
        figures = score(predicted) if predicted else {}
        row = _row(learner, state, figures, seconds=time.monotonic() - watch.start)
        is_best = state.finish_epoch(row, select_by.score(row[select_by.column]))
        on_epoch(state, predicted, figures, is_best)


def compute_gradients(
    learner: Learner, state: Progress, pictures: Tensor, truth: Tensor, weights: Tensor
) -> Tensor:
    """Leave the gradients of a batch in the network; return its loss, summed over its crops.

    Where memory runs out the batch is taken in twice as many pieces, then and from then on. The
    step is that of the whole batch; only batch norm sees a piece at a time.

    Raises:
        OptionError: there is not enough memory, or there are too few crops for a batch norm.
    """
    while True:
        torch.manual_seed(learner.draws.step_seed(state.step))  # of dropout
        learner.optimizer.zero_grad()
        try:
            return _in_pieces(learner, state, pictures, truth, weights)
        except ValueError as error:
            if TOO_FEW not in str(error):
                raise
            raise OptionError(
                "One crop at a time is too few for the batch norms of this network at this "
                "--image-size: raise it, or --batch-size."
            ) from error
        except RuntimeError as error:
            if not memory.is_out(error):
                raise
            memory.refuse_to_go_on(len(truth), state.pieces, splits=learner.splits_batches)
        state.pieces *= 2


def _in_pieces(
    learner: Learner, state: Progress, pictures: Tensor, truth: Tensor, weights: Tensor
) -> Tensor:
    fabric, draws = learner.fabric, learner.draws
    size = draws.start_of(state.step + 1) - draws.start_of(state.step)  # in all processes
    total = torch.zeros((), device=fabric.device)
    batch = (part.chunk(state.pieces) for part in (pictures, truth, weights))
    for piece in zip(*batch, strict=True):
        seen, wanted, weight = fabric.to_device(piece)
        logits = learner.network(seen.contiguous(memory_format=torch.channels_last))
        losses = nn.functional.cross_entropy(
            logits, wanted, reduction="none", label_smoothing=learner.label_smoothing
        )
        loss = (losses * weight).sum()
        fabric.backward(loss * (fabric.world_size / size))  # gradients of processes are averaged
        total += loss.detach()
    return total


def predict_val(learner: Learner) -> Predictions | None:
    """Return the averaged network's predictions on val, made by all processes; None without val."""
    if learner.val is None:
        return None
    own = None
    if len(learner.val):
        with learner.fabric.autocast():
            own = predict_batches(learner.fabric, learner.average.module, learner.val, VAL)
    outputs = distributed.gather_outputs(own, len(learner.val_rows))
    predictions = outputs.as_predictions(learner.val_rows, learner.labels)
    if lost := len(predictions.unreadable):
        logger.warning("val: %d crops could not be read: left out", lost)
    return predictions


def score(predictions: Predictions) -> Figures:
    """Return the figures on val; none where no crop of it could be read.

    Raises:
        TrainingDiverged: the network gives no numbers any more.
    """
    if not np.isfinite(predictions.probabilities).all():
        raise TrainingDiverged("The network gives no numbers any more.")
    if not len(predictions):
        return {}
    values = metrics.figures(predictions.as_one_location(), np.ones((1, 1)))
    return {name: float(value[0]) for name, value in values.items()}


def _row(
    learner: Learner, state: Progress, figures: Figures, *, seconds: float
) -> dict[str, float]:
    """Return the epoch's row of history.csv."""
    draws = learner.draws
    return {
        "epoch": state.next_epoch,
        "lr": learner.rate(state.next_epoch * draws.steps),
        "train_loss": state.loss / draws.n,
        "val_loss": figures.get("log_loss", math.nan),
        "val_balanced_accuracy": figures.get("balanced_accuracy", math.nan),
        "val_macro_average_precision": figures.get("macro_average_precision", math.nan),
        "seconds": round(seconds, 3),
        "images_per_second": round(draws.n / state.seconds, 2),
    }
