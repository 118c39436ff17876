"""Measure `pipeline train` beside MegaDetector's own trainer: its speed, and what is learned.

    scripts/bench train [--only speed|learned] [--data ../shared/data/missouri]

speed      images per second of training and of validation on this machine, B3 at 300 px in batches
           of 16, from the same drawn crops, in turns; and of the same network and optimizer on one
           batch that stays in memory: what reading and augmenting cost
learned    macro average precision on the test locations of the Missouri photographs after as many
           epochs with the same network, size, batch, rate and split, both from scratch; where
           they differ is what each makes of it: batch norm, augmentation, averaged weights, which
           epoch is best
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from animl_pipeline.artifacts import label_index, table_io
from animl_pipeline.artifacts import tables as artifacts
from animl_pipeline.classifier.predictions import Floats, Predictions
from animl_pipeline.evaluation import average_precision, intervals

REPOSITORY = Path(__file__).resolve().parents[2]
LABELS = ["bird", "fox", "lizard"]  # the peer needs three, and all of them in every part
SIDES_PX = (120, 480)  # of the crops, as of animals near and far
RECIPE = {"batch_size": 16, "weight_decay": 1e-5, "lr": 3e-4, "label_weighted": True}  # of both
SPEED = {"model_name": "efficientnet-b3", "epochs": 2, "seed": 0}
SPEED_CROPS = {"train": 64, "val": 32, "test": 3}
LEARNED = {"model_name": "efficientnet-b0", "epochs": 40}
LEARNED_SIDE_PX = 64
# Threads that spin while they wait, as the peer's do unless told, are slow where other work goes on
# (docs, Measured): that is not what is measured here.
CALM = {**os.environ, "GOMP_SPINCOUNT": "10000"}
SYNTHETIC = """
import json, sys, time, torch
from animl_pipeline.classifier import networks
from animl_pipeline.running import devices
from animl_pipeline.training.optimisation import make_optimizer
from animl_pipeline.training.settings import Recipe
name, side, batch, steps = sys.argv[1], *map(int, sys.argv[2:])
fabric = devices.make_fabric("auto", "auto", trains=True)
network = networks.build(name, 3)
network, optimizer = fabric.setup(
    network, make_optimizer(Recipe(lr=1e-3, weight_decay=1e-5), network))
pictures = fabric.to_device(torch.randn(batch, 3, side, side))
pictures = pictures.contiguous(memory_format=torch.channels_last)
truth = fabric.to_device(torch.arange(batch) % 3)
network.train()
found = []
for epoch in range(2):
    start = time.monotonic()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(pictures), truth)
        fabric.backward(loss)
        optimizer.step()
    loss.item()
    found.append(batch * steps / (time.monotonic() - start))
print(json.dumps({"train": found}))
"""

Measured = dict[str, list[float]]  # images per second of train and val; memory_gb, processor_s


def make_dataset(folder: Path) -> None:
    """Write drawn crops, and the tables as both read them."""
    rng, rows = np.random.default_rng(0), []
    for part, count in SPEED_CROPS.items():
        for number in range(count):
            crop, label = f"{part}{number}.jpg", LABELS[number % 3]
            coarse = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            side = int(rng.integers(*SIDES_PX))
            picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
            (folder / "crops").mkdir(exist_ok=True)
            picture.save(folder / "crops" / crop, quality=95)
            rows.append({
                "crop": crop, "image": crop, "image_id": crop, "annotation_id": "",
                "dataset": "d", "location": part, "datetime": "", "sequence": "",
                "category": label, "confidence": 1.0, "x": 0.1, "y": 0.1, "width": 0.5,
                "height": 0.5, "label": label, "split": part,
            })  # fmt: skip
    table = pd.DataFrame(rows, columns=artifacts.DATASET.names)
    (folder / "dataset").mkdir()
    table_io.write(artifacts.DATASET, folder / "dataset/dataset.csv", table)
    of_peer = table[["crop", "dataset", "location", "label", "confidence"]]
    of_peer.rename(columns={"crop": "path"}).to_csv(
        folder / "dataset/classification_ds.csv", index=False
    )
    written = {
        "label_index.json": dict(enumerate(LABELS)),
        "splits.json": {part: [["d", part]] for part in SPEED_CROPS},
    }
    for name, content in written.items():
        (folder / "dataset" / name).write_text(json.dumps(content))


def make_missouri(data: Path, folder: Path) -> None:
    """Cut and divide the real photographs, with the tables as both read them."""
    spec = REPOSITORY / "label_specs/missouri.json"
    for words in (
        f"download --coco-file {data / 'cct.json'} --source {data}",
        "crop --dataset missouri",
        f"split --label-spec {spec} --classification-ds",
    ):
        pipeline(folder, words)


def pipeline(folder: Path, words: str) -> Measured:
    """Run a command of ours in a folder; return what it took."""
    return run([sys.executable, "-m", "animl_pipeline", *words.split()], folder)[1]


def run(command: list[str], folder: Path) -> tuple[str, Measured]:
    """Return what a command printed and what it took, its readers included; end if it fails."""
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as wrong:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=wrong, env=CALM)
        _, status, used = os.wait4(process.pid, 0)
        said.seek(0)
        wrong.seek(0)
        if status:
            sys.exit(f"{' '.join(command)[:200]} failed:\n{wrong.read()[-2000:]}")
        seconds = used.ru_utime + used.ru_stime
        return said.read(), {"memory_gb": [used.ru_maxrss / 1e6], "processor_s": [seconds]}


def peer(peers: Path, folder: Path, logdir: str, *, side: int = 0, **options: object) -> Measured:
    """Train with the peer; with a `side` of its pictures it evaluates, too."""
    own = {
        "dataset_dir": str(folder / "dataset"), "cropped_images_dir": str(folder / "crops"),
        "multilabel": False, "pretrained": False, "finetune": 0, "weight_by_detection_conf": False,
        "num_workers": os.cpu_count(), "logdir": str(folder / logdir), "log_extreme_examples": 0,
        "side": side, "evaluates": bool(side), **RECIPE, **options,
    }  # fmt: skip
    (folder / "peer.json").write_text(json.dumps(own))
    script = str(Path(__file__).with_name("train_peer.py"))
    command = [str(peers / "bin/python"), "-W", "ignore", script, str(folder / "peer.json")]
    said, took = run(command, folder)
    return {**json.loads(said.splitlines()[-1]), **took}


def ours(folder: Path, logdir: str, *, side: int = 0, **options: object) -> Measured:
    """Train with ours."""
    words = f"train --no-pretrained --logdir {logdir} --run-name run"
    words += f" --image-size {side}" if side else ""
    for name, value in {**RECIPE, **options}.items():
        words += f" --{name.replace('_', '-')}" + ("" if value is True else f" {value}")
    took = pipeline(folder, words)
    history = table_io.read(artifacts.HISTORY, folder / logdir / "run" / "history.csv")
    n = table_io.read(artifacts.DATASET, folder / "dataset/dataset.csv")["split"].value_counts()
    train_s = n["train"] / history["images_per_second"]
    return {
        "train": list(history["images_per_second"]),
        "val": list(n["val"] / (history["seconds"] - train_s)),
        **took,
    }


def speed(peers: Path, rounds: int) -> None:
    """Print images per second of both, the best of some rounds taken in turn."""
    side, steps = 300, SPEED_CROPS["train"] // RECIPE["batch_size"]
    synthetic = [sys.executable, "-c", SYNTHETIC, str(SPEED["model_name"])]
    synthetic += [str(number) for number in (side, RECIPE["batch_size"], steps)]
    best: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_dataset(folder)
        for turn in range(rounds):
            tools: dict[str, Callable[[], Measured]] = {
                "ours": lambda turn=turn: ours(folder, f"ours{turn}", **SPEED),
                "theirs": lambda turn=turn: peer(peers, folder, f"theirs{turn}", **SPEED),
                "synthetic": lambda: json.loads(run(synthetic, folder)[0]),
            }
            for tool, measure in tools.items():
                found = measure()
                print(f"  round {turn + 1}, {tool}: {found}", flush=True)
                for kind, values in found.items():
                    best.setdefault(tool, {}).setdefault(kind, []).extend(values)
    fastest = {
        (tool, kind): max(values) for tool, found in best.items() for kind, values in found.items()
    }
    print(f"{SPEED['model_name']} at {side} px, batches of {RECIPE['batch_size']}, best of each:")
    for kind in ("train", "val"):
        ratio = fastest["ours", kind] / fastest["theirs", kind]
        print(
            f"  {kind:<6} ours {fastest['ours', kind]:6.2f}, theirs {fastest['theirs', kind]:6.2f} "
            f"images/s: {ratio:.2f} x"
        )
    share = fastest["ours", "train"] / fastest["synthetic", "train"]
    print(f"  synthetic tensors {fastest['synthetic', 'train']:.2f} images/s: ours is {share:.2f}")
    for tool in ("ours", "theirs"):
        found = best[tool]
        print(
            f"  {tool}: {max(found['memory_gb']):.2f} GB at most in one process, "
            f"{min(found['processor_s']):.0f} s of a processor for the whole run"
        )


def learned(peers: Path, data: Path, seeds: int) -> None:
    """Print macro average precision on test of both, for each seed and in the mean."""
    if not (data / "cct.json").exists():
        print(f"{data} is not there, so nothing is learned from real photographs.")
        return
    found: dict[str, list[Floats]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_missouri(data.resolve(), folder)
        for seed in range(seeds):
            options = {**LEARNED, "side": LEARNED_SIDE_PX, "seed": seed}
            ours(folder, f"ours{seed}", **options, patience=0)  # all epochs, as the peer
            pipeline(folder, f"evaluate --run-dir ours{seed}/run")
            peer(peers, folder, f"theirs{seed}", **options)
            (said,) = (folder / f"theirs{seed}").glob("*/outputs_test.csv.gz")
            tables = {
                "ours": folder / f"ours{seed}/run/evaluation/predictions_test.csv",
                "theirs": said,
            }
            for tool, path in tables.items():
                values = macro(scored(path, folder))
                found[tool].append(values)
                print(f"  seed {seed}, {tool}: {shown(values)}", flush=True)
    for tool, values in found.items():
        print(f"  {tool}, mean of {seeds} seeds: {shown(np.mean(values, axis=0))}")
    difference = np.mean(found["ours"], axis=0) - np.mean(found["theirs"], axis=0)
    print(f"  ours less theirs: {shown(difference, scale='plain')}")


def scored(path: Path, folder: Path) -> Predictions:
    """Return the predictions of either on test, in the order of the dataset."""
    dataset = table_io.read(artifacts.DATASET, folder / "dataset/dataset.csv")
    test = dataset[dataset["split"] == "test"]
    labels = label_index.read_labels(folder / "dataset/label_index.json")
    table = pd.read_csv(path, keep_default_na=False)
    table = table.rename(columns={"path": "crop"}).set_index("crop")
    prefix = artifacts.PROBABILITY if f"{artifacts.PROBABILITY}{labels[0]}" in table else ""
    soft = table.loc[test["crop"], [prefix + label for label in labels]].to_numpy(np.float64)
    truth = np.array([labels.index(label) for label in test["label"]], dtype=np.int64)
    places = list(zip(test["dataset"], test["location"], strict=True))
    return Predictions.from_arrays(labels, soft, truth, places)


def macro(of: Predictions) -> Floats:
    """Return macro average precision of all, and without each location."""
    weights = intervals.leave_one_out(of.groups)
    return average_precision.average_known(average_precision.compute_label_aps(of, weights))


def shown(values: Floats, scale: str = "logit") -> str:
    """Return a figure with its interval."""
    low, high = intervals.resample_by_jackknife(values, scale=scale) or (np.nan, np.nan)
    return f"macro average precision {values[0]:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--only", choices=("speed", "learned"))
    parser.add_argument("--data", type=Path, default=REPOSITORY / "../shared/data/missouri")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    if asked.only in {None, "speed"}:
        speed(asked.peers.resolve(), asked.rounds)
    if asked.only in {None, "learned"}:
        learned(asked.peers.resolve(), asked.data, asked.seeds)


if __name__ == "__main__":
    main()
