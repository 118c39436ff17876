"""Weights that others have: files, of which nothing is ever executed, and what is published."""

import json
import struct
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from animl_pipeline.classifier import networks
from animl_pipeline.errors import InputInvalid, InputMissing, WeightsMissing

NAME = "model.safetensors"  # in the folder of a run
# What torch and safetensors raise for a damaged file, by the place of the damage.
DAMAGE = (
    SafetensorError,
    OSError,
    RuntimeError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    AssertionError,
    MemoryError,
    struct.error,
)
# What a checkpoint may hold beside tensors: a figure of NumPy's, under its old name and its new.
_SCALAR: Any = import_module("numpy._core.multiarray").scalar
HARMLESS = [
    np.dtype,
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "bool")),
]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file: safetensors, or PyTorch's own.

    Nothing in the file is executed. A checkpoint of MegaDetector's trainer (ckpt_<epoch>.pt, a
    dictionary with "model", "optimizer", "epoch" and "val/acc") is one.

    Raises:
        InputMissing, InputInvalid: what is wrong with the file.
    """
    if not path.exists():
        raise InputMissing(f"{path} is not there: check --weights.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(HARMLESS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise InputInvalid(
            f"{path} holds more than tensors and numbers, so it is not opened: it could run code."
        ) from error
    except DAMAGE as error:
        raise InputInvalid(f"{path} holds no weights: {shorten(error)}.") from error
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputInvalid(f"{path} holds no dictionary of tensors.")
    return state


def read_labels(path: Path) -> list[str] | None:
    """Return the labels in order that a file of weights is for, if it says so: ours does."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, "pt") as file:
            labels = json.loads((file.metadata() or {})["card"])["labels"]
    except (*DAMAGE, RecursionError):
        return None
    return labels if isinstance(labels, list) else None


def read_pretrained(model_name: str, side_px: int | None = None) -> dict[str, Tensor]:
    """Return the ImageNet weights, from the cache or the network.

    Raises:
        WeightsMissing: they cannot be had here.
    """
    kind = networks.find_kind_named(model_name)
    try:
        return kind.read_pretrained(model_name, side_px)
    except (*DAMAGE, UnpicklingError) as error:  # an OSError where there is no network
        raise WeightsMissing(
            f"The ImageNet weights of {model_name} cannot be had here ({shorten(error)}). Fetch "
            f"{kind.find_source(model_name)} elsewhere and give it with --weights FILE, or train "
            "from scratch with --no-pretrained (it needs many more crops)."
        ) from error


def shorten(error: Exception) -> str:
    """Return the first sentence of what may be pages of advice."""
    return (str(error) or type(error).__name__).split("\n")[0].split(". ")[0]


def start_from(
    network: nn.Module, weights: dict[str, Tensor], source: str, *, head: bool = True
) -> list[str]:
    """Load what fits by name and shape; return the names of the network that got nothing.

    The head does not fit where the number of labels differs, and then stays fresh; without `head`
    it does so in any case.

    Raises:
        InputInvalid: nothing, or too little, fits.
    """
    state = network.state_dict()
    not_taken = set() if head else networks.head_names(network)
    fitting = {
        name: tensor
        for name, tensor in weights.items()
        if name in state and state[name].shape == tensor.shape and name not in not_taken
    }
    missing = [name for name in state if name not in fitting]
    if len(missing) > len(state) / 2:
        raise InputInvalid(
            f"{source} is of another network: only {len(fitting)} of {len(state)} tensors fit. "
            "Check --model-name."
        )
    network.load_state_dict({**state, **fitting})
    return missing
