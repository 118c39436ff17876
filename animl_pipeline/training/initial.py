"""The card and the network that a run starts with, and the weights it starts from."""

import logging
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from animl_pipeline.classifier import networks, weights
from animl_pipeline.classifier.card import Card
from animl_pipeline.training.settings import Recipe

PACKAGES = ("animl-pipeline", "torch", "torchvision", "efficientnet-pytorch", "timm", "pillow")

logger = logging.getLogger(__name__)


def make_card(
    recipe: Recipe,
    labels: list[str],
    *,
    crop_rule: dict[str, Any],
    options: dict[str, Any],
    data_fingerprint: str,
) -> Card:
    """Return the card of a run that has not begun; `options` are all of its options, to keep.

    Raises:
        OptionError: there is no such network.
    """
    pictures = networks.describe_pictures(recipe.model_name)
    return Card(
        model_name=recipe.model_name,
        labels=labels,
        image_size=recipe.image_size or pictures.side_px,
        mean=list(pictures.mean),
        std=list(pictures.std),
        interpolation=pictures.interpolation,
        crop_rule=crop_rule,
        options=options,
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        data_fingerprint=data_fingerprint,
        epoch=-1,
    )


def make_network(card: Card, *, weights_file: Path | None, pretrained: bool) -> nn.Module:
    """Return the network of a card, from the weights of a file, ImageNet's, or fresh ones.

    What starts fresh beside weights is named in the log.

    Raises:
        OptionError, InputMissing, InputInvalid, WeightsMissing: with what to do.
    """
    network = networks.build(card.model_name, len(card.labels), card.image_size)
    labels = None
    if weights_file:
        source, state = str(weights_file), weights.read_weights(weights_file)
        labels = weights.read_labels(weights_file)
    elif pretrained:
        source = f"ImageNet weights of {card.model_name}"
        state = weights.read_pretrained(card.model_name, card.image_size)
    else:
        return network
    has_same_labels = labels is None or labels == card.labels
    fresh = weights.start_from(network, state, source, head=has_same_labels)
    if fresh:
        of_others = f"are for other labels ({', '.join(labels or [])})"
        reason = "do not fit" if has_same_labels else of_others
        message = "%s: started fresh, since they %s: %s"
        logger.warning(message, source, reason, ", ".join(fresh))
    elif labels is None:
        message = "%s does not say which labels its head is for: taken to be %s, in this order"
        logger.warning(message, source, ", ".join(card.labels))
    return network
