"""What runs a trained network: PyTorch, or onnxruntime, which is faster on a CPU."""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from animl_pipeline.classifier import card as cards
from animl_pipeline.classifier import onnx_file
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.inference import Inference
from animl_pipeline.classifier.predicting import BATCH_ON_CPU, BATCH_ON_GPU
from animl_pipeline.errors import OptionError
from animl_pipeline.running import devices

Wanted = Literal["auto", "onnx", "torch"]
Pictures = NDArray[np.uint8]
Floats32 = NDArray[np.float32]
INSTALL = "pip install 'animl-pipeline[export]'"

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """A trained network that runs; threads may share it."""

    name: str
    version: str
    card: Card
    batch_size: int  # with which it is fastest

    def run(self, pictures: Pictures) -> tuple[Floats32, Floats32]:
        """Return logits (n, labels) and features (n, width), which are what the head takes.

        `pictures` (n, 3, side, side) are what `Transform.prepare` gives. Of PyTorch the last bits
        of a picture's logits depend on how many are beside it, by 5e-7 (docs, Measured).
        """


class TorchEngine:
    """PyTorch, in the precision and on the device that `evaluate` would take."""

    name = "torch"

    def __init__(self, run_folder: Path, device: str) -> None:
        network, self.card = cards.load(run_folder)
        self.version = str(torch.__version__)
        self._fabric = devices.make_fabric(device, cards.choose_precision(self.card))
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


class OnnxEngine:
    """onnxruntime, in single precision, on the CPU."""

    name = "onnxruntime"

    def __init__(self, run_folder: Path) -> None:
        self.card = cards.read_card(run_folder)
        self.version = version("onnxruntime")
        self.batch_size = BATCH_ON_CPU
        content = onnx_file.read_or_make(run_folder, self.card)
        self._session = onnx_file.open_session(content, threads=torch.get_num_threads())

    def run(self, pictures: Pictures) -> tuple[Floats32, Floats32]:
        """Return logits (n, labels) and features (n, width)."""
        outputs = [onnx_file.LOGITS, onnx_file.FEATURES]
        logits, features = self._session.run(outputs, {onnx_file.PICTURES: pictures})
        return logits, features


def open_engine(run_folder: Path, *, wanted: Wanted = "auto", device: str = "auto") -> Engine:
    """Return what runs the network of a run, and say which it is and why.

    Raises:
        InputMissing, InputInvalid: the run is not whole.
        OptionError: this machine has no such device or engine.
    """
    engine, reason = _open(run_folder, wanted, device)
    logger.info("Engine %s %s: %s", engine.name, engine.version, reason)
    return engine


def _open(run_folder: Path, wanted: Wanted, device: str) -> tuple[Engine, str]:
    """Return the engine, and why it is that."""
    if wanted == "torch":
        return TorchEngine(run_folder, device), "as --engine says"
    if wanted == "onnx":
        refuse_onnx(device)
        return OnnxEngine(run_folder), "as --engine says"
    missing = onnx_file.list_missing()
    if device in {"cuda", "mps"} or (device == "auto" and torch.cuda.is_available()):
        return TorchEngine(run_folder, device), "on a GPU"
    if missing:
        return TorchEngine(run_folder, device), f"{missing[0]} is not installed ({INSTALL})"
    try:
        return OnnxEngine(run_folder), "the fastest on a CPU"
    except onnx_file.DiffersError as error:
        return TorchEngine(run_folder, device), str(error)


def refuse_onnx(device: str) -> None:
    """Raise OptionError where onnxruntime is wanted and cannot be had."""
    missing = onnx_file.list_missing()
    if missing:
        raise OptionError(f"--engine onnx: {missing[0]} is not installed. Run {INSTALL}.")
    if device not in {"auto", "cpu"}:
        raise OptionError(
            f"--engine onnx runs on the CPU: leave out --device {device}, or --engine."
        )
