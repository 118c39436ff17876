"""What a recipe for training may choose among, and the course of the learning rate."""

import math
from enum import StrEnum

# Per epoch; EfficientNet's published 0.97 every 2.4 epochs (Tan & Le 2019).
DECAY = 0.97 ** (1 / 2.4)


class Optimizer(StrEnum):
    """What turns gradients into steps."""

    RMSPROP = "rmsprop"
    ADAMW = "adamw"


class Schedule(StrEnum):
    """How the learning rate falls."""

    STEP = "step"  # after every epoch, by DECAY
    COSINE = "cosine"  # with every step, along half a cosine to 0 at the end of the epochs
    CONSTANT = "constant"


class SelectBy(StrEnum):
    """By which figure on val the best epoch is the best."""

    MACRO_AP = "macro-ap"
    BALANCED_ACCURACY = "balanced-accuracy"
    LOSS = "loss"

    @property
    def column(self) -> str:
        """Return the column of history.csv that holds the figure."""
        return {
            SelectBy.MACRO_AP: "val_macro_average_precision",
            SelectBy.BALANCED_ACCURACY: "val_balanced_accuracy",
            SelectBy.LOSS: "val_loss",
        }[self]

    def score(self, figure: float) -> float:
        """Return the figure as a score, of which more is better."""
        return -figure if self is SelectBy.LOSS else figure


class Freeze(StrEnum):
    """What of a network stays as it was loaded."""

    NONE = "none"
    HEAD = "head"  # all but the head
    STAGED = "staged"  # all but the head, for the first epochs

    def holds(self, epoch: int, *, unfreeze_after: int) -> bool:
        """Return whether all but the head is frozen in an epoch, counted from 0."""
        return self is Freeze.HEAD or (self is Freeze.STAGED and epoch < unfreeze_after)


class Augmentation(StrEnum):
    """How much chance there is in what a network sees of a crop."""

    NONE = "none"
    LIGHT = "light"
    DEFAULT = "default"
    STRONG = "strong"


def rate(
    lr: float,
    schedule: Schedule,
    step: int,
    *,
    steps: int,
    epochs: int,
    warmup_epochs: float,
) -> float:
    """Return the learning rate in a step of the run, counted from its start, `steps` an epoch.

    Warm-up rises in a straight line, to 1 in the last of its steps, and multiplies the schedule.
    """
    warm = min(1.0, (step + 1) / (warmup_epochs * steps)) if warmup_epochs else 1.0
    if schedule is Schedule.STEP:
        return lr * warm * DECAY ** (step // steps)
    if schedule is Schedule.COSINE:
        return lr * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / (epochs * steps))))
    return lr * warm
