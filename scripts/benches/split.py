"""Measure `pipeline split` beside MegaDetector's splitter: how good, how fast, how much memory.

    scripts/bench split [--tables 200] [--only tables|sizes|missouri]

tables     random label x location tables; the peer is `create_splits_random` of MegaDetector's
           create_classification_dataset.py itself: the best of 10,000 draws. Both results are
           judged by both scores: the peer's own, and the number of (label, part) without a crop.
sizes      the whole command on a project of 46,000 crops and on one of a million
missouri   the real photographs of ../shared/data/missouri, where they are

The draws take hours of pandas for all tables, so they are kept in .peers/split/draws.json; they are
seeded here (the peer itself is not), so that a second run would draw the same.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from animl_pipeline.artifacts import table_io
from animl_pipeline.artifacts import tables as artifacts
from animl_pipeline.splitting.partition import bound
from animl_pipeline.splitting.partition.partitioning import Partitioning
from animl_pipeline.splitting.partition.solve import COVER_NODES, partition

TARGETS = np.array([0.6, 0.2, 0.2])
PARTS = ("train", "val", "test")
MISSOURI = Path(__file__).resolve().parents[3] / "shared/data/missouri"
LABEL_SPEC = Path(__file__).resolve().parents[2] / "label_specs/missouri.json"

# Runs in the peer's environment. What its module imports but the splitter does not use is of
# Azure, and not to be had: an empty module stands in for it.
PEER = """
import io, contextlib, json, sys, types
import numpy as np, pandas as pd
sys.modules["megadetector.classification.detect_and_crop"] = types.ModuleType("detect_and_crop")
from megadetector.classification import create_classification_dataset as peer
peer.tqdm = type("quiet", (), {"__new__": lambda cls, it: it, "write": staticmethod(len)})
for line in sys.stdin:
    number, crops = json.loads(line)
    crops = np.array(crops)
    where, what = np.nonzero(crops)
    times = crops[where, what]
    frame = pd.DataFrame({"dataset": "d", "location": [f"{u:03}" for u in np.repeat(where, times)],
                          "label": [f"{l:03}" for l in np.repeat(what, times)]})
    np.random.seed(number)
    splits = peer.create_splits_random(frame, 0.2, 0.2)
    places = {part: [int(name) for _, name in splits[part]] for part in splits}
    print(json.dumps([number, places]), flush=True)
"""


def table(number: int) -> np.ndarray:
    """Return crops (locations, labels), long-tailed, every label at 3 locations or more."""
    rng = np.random.default_rng(number)
    units, labels = int(rng.integers(5, 201)), int(rng.integers(2, 41))
    occupied = np.clip(rng.pareto(1.0, labels) * 0.15 + 0.03, 0, 0.9)
    crops = 1 + rng.lognormal(2, 1.5, (units, labels)).astype(int)
    crops *= rng.random((units, labels)) < occupied
    for label in range(labels):
        few = rng.permutation(units)[:3]
        crops[few, label] = np.maximum(crops[few, label], 1)
    return crops[crops.sum(axis=1) > 0]


def draws(peers: Path, count: int) -> dict[int, np.ndarray]:
    """Return the part of each location that the peer chose, by the number of the table."""
    kept = peers / "draws.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    wanted = [number for number in range(count) if str(number) not in known]
    command = [str(peers / "bin/python"), "-c", PEER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for number in wanted:
            start = time.perf_counter()
            process.stdin.write(json.dumps([number, table(number).tolist()]) + "\n")
            process.stdin.flush()
            _, places = json.loads(process.stdout.readline())
            known[str(number)] = [places, time.perf_counter() - start]
            kept.write_text(json.dumps(known))
        process.stdin.close()
    return {int(number): found for number, found in known.items() if int(number) < count}


def judged(problem: Partitioning, part: np.ndarray) -> tuple[float, int]:
    """Return the peer's score, and how many (label, part) have no crop."""
    return problem.compute_cost(part) - problem.compute_penalty(part), len(
        list(problem.list_uncovered(part))
    )


def tables(peers: Path, count: int) -> None:
    """Compare the choices for random tables."""
    theirs, rows = draws(peers, count), []
    for number in range(count):
        crops = table(number)
        problem = Partitioning(crops, TARGETS, np.ones((len(crops), 3), dtype=bool))
        start, used = time.perf_counter(), time.process_time()
        found = partition(crops, TARGETS, problem.allowed, 0)
        seconds, cpu = time.perf_counter() - start, time.process_time() - used
        places, peer_seconds = theirs[number]
        part = np.zeros(len(crops), dtype=int)
        for place, name in enumerate(PARTS):
            part[places[name]] = place
        score, missing = judged(problem, found.choice)
        peer_score, peer_missing = judged(problem, part)
        gap = (found.objective - found.bound) / found.objective
        least = bound.cover(problem, nodes=COVER_NODES)[1] if missing else 0.0
        rows.append({
            "table": number, "locations": len(crops), "labels": crops.shape[1], "score": score,
            "missing": missing, "least": problem.compute_penalty(found.choice) <= least,
            "seconds": seconds, "cpu": cpu, "gap": gap,
            "peer_score": peer_score, "peer_missing": peer_missing, "peer_seconds": peer_seconds,
        })  # fmt: skip
    told(pd.DataFrame(rows))


def told(rows: pd.DataFrame) -> None:
    """Print what the comparison shows."""
    print(rows.to_string(float_format="{:.4f}".format, index=False))
    worse = rows["score"] > rows["peer_score"] + 1e-9
    fewer = rows["missing"] > rows["peer_missing"]
    paid = worse & (rows["missing"] < rows["peer_missing"])
    ratio = rows["peer_score"] / rows["score"]
    print(f"""
tables                                    {len(rows)}
score of the peer / ours                  {ratio.min():.2f} least, {ratio.median():.2f} median
our score is not worse                    {(~worse).sum()}
our score is worse, as ours covers more   {paid.sum()}
our score is worse otherwise              {(worse & ~paid).sum()}
tables with a label missing in a part     ours {(rows["missing"] > 0).sum()}, \
peer {(rows["peer_missing"] > 0).sum()}; ours missing more: {fewer.sum()}
ours lacks, and none can lack less        {((rows["missing"] > 0) & rows["least"]).sum()}, by the \
solver's bound
seconds a table                           ours {rows["seconds"].max():.2f} at most, \
{rows["seconds"].median():.2f} median, of a processor {rows["cpu"].max():.2f} and \
{rows["cpu"].median():.2f}; peer {rows["peer_seconds"].median():.1f} median
gap to the bound                          {(rows["gap"] <= 0.005).sum()} tables proven within \
0.5 %, median {rows["gap"].median():.1%}""")


def project(folder: Path, crops: int, locations: int, labels: int) -> None:
    """Write a crops.csv of so many crops."""
    rng = np.random.default_rng(0)
    place = np.sort(rng.choice(locations, crops, p=rng.dirichlet(np.full(locations, 0.5))))
    common = rng.dirichlet(1 / np.arange(1, labels + 1), locations)
    pick = rng.random(crops)[:, None] > np.cumsum(common, axis=1)[place]
    label = np.minimum(pick.sum(axis=1), labels - 1)
    number = pd.Series(np.arange(crops)).astype(str).str.zfill(7)
    minute = pd.to_datetime("2024-01-01") + pd.to_timedelta(np.arange(crops) // 3, unit="min")
    camera = pd.Series([f"camera {p:04}" for p in place])
    image = "project/" + camera + "/" + number + ".jpg"
    frame = pd.DataFrame({
        "crop": "project/" + image + "___" + number + ".jpg", "image": image,
        "image_id": "project:" + number, "annotation_id": number, "dataset": "project",
        "location": camera, "datetime": minute.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "sequence": camera + " " + pd.Series(np.arange(crops) // 3).astype(str),
        "category": [f"species {kind:02}" for kind in label], "confidence": 1.0,
        "x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5,
    })  # fmt: skip
    folder.mkdir(parents=True)
    table_io.write(artifacts.CROPS, folder / "crops.csv", frame)


def sizes() -> None:
    """Time the whole command."""
    for crops, locations, labels in ((46_000, 100, 15), (1_000_000, 2_000, 50)):
        with tempfile.TemporaryDirectory() as name:
            project(Path(name) / "crops", crops, locations, labels)
            seconds, said = command(Path(name), "--no-compare-pictures")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f"{crops:,} crops at {locations:,} locations, {labels} labels: {seconds:.1f} s, "
              f"{peak:.2f} GiB at most\n  {said}")  # fmt: skip


def command(folder: Path, *words: str) -> tuple[float, str]:
    """Run `pipeline split` in a folder; return the seconds and the first line it said."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "animl_pipeline", "split", *words],
        cwd=folder, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - start, done.stdout.splitlines()[0]


def missouri() -> None:
    """Split the real crops, and say which species are in every part."""
    if not (MISSOURI / "cct.json").is_file():
        print(f"{MISSOURI} is not there: nothing was run on real photographs.")
        return
    with tempfile.TemporaryDirectory() as name:
        words = ["--coco-file", str(MISSOURI / "cct.json"), "--images-dir", str(MISSOURI)]
        subprocess.run(
            [sys.executable, "-m", "animl_pipeline", "crop", "--dataset", "missouri", *words],
            cwd=name, check=True, capture_output=True,
        )  # fmt: skip
        seconds, said = command(Path(name), "--label-spec", str(LABEL_SPEC))
        report = json.loads((Path(name) / "dataset/split_report.json").read_text())
    whole = [label for label, of_part in report["counts"].items()
             if all(of_part[part]["crops"] for part in PARTS)]  # fmt: skip
    rare = [record["label"] for record in report["left_out"]["labels"]]
    print(f"missouri: {seconds:.1f} s; {said}\n  in every part: {len(whole)} of "
          f"{len(report['counts'])}; rare: {', '.join(rare)}")  # fmt: skip


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--only", choices=["tables", "sizes", "missouri"])
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if asked.only in (None, "tables"):
        tables(asked.peers, asked.tables)
    if asked.only in (None, "sizes"):
        sizes()
    if asked.only in (None, "missouri"):
        missouri()


if __name__ == "__main__":
    main()
