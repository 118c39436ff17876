"""What a run starts with: its card, its network, and the weights it starts from."""

import logging
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from animl_pipeline.classifier import networks, weights
from animl_pipeline.classifier.card import Card
from animl_pipeline.crops.rule import read_crop_rule

PACKAGES = ("animl-pipeline", "torch", "torchvision", "efficientnet-pytorch", "timm", "pillow")

logger = logging.getLogger(__name__)


def card_for(
    model_name: str,
    labels: list[str],
    *,
    image_size: int | None,
    crops_dir: Path,
    options: dict[str, Any],
    data_fingerprint: str,
) -> Card:
    """Return the card of a run that has not begun; `image_size` is the network's own where None.

    Raises:
        OptionError: there is no such network.
    """
    pictures = networks.pictures_of(model_name)
    return Card(
        model_name=model_name,
        labels=labels,
        image_size=image_size or pictures.side_px,
        mean=list(pictures.mean),
        std=list(pictures.std),
        interpolation=pictures.interpolation,
        crop_rule=read_crop_rule(crops_dir),
        options=options,
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        data_fingerprint=data_fingerprint,
        epoch=-1,
    )


def network_for(card: Card, *, weights_file: Path | None, pretrained: bool) -> nn.Module:
    """Return the network of a card, from a file's weights, ImageNet's, or none; says what is fresh.

    Raises:
        OptionError, InputMissing, InputInvalid, WeightsMissing: with what to do.
    """
    network = networks.build(card.model_name, len(card.labels), card.image_size)
    labels = None
    if weights_file:
        source, found = str(weights_file), weights.read_weights(weights_file)
        labels = weights.labels_in(weights_file)
    elif pretrained:
        source = f"ImageNet weights of {card.model_name}"
        found = weights.pretrained_weights(card.model_name, card.image_size)
    else:
        return network
    same_labels = labels is None or labels == card.labels
    fresh = weights.start_from(network, found, source, head=same_labels)
    if fresh:
        why = "do not fit" if same_labels else f"are for other labels ({', '.join(labels or [])})"
        logger.warning("%s: started fresh, since they %s: %s", source, why, ", ".join(fresh))
    elif labels is None:
        logger.warning(
            "%s does not say which labels its head is for: taken to be %s, in this order",
            source, ", ".join(card.labels),
        )  # fmt: skip
    return network
