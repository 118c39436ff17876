"""Pictures that are the same, byte for byte or nearly, in two parts of a split.

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
from typing import TYPE_CHECKING, Any

from PIL import Image

from animl_pipeline.files.names import explain_unsafe
from animl_pipeline.running import workers

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

GRID = 9, 8  # cells across and down
READ_AT = 8 * GRID[0], 8 * GRID[1]  # pixels: a JPEG is decoded at the least scale above
FLAT = 12  # grey levels between the darkest and the brightest cell; less is noise, not a picture
NEAR = 4  # bits
BANDS = NEAR + 1  # two hashes that differ in NEAR bits are alike in at least one of the bands
LISTED = 100
BATCH = 64  # files a thread reads in one go
AT_ONCE = 500  # hashes of one bucket compared with all others at a time


@dataclass(frozen=True)
class Fingerprint:
    """The sha256 of a file's bytes, and the difference hash, if it is a picture with a content."""

    digest: str
    likeness: int | None


def fingerprint(path: Path) -> Fingerprint | None:
    """Return the fingerprint of a file, or None if there is none to read."""
    import numpy as np

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


def fingerprints(crops_dir: Path, crops: list[str]) -> dict[str, Fingerprint]:
    """Return the fingerprints of the crops whose file is there, read on all cores."""
    found = {}

    def of_batch(batch: list[str]) -> list[tuple[str, Fingerprint | None]]:
        return [
            (crop, None if explain_unsafe(crop) else fingerprint(crops_dir / crop))
            for crop in batch
        ]

    with workers.progress(len(crops), title="compare", unit="crop") as bar:
        batches = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
        for done in workers.map_threads(of_batch, batches, workers=os.cpu_count() or 1):
            found.update({crop: of for crop, of in done if of is not None})
            bar.update(len(done))
    return found


def compare(dataset: "pd.DataFrame", prints: dict[str, Fingerprint]) -> dict[str, Any]:
    """Return the crops of equal bytes in two parts, and pairs of nearly equal ones.

    `dataset` has the columns `crop` and `split`.
    """
    pairs = zip(dataset["crop"], dataset["split"], strict=True)
    known = sorted((crop, part, prints[crop]) for crop, part in pairs if crop in prints)
    by_digest: dict[str, list[tuple[str, str]]] = {}
    for crop, part, of in known:
        by_digest.setdefault(of.digest, []).append((crop, part))
    same = [rows for rows in by_digest.values() if len({part for _, part in rows}) > 1]
    near = list(itertools.islice(_near(known), LISTED))
    return {
        "bytes": ["; ".join(f"{crop} ({part})" for crop, part in rows) for rows in same],
        "near_duplicates": [f"{one} ({p}); {other} ({q})" for (one, p), (other, q) in near],
        "compared": len(known),
        "absent": len(dataset) - len(known),
    }


def _near(
    known: list[tuple[str, str, Fingerprint]],
) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Yield the pairs (crop, part) of different bytes and parts whose hashes are near."""
    import numpy as np

    structured = [row for row in known if row[2].likeness is not None]
    hashes = np.array([of.likeness for _, _, of in structured], dtype=np.uint64)
    parts = np.unique([part for _, part, _ in structured], return_inverse=True)[1]
    met = set()
    for band in range(BANDS):
        low, high = 64 * band // BANDS, 64 * (band + 1) // BANDS
        keys = (hashes >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        for bucket in np.split(order, edges):
            for one, other in _near_in(hashes, parts, bucket):
                mine, yours = structured[one], structured[other]
                if mine[2].digest != yours[2].digest and (one, other) not in met:
                    met.add((one, other))
                    yield mine[:2], yours[:2]


def _near_in(
    hashes: "NDArray[np.uint64]", parts: "NDArray[np.intp]", bucket: "NDArray[np.intp]"
) -> Iterator[tuple[int, int]]:
    """Yield the pairs of a bucket, in order, of two parts and NEAR bits apart at most."""
    import numpy as np

    if len(bucket) < 2:
        return
    for start in range(0, len(bucket), AT_ONCE):
        rows, others = bucket[start : start + AT_ONCE], bucket[start:]
        near = np.bitwise_count(hashes[rows][:, None] ^ hashes[others]) <= NEAR
        near &= (parts[rows][:, None] != parts[others]) & (rows[:, None] < others)
        for i, j in zip(*np.nonzero(near), strict=True):
            yield int(rows[i]), int(others[j])
