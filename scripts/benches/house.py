"""Seconds that two versions of this code take for the same work: is the new one any slower?

`pipeline --help` (the best of five), then crop, split, train (two epochs) and evaluate on the
Missouri photographs (with --world, on the demo's world), the old and the new one by turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from parity import MISSOURI, TRAIN, check_out  # noqa: E402

COMMANDS = (
    "crop --coco-file {data}/cct.json --images-dir {data} --dataset missouri",
    "split --label-spec {code}/label_specs/missouri.json",
    f"{TRAIN} 2",
    "evaluate",
)
Seconds = dict[tuple[str, str], list[float]]  # by command and side


def main() -> None:
    """Print a row for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, help="not needed here")
    parser.add_argument("--old", default="034c5fb", help="a commit, or the folder of a checkout")
    parser.add_argument("--new", default=str(ROOT), help="a commit, or the folder of a checkout")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if not (MISSOURI / "cct.json").exists():
        sys.exit(f"{MISSOURI} is not there.")
    seconds: Seconds = {}
    with tempfile.TemporaryDirectory() as scratch:
        codes = {
            side: check_out(getattr(options, side), Path(scratch, side, "code"))
            for side in ("old", "new")
        }
        for _ in range(5):
            for side, code in codes.items():
                time_command(seconds, side, code, Path(scratch), "--help")
        for number in range(options.rounds):
            for line in COMMANDS:
                # The second one finds files in memory: each is first by turns.
                for side, code in list(codes.items())[:: -1 if number % 2 else 1]:
                    folder = Path(scratch, side, str(number))
                    folder.mkdir(exist_ok=True)
                    time_command(seconds, side, code, folder, line.format(code=code, data=MISSOURI))
    print(f"{'':10}{'old':>8}{'new':>8}{'new / old':>11}")
    for name in dict.fromkeys(name for name, _ in seconds):
        choose = min if name == "--help" else statistics.median
        old, new = choose(seconds[name, "old"]), choose(seconds[name, "new"])
        print(f"{name:10}{old:8.2f}{new:8.2f}{new / old:11.2f}")


def time_command(seconds: Seconds, side: str, code: Path, folder: Path, line: str) -> None:
    """Run a command of one side in a folder, and keep how long it took."""
    environment = os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "animl_pipeline", *line.split()]
    start = time.perf_counter()
    subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)
    seconds.setdefault((line.split()[0], side), []).append(time.perf_counter() - start)


if __name__ == "__main__":
    main()
