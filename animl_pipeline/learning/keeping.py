"""What is kept of an epoch: the best weights, the state, the history, what people watch."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from animl_pipeline import artifacts, classifier, extremes, workers
from animl_pipeline.learning.state import Learner, Progress, save_state


def keeper(
    folder: Path,
    learner: Learner,
    card: classifier.Card,
    writer: SummaryWriter,
    *,
    identity: str,
    extremes_per_label: int,
) -> Callable[[Progress, classifier.Predictions | None, bool], None]:
    """Return what happens after each epoch: the best is kept, the state saved, the curves drawn.

    last.pt comes after all else of the epoch: a crash before it repeats the epoch, which then
    writes the same files again.
    """

    def keep(state: Progress, predicted: classifier.Predictions | None, is_best: bool) -> None:
        row, epoch = state.history[-1], state.best_epoch
        for name, value in row.items():
            writer.add_scalar(name, value, row["epoch"])
        if is_best:
            best = dataclasses.replace(card, epoch=epoch)
            classifier.save(folder, learner.network, best)
            if predicted and learner.val and extremes_per_label:
                extremes.log(
                    writer, predicted, card.labels, learner.val.dataset,
                    count=extremes_per_label, epoch=epoch,
                )  # fmt: skip
        writer.flush()
        table = pd.DataFrame(state.history, columns=list(artifacts.HISTORY.columns))
        artifacts.write(artifacts.HISTORY, folder / artifacts.HISTORY.name, table)
        save_state(folder / "last.pt", learner, state, identity=identity)
        workers.say(_line(row, is_best))

    return keep


def _line(row: dict[str, float], is_best: bool) -> str:
    return (
        f"epoch {row['epoch'] + 1:>3}  train loss {row['train_loss']:.3f}  "
        f"val loss {row['val_loss']:.3f}  macro AP {row['val_macro_average_precision']:.3f}  "
        f"{row['images_per_second']:.1f} images/s" + " *" * is_best
    )
