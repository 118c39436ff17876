"""Images per second of `pipeline crop` beside MegaDetector's crop_detections.

On the Missouri photographs with people's boxes, and on twelve-megapixel JPEGs made of them: half
are one photograph enlarged, half the same one side by side (more bytes per pixel), 4000x3000,
quality 90, 4:2:0, with boxes at random. Both stages are timed whole, from reading the boxes to
the last table; the start of the interpreter is apart. The limit is Pillow's decoding alone.
"""

import argparse
import csv
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from animl_pipeline import boxes

MISSOURI = Path(__file__).parents[3] / "shared/data/missouri"
OURS, PEER, LIMIT = "pipeline crop", "crop_detections", "decoding alone"
AGAIN = "nothing to do"
LARGE_PX = (4000, 3000)
PEER_THREADS = 50  # as its documentation has it
CROPS_COMPARED = 200


def make_large(folder: Path, count: int) -> Path:
    """Write so many twelve-megapixel pictures; return the export of them."""
    draw = random.Random(0)
    sources = sorted((MISSOURI / "images").rglob("*.JPG"))
    images, annotations = [], []
    for number, source in enumerate(draw.sample(sources, count)):
        with Image.open(source) as opened:
            photograph = opened.convert("RGB")
        large = photograph.resize(LARGE_PX, Image.Resampling.LANCZOS)
        if number % 2:
            for left in range(0, LARGE_PX[0], photograph.width):
                for top in range(0, LARGE_PX[1], photograph.height):
                    large.paste(photograph, (left, top))
        name = f"{number}.jpg"
        large.save(folder / name, quality=90, subsampling="4:2:0")
        width, height = LARGE_PX
        images.append({"id": name, "file_name": name, "width": width, "height": height})
        for _ in range(draw.choice([1, 1, 1, 2])):
            wide, high = (int(side * draw.uniform(0.04, 0.35)) for side in LARGE_PX)
            box = [draw.randrange(width - wide), draw.randrange(height - high), wide, high]
            annotations.append(
                {"id": str(len(annotations)), "image_id": name, "category_id": 1, "bbox": box}
            )
    content = {"images": images, "annotations": annotations,
               "categories": [{"id": 1, "name": "fox"}]}  # fmt: skip
    export = folder / "cct.json"
    export.write_text(json.dumps(content), encoding="utf-8")
    return export


def crops_of(folder: Path) -> list[dict[str, str]]:
    """Return the rows of crops.csv."""
    with (folder / "crops.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_detections(path: Path, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Write the boxes of our crops for the peer; return the rows with the names of its crops."""
    images: dict[str, list[dict]] = {}
    for row in rows:
        box = [float(row[side]) for side in ("x", "y", "width", "height")]
        found = images.setdefault(row["image"], [])
        row["theirs"] = f"{row['image']}___crop{len(found):02d}_x.jpg"
        found.append({"category": "1", "conf": 1.0, "bbox": box})
    content = {
        "info": {"format_version": "1.4", "detector": "x"},
        "detection_categories": {"1": "animal"},
        "images": [{"file": name, "detections": found} for name, found in images.items()],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return rows


class Took(NamedTuple):
    """What a run took, in seconds: by the clock, of the processor, and to start before that."""

    clock: float
    processor: float
    start: float = 0.0


def timed(python: Path, *words: object) -> Took:
    """Return what a run of ours (no threads named) or of the peer took."""
    script = Path(__file__).with_name("crop_timed.py")
    command = [str(python), str(script), *map(str, words)]
    start = time.perf_counter()
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    whole = time.perf_counter() - start
    clock, processor = map(float, done.stdout.splitlines()[-1].split())
    return Took(clock, processor, whole - clock)


def decode_alone(paths: list[Path], threads: int) -> Took:
    """Return what Pillow takes to decode the pictures."""

    def decode(path: Path) -> None:
        with Image.open(path) as image:
            image.load()

    start = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, paths))
    return Took(time.perf_counter() - start[0], time.process_time() - start[1])


def quality(rows: list[dict[str, str]], images_dir: Path, ours: Path, theirs: Path) -> None:
    """Print how close both crops are to the pixels of the picture, and their bytes."""
    close: dict[str, list[float]] = {OURS: [], PEER: []}
    for row in random.Random(0).sample(rows, min(CROPS_COMPARED, len(rows))):
        box = tuple(float(row[side]) for side in ("x", "y", "width", "height"))
        with Image.open(images_dir / row["image"]) as image:
            whole = np.asarray(image.convert("RGB"), dtype=np.float32)
        corner = boxes.compute_crop(box, *whole.shape[1::-1], square=True, margin=0)[:2]
        found = [psnr(path, whole, corner) for path in (ours / row["crop"], theirs / row["theirs"])]
        if None not in found:  # where theirs is partly black, or resized
            close[OURS].append(found[0])
            close[PEER].append(found[1])
    for name, folder, key in ((OURS, ours, "crop"), (PEER, theirs, "theirs")):
        size = statistics.mean((folder / row[key]).stat().st_size for row in rows)
        print(f"{name:18} PSNR {statistics.mean(close[name]):.1f} dB, {size / 1000:.1f} KB a crop")


def psnr(path: Path, whole: np.ndarray, corner: tuple[int, int]) -> float | None:
    """Return the likeness (dB) of a crop to the picture, at the best place within two pixels."""
    with Image.open(path) as image:
        crop = np.asarray(image.convert("RGB"), dtype=np.float32)
    high, wide = crop.shape[:2]
    errors = []
    for left in range(corner[0] - 2, corner[0] + 3):
        for top in range(corner[1] - 2, corner[1] + 3):
            part = whole[max(top, 0) : top + high, max(left, 0) : left + wide]
            if part.shape == crop.shape:
                errors.append(float(np.mean((part - crop) ** 2)))
    if not errors or min(errors) > 500:
        return None
    return 10 * np.log10(255**2 / max(min(errors), 1e-6))


def compare(title: str, export: Path, images_dir: Path, peers: Path, given) -> None:
    """Run all in turns and print medians and ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        ours, theirs, detections = (Path(temporary, name) for name in ("ours", "theirs", "md.json"))
        our_words = (Path(sys.executable), export, images_dir, ours, "")
        timed(*our_words)
        rows = write_detections(detections, crops_of(ours))
        paths = [images_dir / name for name in sorted({row["image"] for row in rows})]
        turns = {
            OURS: lambda: timed(*our_words),
            PEER: lambda: timed(
                peers.absolute() / "bin/python", detections, images_dir, theirs, PEER_THREADS
            ),
            LIMIT: lambda: decode_alone(paths, given.threads),
        }
        took: dict[str, list[Took]] = {name: [] for name in (*turns, AGAIN)}
        order = list(turns)
        for _ in range(given.rounds):
            order.append(order.pop(0))  # who comes first finds the disk at rest
            for name in order:
                for folder in (ours, theirs):
                    shutil.rmtree(folder, ignore_errors=True)
                os.sync()
                took[name].append(turns[name]())
        timed(*our_words)
        took[AGAIN] = [timed(*our_words) for _ in range(given.rounds)]
        turns[PEER]()
        size = statistics.mean(path.stat().st_size for path in paths) / 1e6
        print(f"\n{title}: {len(paths):,} images of {size:.2f} MB, {len(rows):,} crops, "
              f"{given.rounds} rounds")  # fmt: skip
        report(len(paths), took)
        quality(rows, images_dir, ours, theirs)


def report(count: int, took: dict[str, list[Took]]) -> None:
    """Print the rates and the ratios round by round."""
    for name, rounds in took.items():
        rates = sorted(count / one.clock for one in rounds)
        each_ms = statistics.median(one.processor for one in rounds) / count * 1000
        start = statistics.median(one.start for one in rounds)
        print(
            f"{name:18} {statistics.median(rates):6.0f} images/s ({rates[0]:.0f} to "
            f"{rates[-1]:.0f}), {each_ms:.2f} ms of a processor; {start:.1f} s to start"
        )
    for name in (PEER, LIMIT):
        by_clock = [b.clock / a.clock for a, b in zip(took[OURS], took[name], strict=True)]
        by_processor = [
            b.processor / a.processor for a, b in zip(took[OURS], took[name], strict=True)
        ]
        print(f"{OURS} has {statistics.median(by_clock):.2f} times the images/s of {name} "
              f"({min(by_clock):.2f} to {max(by_clock):.2f}); by processor time "
              f"{statistics.median(by_processor):.2f}")  # fmt: skip


def main() -> None:
    """Measure both kinds of pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=120, help="how many of 12 megapixels")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of decoding alone")
    parser.add_argument("--only", choices=["missouri", "large"])
    given = parser.parse_args()
    if not MISSOURI.exists():
        sys.exit(f"{MISSOURI} is not there: no photographs to measure with.")
    if given.only != "large":
        compare("Missouri", MISSOURI / "cct.json", MISSOURI, given.peers, given)
    if given.only != "missouri":
        with tempfile.TemporaryDirectory() as temporary:
            export = make_large(Path(temporary), given.large)
            compare("Twelve megapixels", export, Path(temporary), given.peers, given)


if __name__ == "__main__":
    main()
