import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from animl_pipeline.splitting.audit import likeness
from animl_pipeline.splitting.audit.likeness import NEAR, Fingerprint


def compared(hashes: list[int], parts: list[str]) -> set[str]:
    names = [f"{number:03}" for number in range(len(hashes))]
    prints = {name: Fingerprint(name, of) for name, of in zip(names, hashes, strict=True)}
    dataset = pd.DataFrame({"crop": names, "split": parts})
    return set(likeness.compare(dataset, prints)["near_duplicates"])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_the_pairs_are_those_that_a_comparison_of_all_with_all_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = [int(h) for h in rng.integers(0, 2**64, 4, dtype=np.uint64)]
    for _ in range(12):  # copies that differ in a few bits
        flips = sum(1 << int(bit) for bit in rng.choice(64, rng.integers(0, 8), replace=False))
        hashes.append(hashes[int(rng.integers(len(hashes)))] ^ flips)
    parts = [str(part) for part in rng.choice(["train", "test"], len(hashes))]
    expected = {
        f"{i:03} ({parts[i]}); {j:03} ({parts[j]})"
        for i, j in itertools.combinations(range(len(hashes)), 2)
        if parts[i] != parts[j] and (hashes[i] ^ hashes[j]).bit_count() <= NEAR
    }
    assert compared(hashes, parts) == expected


def test_many_pictures_alike_are_listed_only_so_far() -> None:
    assert len(compared([7] * 200, ["train", "test"] * 100)) == likeness.LISTED


def picture(path: Path, seed: int, quality: int = 95, side_px: int = 200) -> Path:
    cells = np.random.default_rng(seed).integers(0, 255, (8, 9), dtype=np.uint8)
    Image.fromarray(cells).convert("RGB").resize((side_px, side_px)).save(path, quality=quality)
    return path


def bits_apart(one: Fingerprint | None, other: Fingerprint | None) -> int:
    assert one is not None
    assert other is not None
    assert one.likeness is not None
    assert other.likeness is not None
    return (one.likeness ^ other.likeness).bit_count()


@pytest.mark.parametrize(("quality", "side_px"), [(95, 100), (50, 200), (70, 333), (30, 64)])
def test_a_copy_scaled_and_compressed_again_is_near(
    tmp_path: Path, quality: int, side_px: int
) -> None:
    for seed in range(5):
        one = likeness.take_fingerprint(picture(tmp_path / "a.jpg", seed))
        other = likeness.take_fingerprint(picture(tmp_path / "b.jpg", seed, quality, side_px))
        assert bits_apart(one, other) <= NEAR
        another = likeness.take_fingerprint(picture(tmp_path / "c.jpg", seed + 100))
        assert bits_apart(one, another) > NEAR


def test_a_picture_without_content_has_bytes_and_no_likeness(tmp_path: Path) -> None:
    Image.new("RGB", (50, 50), (90, 91, 90)).save(tmp_path / "grey.jpg")
    (tmp_path / "text.jpg").write_bytes(b"no picture")
    for name in ("grey.jpg", "text.jpg"):
        found = likeness.take_fingerprint(tmp_path / name)
        assert found is not None
        assert found.likeness is None
        assert len(found.digest) == 64


@pytest.mark.parametrize("name", ["gone.jpg", "folder", "../outside.jpg", "/etc/hostname"])
def test_what_is_no_file_of_the_folder_has_no_fingerprint(tmp_path: Path, name: str) -> None:
    (tmp_path / "crops" / "folder").mkdir(parents=True)
    picture(tmp_path / "outside.jpg", 1)
    assert likeness.take_fingerprints(tmp_path / "crops", [name]) == {}
