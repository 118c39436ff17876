"""The classifier: its network, the checkpoint that knows itself, and prediction; no training."""

import dataclasses
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from efficientnet_pytorch import EfficientNet
from efficientnet_pytorch.utils import efficientnet_params, url_map
from lightning_fabric import Fabric
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from animl_pipeline import files
from animl_pipeline.errors import InputInvalid, InputMissing, OptionError, WeightsMissing
from animl_pipeline.workers import progress

FORMAT_VERSION = "1"
WEIGHTS, CARD = "model.safetensors", "model.json"
MODEL_NAMES = tuple(f"efficientnet-b{size}" for size in range(8))
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# PyTorch's default. The package's own 0.01 is for the many steps of ImageNet: over the few dozen
# of a camera-trap project the running statistics lag behind and validation is nonsense.
BATCH_NORM_MOMENTUM = 0.1


# What torch and safetensors raise for a damaged file, by the place of the damage.
DAMAGE = (
    SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError, TypeError, IndexError,
    AttributeError, OverflowError, AssertionError, MemoryError, struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class Card:
    """What a user of the weights needs to know: the content of model.json."""

    model_name: str
    labels: list[str]
    image_size: int
    crop_rule: dict[str, Any]
    options: dict[str, Any]
    versions: dict[str, str]
    data_fingerprint: str
    epoch: int
    mean: list[float] = field(default_factory=lambda: list(IMAGENET_MEAN))
    std: list[float] = field(default_factory=lambda: list(IMAGENET_STD))
    interpolation: str = "bicubic"
    temperature: float | None = None  # to divide the logits by; `evaluate` fits it on val
    format_version: str = FORMAT_VERSION


def image_size_of(model_name: str) -> int:
    """Return the side in pixels the network was designed for.

    Raises:
        OptionError: there is no such network.
    """
    if model_name not in MODEL_NAMES:
        raise OptionError(f"--model-name {model_name!r} is not one of {', '.join(MODEL_NAMES)}.")
    return int(efficientnet_params(model_name)[2])


def build(model_name: str, labels: int) -> nn.Module:
    """Return the network, weights fresh; input (b, 3, side, side), output logits (b, labels)."""
    image_size_of(model_name)
    efficientnet = EfficientNet.from_name(model_name, num_classes=labels)
    efficientnet.set_swish(memory_efficient=False)  # the standard one is faster, for some memory
    network: nn.Module = efficientnet.to(memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = BATCH_NORM_MOMENTUM
    return network


def pretrained_weights(model_name: str) -> dict[str, Tensor]:
    """Return the ImageNet weights, from the cache or the network.

    Raises:
        WeightsMissing: they cannot be had here.
    """
    image_size_of(model_name)
    try:
        return dict(torch.hub.load_state_dict_from_url(url_map[model_name], weights_only=True))
    except (*DAMAGE, UnpicklingError) as error:  # an OSError where there is no network
        raise WeightsMissing(
            f"The ImageNet weights of {model_name} cannot be had here ({_short(error)}). Fetch "
            f"{url_map[model_name]} elsewhere and give it with --weights FILE, or train from "
            "scratch with --no-pretrained (it needs many more crops)."
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file: safetensors, or a PyTorch file of tensors alone.

    Nothing in the file is executed. A checkpoint of MegaDetector's trainer ({"model": ...}) is one.

    Raises:
        InputMissing, InputInvalid: what is wrong with the file.
    """
    if not path.exists():
        raise InputMissing(f"{path} is not there: check --weights.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise InputInvalid(f"{path} holds more than tensors, so it is not opened.") from error
    except DAMAGE as error:
        raise InputInvalid(f"{path} holds no weights: {_short(error)}.") from error
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputInvalid(f"{path} holds no dictionary of tensors.")
    return state


def _short(error: Exception) -> str:
    """Return the first sentence of what may be pages of advice."""
    return (str(error) or type(error).__name__).split("\n")[0].split(". ")[0]


def start_from(network: nn.Module, weights: dict[str, Tensor], source: str) -> list[str]:
    """Load what fits by name and shape; return the names of the network that got nothing.

    The head does not fit where the labels differ, and then stays fresh.

    Raises:
        InputInvalid: nothing, or too little, fits.
    """
    own = network.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    missing = [name for name in own if name not in fitting]
    if len(missing) > len(own) / 2:
        raise InputInvalid(
            f"{source} is of another network: only {len(fitting)} of {len(own)} tensors fit. "
            "Check --model-name."
        )
    network.load_state_dict({**own, **fitting})
    return missing


def save(folder: Path, network: nn.Module, card: Card) -> None:
    """Write the weights and the card, each whole or not at all; the card is in both files."""
    content = dataclasses.asdict(card)
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    with files.whole(folder / WEIGHTS) as part:
        # The library's own save_file leaves a file of a random name behind when it is killed.
        part.write_bytes(to_bytes(state, metadata={"card": json.dumps(content)}))
    save_card(folder, card)


def save_card(folder: Path, card: Card) -> None:
    """Write the card beside weights that stay as they are, whole or not at all."""
    files.write_json(folder / CARD, dataclasses.asdict(card))


def read_card(folder: Path) -> Card:
    """Return what a run's model.json says.

    Raises:
        InputMissing, InputInvalid: with what is wrong and what to do.
    """
    path = folder / CARD
    content = files.read_json(path, written_by="`pipeline train`")
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        raise InputInvalid(f"{path} is not a model card of format {FORMAT_VERSION}.")
    try:
        card = Card(**content)
    except TypeError as error:
        raise InputInvalid(f"{path} is not a model card: {error}.") from error
    wrong = [name for name, holds in _checks(card).items() if not holds]
    if wrong:
        raise InputInvalid(
            f"{path}: {wrong[0]} is {getattr(card, wrong[0])!r}, which it cannot be."
        )
    return card


def _checks(card: Card) -> dict[str, bool]:
    """Return for each field of a card whether it is what it has to be."""
    labels = card.labels if isinstance(card.labels, list) else []
    return {
        "model_name": card.model_name in MODEL_NAMES,
        "labels": bool(labels) and all(isinstance(label, str) and label for label in labels),
        "image_size": type(card.image_size) is int and card.image_size > 0,
        "mean": _three_numbers(card.mean),
        "std": _three_numbers(card.std) and 0 not in card.std,
        "interpolation": card.interpolation in {mode.value for mode in v2.InterpolationMode},
        "temperature": card.temperature is None or _is_positive(card.temperature),
        "options": isinstance(card.options, dict),
    }


def _is_positive(value: Any) -> bool:
    return type(value) in {int, float} and 0 < value < float("inf")


def _three_numbers(values: Any) -> bool:
    is_list = isinstance(values, list) and len(values) == 3
    return is_list and all(type(value) in {int, float} for value in values)


def load(folder: Path) -> tuple[nn.Module, Card]:
    """Return the trained network, ready to predict, and its card.

    Raises:
        InputMissing, InputInvalid: with what is wrong and what to do.
    """
    card = read_card(folder)
    weights = read_weights(folder / WEIGHTS)
    network = build(card.model_name, len(card.labels))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputInvalid(f"{folder / WEIGHTS} does not fit {CARD}: {error}") from error
    return network.eval(), card


def transform(card: Card) -> v2.Compose:
    """Return what makes a picture (PIL, RGB) the network's input (3, side, side)."""
    return v2.Compose([
        square_up,
        v2.Resize((card.image_size, card.image_size), v2.InterpolationMode(card.interpolation)),
        *to_tensor(card.mean, card.std),
    ])  # fmt: skip


def to_tensor(mean: Iterable[float], std: Iterable[float]) -> list[nn.Module]:
    """Return the last steps of every transform: 0..1 float32, normalised."""
    return [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(mean), list(std)),
    ]


def square_up(image: Any) -> Any:
    """Return the picture (PIL) padded evenly with black to a square; a square stays as it is."""
    wide, high = image.size
    side = max(wide, high)
    if wide == high:
        return image
    left, top = (side - wide) // 2, (side - high) // 2
    return image.crop((-left, -top, side - left, side - top))


def probabilities(logits: Tensor) -> NDArray[np.float64]:
    """Return softmax of logits (n, labels) in double precision, to 9 decimals, as files hold it."""
    soft = torch.softmax(logits.double(), dim=1).cpu().numpy()
    return np.asarray(np.round(soft, 9))


@dataclass(frozen=True)
class Predictions:
    """Probabilities (n, labels), truth (n,), and which crops of the loader could be read."""

    probabilities: NDArray[np.float64]
    truth: NDArray[np.int64]
    readable: NDArray[np.bool_]


@torch.inference_mode()
def predict(
    fabric: Fabric, network: nn.Module, loader: "DataLoader[Any]", title: str
) -> Predictions:
    """Return the network's predictions for a loader of (pictures, truth, read), in its order.

    A crop that could not be read (`read` is not 0) is left out of probabilities and truth.
    """
    network.eval()
    logits, truths, readables = [], [], []
    with progress(len(loader.dataset), title=title, unit="crop") as bar:  # type: ignore[arg-type]
        for batch in loader:
            pictures, truth, read = fabric.to_device(batch)
            readable = read == 0
            found = network(pictures.contiguous(memory_format=torch.channels_last))
            logits.append(found[readable].float().cpu())
            truths.append(truth[readable].cpu())
            readables.append(readable.cpu())
            bar.update(len(truth))
    return Predictions(
        probabilities(torch.cat(logits)),
        torch.cat(truths).numpy(),
        torch.cat(readables).numpy(),
    )
