"""Which part of a network learns: all of it, or for a while or for good its head alone."""

from torch import nn

from animl_pipeline.classifier import networks


def train_mode(network: nn.Module, *, frozen: bool) -> None:
    """Make ready for an epoch of training: what is frozen gets no gradient and stays in eval mode.

    In eval mode a batch norm keeps its statistics, and nothing is dropped. Epoch after epoch this
    gives the same, whether the run was interrupted in between or not.
    """
    head = networks.head_of(network)
    network.requires_grad_(not frozen)
    head.requires_grad_(True)
    network.train(not frozen)
    head.train()
