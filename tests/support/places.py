"""The backgrounds: what one camera of the small world sees while nobody is there."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw


@dataclass(frozen=True)
class Place:
    """What one camera sees while nobody is there."""

    day: Image.Image
    night_light: np.ndarray  # (height, width, 1), the part of the infrared flash that comes back
    noise: np.ndarray  # (more than height, more than width, 3), standard normal
    grass: np.ndarray  # (n, 3), the colours of the blades
    horizon_px: int
    strip_px: int  # height of the camera's information strip, 0 where it has none
    caption: str


def make_place(rng: np.random.Generator, size_px: tuple[int, int], caption: str) -> Place:
    width, height = size_px
    horizon = int(height * rng.choice([0, rng.uniform(0.12, 0.42)], p=[0.2, 0.8]))
    dryness = rng.uniform(0, 1)
    soil = np.array([172, 146, 114]) * rng.uniform(0.6, 1.05) * rng.uniform(0.95, 1.05, 3)
    leaf = np.array([84, 108, 52]) * (1 - dryness) + np.array([172, 152, 92]) * dryness
    leaf = leaf * rng.uniform(0.8, 1.2)
    grass = np.clip(leaf * rng.uniform(0.55, 1.35, (12, 1)) + rng.normal(0, 6, (12, 3)), 0, 255)
    picture = _ground(rng, size_px, horizon, soil, leaf)
    draw = ImageDraw.Draw(picture)
    _hills(rng, draw, size_px, horizon, leaf)
    things = [_bush] * int(rng.integers(2, 7)) + [_rock] * int(rng.integers(1, 6))
    things += [_trunk] * int(rng.integers(0, 3))
    bottoms = np.sort(rng.uniform(horizon + 0.04 * height, 0.9 * height, len(things)))
    for which, bottom in zip(rng.permutation(len(things)), bottoms, strict=True):
        near = 0.3 + 0.7 * (bottom - horizon) / (height - horizon)
        things[which](rng, draw, rng.uniform(0, width), bottom, near * height, leaf)
    _blades(rng, draw, size_px, horizon, grass, int(rng.uniform(200, 1300)))
    return Place(
        day=picture,
        night_light=_flash(rng, size_px, horizon),
        noise=rng.standard_normal((height + 48, width + 48, 3), dtype=np.float32),
        grass=grass,
        horizon_px=horizon,
        strip_px=int(height * 0.05) if rng.random() < 0.7 else 0,
        caption=caption,
    )


def _ground(
    rng: np.random.Generator,
    size_px: tuple[int, int],
    horizon: int,
    soil: np.ndarray,
    leaf: np.ndarray,
) -> Image.Image:
    """Returns sky above the horizon and patchy ground below it."""
    width, height = size_px
    picture = np.zeros((height, width, 3), dtype=np.float32)
    zenith = np.array([128, 166, 212]) * rng.uniform(0.85, 1.1) * rng.uniform(0.95, 1.05, 3)
    haze = np.array([214, 220, 224]) * rng.uniform(0.9, 1.05)
    down = np.linspace(0, 1, max(horizon, 1))[:, None, None]
    picture[:horizon] = (zenith * (1 - down) + haze * down)[:horizon]
    patches = sum(
        np.asarray(
            Image.fromarray(rng.random((cells, cells * 2)).astype(np.float32)).resize(
                size_px, Image.Resampling.BICUBIC
            )
        )
        * weight
        for cells, weight in ((4, 0.5), (14, 0.3), (60, 0.2))
    )
    cover = np.clip((patches - 0.5) * 2.5 + 0.5, 0, 1)[horizon:, :, None]
    near = np.linspace(0.85, 1.05, height - horizon)[:, None, None]
    grain = rng.normal(1, 0.06, (height - horizon, width, 1))
    picture[horizon:] = (soil * (1 - cover) + leaf * cover) * near * grain
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8), "RGB")


def _hills(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    size_px: tuple[int, int],
    horizon: int,
    leaf: np.ndarray,
) -> None:
    width, _ = size_px
    x = np.linspace(0, width, 60)
    for far in (1.0, 0.6, 0.3) if horizon else ():
        waves = np.zeros(x.size)
        for k in (1, 2, 4):
            waves += np.sin(x / width * rng.uniform(2, 9) * k + rng.uniform(0, 6)) / k
        top = horizon - horizon * far * (0.35 + 0.22 * waves)
        colour = leaf * (0.75 - 0.2 * far) * (1 - 0.5 * far) + np.array([150, 165, 180]) * 0.5 * far
        outline = [
            (0, horizon + 2),
            *zip(x.tolist(), top.tolist(), strict=True),
            (width, horizon + 2),
        ]
        draw.polygon(outline, _rgb(colour))


def _bush(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    x: float,
    bottom: float,
    size: float,
    leaf: np.ndarray,
) -> None:
    wide, tall = size * rng.uniform(0.08, 0.22), size * rng.uniform(0.1, 0.26)
    shade = leaf * rng.uniform(0.45, 0.85) * rng.uniform(0.9, 1.1, 3)
    for step in np.linspace(0, 1, 160):
        angle, out = rng.uniform(0, np.pi), np.sqrt(rng.uniform(0, 1))
        cx, cy = x + np.cos(angle) * out * wide, bottom - np.sin(angle) * out * tall
        leaf_px = size * rng.uniform(0.008, 0.026)
        light = 0.55 + 0.5 * step * (bottom - cy + 1) / tall + rng.uniform(-0.08, 0.08)
        ends = (cx - leaf_px, cy - leaf_px * 0.7, cx + leaf_px, cy + leaf_px * 0.7)
        draw.ellipse(ends, fill=_rgb(shade * light))


def _rock(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    x: float,
    bottom: float,
    size: float,
    _leaf: np.ndarray,
) -> None:
    wide = size * rng.uniform(0.03, 0.12)
    tall = wide * rng.uniform(0.3, 0.65)
    angle = np.linspace(0, 2 * np.pi, 11, endpoint=False) + rng.uniform(-0.2, 0.2, 11)
    stone = rng.uniform(80, 165) * np.array([1, 0.97, 0.91])
    for shrink, light in ((1.0, 0.6), (0.86, 0.85), (0.6, 1.05)):
        around = x + np.cos(angle) * wide * shrink - wide * (1 - shrink) * 0.3
        upward = bottom - tall * (1 + np.sin(angle) * shrink) - tall * (1 - shrink) * 0.4
        draw.polygon(list(zip(around.tolist(), upward.tolist(), strict=True)), _rgb(stone * light))


def _trunk(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    x: float,
    bottom: float,
    size: float,
    _leaf: np.ndarray,
) -> None:
    wide, lean = size * rng.uniform(0.015, 0.05), rng.uniform(-0.15, 0.15) * size
    bark = rng.uniform(50, 110) * np.array([1, 0.88, 0.74])
    for stripe in np.linspace(-1, 1, 24):
        light = 1.1 - 0.45 * stripe + rng.uniform(-0.15, 0.15)
        at = x + stripe * wide
        draw.line(
            [(at, bottom), (at - stripe * wide * 0.3 + lean, -5)],
            _rgb(bark * light),
            max(int(wide / 10), 2),
        )


def _blades(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    size_px: tuple[int, int],
    horizon: int,
    grass: np.ndarray,
    count: int,
) -> None:
    width, height = size_px
    for bottom in np.sort(rng.uniform(horizon, height * 1.05, count)):
        near = 0.2 + 0.8 * (bottom - horizon) / (height - horizon)
        x, tall = rng.uniform(0, width), near * height * rng.uniform(0.02, 0.1)
        tip = x + rng.normal(0, tall * 0.4), bottom - tall
        draw.line([(x, bottom), tip], _rgb(rng.choice(grass)), 1 + int(near * height / 400))


def _flash(rng: np.random.Generator, size_px: tuple[int, int], horizon: int) -> np.ndarray:
    """Returns how bright each pixel is at night: a round flash, of which the sky sends nothing."""
    width, height = size_px
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    across = (x / width - rng.uniform(0.42, 0.58)) / 0.62
    down = (y / height - rng.uniform(0.55, 0.7)) / 0.62
    light = np.exp(-(across**2 + down**2) * 0.8) * rng.uniform(1.05, 1.3)
    far = np.clip((y - horizon) / (0.12 * height) + 0.65, 0.12, 1)
    return np.asarray((light * far)[..., None])


def _rgb(colour: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue
