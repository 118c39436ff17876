"""What changes the weights: the optimizer, and the course of its learning rate."""

import torch
from torch import nn


def optimisation(
    network: nn.Module, *, lr: float, weight_decay: float, lr_decay: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return RMSprop as EfficientNet was published with, and its decay of the rate per epoch."""
    optimizer = torch.optim.RMSprop(
        network.parameters(), lr=lr, alpha=0.9, momentum=0.9, weight_decay=weight_decay
    )
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=lr_decay)
