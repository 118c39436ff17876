"""What several processes (torchrun) do together: agree, sum, gather, and normalise batches.

With one process every function here returns what it was given.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from animl_pipeline.classifier.predicting import Outputs
from animl_pipeline.running import processes


@cache
def _control() -> Any:
    """Return a group that speaks over the CPU, so that agreeing does not wait for the GPU."""
    return dist.new_group(backend="gloo")


def largest(value: int) -> int:
    """Return the largest of the processes' values."""
    if processes.count() == 1:
        return value
    found = torch.tensor(value)
    dist.all_reduce(found, dist.ReduceOp.MAX, group=_control())
    return int(found)


def summed(*values: float) -> list[float]:
    """Return the sums of the processes' values."""
    if processes.count() == 1:
        return list(values)
    found = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(found, group=_control())
    return [float(value) for value in found]


def share(n: int) -> range:
    """Return which of n items are this process's: every so many-th, from its rank on."""
    return range(processes.rank(), n, processes.count())


def gather_outputs(own: Outputs | None, n: int) -> Outputs:
    """Return what a network gave for n crops, in order, each process having run its `share`.

    Every crop is there once: where the shares differ in size, none is filled up.
    """
    shares: list[Outputs | None] = [None] * processes.count()
    if processes.count() == 1:
        shares = [own]
    else:
        dist.all_gather_object(shares, own, group=_control())
    made = [(rank, outputs) for rank, outputs in enumerate(shares) if outputs is not None]
    order = np.argsort(np.concatenate([np.arange(n)[rank :: len(shares)] for rank, _ in made]))
    return Outputs(
        np.concatenate([outputs.probabilities for _, outputs in made])[order],
        np.concatenate([outputs.spread for _, outputs in made])[order],
        np.concatenate([outputs.readable for _, outputs in made])[order],
    )


def share_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """Return the network whose batch norms see the crops of all processes, as one would."""
    if processes.count() == 1:
        return network
    from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm

    if device.type == "cuda":
        # Not PyTorch's own, which leaves out what timm's batch norms do after normalising.
        synced: nn.Module = convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return synced
    shared = {nn.BatchNorm2d: SharedBatchNorm, BatchNormAct2d: SharedBatchNormAct}
    for module in network.modules():
        module.__class__ = shared.get(type(module), type(module))
    return network


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the crops of all processes on a CPU, for which PyTorch has none."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (b, channels, high, wide) normalised."""
        if not self.training:
            return super().forward(x)
        n = everywhere(torch.tensor(x.numel() / x.shape[1]))
        mean = everywhere(x.float().sum(dim=(0, 2, 3))) / n
        centred = x - mean[None, :, None, None]
        variance = everywhere(centred.square().sum(dim=(0, 2, 3))) / n
        self._track(mean.detach(), (variance * n / (n - 1)).detach())
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale[None, :, None, None] + self.bias[None, :, None, None]

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        for running, seen in ((self.running_mean, mean), (self.running_var, variance)):
            if running is not None and self.momentum is not None:
                running.lerp_(seen, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


class SharedBatchNormAct(SharedBatchNorm):
    """The same of timm's batch norm, which drops and activates, too."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (b, channels, high, wide) normalised and activated."""
        found: Tensor = self.act(self.drop(super().forward(x)))  # type: ignore[operator]
        return found


def everywhere(own: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes, through which gradients flow."""
    found: Tensor = _Summed.apply(own)
    return found


class _Summed(torch.autograd.Function):
    """The sum of a tensor over the processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(_: Any, own: Tensor) -> Tensor:
        """Return the sum."""
        return _summed(own)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        """Return the sum of the gradients."""
        return _summed(gradient)


def _summed(own: Tensor) -> Tensor:
    found = own.clone()
    dist.all_reduce(found)
    return found
