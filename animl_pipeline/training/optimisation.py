"""What changes the weights."""

import torch
from torch import nn

from animl_pipeline.training import recipe


def make_optimizer(
    name: recipe.Optimizer, network: nn.Module, *, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return AdamW, or RMSprop as EfficientNet was published with."""
    parameters = network.parameters()
    if name is recipe.Optimizer.ADAMW:
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    return torch.optim.RMSprop(
        parameters, lr=lr, alpha=0.9, momentum=0.9, weight_decay=weight_decay
    )


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter this learning rate.

    The rate follows from how far the run is, so there is no scheduler whose state could be lost.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr
