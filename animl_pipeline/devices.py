"""Where to compute, and in what precision."""

import logging

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from animl_pipeline import allocator, processes
from animl_pipeline.errors import OptionError

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")


def make_fabric(device: str, precision: str, *, trains: bool = False) -> Fabric:
    """Return the device to compute on, and the precision to compute in.

    `auto` is the best there is: a GPU before the CPU, bfloat16 where the hardware has it. A
    CPU without matrix units (AMX) predicts faster in bfloat16, but learns slower. Of several
    processes (`torchrun`) each has a GPU of its own where there are GPUs.

    Raises:
        OptionError: this machine, or any, has no such device or precision.
    """
    if device not in DEVICES or precision not in PRECISIONS:
        raise OptionError(f"--device is one of {DEVICES}, --precision one of {PRECISIONS}.")
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
    try:
        if processes.count() == 1:
            return Fabric(accelerator=device, devices=1, precision=precision)  # type: ignore[arg-type]
        fabric = Fabric(
            accelerator=device,
            devices=processes.count_here(),
            num_nodes=processes.count() // processes.count_here(),
            # Batch norms see all crops in every process, so their statistics need no sending.
            strategy=DDPStrategy(broadcast_buffers=False),
            precision=precision,  # type: ignore[arg-type]
        )
        fabric.launch()
        return fabric
    except (RuntimeError, ValueError) as error:
        raise OptionError(f"--device {device} with --precision {precision}: {error}.") from error
