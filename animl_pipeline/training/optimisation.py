"""What changes the weights: the optimizer, and the course of its learning rate."""

import math

import torch
from torch import nn

from animl_pipeline.training.settings import Optimizer, Recipe, Schedule

# Per epoch; EfficientNet's published 0.97 every 2.4 epochs (Tan & Le 2019).
DECAY = 0.97 ** (1 / 2.4)


def make_optimizer(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Return AdamW, or RMSprop as EfficientNet was published with."""
    parameters, lr, weight_decay = network.parameters(), recipe.lr, recipe.weight_decay
    if recipe.optimizer is Optimizer.ADAMW:
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    return torch.optim.RMSprop(
        parameters, lr=lr, alpha=0.9, momentum=0.9, weight_decay=weight_decay
    )


def compute_rate(recipe: Recipe, step: int, *, steps: int, epochs: int) -> float:
    """Return the learning rate in a step of the run, counted from its start, `steps` an epoch.

    Warm-up rises in a straight line, to 1 in the last of its steps, and multiplies the schedule.
    """
    warmup_steps = recipe.warmup_epochs * steps
    rate = recipe.lr * (min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0)
    if recipe.lr_schedule is Schedule.STEP:
        return rate * DECAY ** (step // steps)
    if recipe.lr_schedule is Schedule.COSINE:
        return rate * 0.5 * (1 + math.cos(math.pi * min(1.0, step / (epochs * steps))))
    return rate


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter this learning rate.

    The rate follows from how far the run is, so there is no scheduler whose state could be lost.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr
