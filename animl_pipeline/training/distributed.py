"""What several processes (torchrun) do together: agree, sum, gather, and share batch norms.

With one process every function here returns what it was given.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from animl_pipeline.classifier.kinds import import_timm
from animl_pipeline.classifier.predicting import Outputs
from animl_pipeline.running import processes


@cache
def _make_cpu_group() -> Any:
    """Return a group that speaks over the CPU, so that agreeing does not wait for the GPU."""
    return dist.new_group(backend="gloo")


def find_largest(value: int) -> int:
    """Return the largest of the processes' values."""
    if processes.count() == 1:
        return value
    largest = torch.tensor(value)
    dist.all_reduce(largest, dist.ReduceOp.MAX, group=_make_cpu_group())
    return int(largest)


def sum_up(*values: float) -> list[float]:
    """Return the sums of the processes' values."""
    if processes.count() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(sums, group=_make_cpu_group())
    return [float(value) for value in sums]


def share_out(n: int) -> range:
    """Return which of n items are this process's: every so many-th, from its rank on."""
    return range(processes.get_rank(), n, processes.count())


def gather_outputs(outputs: Outputs | None, n: int) -> Outputs:
    """Return what a network gave for n crops, in order, each process having run its share.

    Every crop is there once: where the shares differ in size, none is filled up. `outputs` are
    those of this process's share, None where that is empty.
    """
    shares: list[Outputs | None] = [None] * processes.count()
    if processes.count() == 1:
        shares = [outputs]
    else:
        dist.all_gather_object(shares, outputs, group=_make_cpu_group())
    ranks = [rank for rank, share in enumerate(shares) if share is not None]
    order = np.argsort(np.concatenate([np.arange(n)[rank :: len(shares)] for rank in ranks]))
    gathered = [share for share in shares if share is not None]
    return Outputs(
        np.concatenate([share.probabilities for share in gathered])[order],
        np.concatenate([share.spread for share in gathered])[order],
        np.concatenate([share.readable for share in gathered])[order],
    )


def share_batch_norms(network: nn.Module, device: torch.device) -> nn.Module:
    """Return the network whose batch norms see the crops of all processes, as one would.

    Only on GPUs: on CPUs, for which PyTorch has no such thing, the batch norms of each process
    normalise by its own crops, and only their running statistics are shared (`average_statistics`).
    """
    if processes.count() == 1 or device.type != "cuda":
        return network
    # Not PyTorch's own, which leaves out what timm's batch norms do after normalising.
    shared: nn.Module = import_timm().layers.convert_sync_batchnorm(network)
    return shared


def average_statistics(network: nn.Module, device: torch.device) -> None:
    """Give the batch norms of all processes on CPUs the mean of their running statistics."""
    if processes.count() == 1 or device.type == "cuda":
        return
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.training:
            for statistic in (module.running_mean, module.running_var):
                if statistic is not None:
                    dist.all_reduce(statistic)
                    statistic /= processes.count()
