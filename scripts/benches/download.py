"""Pictures per second of `pipeline download` beside the AWS CLI, s5cmd and the old way.

One server (rclone's, over a folder) for all, in turns; every round starts with an empty folder.
Ours reads the export, checks every md5 and writes the ledger meanwhile; s5cmd and the AWS CLI
copy what the bucket lists.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/support"))
from rclone_server import KEYS, rclone

BUCKET = "bench"
OURS = "pipeline download"


def make(folder: Path, count: int, size_bytes: int) -> Path:
    """Fill the bucket, and return the export of it."""
    draw, images = random.Random(0), []
    for number in range(count):
        data = draw.randbytes(size_bytes)
        md5 = hashlib.md5(data).hexdigest()
        name = f"island/camera-{number % 40}/{md5}.jpg"
        path = folder / "buckets" / BUCKET / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        images.append(
            {"id": f"island:{md5}", "file_name": name, "serving_bucket_key": name, "location": "a"}
        )
    export = folder / "export.json"
    content = {"images": images, "annotations": [], "categories": []}
    export.write_text(json.dumps(content), encoding="utf-8")
    return export


def commands(peers: Path, export: Path, endpoint: str, target: str) -> dict[str, list[str]]:
    """Return the command line of each."""
    here = Path(sys.executable).parent
    old = Path(__file__).with_name("download_old.py")
    return {
        OURS: [
            str(here / "pipeline"), "download", "--coco-file", str(export), "--bucket", BUCKET,
            "--endpoint-url", endpoint, "--output-dir", target,
        ],
        "s5cmd": [
            str(peers / "bin/s5cmd"), "--log", "error", "--endpoint-url", endpoint, "cp",
            f"s3://{BUCKET}/*", target,
        ],
        "aws s3 cp": [
            str(peers / "bin/aws"), "--endpoint-url", endpoint, "s3", "cp", "--only-show-errors",
            "--recursive", f"s3://{BUCKET}", target,
        ],
        "the old way": [
            str(peers / "bin/python"), str(old), str(export), BUCKET, endpoint, target,
        ],
    }  # fmt: skip


def main() -> None:
    """Run all of them in turns, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--kilobytes", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    key, secret = KEYS.split(",")
    environment = {name: value for name, value in os.environ.items() if name[:4] != "AWS_"} | {
        "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "*",
    }  # fmt: skip
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        export = make(folder, given.objects, given.kilobytes * 1000)
        with rclone(folder / "buckets") as endpoint:
            todo = list(
                commands(given.peers.absolute(), export, endpoint, str(folder / "out")).items()
            )
            for _ in range(given.rounds):
                todo.append(todo.pop(0))  # who comes first finds the disk at rest
                for name, command in todo:
                    os.sync()
                    start = time.perf_counter()
                    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
                    seconds.setdefault(name, []).append(time.perf_counter() - start)
                    found = sum(path.suffix == ".jpg" for path in (folder / "out").rglob("*"))
                    if found != given.objects:
                        sys.exit(f"{name} fetched {found} of {given.objects}")
                    shutil.rmtree(folder / "out")
    print(f"{given.objects:,} objects of {given.kilobytes} KB, median of {given.rounds} rounds")
    rates = {name: given.objects / statistics.median(took) for name, took in seconds.items()}
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        low, high = (given.objects / found(seconds[name]) for found in (max, min))
        print(
            f"{name:18} {rate:6.0f} pictures/s ({low:.0f} to {high:.0f}); "
            f"{OURS} has {rates[OURS] / rate:.2f} of that"
        )


if __name__ == "__main__":
    main()
