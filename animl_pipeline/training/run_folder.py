"""What is kept of a run: the best weights, the state, the history, and what people watch."""

import dataclasses
import math
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation import metrics
from animl_pipeline.report import plots, tensorboard
from animl_pipeline.running import processes
from animl_pipeline.running.progress import say
from animl_pipeline.training.loop import Validation
from animl_pipeline.training.settings import Course
from animl_pipeline.training.state import Learner, Progress, save_state

STATE = "last.pt"
OF_A_LABEL = ("recall", "average_precision")  # what is drawn of each


@dataclasses.dataclass(frozen=True)
class Run:
    """Which run it is: where it goes, what is kept of it, and the sha256 of what decides it."""

    folder: Path
    identity: str
    card: Card
    crops_dir: Path
    course: Course


class RunFolder:
    """Writes a run's folder; of several processes only the first one writes.

    Of an epoch last.pt comes after all else: a crash before it repeats the end of the epoch, which
    then writes the same files again.
    """

    def __init__(self, run: Run, learner: Learner, *, first_epoch: int) -> None:
        """`first_epoch` is the one it begins with: what TensorBoard has of later ones goes."""
        self.run, self.learner = run, learner
        self.writes = processes.get_rank() == 0
        self.writer = SummaryWriter(run.folder, purge_step=first_epoch) if self.writes else None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self.writer:
            self.writer.close()

    def write_state(self, progress: Progress) -> None:
        """Save the full state; no process goes on before that is done."""
        if self.writes:
            path = self.run.folder / STATE
            save_state(path, self.learner, progress, identity=self.run.identity)
        self.learner.fabric.barrier()

    def write_epoch(
        self, progress: Progress, validation: Validation | None, *, is_best: bool
    ) -> None:
        """Keep an epoch: its weights if they are the best, its metrics, the state."""
        row, folder = progress.history[-1], self.run.folder
        if self.writer:
            if is_best:
                card = dataclasses.replace(self.run.card, epoch=progress.best_epoch)
                classifier.save(folder, self.learner.average.network, card)
                if validation and len(validation.predictions):
                    self._draw(self.writer, validation.predictions, progress.best_epoch)
            values = validation.metrics if validation else {}
            _plot(self.writer, row, values, self.run.card.labels)
            self.writer.flush()
            table = pd.DataFrame(progress.history, columns=tables.HISTORY.names)
            table_io.write(tables.HISTORY, folder / tables.HISTORY.name, table)
        self.write_state(progress)
        if self.writes:
            say(_describe_epoch(progress, self.run.course.epochs, is_best=is_best))

    def _draw(self, writer: SummaryWriter, predictions: Predictions, epoch: int) -> None:
        """Draw the confusion matrix and the most extreme examples of the best epoch so far."""
        labels, counts = self.run.card.labels, metrics.count_confusions(predictions)
        shown = plots.choose_most_confused(counts)
        with plots.styled():
            figure = plots.make_confusion_figure(
                counts[np.ix_(shown, shown)], [labels[index] for index in shown]
            )
            writer.add_figure("confusion matrix", figure, epoch)
        if count := self.run.course.log_extreme_examples:
            tensorboard.log_extremes(
                writer, predictions, self.run.crops_dir, count=count, epoch=epoch
            )


def _plot(
    writer: SummaryWriter, row: dict[str, float], values: dict[str, float], labels: list[str]
) -> None:
    """Add a point to each curve: the row of history, and two metrics of every label."""
    names = [f"{metric}/{label}" for metric in OF_A_LABEL for label in labels]
    points = row | {name: values[name] for name in names if name in values}
    for name, value in points.items():
        if not math.isnan(value):
            writer.add_scalar(name, value, row["epoch"])


def _describe_epoch(progress: Progress, epochs: int, *, is_best: bool) -> str:
    """Return the news of an epoch, with the time that those to come will take at most."""
    row, history = progress.history[-1], progress.history
    mean_s = float(np.mean([epoch["seconds"] for epoch in history]))
    left_s = mean_s * (epochs - len(history))
    return (
        f"epoch {row['epoch'] + 1:>3}  train loss {row['train_loss']:.3f}  "
        f"val loss {row['val_loss']:.3f}  macro AP {row['val_macro_average_precision']:.3f}  "
        f"{row['images_per_second']:.1f} images/s  {_format_time(left_s)} left" + "  *" * is_best
    )


def _format_time(seconds: float) -> str:
    """Return a duration as hours and minutes, or as seconds where it is short."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
