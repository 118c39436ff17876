"""Measure `pipeline convert` beside MegaDetector's own conversion: time and memory.

    scripts/bench convert [--boxes 1000000]

The export is drawn: half as many images as boxes, each with its size. The peer is
megadetector.data_management.cct_to_md, which checks nothing and loses ids, confidence and
datetimes. It has no way back.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZE_PX = (4032, 3024)
SPECIES = 20


def draw(path: Path, boxes: int) -> None:
    """Write an export as Animl does, with two boxes an image."""
    rng = random.Random(0)
    images = (
        {
            "id": f"p:{n:032x}",
            "file_name": f"p/cam{n % 500}/harbor/p-{n:032x}.jpg",
            "serving_bucket_key": f"original/p:{n:032x}-original.jpg",
            "datetime": f"2023-03-{1 + n % 28:02}T{n % 24:02}:41:10.000-08:00",
            "location": f"Harbor {n % 500}",
            "width": SIZE_PX[0],
            "height": SIZE_PX[1],
        }
        for n in range(boxes // 2)
    )
    annotations = (
        {
            "id": f"{n:024x}",
            "image_id": f"p:{n // 2:032x}",
            "category_id": 1 + n % SPECIES,
            "sequence_level_annotation": False,
            "bbox": [rng.randrange(3000), rng.randrange(2000), *rng.choices(range(1, 999), k=2)],
            "validated": True,
        }
        for n in range(boxes)
    )
    categories = [{"id": 0, "name": "empty"}]
    categories += [{"id": n, "name": f"species {n}"} for n in range(1, SPECIES + 1)]
    with path.open("w") as file:
        file.write('{"images": [')
        for rows, opens in ((images, ""), (annotations, '], "annotations": [')):
            file.write(opens)
            for number, row in enumerate(rows):
                file.write(("," if number else "") + json.dumps(row))
        file.write(f'], "categories": {json.dumps(categories)}}}')


def measure(name: str, command: list[str]) -> float:
    """Run a command and print what it took; return its seconds of a processor."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    # Of children the largest is known: each runs below one of its own, which prints it.
    told = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2)\n"
    told += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run(
        [sys.executable, "-c", told, *command], check=True, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name:34} {seconds:6.1f} s of a processor, {time.monotonic() - start:6.1f} s, "
          f"{int(done.stdout) / 2**20:4.1f} GB")  # fmt: skip
    return seconds


def main() -> None:
    """Draw an export and convert it there, with both tools, and back."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--boxes", type=int, default=1_000_000)
    asked = parser.parse_args()
    print(f"{asked.boxes:,} boxes; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    ours = [sys.executable, "-m", "animl_pipeline", "convert", "--input-file"]
    code = "import sys; from megadetector.data_management.cct_to_md import cct_to_md; "
    code += "cct_to_md(*sys.argv[1:])"
    with tempfile.TemporaryDirectory() as folder:
        export, results, back, theirs = (
            str(Path(folder, name)) for name in ("export.json", "md.json", "back.json", "peer.json")
        )
        draw(Path(export), asked.boxes)
        mine = measure("pipeline convert", [*ours, export, "--output-file", results])
        peer = measure("cct_to_md", [str(asked.peers / "bin/python"), "-c", code, export, theirs])
        measure("pipeline convert --to coco",
                [*ours, results, "--output-file", back, "--to", "coco"])  # fmt: skip
    print(f"pipeline convert takes {mine / peer:.1f} times as long as cct_to_md")


if __name__ == "__main__":
    main()
