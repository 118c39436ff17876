"""What a training run is made of, how far it has come, and its full state as a file."""

import math
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader

from animl_pipeline.classifier import weights
from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole
from animl_pipeline.training.averaging import WeightAverage
from animl_pipeline.training.sampling import SeededBatchSampler
from animl_pipeline.training.settings import Course


@dataclass
class Progress:
    """How far a run has come: what last.pt holds beside the network, and the rows of history.

    `step` is how many steps of `next_epoch` are done; `loss` (summed over their crops), `replaced`
    (crops that could not be read) and `seconds` are of these. A batch goes through the network in
    `pieces`.
    """

    next_epoch: int = 0
    step: int = 0
    loss: float = 0.0
    replaced: int = 0
    seconds: float = 0.0
    pieces: int = 1
    best_epoch: int = -1
    best_score: float = -math.inf
    history: list[dict[str, float]] = field(default_factory=list)

    def is_over(self, course: Course) -> bool:
        """Return whether all epochs are done, or none of the last `patience` was better."""
        waited = self.next_epoch - 1 - self.best_epoch
        has_waited = 0 < course.patience <= waited and self.next_epoch > 0
        return self.next_epoch >= course.epochs or has_waited

    def finish_epoch(self, row: dict[str, float], score: float) -> bool:
        """Enter an epoch into the history, and return whether it is the best so far.

        Without a score (NaN: there is no val) the last epoch is the best.
        """
        is_best = math.isnan(score) or score > self.best_score
        if is_best:
            self.best_epoch = self.next_epoch
            self.best_score = -math.inf if math.isnan(score) else score
        self.history.append(row)
        self.next_epoch += 1
        self.step, self.loss, self.replaced, self.seconds = 0, 0.0, 0, 0.0
        return is_best


@dataclass(frozen=True)
class Learner:
    """A network, what changes it, and the data it sees; `val` is None where there is none."""

    fabric: Fabric
    network: nn.Module
    average: WeightAverage
    optimizer: torch.optim.Optimizer
    rate: Callable[[int], float]  # the learning rate in a step of the run
    labels: list[str]
    sampler: SeededBatchSampler
    train: DataLoader[Any]  # by the sampler
    val: DataLoader[Any] | None  # of this process
    val_rows: pd.DataFrame  # of dataset.csv, of all processes
    label_smoothing: float
    splits_batches: bool  # into pieces, where memory is short
    begin_epoch: Callable[[int], None] = lambda _: None  # after network.train()


def save_state(path: Path, learner: Learner, progress: Progress, *, identity: str) -> None:
    """Write all that is needed to go on, whole or not at all."""
    content = {
        "identity": identity,
        "network": learner.network.state_dict(),
        "average": learner.average.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "precision": learner.fabric.strategy.precision.state_dict(),
        "progress": asdict(progress),
    }
    with whole.whole(path) as part, part.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # "enforce fail", while it closes what it could not write
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def read_state(path: Path, *, identity: str) -> dict[str, Any]:
    """Return what `save_state` wrote.

    Raises:
        InputInvalid: the file is damaged, or is of a run with other options or data.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():  # PyTorch does not look at the checksums it wrote
                raise ValueError(f"its part {damaged} is damaged")
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        is_of_this_run = content["identity"] == identity
        Progress(**content["progress"])
    except (*weights.DAMAGE, UnpicklingError, zipfile.BadZipFile) as error:
        raise _explain_refusal(path, error) from error
    if not is_of_this_run:
        raise InputInvalid(
            f"{path.parent} holds a run with other options or other data: choose another "
            "--run-name, or start it over with --no-resume."
        )
    return content


def restore(learner: Learner, content: dict[str, Any], path: Path) -> Progress:
    """Put a learner back where `save_state` left it, and return how far that was.

    `content` was read from `path`.

    Raises:
        InputInvalid: the content is of another network.
    """
    try:
        learner.network.load_state_dict(content["network"])
        learner.average.load_state_dict(content["average"])
        learner.optimizer.load_state_dict(content["optimizer"])
        learner.fabric.strategy.precision.load_state_dict(content["precision"])
    except weights.DAMAGE as error:
        raise _explain_refusal(path, error) from error
    return Progress(**content["progress"])


def _explain_refusal(path: Path, error: Exception) -> InputInvalid:
    return InputInvalid(
        f"{path} cannot be gone on from ({weights.shorten(error)}): start the run over with "
        "--no-resume."
    )
