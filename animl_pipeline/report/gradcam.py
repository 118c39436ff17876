"""Where a network looked: Grad-CAM (Selvaraju et al. 2017) of one label on one crop."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from animl_pipeline import classifier

TINT = (213, 94, 0)  # vermilion of Okabe & Ito, told apart by colour-blind readers
STRENGTH = 0.65


def heat(network: nn.Module, picture: torch.Tensor, label: int) -> NDArray[np.float64]:
    """Return how much each place of the last features speaks for the label: 0 to 1 (rows, columns).

    `picture` (3, side, side) is what the network, an EfficientNet, takes.
    """
    with torch.enable_grad():
        features = network.extract_features(picture[None])  # type: ignore[operator]
        features = features.detach().requires_grad_()
        logits = network._fc(features.mean(dim=(2, 3)))  # type: ignore[operator]
        (gradient,) = torch.autograd.grad(logits[0, label], features)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    found = torch.relu((weights * features).sum(dim=1))[0].detach().double().numpy()
    return np.asarray(found / found.max() if found.max() > 0 else found)


def shown(network: nn.Module, card: classifier.Card, image: Image.Image, label: int) -> Image.Image:
    """Return the crop as the network sees it, tinted where it looked for the label."""
    found = heat(network, classifier.transform(card)(image), label)
    side = (card.image_size, card.image_size)
    square = classifier.square_up(image).resize(side)
    mask = Image.fromarray((255 * STRENGTH * found).astype(np.uint8))
    mask = mask.resize(side, Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", side, TINT), square, mask)
