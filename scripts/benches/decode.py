"""Our decoding of JPEGs from the top beside libvips': verdicts, pixels, processor time, forks.

The verdicts are on the damaged JPEGs of tests/test_mutated_pictures.py. The times are of the top
fifth, third, two thirds and all rows: of JPEGs of 640x480 pixels, and of one of 4000x3000.
"""

import argparse
import io
import multiprocessing
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from animl_pipeline.errors import ImageUnusable
from animl_pipeline.images import jpeg, opening

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/support"))
from damaged import damaged_jpegs

MODES = {1: "L", 3: "RGB", 4: "CMYK"}
SHARES = (0.2, 1 / 3, 2 / 3, 1)
PATIENCE_S = 20


def import_vips(peers: Path) -> object:
    """Return pyvips as the peers' environment has it, with a thread and no cache."""
    os.environ["VIPS_CONCURRENCY"] = "1"
    sys.path += map(str, (peers / "lib").glob("python*/site-packages"))
    import pyvips

    pyvips.cache_set_max(0)
    return pyvips


def make_vips_decode(pyvips) -> Callable[[bytes, int], Image.Image]:
    """Return what decodes as `jpeg.decode` does, by libvips: the rows from the top, strictly."""

    def decode(data: bytes, bottom_px: int) -> Image.Image:
        if data.rfind(jpeg.END) < max(2, data.find(b"\xff\xda")):
            raise ImageUnusable("image is truncated: its end is missing")
        try:
            whole = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="warning")
            top = whole.crop(0, 0, whole.width, min(bottom_px, whole.height))
            pixels = top.write_to_memory()
        except pyvips.Error as error:
            raise OSError(str(error)) from error
        return Image.frombytes(MODES[top.bands], (top.width, top.height), pixels)

    return decode


def cut_half(data: bytes, path: Path) -> np.ndarray | None:
    """Return the upper left quarter of a picture, or None where it is refused."""
    path.write_bytes(data)
    try:
        with opening.opened(path) as picture:
            width_px, height_px = (max(1, side // 2) for side in picture.size_px)
            return np.asarray(opening.cut(picture, [(0, 0, width_px, height_px)])[0])
    except ImageUnusable:
        return None


def compare_verdicts(vips_decode, count: int, path: Path) -> None:
    """Print on how many damaged JPEGs both agree."""
    ours, verdicts = jpeg.decode, Counter()
    for data in damaged_jpegs(count):
        jpeg.decode = ours
        mine = cut_half(data, path)
        jpeg.decode = vips_decode
        theirs = cut_half(data, path)
        same = mine is not None and theirs is not None and np.array_equal(mine, theirs)
        verdicts[mine is not None, theirs is not None, same] += 1
    jpeg.decode = ours
    print(f"{count:,} damaged JPEGs: {verdicts[False, False, False]:,} refused by both, "
          f"{verdicts[True, True, True]:,} cut alike, {verdicts[True, True, False]:,} cut "
          f"differently, {verdicts[False, True, False]:,} refused by us alone, "
          f"{verdicts[True, False, False]:,} by libvips alone")  # fmt: skip


def make_jpeg(width_px: int, height_px: int) -> bytes:
    """Return a JPEG of coarse noise."""
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    file = io.BytesIO()
    large = Image.fromarray(noise).resize((width_px, height_px), Image.Resampling.BICUBIC)
    large.save(file, "JPEG", quality=90)
    return file.getvalue()


def measure_ms(work: Callable[[], object], times: int) -> float:
    """Return the processor's milliseconds, the least of five rounds."""
    rounds = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(times):
            work()
        rounds.append((time.process_time() - start) / times)
    return min(rounds) * 1000


def compare_times(vips_decode) -> None:
    """Print what both take for the top of a small and a large picture."""
    for size_px, times in (((640, 480), 40), ((4000, 3000), 2)):
        data = make_jpeg(*size_px)
        for share in SHARES:
            rows = round(size_px[1] * share)
            ours = measure_ms(lambda: jpeg.decode(data, rows), times)  # noqa: B023
            theirs = measure_ms(lambda: vips_decode(data, rows), times)  # noqa: B023
            print(f"{size_px[0]}x{size_px[1]}, top {share:.0%}: {ours:.2f} ms of a processor, "
                  f"libvips {theirs:.2f}")  # fmt: skip


def decode_in_forks(vips_decode) -> None:
    """Print whether processes forked after a first decoding can decode."""
    data = make_jpeg(640, 480)
    vips_decode(data, 400)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=vips_decode, args=(data, 400)) for _ in range(4)]
    for child in children:
        child.start()
    end = time.monotonic() + PATIENCE_S
    for child in children:
        child.join(max(0.0, end - time.monotonic()))
    hanging = [child for child in children if child.is_alive()]
    for child in hanging:
        child.kill()
    print(f"libvips in processes forked after its first picture: {len(hanging)} of 4 hang")


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1500, help="how many damaged JPEGs")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    vips_decode = make_vips_decode(import_vips(given.peers))
    compare_verdicts(vips_decode, given.count, given.peers / "damaged.jpg")
    compare_times(vips_decode)
    decode_in_forks(vips_decode)


if __name__ == "__main__":
    main()
