"""JPEGs with bytes changed, cut out, put in, and headers from other files, from a fixed seed."""

import io
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SHARED = Path(__file__).parents[3] / "shared"
SIZE_PX = (160, 120)


def whole_pictures() -> list[bytes]:
    """JPEGs of all kinds: subsampling, restarts, scans, grey, EXIF with a preview, two in one."""
    photographs = sorted((SHARED / "data/missouri/images").rglob("*.JPG"))[::150]
    photographs += sorted((SHARED / "fixtures/animl/images").rglob("*.jpg"))[:4]
    sources = [Image.open(path).convert("RGB").resize(SIZE_PX) for path in photographs]
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    sources.append(Image.fromarray(noise).resize(SIZE_PX))
    kinds: list[dict[str, object]] = [
        {},
        {"subsampling": 0},
        {"subsampling": 1, "restart_marker_rows": 1},
        {"restart_marker_blocks": 3},
        {"progressive": True},
        {"optimize": True, "quality": 30},
    ]
    jpegs = []
    for number, source in enumerate(sources):
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        kind = kinds[number % len(kinds)] | {"exif": exif, "comment": "a comment"}
        image = source.convert("L") if number % 7 == 6 else source
        file = io.BytesIO()
        image.save(file, "JPEG", **kind)
        jpegs.append(file.getvalue())
    jpegs.append(jpegs[0] + jpegs[1])
    return jpegs


def damage(draw: random.Random, pictures: list[bytes]) -> bytes:
    """A picture with one to a few things wrong, more often near its header."""
    data = bytearray(draw.choice(pictures))
    for _ in range(draw.choice([0, 1, 1, 1, 2, 5])):
        if not data:
            break
        at = draw.randrange(draw.choice([700, len(data)])) % len(data)
        wrong = draw.randrange(8)
        if wrong == 0:
            del data[at:]
        elif wrong == 1:
            del data[at : at + draw.choice([1, 2, 100])]
        elif wrong == 2:
            data[at:at] = draw.randbytes(draw.choice([1, 2, 40]))
        elif wrong == 3:
            data[at : at + 2] = bytes([0xFF, draw.randrange(0xC0, 0x100)])  # a marker
        elif wrong == 4:
            other = draw.choice(pictures)
            data[:at] = other[: draw.randrange(len(other))]
        elif wrong == 5:
            data[at:] = bytes(len(data) - at)  # a disk that lost its blocks
        elif wrong == 6:
            data[at:] = b"\xff\xd9"  # an end that somebody put there
        else:
            for _ in range(draw.choice([1, 3, 20])):
                data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def damaged_jpegs(count: int) -> Iterator[bytes]:
    draw, pictures = random.Random(0), whole_pictures()
    return (damage(draw, pictures) for _ in range(count))
