"""What runs a trained network: PyTorch, or onnxruntime, which is faster on a CPU."""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from animl_pipeline.classifier import card as cards
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.inference import Inference
from animl_pipeline.classifier.predicting import BATCH_ON_CPU, BATCH_ON_GPU
from animl_pipeline.errors import OptionError
from animl_pipeline.running import devices

Wanted = Literal["auto", "onnx", "torch"]
Pictures = NDArray[np.uint8]
Floats32 = NDArray[np.float32]


class Engine(Protocol):
    """A trained network that runs; threads may share it."""

    name: str
    version: str
    card: Card
    batch_size: int  # with which it is fastest

    def run(self, pictures: Pictures) -> tuple[Floats32, Floats32]:
        """Return logits (n, labels) and features (n, width), which are what the head takes.

        `pictures` (n, 3, side, side) are what `Transform.prepare` gives.
        """


class TorchEngine:
    """PyTorch, in the precision and on the device that `evaluate` would take."""

    name = "torch"
    version = str(torch.__version__)

    def __init__(self, run_folder: Path, device: str) -> None:
        network, self.card = cards.load(run_folder)
        self._fabric = devices.make_fabric(device, "auto")
        inference = Inference(network, self.card).eval().to(self._fabric.device)
        self._inference = self._fabric.setup(inference)
        is_cpu = self._fabric.device.type == "cpu"
        self.batch_size = BATCH_ON_CPU if is_cpu else BATCH_ON_GPU

    @torch.inference_mode()
    def run(self, pictures: Pictures) -> tuple[Floats32, Floats32]:
        """Return logits (n, labels) and features (n, width)."""
        given = torch.from_numpy(pictures).to(self._fabric.device)
        logits, features = self._inference(given)
        return logits.float().cpu().numpy(), features.float().cpu().numpy()


def open_engine(run_folder: Path, *, wanted: Wanted = "auto", device: str = "auto") -> Engine:
    """Return what runs the network of a run.

    Raises:
        InputMissing, InputInvalid: the run is not whole.
        OptionError: this machine has no such device.
    """
    if wanted == "onnx":
        raise OptionError("--engine onnx: this version runs PyTorch alone.")
    return TorchEngine(run_folder, device)
