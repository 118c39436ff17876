"""How a crop becomes what the network takes: the same for training, validation and prediction."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from animl_pipeline.classifier.card import Card


@dataclass(frozen=True)
class Transform:
    """What makes a picture (PIL, RGB) the network's input (3, side, side), in two steps.

    `prepare` is the same whenever a picture is seen, so its result, bytes (3, side, side), may be
    kept; `finish` makes of it what the network takes, and while training brings in chance.
    """

    prepare: Callable[[Image.Image], Tensor]
    finish: Callable[[Tensor], Tensor]

    def __call__(self, image: Image.Image) -> Tensor:
        """Return what the network takes."""
        return self.finish(self.prepare(image))


def make_transform(card: Card) -> Transform:
    """Return what a picture goes through to be predicted: a padded square, scaled, normalised."""
    side = (card.image_size, card.image_size)
    scale = v2.Resize(side, v2.InterpolationMode(card.interpolation))
    prepare = v2.Compose([pad_to_square, scale, v2.ToImage(), v2.ToPureTensor()])
    to_float = v2.ToDtype(torch.float32, scale=True)  # bytes to 0..1
    return Transform(prepare, v2.Compose([to_float, v2.Normalize(card.mean, card.std)]))


def pad_to_square(image: Image.Image) -> Image.Image:
    """Return the picture padded evenly with black to a square; a square stays as it is."""
    width, height = image.size
    side = max(width, height)
    if width == height:
        return image
    left, top = (side - width) // 2, (side - height) // 2
    return image.crop((-left, -top, side - left, side - top))
