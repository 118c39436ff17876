"""What is kept of a run: the best weights, the state, the history, and what people watch."""

import dataclasses
import math
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from animl_pipeline.artifacts import tables
from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation import metrics
from animl_pipeline.report import plots, tensorboard
from animl_pipeline.running import processes
from animl_pipeline.running.progress import say
from animl_pipeline.training.state import Learner, Progress, save_state

STATE = "last.pt"
OF_A_LABEL = ("recall", "average_precision")  # what is drawn of each


class Keeper:
    """Keeps a run in its folder; of several processes only the first one writes.

    Of an epoch last.pt comes after all else: a crash before it repeats the end of the epoch, which
    then writes the same files again.
    """

    def __init__(
        self,
        folder: Path,
        learner: Learner,
        card: classifier.Card,
        *,
        identity: str,
        epochs: int,
        crops_dir: Path,
        extremes_per_label: int,
        first_epoch: int,
    ) -> None:
        self.folder, self.learner, self.card, self.identity = folder, learner, card, identity
        self.epochs, self.extremes_per_label = epochs, extremes_per_label
        self.crops_dir = crops_dir
        self.writes = processes.rank() == 0
        self.writer = SummaryWriter(folder, purge_step=first_epoch) if self.writes else None

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self.writer:
            self.writer.close()

    def save(self, state: Progress) -> None:
        """Save the full state; no process goes on before that is done."""
        if self.writes:
            save_state(self.folder / STATE, self.learner, state, identity=self.identity)
        self.learner.fabric.barrier()

    def keep(
        self,
        state: Progress,
        predicted: Predictions | None,
        figures: dict[str, float],
        is_best: bool,
    ) -> None:
        """Keep an epoch: its weights if they are the best, its figures, the state."""
        row = state.history[-1]
        if self.writer:
            if is_best:
                card = dataclasses.replace(self.card, epoch=state.best_epoch)
                classifier.save(self.folder, self.learner.average.module, card)
                if predicted:
                    self._draw(self.writer, predicted, state.best_epoch)
            _plot(self.writer, row, figures, self.card.labels)
            self.writer.flush()
            table = pd.DataFrame(state.history, columns=tables.HISTORY.names)
            tables.write(tables.HISTORY, self.folder / tables.HISTORY.name, table)
        self.save(state)
        if self.writes:
            say(_line(state, self.epochs, is_best))

    def _draw(self, writer: SummaryWriter, predicted: Predictions, epoch: int) -> None:
        """Draw the confusion matrix and the most extreme examples of the best epoch so far."""
        labels, counts = self.card.labels, metrics.confusion_matrix(predicted)
        shown = plots.most_confused(counts)
        with plots.styled():
            figure = plots.confusion_figure(
                counts[np.ix_(shown, shown)], [labels[index] for index in shown]
            )
            writer.add_figure("confusion matrix", figure, epoch)
        if self.extremes_per_label:
            tensorboard.log_extremes(
                writer, predicted, self.crops_dir, count=self.extremes_per_label, epoch=epoch
            )


def _plot(
    writer: SummaryWriter, row: dict[str, float], figures: dict[str, float], labels: list[str]
) -> None:
    """Add a point to each curve: the row of history, and two figures of every label."""
    named = [f"{figure}/{label}" for figure in OF_A_LABEL for label in labels]
    curves = row | {name: figures[name] for name in named if name in figures}
    for name, value in curves.items():
        if not math.isnan(value):
            writer.add_scalar(name, value, row["epoch"])


def _line(state: Progress, epochs: int, is_best: bool) -> str:
    """Return the news of an epoch, with the time that those to come will take at most."""
    row = state.history[-1]
    left_s = float(np.mean([one["seconds"] for one in state.history])) * (
        epochs - len(state.history)
    )
    return (
        f"epoch {row['epoch'] + 1:>3}  train loss {row['train_loss']:.3f}  "
        f"val loss {row['val_loss']:.3f}  macro AP {row['val_macro_average_precision']:.3f}  "
        f"{row['images_per_second']:.1f} images/s  {_time(left_s)} left" + "  *" * is_best
    )


def _time(seconds: float) -> str:
    """Return a duration as hours and minutes, or as seconds where it is short."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
