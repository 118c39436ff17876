"""Draws camera-trap pictures: who walks through a place, as its camera records it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from animals import PALETTES, SHAPES
from PIL import ExifTags, Image, ImageDraw, ImageFont
from places import Place

Box = tuple[int, int, int, int]  # x, y, width, height in pixels, inside the picture

SUPERSAMPLING = 3
BOX_ALPHA = 64  # pixels of an edge that cover less than a quarter are not yet animal
# From, to, in pixels of a picture 640 wide and without most of the tail: boxes are 40 to 200 long.
LENGTHS_PX = {
    "fox": (42, 160),
    "bird": (44, 175),
    "skunk": (42, 165),
    "rodent": (36, 140),
    "lizard": (38, 150),
    "person": (230, 330),
    "vehicle": (250, 330),
}
LENGTHS_PX |= {"island fox": LENGTHS_PX["fox"], "scrub jay": LENGTHS_PX["bird"]}


@dataclass(frozen=True)
class Subject:
    """One animal, person or car in one picture."""

    kind: str
    x_px: float  # of its middle
    ground_px: float  # of its feet, from the top
    length_px: float
    heading: int  # 1 looks to the right, -1 to the left
    turned: float  # 1 is seen from the side, less when it turns to or from the camera
    tilt_deg: float
    pose: tuple[float, float, float]  # gait, head and tail, each -1 to 1
    coat_seed: int
    tuft: bool  # grass in front of its feet


def make_subject(
    kind: str,
    place: Place,
    span: tuple[float, float],
    rng: np.random.Generator,
    *,
    cut: bool = True,
) -> Subject:
    """Returns somebody of a size, place and pose of its own, its middle in a span of the width.

    If `cut`, some of the animals are cut by the frame.
    """
    width = place.day.width
    smallest, largest = LENGTHS_PX[kind]
    size = rng.uniform(0, 1) ** 0.8
    length = width / 640 * (smallest + (largest - smallest) * size)
    near = np.clip(0.17 + 0.75 * size + rng.normal(0, 0.12), 0.12, 0.97)
    if LENGTHS_PX[kind][0] > 200:  # people and cars come close, or they would not fit
        near = rng.uniform(0.75, 0.95)
    ground = place.horizon_px + near * (_floor_px(place) - place.horizon_px)
    x, stiff = width * rng.uniform(*span), kind in ("person", "vehicle")
    edge = rng.random() if cut and not stiff else 1
    if edge < 0.08:  # cut by the left or right edge of the frame
        x = (0 if sum(span) < 1 else width) + rng.uniform(-0.15, 0.15) * length
    elif edge < 0.12:  # or by the bottom
        ground = _floor_px(place) + rng.uniform(0.05, 0.15) * length
    return Subject(
        kind=kind,
        x_px=x,
        ground_px=max(ground, 0.6 * length),
        length_px=length,
        heading=int(rng.choice([-1, 1])),
        turned=1.0 if stiff else float(rng.uniform(0.72, 1)),
        tilt_deg=0.0 if stiff else float(rng.normal(0, 5)),
        pose=_pose(rng),
        coat_seed=int(rng.integers(2**31)),
        tuft=bool(rng.random() < 0.3),
    )


def move(subject: Subject, width_px: int, rng: np.random.Generator) -> Subject:
    """Returns the same one a second or two later."""
    step = subject.heading * subject.length_px * rng.uniform(0, 0.5)
    away = 0.15 * subject.length_px
    return replace(
        subject,
        x_px=float(np.clip(subject.x_px + step, -away, width_px + away)),
        ground_px=subject.ground_px + subject.length_px * rng.uniform(-0.04, 0.04),
        length_px=subject.length_px * rng.uniform(0.94, 1.06),
        heading=subject.heading * (-1 if rng.random() < 0.12 else 1),
        turned=float(np.clip(subject.turned + rng.normal(0, 0.06), 0.7, 1)),
        tilt_deg=subject.tilt_deg and subject.tilt_deg + float(rng.normal(0, 2)),
        pose=_pose(rng),
    )


def _pose(rng: np.random.Generator) -> tuple[float, float, float]:
    gait, head, tail = rng.uniform(-1, 1, 3).tolist()
    return gait, head, tail


def draw_picture(
    place: Place, subjects: Sequence[Subject], night: bool, when: datetime, rng: np.random.Generator
) -> tuple[Image.Image, list[Box]]:
    """Returns the picture and, for each subject, the tight box of what is seen of it."""
    picture, boxes = place.day.copy(), []
    for subject in sorted(subjects, key=lambda s: s.ground_px):
        _shadow(picture, subject)
        tile, left, top = _tile(subject, night)
        picture.paste(tile, (left, top), tile)
        if subject.tuft:
            _tuft(picture, place, subject)
        boxes.append((subject, _seen(tile, left, top, picture.width, _floor_px(place))))
    picture = _expose(place, picture, night, rng)
    if place.strip_px:
        _strip(picture, place, when)
    by_subject = {id(subject): box for subject, box in boxes}
    return picture, [by_subject[id(subject)] for subject in subjects]


def jpeg(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def half_jpeg(picture: Image.Image) -> bytes:
    data = jpeg(picture)
    return data[: len(data) // 2]


def grey_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("L").save(buffer, "PNG")
    return buffer.getvalue()


def jpeg_on_its_side(picture: Image.Image) -> bytes:
    """Returns it as a camera on its side stores it: to be turned right by 90 degrees."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return jpeg(picture.transpose(Image.Transpose.ROTATE_90), exif=exif)


def _floor_px(place: Place) -> int:
    return place.day.height - place.strip_px


def _seen(tile: Image.Image, left: int, top: int, right_px: int, floor_px: int) -> Box:
    solid = tile.getchannel("A").point(lambda alpha: 255 if alpha >= BOX_ALPHA else 0)
    x0, y0, x1, y1 = solid.getbbox() or (0, 0, 0, 0)
    x0, x1 = max(x0 + left, 0), min(x1 + left, right_px)
    y0, y1 = max(y0 + top, 0), min(y1 + top, floor_px)
    return x0, y0, max(x1 - x0, 0), max(y1 - y0, 0)


def _tile(subject: Subject, night: bool) -> tuple[Image.Image, int, int]:
    """Returns the subject as a small RGBA picture, and where its top left corner belongs."""
    rng = np.random.default_rng(subject.coat_seed)
    tint = rng.uniform(0.82, 1.2) * rng.uniform(0.93, 1.07, 3)
    names = ("coat", "dark", "light", "accent")
    palette = dict(zip(names, np.array(PALETTES[subject.kind]) * tint, strict=True))
    palette["eye"] = np.array([255, 255, 255]) if night else np.array([22, 20, 18])
    build = rng.uniform(0.92, 1.08, 2)  # some are slimmer, some taller
    turn = np.deg2rad(subject.tilt_deg)
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    scale = np.array([subject.turned * build[0], build[1]]) * subject.length_px
    parts = []
    for name, points in SHAPES[subject.kind](*subject.pose):
        placed = (points * scale) @ rotate.T * [subject.heading, -1]
        parts.append((name, placed + np.array([subject.x_px, subject.ground_px])))
    corners = np.concatenate([points for _, points in parts])
    left, top = np.floor(corners.min(axis=0)).astype(int) - 2
    right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 2
    big = Image.new("RGBA", ((right - left) * SUPERSAMPLING, (bottom - top) * SUPERSAMPLING))
    draw = ImageDraw.Draw(big)
    for name, points in parts:
        colour = tuple(np.clip(palette[name], 0, 255).astype(int).tolist())
        draw.polygon([tuple(p) for p in ((points - [left, top]) * SUPERSAMPLING).tolist()], colour)
    rough = 0.03 if subject.kind in ("person", "vehicle") else 0.1
    return _fur(big.reduce(SUPERSAMPLING), rough, rng), int(left), int(top)


def _fur(tile: Image.Image, rough: float, rng: np.random.Generator) -> Image.Image:
    """Returns the tile with light from above and a streaky coat."""
    pixels = np.asarray(tile).astype(np.float32)
    height, width = pixels.shape[:2]
    streaks = rng.normal(1, rough, (height, width // 3 + 1)).repeat(3, axis=1)[:, :width]
    light = np.linspace(1.16, 0.78, height)[:, None] * streaks
    pixels[..., :3] = np.clip(pixels[..., :3] * light[..., None], 0, 255)
    return Image.fromarray(pixels.astype(np.uint8), "RGBA")


def _shadow(picture: Image.Image, subject: Subject) -> None:
    wide, deep = int(subject.length_px * 0.42 * subject.turned), int(subject.length_px * 0.07)
    if deep < 1:
        return
    mask = Image.new("L", (4 * wide, 6 * deep))
    for step, dark in ((1.0, 30), (0.8, 60), (0.6, 95)):
        x, y = wide * step, deep * step
        ends = (2 * wide - x, 3 * deep - y, 2 * wide + x, 3 * deep + y)
        ImageDraw.Draw(mask).ellipse(ends, fill=dark)
    corner = int(subject.x_px) - 2 * wide, int(subject.ground_px) - 3 * deep
    picture.paste((24, 22, 18), corner, mask)


def _tuft(picture: Image.Image, place: Place, subject: Subject) -> None:
    rng = np.random.default_rng(subject.coat_seed + 1)
    draw, reach = ImageDraw.Draw(picture), subject.length_px * 0.45
    middle = subject.x_px + rng.uniform(-0.3, 0.3) * subject.length_px
    for _ in range(int(rng.uniform(14, 45))):
        x, bottom = middle + rng.normal(0, reach / 2), subject.ground_px + rng.uniform(0, 6)
        tip = x + rng.normal(0, reach / 6), bottom - rng.uniform(0.15, 0.6) * reach
        colour = tuple(rng.choice(place.grass).astype(int).tolist())
        draw.line([(x, bottom), tip], colour, 2 if rng.random() < 0.4 else 1)


def _expose(
    place: Place, picture: Image.Image, night: bool, rng: np.random.Generator
) -> Image.Image:
    """Returns the picture as a sensor records it: colour by day, grey infrared flash by night."""
    height, width = picture.height, picture.width
    down, right = rng.integers(0, place.noise.shape[0] - height), rng.integers(0, 48)
    noise = place.noise[down : down + height, right : right + width]
    if night:
        grey = np.asarray(picture.convert("L")).astype(np.float32)[..., None]
        exposed = grey * place.night_light * np.float32(rng.uniform(0.85, 1.15))
        exposed = np.repeat(exposed + noise[..., :1] * 7 + 4, 3, axis=2)
    else:
        sun = rng.uniform(0.82, 1.2) * rng.uniform([0.95, 0.98, 0.9], [1.08, 1.02, 1.08])
        exposed = np.asarray(picture) * sun.astype(np.float32) + noise * 5
    return Image.fromarray(np.clip(exposed, 0, 255).astype(np.uint8), "RGB")


def _strip(picture: Image.Image, place: Place, when: datetime) -> None:
    draw, top = ImageDraw.Draw(picture), _floor_px(place)
    draw.rectangle((0, top, picture.width, picture.height), fill=(8, 8, 8))
    font = ImageFont.load_default(max(place.strip_px * 0.62, 6))
    middle = top + place.strip_px / 2
    draw.text((6, middle), f"{when:%Y-%m-%d  %H:%M:%S}", (236, 236, 230), font, anchor="lm")
    draw.text((picture.width - 6, middle), place.caption, (236, 236, 230), font, anchor="rm")
