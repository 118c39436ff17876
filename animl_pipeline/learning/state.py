"""What a training run is made of, how far it has come, and its full state as a file."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader

from animl_pipeline import classifier, files
from animl_pipeline.errors import InputInvalid


@dataclass
class Progress:
    """How far a run has come: what last.pt holds beside the network, and the rows of history."""

    next_epoch: int = 0
    best_epoch: int = -1
    best_score: float = -math.inf
    history: list[dict[str, float]] = field(default_factory=list)

    def ended(self, *, epochs: int, patience: int) -> bool:
        """All epochs are done, or none of the last `patience` (0: never mind) was better."""
        waited = self.next_epoch - 1 - self.best_epoch
        return self.next_epoch >= epochs or (0 < patience <= waited and self.next_epoch > 0)


@dataclass(frozen=True)
class Learner:
    """A network, what changes it, and the data it sees; `val` is None where there is none."""

    fabric: Fabric
    network: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    train: "DataLoader[Any]"
    val: "DataLoader[Any] | None"
    generator: torch.Generator  # of sampler and loader


def save_state(path: Path, learner: Learner, state: Progress, *, identity: str) -> None:
    """Write all that is needed to go on, whole or not at all."""
    content = {
        "identity": identity,
        "network": learner.network.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "scheduler": learner.scheduler.state_dict(),
        "progress": asdict(state),
    }
    with files.whole(path) as part:
        torch.save(content, part)


def load_state(path: Path, learner: Learner, *, identity: str) -> Progress:
    """Put a learner back where `save_state` left it, and return how far that was.

    Raises:
        InputInvalid: the file is damaged, or is of a run with other options or data.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["identity"] != identity:
            raise InputInvalid(
                f"{path.parent} holds a run with other options or other data: choose another "
                "--run-name, or start it over with --no-resume."
            )
        learner.network.load_state_dict(content["network"])
        learner.optimizer.load_state_dict(content["optimizer"])
        learner.scheduler.load_state_dict(content["scheduler"])
        return Progress(**content["progress"])
    except (*classifier.DAMAGE, UnpicklingError) as error:
        if isinstance(error, InputInvalid):
            raise
        raise InputInvalid(
            f"{path} cannot be gone on from ({error}): start the run over with --no-resume."
        ) from error
