"""Where to compute, and in what precision."""

import inspect
import logging
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from animl_pipeline.errors import OptionError
from animl_pipeline.running import allocator, processes

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")

# Batch norms see the crops of all processes, so their statistics need no sending; and what is sent
# in every pass would keep a process waiting that has a batch more of val than the others.
_NAMES = ("forward_sync_buffers", "broadcast_buffers")  # the second before PyTorch 2.15
_KNOWN = inspect.signature(DistributedDataParallel).parameters
SYNC: dict[str, Any] = {next(name for name in _NAMES if name in _KNOWN): False}


def make_fabric(device: str, precision: str, *, trains: bool = False) -> Fabric:
    """Return the device to compute on, and the precision to compute in.

    `auto` is the best there is: a GPU before the CPU, bfloat16 where the hardware has it. A
    CPU without matrix units (AMX) predicts faster in bfloat16, but learns slower. Of several
    processes (`torchrun`) each has a GPU of its own where there are GPUs.

    Raises:
        OptionError: this machine, or any, has no such device or precision.
    """
    if device not in DEVICES or precision not in PRECISIONS:
        raise OptionError(
            f"--device {device} with --precision {precision}: --device is one of "
            f"{', '.join(DEVICES)}, --precision one of {', '.join(PRECISIONS)}."
        )
    _refuse_absent(device)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        allocator.keep_freed_memory()
    if precision == "auto":
        unit = "_is_amx_tile_supported" if trains else "_is_avx512_bf16_supported"
        bf16_cpu = getattr(torch.cpu, unit, lambda: False)
        bf16 = torch.cuda.is_bf16_supported() if device == "cuda" else bf16_cpu()
        precision = "bf16-mixed" if bf16 else "16-mixed" if device == "cuda" else "32-true"
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision
    settings: dict[str, Any] = {"accelerator": device, "devices": 1, "precision": precision}
    if processes.count() > 1:
        settings |= {
            "devices": processes.count_here(),
            "num_nodes": processes.count() // processes.count_here(),
            "strategy": DDPStrategy(**SYNC),
        }
    try:
        fabric = Fabric(**settings)
        if processes.count() > 1:
            fabric.launch()
    except (RuntimeError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise OptionError(f"--device {device} with --precision {precision}: {reason}.") from error
    return fabric


def _refuse_absent(device: str) -> None:
    """Raise OptionError if this computer has no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise OptionError(
            "--device cuda: PyTorch finds no NVIDIA GPU that it can use on this computer. Leave "
            "--device out, or install the PyTorch that goes with the GPU's driver."
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise OptionError(
            "--device mps: PyTorch finds no Apple GPU that it can use on this computer. Leave "
            "--device out."
        )
