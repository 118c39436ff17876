"""What a crop goes through while training, so that a few thousand are like the many to come."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.preprocessing import Transform, make_transform
from animl_pipeline.training.settings import Augmentation


@dataclass(frozen=True)
class Strength:
    """How far each change goes, and with what probability those come that are seldom."""

    area_min: float  # of the crop, that is kept
    degrees_max: float  # by which it is turned
    light: float  # share by which brightness, contrast and saturation change
    grey: float  # probability of infrared
    blur: float  # probability of an animal in motion, or out of focus
    erase: float  # probability of a branch in front of it


STRENGTHS = {
    Augmentation.LIGHT: Strength(0.8, 0, 0.15, 0.05, 0, 0),
    Augmentation.DEFAULT: Strength(0.5, 10, 0.25, 0.1, 0.1, 0.1),
    Augmentation.STRONG: Strength(0.35, 20, 0.4, 0.2, 0.2, 0.25),
}


class Window(nn.Module):
    """A part of a picture, a little turned, and mirrored in half of all cases.

    The old workflow keeps down to 8 % of a crop, so often no animal at all, and turns by up to 90
    degrees, with black corners and standing foxes. Here what lies beyond the edge of the picture
    is its mirror image, so every pixel is a real one, and all is one resampling.
    """

    def __init__(self, area_min: float, degrees_max: float) -> None:
        super().__init__()
        self.area_min, self.degrees_max = area_min, degrees_max

    def forward(self, picture: Tensor) -> Tensor:
        """Return what it shows of a picture (3, side, side), 0..1."""
        theta = make_window(torch.rand(6).tolist(), self.area_min, math.radians(self.degrees_max))
        grid = nn.functional.affine_grid(theta[None], [1, *picture.shape], align_corners=False)
        shown = nn.functional.grid_sample(
            picture[None], grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
        return shown[0]


def make_window(chances: list[float], area_min: float, radians_max: float) -> Tensor:
    """Return the affine map (2, 3) from what is shown to the picture, both -1 to 1, of six chances.

    Width over height is 4/5 to 5/4. Before the turn the window lies within the picture.
    """
    area, ratio, turn, x, y, flip = chances
    side = math.sqrt(area_min + (1 - area_min) * area)
    stretch = (5 / 4) ** (ratio - 0.5)  # once across, once down
    width, height = min(1.0, side * stretch), min(1.0, side / stretch)
    angle = (2 * turn - 1) * radians_max
    mirror = -1.0 if flip < 0.5 else 1.0
    across, down = (1 - width) * (2 * x - 1), (1 - height) * (2 * y - 1)
    cos, sin = math.cos(angle), math.sin(angle)
    rows = [mirror * width * cos, -height * sin, across], [mirror * width * sin, height * cos, down]
    return torch.tensor(rows)


def make_training_transform(card: Card, augmentation: Augmentation) -> Transform:
    """Return what a crop goes through while training; with `none` it is as it is predicted."""
    plain = make_transform(card)
    if augmentation is Augmentation.NONE:
        return plain
    strength = STRENGTHS[augmentation]
    steps = [
        v2.ToDtype(torch.float32, scale=True),
        Window(strength.area_min, strength.degrees_max),
        v2.ColorJitter(strength.light, strength.light, strength.light),  # weather, hour, camera
        v2.RandomGrayscale(strength.grey),
        v2.RandomApply([v2.GaussianBlur(5, (0.1, 2.0))], strength.blur),
        v2.Normalize(card.mean, card.std),
        v2.RandomErasing(strength.erase, scale=(0.02, 0.1), value="random"),
    ]
    return Transform(plain.prepare, v2.Compose(steps))
