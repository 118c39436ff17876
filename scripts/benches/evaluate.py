"""Measure `pipeline evaluate`: its speed beside MegaDetector's evaluator, its size, its intervals.

    scripts/bench evaluate [--only PART] [--model-name efficientnet-b0]

speed      crops per second on the CPU, of reading, resizing, predicting; the peer is `test_epoch`
           of MegaDetector's own evaluate_model.py with the same weights, crops and readers, and
           the best of its batch sizes
size       100,000 predictions, 500 locations, 50 labels: figures with intervals, and the page; the
           peer is scikit-learn's average_precision_score with sample weights
coverage   how often an interval holds the truth, in simulated data sets whose locations differ
verdicts   how often `--compare` tells two classifiers apart that are equal, and that are not
calibration  how a temperature of a few simulated locations changes the log loss of others
further    the demo's classifier (scripts/demo first), and one that is too sure of itself, at 60
           more locations of its world: what the few of its test cannot tell, such as what the
           temperature of the few of its val does
planted    5 % of the labels of the demo's crops (scripts/demo first) are made wrong: how many of
           them come in the first tenth of the ranking of label errors
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import simulated
import torch
from PIL import Image
from sklearn.metrics import average_precision_score

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier import networks
from animl_pipeline.classifier.predicting import Predictor, predict_rows
from animl_pipeline.classifier.predictions import Floats, Ints, Predictions
from animl_pipeline.evaluation import metrics
from animl_pipeline.evaluation.document import Document, Judging, describe_split
from animl_pipeline.report import page as report
from animl_pipeline.running import devices

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "label_specs/santa_cruz_island.json"
TOLERANT = ["--tolerate", "0.05"]  # some of the world's pictures are missing or broken on purpose
LABELS = ["bird", "fox", "lizard"]  # its evaluator needs three, and all of them in every part
BATCHES = (8, 16, 64)
ROUNDS = 3
TRAIN = (
    "train --no-pretrained --model-name efficientnet-b0 --image-size 64 --lr 3e-4 --epochs 22 "
    "--batch-size 32 --precision 32-true"
)  # as scripts/demo
LONG = "--epochs 40 --patience 0 --augmentation none --run-name"
SIDES_PX = (120, 480)  # of the crops, as of animals near and far
PEER = """
import json, sys, time
from megadetector.classification import evaluate_model as peer
epoch, seconds = peer.test_epoch, []
def timed(*args, **named):
    start = time.monotonic()
    found = epoch(*args, **named)
    seconds.append(time.monotonic() - start)
    return found
peer.test_epoch = timed
folder, batch, workers = sys.argv[1:]
peer.main(folder + "/params.json", folder + "/ckpt.pt", folder + "/out", ["test"],
          batch_size=int(batch), num_workers=int(workers))
print(json.dumps(seconds[-1]))
"""


def make_crops(folder: Path, count: int, model_name: str) -> tuple[classifier.Card, pd.DataFrame]:
    """Write crops, weights and tables as MegaDetector's evaluator reads them."""
    rng, rows = np.random.default_rng(0), []
    for number in range(count):
        part = "test" if number >= 6 else ("train", "val")[number // 3]
        coarse = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
        side = int(rng.integers(*SIDES_PX))
        picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number}.jpg", quality=95)
        rows.append((f"{number}.jpg", "d", part, LABELS[number % 3], 1.0))
    table = pd.DataFrame(rows, columns=["path", "dataset", "location", "label", "confidence"])
    table.to_csv(folder / "classification_ds.csv", index=False)
    written = {
        "label_index.json": dict(enumerate(LABELS)),
        "splits.json": {part: [["d", part]] for part in ("train", "val", "test")},
        "params.json": {
            "model_name": model_name, "dataset_dir": str(folder), "multilabel": False,
            "cropped_images_dir": str(folder), "label_weighted": True, "batch_size": 256,
            "num_workers": 8,
        },
    }  # fmt: skip
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content))
    side = networks.describe_pictures(model_name).side_px
    card = classifier.Card(model_name, LABELS, side, {}, {}, {}, "", 0)
    return card, table[table["location"] == "test"].rename(columns={"path": "crop"})


def speed(peers: Path, model_name: str, count: int) -> None:
    """Print crops per second of both, the best of some rounds taken in turn."""
    torch.manual_seed(0)
    network = networks.build(model_name, 3).eval()
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        card, rows = make_crops(folder, count, model_name)
        torch.save({"model": network.state_dict()}, folder / "ckpt.pt")
        rows = rows.assign(image=rows["crop"])
        for _ in range(ROUNDS):
            for batch in BATCHES:
                key = f"MegaDetector's evaluator, batches of {batch}"
                best[key] = max(best.get(key, 0), len(rows) / peer_seconds(peers, folder, batch))
            for precision in ("32-true", "bf16-mixed"):
                start = time.monotonic()
                fabric = devices.make_fabric("cpu", precision)
                predict_rows(Predictor(fabric, network, card), rows, folder, "test")
                key = f"pipeline evaluate, {precision}"
                best[key] = max(best.get(key, 0), len(rows) / (time.monotonic() - start))
    theirs = max(value for key, value in best.items() if key.startswith("Mega"))
    print(f"{model_name} at {card.image_size} px, {len(rows):,} crops, {os.cpu_count()} cores")
    for key, value in best.items():
        print(f"  {key:<42} {value:7.1f} crops/s  {value / theirs:5.2f} x its best")


def peer_seconds(peers: Path, folder: Path, batch: int) -> float:
    """Return how long the peer's own epoch took."""
    workers = str(min(8, os.cpu_count() or 1))
    command = [
        str(peers / "bin/python"),
        "-W",
        "ignore",
        "-c",
        PEER,
        str(folder),
        str(batch),
        workers,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"The peer failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def size(n: int = 100_000, locations: int = 500, labels: int = 50) -> None:
    """Print the seconds and the memory of a large evaluation, and the bytes of its page."""
    rng = np.random.default_rng(0)
    truth, names = rng.integers(labels, size=n), [f"species {i:02}" for i in range(labels)]
    soft = rng.random((n, labels))
    soft[np.arange(n), truth] += 0.5
    soft /= soft.sum(axis=1, keepdims=True)
    place = rng.integers(locations, size=n)
    start = time.monotonic()
    split = made_split(names, soft, truth, place)
    metrics.measure_split(split)
    ours = time.monotonic() - start
    weights = (1 - np.eye(locations)[0])[place]
    start = time.monotonic()
    for label in range(labels):
        average_precision_score(truth == label, soft[:, label], sample_weight=weights)
    theirs = (time.monotonic() - start) * (1 + locations)
    print(f"{n:,} predictions, {locations} locations, {labels} labels")
    print(f"  figures and intervals: {ours:.1f} s; scikit-learn's AP alone, for as many")
    print(f"    weightings: {theirs:,.0f} s, {theirs / ours:.0f} x (one, times {1 + locations})")
    start = time.monotonic()
    found = describe_split(split, Judging(split, 1.2, {"precision": 0.9, "recall": 0.9}, "empty"))
    page = report.render(
        around(found, names), {"test": split}, run_name="large", history=None, pictures=None
    )
    print(f"  all of the report: {time.monotonic() - start:.1f} s, {len(page) / 1e6:.1f} MB")
    print(f"  memory at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def made_split(labels: list[str], soft: Floats, truth: Ints, location: Ints) -> Predictions:
    """Return predictions of crops that were never cut."""
    crops = [f"{row:06}.jpg" for row in range(len(truth))]
    columns = dict.fromkeys(("crop", "image", "image_id"), crops)
    columns |= {"location": [f"{number:03}" for number in location]}
    columns |= {"label": [labels[index] for index in truth]}
    rows = pd.DataFrame(columns).assign(
        dataset="d", annotation_id="", sequence="", width=0.2, height=0.2
    )
    return Predictions(rows, labels, soft, np.arange(len(truth)) % 3 == 0, [])


def around(figures: dict[str, object], labels: list[str]) -> Document:
    """Return the content of a metrics.json about the figures of a split."""
    card = classifier.Card("efficientnet-b3", labels, 300, {}, {}, {}, "", 0)
    return Document(
        labels=labels,
        splits={"test": figures},
        seen_against_new=None,
        comparison=None,
        warnings=[],
        unreadable={},
        trained_on={"overlap": {"test": None}, "labels": None},
        temperature_fitted=True,
        model=card.__dict__,
        training=None,
        commands=[],
        versions={},
    )


def planted(demo: Path, share: float = 0.05) -> None:
    """Print how many planted label errors come first; trains as scripts/demo does."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("crops", "dataset"):
            shutil.copytree(demo / part, folder / part)
        table = table_io.read(tables.DATASET, folder / "dataset/dataset.csv")
        labels, rng = sorted(set(table["label"])), np.random.default_rng(0)
        rows = rng.choice(len(table), round(share * len(table)), replace=False)
        for row in rows:
            others = [label for label in labels if label != table.loc[row, "label"]]
            table.loc[row, "label"] = rng.choice(others)
        table_io.write(tables.DATASET, folder / "dataset/dataset.csv", table)
        for words in (TRAIN, "evaluate --splits train,val,test"):
            run_pipeline(folder, *words.split())
        found = pd.concat(
            table_io.read(tables.LABEL_ERRORS, path)
            for path in sorted((folder / "runs/latest/evaluation").glob("label_errors_*.csv"))
        )
        first = found.sort_values("margin", ascending=False).head(len(table) // 10)
        hits = len(set(first["crop"]) & set(table.loc[rows, "crop"]))
        print(f"{hits} of {len(rows)} planted label errors are among the first {len(first)} crops")


def further(demo: Path) -> None:
    """Print figures at many more locations of the demo's world, of two classifiers.

    They are its own, and one trained for longer and without augmentation, so too sure of itself.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_further_world(folder)
        shutil.copytree(demo / "runs/latest", folder / "its own")
        run_pipeline(demo, *TRAIN.split(), *LONG.split(), "too sure", "--logdir", str(folder))
        for run in ("its own", "too sure"):
            print(f"{run}, at the locations of the demo's test, and at the others:")
            run_pipeline(demo, "evaluate", "--run-dir", str(folder / run))  # fits T on val
            tell_calibration(folder / run / "evaluation/metrics.json")
            here = ["--dataset-dir", "dataset", "--crops-dir", "crops"]
            run_pipeline(folder, "evaluate", "--run-dir", run, *here)
            tell_calibration(folder / run / "evaluation/metrics.json")


def make_further_world(folder: Path) -> None:
    """Make a dataset, all of it test, of a world with the demo's animals and other locations."""
    world = [sys.executable, str(ROOT / "tests/support/world.py"), "world", "--seed", "7"]
    world += ["--locations", "60", "--sequences", "500"]
    subprocess.run(world, cwd=folder, check=True, capture_output=True)
    export = ["--coco-file", "world/export_coco.json", "--source", "world/bucket"]
    run_pipeline(folder, "download", *export, *TOLERANT)
    run_pipeline(folder, "crop", *TOLERANT)
    run_pipeline(folder, "split", "--label-spec", str(SPEC))
    path = folder / "dataset/dataset.csv"
    table = table_io.read(tables.DATASET, path)
    table_io.write(tables.DATASET, path, table.assign(split="test"))


def run_pipeline(folder: Path, *words: str) -> None:
    """Run a command of ours in a folder."""
    command = [sys.executable, "-m", "animl_pipeline", *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def tell_calibration(path: Path) -> None:
    """Print what a metrics.json says of test before and after the temperature."""
    found = json.loads(path.read_text())["splits"]["test"]
    low, high = found["intervals"]["macro_average_precision"]
    mended = found["calibration"]
    before, after = mended["before"], mended["after"]
    print(
        f"  {found['n']:,} crops at {len(found['by_location'])} locations: macro average precision "
        f"{found['macro_average_precision']:.3f} ({low:.3f} to {high:.3f}); T "
        f"{mended['temperature']:.3f}, log loss {before['log_loss']:.3f} -> "
        f"{after['log_loss']:.3f}, ECE {before['ece']:.3f} -> {after['ece']:.3f}"
    )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument(
        "--only",
        choices=("speed", "size", "coverage", "verdicts", "calibration", "further", "planted"),
    )
    parser.add_argument("--model-name", default="efficientnet-b0")
    parser.add_argument("--crops", type=int, default=400)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    asked = parser.parse_args()
    if asked.only in {None, "speed"}:
        speed(asked.peers, asked.model_name, asked.crops)
    if asked.only in {None, "size"}:
        size()
    if asked.only in {None, "coverage"}:
        simulated.coverage()
    if asked.only in {None, "verdicts"}:
        simulated.verdicts()
    if asked.only in {None, "calibration"}:
        simulated.calibrate()
    if asked.only in {None, "planted"}:
        planted(asked.demo)
    if asked.only in {None, "further"}:
        further(asked.demo)


if __name__ == "__main__":
    main()
