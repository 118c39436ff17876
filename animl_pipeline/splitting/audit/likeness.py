"""Pictures that are the same, byte for byte or nearly, in two splits.

Nearly: by the difference hash, 64 bits that say where a picture of 9 x 8 grey cells gets brighter
from left to right (N. Krawetz, "Kind of Like That", 2013). Copies that were scaled or compressed
again differ in a few bits.
"""

import hashlib
import io
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from animl_pipeline.files.names import explain_unsafe
from animl_pipeline.running import workers
from animl_pipeline.running.progress import progress

GRID = 9, 8  # cells across and down
READ_AT = 8 * GRID[0], 8 * GRID[1]  # pixels: a JPEG is decoded at the least scale above
FLAT = 12  # grey levels between the darkest and the brightest cell; less is noise, not a picture
NEAR = 4  # bits
BANDS = NEAR + 1  # two hashes that differ in NEAR bits are alike in at least one of the bands
LISTED = 100
BATCH = 64  # files a thread reads in one go
AT_ONCE = 500  # hashes of one bucket compared with all others at a time

Crop = tuple[str, str]  # its name, its split


@dataclass(frozen=True)
class Fingerprint:
    """The sha256 of a file's bytes, and the difference hash, if it is a picture with a content."""

    digest: str
    likeness: int | None


def take_fingerprint(path: Path) -> Fingerprint | None:
    """Return the fingerprint of a file, or None if there is none to read."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest = hashlib.sha256(content).hexdigest()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.draft("L", READ_AT)
            small = picture.convert("L").resize(GRID, Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Fingerprint(digest, None)
    cells = np.asarray(small, dtype=np.int16)
    if np.ptp(cells) < FLAT:
        return Fingerprint(digest, None)
    bits = np.packbits(cells[:, 1:] > cells[:, :-1])
    return Fingerprint(digest, int.from_bytes(bits.tobytes(), "big"))


def take_fingerprints(crops_dir: Path, crops: list[str]) -> dict[str, Fingerprint]:
    """Return the fingerprints of the crops whose file is there, read on all cores."""
    prints = {}

    def take_batch(batch: list[str]) -> list[tuple[str, Fingerprint | None]]:
        return [
            (crop, None if explain_unsafe(crop) else take_fingerprint(crops_dir / crop))
            for crop in batch
        ]

    with progress(len(crops), title="compare", unit="crop") as bar:
        batches = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
        for done in workers.map_threads(take_batch, batches, workers=os.cpu_count() or 1):
            prints.update({crop: taken for crop, taken in done if taken is not None})
            bar.update(len(done))
    return prints


def compare(dataset: pd.DataFrame, prints: dict[str, Fingerprint]) -> dict[str, Any]:
    """Return the crops of equal bytes in two splits, and pairs of nearly equal ones.

    `dataset` has the columns `crop` and `split`.
    """
    rows = zip(dataset["crop"], dataset["split"], strict=True)
    known = sorted((crop, split, prints[crop]) for crop, split in rows if crop in prints)
    by_digest: dict[str, list[Crop]] = {}
    for crop, split, taken in known:
        by_digest.setdefault(taken.digest, []).append((crop, split))
    same = [crops for crops in by_digest.values() if len({split for _, split in crops}) > 1]
    near = itertools.islice(_find_near_pairs(known), LISTED)
    return {
        "bytes": ["; ".join(map(_name, crops)) for crops in same],
        "near_duplicates": ["; ".join(map(_name, pair)) for pair in near],
        "compared": len(known),
        "absent": len(dataset) - len(known),
    }


def _name(crop: Crop) -> str:
    return f"{crop[0]} ({crop[1]})"


def _find_near_pairs(known: list[tuple[str, str, Fingerprint]]) -> Iterator[tuple[Crop, Crop]]:
    """Yield the pairs of different bytes and splits whose hashes are near."""
    structured = [row for row in known if row[2].likeness is not None]
    hashes = np.array([taken.likeness for _, _, taken in structured], dtype=np.uint64)
    splits = np.unique([split for _, split, _ in structured], return_inverse=True)[1]
    met = set()
    for band in range(BANDS):
        low, high = 64 * band // BANDS, 64 * (band + 1) // BANDS
        keys = (hashes >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        for bucket in np.split(order, edges):
            for i, j in _find_near_pairs_in(bucket, hashes, splits):
                first, second = structured[i], structured[j]
                if first[2].digest != second[2].digest and (i, j) not in met:
                    met.add((i, j))
                    yield first[:2], second[:2]


def _find_near_pairs_in(
    bucket: NDArray[np.intp], hashes: NDArray[np.uint64], splits: NDArray[np.intp]
) -> Iterator[tuple[int, int]]:
    """Yield the pairs of a bucket, in order, of two splits and NEAR bits apart at most."""
    if len(bucket) < 2:
        return
    for start in range(0, len(bucket), AT_ONCE):
        rows, others = bucket[start : start + AT_ONCE], bucket[start:]
        near = np.bitwise_count(hashes[rows][:, None] ^ hashes[others]) <= NEAR
        near &= (splits[rows][:, None] != splits[others]) & (rows[:, None] < others)
        for i, j in zip(*np.nonzero(near), strict=True):
            yield int(rows[i]), int(others[j])
