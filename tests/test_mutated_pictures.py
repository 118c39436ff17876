"""Damaged JPEGs of every kind give crops or reasons, and partial decoding judges as full does.

So many as `CROP_TEST_PICTURES` says, else a few hundred: photographs where they are there, and the
fixture's pictures, with bytes changed, cut out, put in, and headers from other files.
"""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from damaged import damaged_jpegs

from animl_pipeline.catalogue import records
from animl_pipeline.crops import cutting
from animl_pipeline.crops.selection import ChosenBox
from animl_pipeline.crops.settings import CropRule
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.files import whole
from animl_pipeline.images import jpeg, opening
from animl_pipeline.running.budget import PixelBudget

COUNT = int(os.environ.get("CROP_TEST_PICTURES", "300"))
PART = (20, 10, 70, 60)
REASONS = (
    "file is not an image", "image is empty", "image is too large", "image is truncated",
    "image is unreadable",
)  # fmt: skip
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),  # Pillow's words on broken EXIF
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]


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
    for data in damaged_jpegs(COUNT):
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
    assert {"", "file is not an image", "image is truncated"} <= set(became)


def test_partial_and_full_decoding_agree_on_what_is_good_and_on_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, partial = tmp_path / "a.jpg", jpeg.count_rows
    saved_rows = 0

    def counted(header: jpeg.Header, bottom_px: int) -> int:
        nonlocal saved_rows
        rows_px = partial(header, bottom_px)
        saved_rows += header.height_px - rows_px
        return rows_px

    for data in damaged_jpegs(COUNT):
        path.write_bytes(data)
        monkeypatch.setattr(jpeg, "count_rows", counted)
        fast = cut(path)
        monkeypatch.setattr(jpeg, "count_rows", lambda header, _: header.height_px)
        slow = cut(path)
        if isinstance(fast, str) or isinstance(slow, str):
            # Below the part, data that end early are not looked at.
            below = str(slow).endswith("before its last row") and not isinstance(fast, str)
            assert below or str(fast) == str(slow)
        else:
            assert (fast == slow).all()
    assert saved_rows > 5 * COUNT  # or nothing was compared
