"""Run two versions of the code on the same pictures, and compare every file they write.

Reads   a commit or a checkout of each version, or the folder one has already written
Writes  OUTPUT/<demo or missouri>/<old and new>: the code that ran, and what it wrote

The table counts files that are equal byte for byte, equal but for what may differ (times, versions,
order of keys, wording: `normalised.py` says of which file what), and different. Ends with 1 if one
is different.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from normalised import difference

ROOT = Path(__file__).resolve().parents[1]
MISSOURI = ROOT.parent / "shared/data/missouri"
TRAIN = (
    "train --no-pretrained --model-name efficientnet-b0 --image-size 64 --lr 3e-4 --batch-size 32 "
    "--precision 32-true --epochs"
)
# As scripts/demo and scripts/real run them.
COMMANDS = {
    "demo": (
        "download --coco-file world/export_coco.json --endpoint-url {endpoint} --tolerate 0.01",
        "crop --tolerate 0.01",
        "split --label-spec {code}/label_specs/santa_cruz_island.json",
        f"{TRAIN} 22",
        "evaluate",
    ),
    "missouri": (
        "download --coco-file {data}/cct.json --bucket missouri --endpoint-url {endpoint}",
        "crop --dataset missouri",
        "split --label-spec {code}/label_specs/missouri.json",
        f"{TRAIN} 2",
        "evaluate",
    ),
}
BUCKETS = {"demo": "animl-images-serving-prod", "missouri": "missouri"}
# Pages a person reads, and what 0.2.0 changed on them; how they differ is printed all the same.
ON_PURPOSE = {
    "report.html": "names the run, counts epochs from 1, warns where one label is given to all",
    "split_report.html": "opens with locations, labels and what test can judge, not the objective",
}
WRITTEN = ("images", "crops", "dataset", "runs")


def main() -> None:
    """Ends with 1 if a file differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", default="034c5fb", help="a commit, or the folder of a checkout")
    parser.add_argument("--new", default=str(ROOT), help="a commit, or the folder of a checkout")
    parser.add_argument("--old-output", type=Path, help="what the old code has written already")
    parser.add_argument("--new-output", type=Path, help="what the new code has written already")
    parser.add_argument("--on", choices=COMMANDS, default="demo")
    parser.add_argument("--data", type=Path, default=MISSOURI, help="the Missouri photographs")
    parser.add_argument("--output-dir", type=Path, default=ROOT / "parity")
    options = parser.parse_args()
    if options.on == "missouri" and not (options.data / "cct.json").exists():
        print(f"parity: {options.data} is not there, so nothing was run on real photographs.")
        return
    folder = options.output_dir.resolve() / options.on
    world = (options.old_output or folder) / "world"
    if options.on == "demo" and not world.exists():
        draw = [sys.executable, ROOT / "tests/support/world.py", world]
        subprocess.run([*draw, "--locations", "40", "--sequences", "300"], check=True)
    data = world if options.on == "demo" else options.data.resolve()
    sides = []
    for name in ("old", "new"):
        written = getattr(options, f"{name}_output")
        if written is None:
            code = check_out(getattr(options, name), folder / name / "code")
            written = folder / name / "output"
            run_commands(options.on, code, data, written)
        sides.append(written.resolve())
    sys.exit(compare(*sides))


def check_out(version: str, target: Path) -> Path:
    """A copy of the code, so that editing the checkout changes nothing of a run under way."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    if Path(version, "animl_pipeline").is_dir():
        for name in ("animl_pipeline", "label_specs"):
            shutil.copytree(Path(version, name), target / name)
    else:
        archive = ["git", "archive", version, "animl_pipeline", "label_specs"]
        content = subprocess.run(archive, cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", target], input=content, check=True)
    return target


def run_commands(which: str, code: Path, data: Path, folder: Path) -> None:
    """Runs the five commands of a copy of the code in a new folder, one thread each."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if which == "demo":
        (folder / "world").symlink_to(data)
    environment = os.environ | {
        "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "parity", "AWS_SECRET_ACCESS_KEY": "parity",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as notes:
        note = Path(notes, "endpoint")
        bucket_dir = data / "bucket" if which == "demo" else data
        serve = [sys.executable, ROOT / "tests/support/s3_server.py", bucket_dir, BUCKETS[which]]
        with subprocess.Popen([*serve, note]) as server:
            try:
                while not note.exists():
                    if server.poll() is not None:
                        sys.exit("parity: the S3 server did not start.")
                    time.sleep(0.2)
                words = {"endpoint": note.read_text().strip(), "code": code, "data": data}
                for command in COMMANDS[which]:
                    line = command.format(**words).split()
                    print("$ pipeline", *line, flush=True)
                    pipeline = [sys.executable, "-m", "animl_pipeline", *line]
                    subprocess.run(pipeline, cwd=folder, env=environment, check=True)
            finally:
                server.terminate()


def files_of(folder: Path) -> dict[str, Path]:
    """The files that the commands wrote, by a name without a time or a process in it."""
    return {
        re.sub(
            r"\.tfevents\..*|[0-9a-f]{16}(?=\.records)", "", path.relative_to(folder).as_posix()
        ): path
        for name in WRITTEN
        for path in sorted((folder / name).rglob("*"))
        if path.is_file() and "latest" not in path.relative_to(folder).parts
    }


def compare(old: Path, new: Path) -> int:
    """Prints the table; returns 1 if a file differs."""
    files = files_of(old), files_of(new)
    table: dict[str, Counter[str]] = {}
    remarks = []
    for name in sorted(files[0].keys() | files[1].keys()):
        first, second = (side.get(name) for side in files)
        if first is None or second is None:
            kind = "only old" if second is None else "only new"
            remarks.append(f"{name}: {kind}")
        elif first.read_bytes() == second.read_bytes():
            kind = "equal"
        else:
            problem = difference(name, first, second)
            kind = "different" if problem else "but for what may differ"
            if problem and (change := ON_PURPOSE.get(first.name)):
                kind, problem = "changed on purpose", f"it {change}; {problem}"
            remarks.append(f"{name}: {kind}{': ' if problem else ''}{problem}")
        table.setdefault(name.partition("/")[0], Counter())[kind] += 1
    print(f"\nold: {old}\nnew: {new}\n")
    kinds = (
        "equal",
        "but for what may differ",
        "changed on purpose",
        "different",
        "only old",
        "only new",
    )
    print(f"{'':10}", *(f"{kind:>{len(kind) + 2}}" for kind in kinds))
    for part, counts in table.items():
        print(f"{part:10}", *(f"{counts[kind]:>{len(kind) + 2}}" for kind in kinds))
    print("\n" + "\n".join(remarks))
    wrong = sum(counts["different"] + counts["only old"] for counts in table.values())
    unexpected = [name for name in files[1].keys() - files[0].keys() if "policy.json" not in name]
    return int(wrong > 0 or unexpected != [])


if __name__ == "__main__":
    main()
