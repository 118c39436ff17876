"""Crops as a data set, label weighting, and the loop: everything about learning but the network."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, WeightedRandomSampler
from torchvision.transforms import v2

from animl_pipeline import classifier, files, images, metrics
from animl_pipeline.errors import ImageUnusable, InputInvalid, TrainingDiverged
from animl_pipeline.scored import Scored
from animl_pipeline.workers import progress

READ, REPLACED, LOST = 0, 1, 2
REMEDY = (
    "Lower --lr, or use --precision 32-true; the last good state is kept, --no-resume starts over."
)

logger = logging.getLogger(__name__)


class Crops(Dataset[tuple[Tensor, int, int]]):
    """The crops of a split: (picture (3, side, side), truth, what was read).

    For training one that cannot be read is REPLACED by the next of its label. Else, or where there
    is none, it is LOST: black, and left out by whoever asked.
    """

    def __init__(
        self,
        folder: Path,
        names: list[str],
        truth: list[int],
        transform: Callable[[Any], Tensor],
        *,
        replace: bool = False,
    ) -> None:
        self.folder, self.names, self.truth = folder, names, truth
        self.transform, self.replace = transform, replace

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        for number in self._candidates(index):
            try:
                image = images.open_upright(self.folder / self.names[number])
            except ImageUnusable:
                continue
            read = READ if number == index else REPLACED
            return self.transform(image), self.truth[index], read
        return self.transform(Image.new("RGB", (1, 1))), self.truth[index], LOST

    def _candidates(self, index: int) -> Iterator[int]:
        yield index
        for step in range(1, len(self) if self.replace else 0):
            other = (index + step) % len(self)
            if self.truth[other] == self.truth[index]:
                yield other


def label_weights(truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a weight for each crop: n / (c * n_label), for n crops of c labels.

    The weights of every label sum to n / c, all of them to n: each label is seen equally often.
    The formula of MegaDetector's classification trainer.

    >>> label_weights(np.array([0, 0, 0, 1]))
    array([0.66666667, 0.66666667, 0.66666667, 2.        ])
    """
    counts = np.bincount(truth)
    return np.asarray(len(truth) / (np.count_nonzero(counts) * counts[truth]))


def augmentation(side: int) -> v2.Compose:
    """Return what a crop goes through while training; it keeps most of the animal.

    The old workflow's RandomResizedCrop may keep 8 % of a crop, so often no animal at all, and
    its rotations by up to 90 degrees put black corners and standing foxes into the data.
    """
    return v2.Compose([
        classifier.square_up,
        v2.RandomResizedCrop(side, scale=(0.5, 1.0), ratio=(4 / 5, 5 / 4)),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(brightness=0.25, contrast=0.25, saturation=0.25),  # light, weather, camera
        v2.RandomGrayscale(0.1),  # infrared
        *classifier.to_tensor(classifier.IMAGENET_MEAN, classifier.IMAGENET_STD),
    ])  # fmt: skip


def sampler(data: Crops, *, label_weighted: bool, generator: torch.Generator) -> Sampler[int]:
    """Return the order of a training epoch: each label equally often, or each crop once."""
    if not label_weighted:
        return RandomSampler(data, generator=generator)
    weights = label_weights(np.array(data.truth))
    return WeightedRandomSampler(weights.tolist(), len(data), generator=generator)


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


def loader(
    data: Crops,
    *,
    batch_size: int,
    workers: int,
    generator: torch.Generator | None = None,
    order: Sampler[int] | None = None,
) -> "DataLoader[Any]":
    """Return batches of (pictures, truth, what was read), in the given order or the data's own."""
    return DataLoader(
        data,
        batch_size=batch_size,
        sampler=order,
        num_workers=workers,
        generator=generator,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=False,  # so that every epoch's chance begins at its own seed
    )


def optimisation(
    network: nn.Module, *, lr: float, weight_decay: float, lr_decay: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return RMSprop as EfficientNet was published with, and its decay of the rate per epoch."""
    optimizer = torch.optim.RMSprop(
        network.parameters(), lr=lr, alpha=0.9, momentum=0.9, weight_decay=weight_decay
    )
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=lr_decay)


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
