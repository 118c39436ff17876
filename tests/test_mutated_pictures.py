"""Damaged JPEGs of every kind give crops or reasons, and partial decoding judges as full does.

So many as `CROP_TEST_PICTURES` says, else a few hundred: photographs where they are there, and the
fixture's pictures, with bytes changed, cut out, put in, and headers from other files.
"""

import io
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animl_pipeline.catalogue import records
from animl_pipeline.crops import cutting
from animl_pipeline.crops.selection import ChosenBox
from animl_pipeline.crops.settings import CropRule
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.files import whole
from animl_pipeline.images import jpeg, opening
from animl_pipeline.running.budget import PixelBudget

SHARED = Path(__file__).parents[2] / "shared"
COUNT = int(os.environ.get("CROP_TEST_PICTURES", "300"))
SIZE_PX = (160, 120)
PART = (20, 10, 70, 60)
REASONS = (
    "file is not a picture", "picture is empty", "picture is too large", "picture is truncated",
    "picture is unreadable",
)  # fmt: skip
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),  # Pillow's words on broken EXIF
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]


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
    found = []
    for number, source in enumerate(sources):
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        kind = kinds[number % len(kinds)] | {"exif": exif, "comment": "a comment"}
        image = source.convert("L") if number % 7 == 6 else source
        file = io.BytesIO()
        image.save(file, "JPEG", **kind)
        found.append(file.getvalue())
    found.append(found[0] + found[1])
    return found


def mutated(draw: random.Random, pictures: list[bytes]) -> bytes:
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


def mutations(count: int) -> Iterator[bytes]:
    draw, pictures = random.Random(0), whole_pictures()
    return (mutated(draw, pictures) for _ in range(count))


def cut(path: Path) -> np.ndarray | str:
    """A part of a picture, or why there is none."""
    try:
        with opening.opened(path) as picture:
            width, height = picture.size_px
            part = (0, 0, max(1, width // 2), max(1, height // 2))
            return np.asarray(opening.cut(picture, [part])[0])
    except ImageUnusable as error:
        return str(error)


def test_a_damaged_jpeg_gives_crops_or_a_reason(tmp_path: Path) -> None:
    path, memory = tmp_path / "a.jpg", PixelBudget(1_000_000)
    job = cutting.Job(
        images_dir=tmp_path,
        output_dir=tmp_path / "crops",
        dataset="d",
        rule=CropRule(margin=0.1),
    )
    image = records.Image("1", "a.jpg", "", "", "", "", 0, 0, "")
    boxes = [
        ChosenBox("aa", "aa", "fox", 1.0, (0.1, 0.1, 0.3, 0.2)),
        ChosenBox("bb", "bb", "fox", 1.0, (0.5, 0.6, 0.5, 0.4)),
    ]
    became: Counter[str] = Counter()
    for data in mutations(COUNT):
        path.write_bytes(data)
        done = cutting.cut_image(image, boxes, job, memory)
        reason = next((one for one in REASONS if done.failure.startswith(one)), "")
        assert bool(done.failure) == bool(reason), done.failure
        became[reason] += 1
        for crop in (tmp_path / "crops").rglob("*.jpg"):
            assert not done.failure
            assert opening.open_upright(crop).width > 0
            crop.unlink()
        assert not list((tmp_path / "crops").rglob(f"*{whole.PART}"))
    assert {"", "file is not a picture", "picture is truncated"} <= set(became)


def test_partial_and_full_decoding_agree_on_what_is_good_and_on_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, partial = tmp_path / "a.jpg", jpeg.rows_needed
    saved_rows = 0

    def counted(header: jpeg.Header, bottom_px: int) -> int:
        nonlocal saved_rows
        rows_px = partial(header, bottom_px)
        saved_rows += header.height_px - rows_px
        return rows_px

    for data in mutations(COUNT):
        path.write_bytes(data)
        monkeypatch.setattr(jpeg, "rows_needed", counted)
        fast = cut(path)
        monkeypatch.setattr(jpeg, "rows_needed", lambda header, _: header.height_px)
        slow = cut(path)
        if isinstance(fast, str) or isinstance(slow, str):
            # Below the part, data that end early are not looked at.
            below = str(slow).endswith("before its last row") and not isinstance(fast, str)
            assert below or str(fast) == str(slow)
        else:
            assert (fast == slow).all()
    assert saved_rows > 5 * COUNT  # or nothing was compared
