"""The classifier: its network, and the checkpoint that knows itself."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes
from torch import nn
from torchvision.transforms import v2

from animl_pipeline.classifier import kinds, networks
from animl_pipeline.classifier.weights import NAME as WEIGHTS
from animl_pipeline.classifier.weights import read_weights
from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole

FORMAT_VERSION = "1"
CARD = "model.json"


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
    mean: list[float] = field(default_factory=lambda: list(kinds.IMAGENET_MEAN))
    std: list[float] = field(default_factory=lambda: list(kinds.IMAGENET_STD))
    interpolation: str = "bicubic"
    temperature: float | None = None  # to divide the logits by; `evaluate` fits it on val
    format_version: str = FORMAT_VERSION


def save(folder: Path, network: nn.Module, card: Card) -> None:
    """Write the weights and the card, each whole or not at all; the card is in both files."""
    content = dataclasses.asdict(card)
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    with whole.whole(folder / WEIGHTS) as part:
        # The library's own save_file leaves a file of a random name behind when it is killed.
        part.write_bytes(to_bytes(state, metadata={"card": json.dumps(content)}))
    save_card(folder, card)


def save_card(folder: Path, card: Card) -> None:
    """Write the card beside weights that stay as they are, whole or not at all."""
    whole.write_json(folder / CARD, dataclasses.asdict(card))


def read_card(folder: Path) -> Card:
    """Return what a run's model.json says.

    Raises:
        InputMissing, InputInvalid: with what is wrong and what to do.
    """
    path = folder / CARD
    content = whole.read_json(path, written_by="`pipeline train`")
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        raise InputInvalid(f"{path} is not a model card of format {FORMAT_VERSION}.")
    try:
        card = Card(**content)
    except TypeError as error:
        raise InputInvalid(f"{path} is not a model card: {error}.") from error
    wrong = [name for name, holds in _list_checks(card).items() if not holds]
    if wrong:
        raise InputInvalid(
            f"{path}: {wrong[0]} is {getattr(card, wrong[0])!r}, which it cannot be."
        )
    return card


def choose_precision(card: Card) -> str:
    """Return the precision to predict in: that of training, where every machine has it."""
    trained = card.options.get("precision")
    return trained if trained in {"32-true", "bf16-mixed"} else "auto"


def _list_checks(card: Card) -> dict[str, bool]:
    """Return for each field of a card whether it is what it has to be."""
    labels = card.labels if isinstance(card.labels, list) else []
    return {
        "model_name": networks.is_known(card.model_name),
        "labels": bool(labels) and all(isinstance(label, str) and label for label in labels),
        "image_size": type(card.image_size) is int and card.image_size > 0,
        "mean": _has_three_numbers(card.mean),
        "std": _has_three_numbers(card.std) and 0 not in card.std,
        "interpolation": card.interpolation in {mode.value for mode in v2.InterpolationMode},
        "temperature": card.temperature is None or _is_positive(card.temperature),
        "options": isinstance(card.options, dict),
    }


def _is_positive(value: Any) -> bool:
    return type(value) in {int, float} and 0 < value < float("inf")


def _has_three_numbers(values: Any) -> bool:
    is_list = isinstance(values, list) and len(values) == 3
    return is_list and all(type(value) in {int, float} for value in values)


def load(folder: Path) -> tuple[nn.Module, Card]:
    """Return the trained network, ready to predict, and its card.

    Raises:
        InputMissing, InputInvalid: with what is wrong and what to do.
    """
    card = read_card(folder)
    weights = read_weights(folder / WEIGHTS)
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise InputInvalid(
            f"{folder / WEIGHTS} holds weights that are no numbers (NaN or infinity): copy the "
            "file again, or train again with a lower --lr or --precision 32-true."
        )
    network = networks.build(card.model_name, len(card.labels), card.image_size)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputInvalid(f"{folder / WEIGHTS} does not fit {CARD}: {error}") from error
    return network.eval(), card
