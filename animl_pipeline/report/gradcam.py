"""Where a network looked: Grad-CAM (Selvaraju et al. 2017) of one label on one crop."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier import networks
from animl_pipeline.classifier.preprocessing import make_transform, pad_to_square

TINT = (213, 94, 0)  # vermilion of Okabe & Ito, told apart by colour-blind readers
STRENGTH = 0.65


def compute_heat(network: nn.Module, picture: torch.Tensor, label: int) -> NDArray[np.float64]:
    """Return how much each place of the last features speaks for the label: 0 to 1 (rows, columns).

    `picture` (3, side, side) is what the network takes. Features without places, as the tokens of
    some transformers, give one place that says nothing: 0.
    """
    with torch.enable_grad():
        features = networks.extract_features(network, picture[None]).detach().requires_grad_()
        logits = networks.find_head(network)(networks.pool(network, features))
        (gradient,) = torch.autograd.grad(logits[0, label], features)
    if features.dim() != 4:
        return np.zeros((1, 1))
    places = (1, 2) if networks.has_channels_last(network, features) else (2, 3)
    weights = gradient.mean(dim=places, keepdim=True)
    (channel,) = {1, 2, 3} - set(places)
    heat = torch.relu((weights * features).sum(dim=channel))[0].detach().double().numpy()
    return np.asarray(heat / heat.max() if heat.max() > 0 else heat)


def overlay_heat(
    network: nn.Module, card: classifier.Card, image: Image.Image, label: int
) -> Image.Image:
    """Return the crop as the network sees it, tinted where it looked for the label."""
    heat = compute_heat(network, make_transform(card)(image), label)
    side = (card.image_size, card.image_size)
    square = pad_to_square(image).resize(side)
    mask = Image.fromarray((255 * STRENGTH * heat).astype(np.uint8))
    mask = mask.resize(side, Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", side, TINT), square, mask)
