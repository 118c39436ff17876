"""Images per second of `pipeline predict` with boxes given, beside MegaDetector and animl.

On the Missouri photographs with people's boxes, all on the CPU, by one network of fresh weights:
our stage with both engines, MegaDetector's crop_detections and run_classifier, animl's classify.
The peers have the best of some batch sizes, chosen in a first round; MegaDetector is also compared
without the time of its cropping. Above all of them is the network alone, by our engines, on
pictures that are in memory.

    scripts/bench predict --many 50000

measures instead how much memory so many images take, and a tenth of them: small ones, each with a
box, a hundred cameras, by a small network.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from animl_pipeline.classifier import card as cards
from animl_pipeline.classifier import networks
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.preprocessing import make_transform

MISSOURI = Path(__file__).parents[3] / "shared/data/missouri"
ENGINES = ("onnx", "torch")
PEERS = ("megadetector", "animl")
BATCHES = (1, 16, 64)  # 1 is the default of both peers
LABELS = [f"label {number}" for number in range(20)]
WANTED = {"megadetector": 3.0, "animl": 3.0, "alone onnx": 0.9}
CAMERAS, SMALL_PX, SMALL_NETWORK = 100, 64, ("mobilenetv3_small_050", 32)


def make_run(folder: Path, model_name: str, side_px: int) -> None:
    """Write a run of fresh weights, and its network as the peers load it."""
    torch.manual_seed(0)
    network = networks.build(model_name, len(LABELS), side_px).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    cards.save(folder, network, Card(model_name, LABELS, side_px, {}, {}, {}, "", 0))
    with warnings.catch_warnings(action="ignore"):  # TorchScript is old; the peer wants it
        traced = torch.jit.trace(network, torch.zeros(1, 3, side_px, side_px))
        torch.jit.save(traced, folder / "traced.pt")


def choose_images(folder: Path, count: int | None) -> tuple[int, int]:
    """Write detections.json of the images with a box, evenly chosen; return how many and boxes."""
    content = json.loads((MISSOURI / "boxes_as_md.json").read_text())
    images = [image for image in content["images"] if image["detections"]]
    step = max(1, len(images) // count) if count else 1
    content["images"] = images[::step][:count]
    (folder / "detections.json").write_text(json.dumps(content))
    for image in content["images"]:
        link = folder / "images" / image["file"]
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(MISSOURI / image["file"])
    return len(content["images"]), sum(len(image["detections"]) for image in content["images"])


def prepare_pictures(folder: Path, card: Card) -> None:
    """Write every box as the network takes it, for the network alone."""
    prepare, pictures = make_transform(card).prepare, []
    for image in json.loads((folder / "detections.json").read_text())["images"]:
        with Image.open(folder / "images" / image["file"]) as opened:
            for box in image["detections"]:
                x, y, width, height = box["bbox"]
                corners = (x, y, x + width, y + height)
                sides = (opened.width, opened.height) * 2
                crop = opened.crop(tuple(round(a * b) for a, b in zip(corners, sides, strict=True)))
                pictures.append(prepare(crop.convert("RGB")).numpy())
    np.save(folder / "pictures.npy", np.stack(pictures))


def take(python: Path, how: str, folder: Path, **options: Any) -> dict[str, float]:
    """Return what a run took, in an interpreter of its own."""
    output = folder / "output"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    given = {
        "images_dir": str(folder / "images"), "run_dir": str(folder / "run"),
        "output_dir": str(output / "predictions" if how == "ours" else output),
        "detections": str(folder / "detections.json"), "traced": str(folder / "run/traced.pt"),
        "pictures": str(folder / "pictures.npy"), "batch_size": None, **options,
    }  # fmt: skip
    (folder / "options.json").write_text(json.dumps(given))
    script = Path(__file__).with_name("predict_timed.py")
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [str(python), "-W", "ignore", str(script), how, str(folder / "options.json")],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{how}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(folder: Path, given: argparse.Namespace) -> None:
    """Run all in turns and print rates and ratios."""
    side = given.image_size or networks.describe_pictures(given.model_name).side_px
    make_run(folder / "run", given.model_name, side)
    images, boxes = choose_images(folder, given.images)
    prepare_pictures(folder, cards.read_card(folder / "run"))
    ours, theirs = Path(sys.executable), given.peers.absolute() / "bin/python"
    turns: dict[str, tuple[Path, str, dict[str, Any]]] = {}
    for engine in ENGINES:
        turns[f"predict {engine}"] = (ours, "ours", {"engine": engine})
        turns[f"alone {engine}"] = (ours, "alone", {"engine": engine})
    for peer, size in itertools.product(PEERS, given.batches):
        turns[f"{peer} {size}"] = (theirs, peer, {"side": side, "batch_size": size})
    # The first of our own makes the ONNX file, which is not counted.
    first = {
        name: take(*turn[:2], folder, **turn[2])
        for name, turn in turns.items()
        if (name == "predict onnx" or (turn[1] in PEERS and len(given.batches) > 1))
    }

    def clock_of(name: str) -> float:
        return first[name]["clock"] if name in first else 0.0

    for peer in PEERS:
        best = min(given.batches, key=lambda size: clock_of(f"{peer} {size}"))
        turns[peer] = turns[f"{peer} {best}"]
        print(f"{peer}: batches of {best} are its fastest")
        for size in given.batches:
            del turns[f"{peer} {size}"]
    took: dict[str, list[dict[str, float]]] = {name: [] for name in turns}
    order = list(turns)
    for _ in range(given.rounds):
        order.append(order.pop(0))
        for name in order:
            python, how, options = turns[name]
            took[name].append(take(python, how, folder, **options))
            print(f"{name}: {images / took[name][-1]['clock']:.1f} images/s", flush=True)
    print(
        f"{images:,} images, {boxes:,} boxes, {given.model_name} at {side}, {given.rounds} rounds"
    )
    report(images, took)


def measure_memory(folder: Path, given: argparse.Namespace) -> None:
    """Print what memory a tenth of many images takes, and all of them."""
    make_run(folder / "run", *SMALL_NETWORK)
    source, rng = folder / "small.jpg", np.random.default_rng(0)
    pixels = rng.integers(0, 255, (SMALL_PX, SMALL_PX, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(source)
    box = {"category": "1", "conf": 0.9, "bbox": [0.2, 0.2, 0.5, 0.5]}
    peaks: dict[int, float] = {}
    for count in (given.many // 10, given.many):
        images = [f"camera{n % CAMERAS:03}/{n // CAMERAS:06}.jpg" for n in range(count)]
        for name in images:
            path = folder / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.hardlink_to(source)
        content = {
            "info": {"format_version": "1.4", "detector": "none"},
            "detection_categories": {"1": "animal"},
            "images": [{"file": name, "detections": [box]} for name in images],
        }
        (folder / "detections.json").write_text(json.dumps(content))
        took = take(Path(sys.executable), "ours", folder, engine="torch")
        peaks[count] = took["peak_mb"]
        written = sum(file.stat().st_size for file in (folder / "output").rglob("*.*"))
        print(f"{count:,} images: {took['peak_mb']:,.0f} MB at most, {took['clock']:.0f} s "
              f"({took['processor'] / count * 1000:.1f} ms of a processor an image), "
              f"{written / 1e6:,.0f} MB written")  # fmt: skip
    fewer, more = peaks
    each = (peaks[more] - peaks[fewer]) * 1e6 / (more - fewer)
    print(f"{each:,.0f} bytes an image more: {each:,.0f} MB for a million")


def report(images: int, took: dict[str, list[dict[str, float]]]) -> None:
    """Print the rates, and the ratios round by round."""
    for name, rounds in took.items():
        rates = sorted(images / one["clock"] for one in rounds)
        each_ms = statistics.median(one["processor"] for one in rounds) / images * 1000
        print(
            f"{name:16} {statistics.median(rates):6.1f} images/s ({rates[0]:.1f} to "
            f"{rates[-1]:.1f}), {each_ms:.1f} ms of a processor, "
            f"{max(one['peak_mb'] for one in rounds):,.0f} MB"
        )
    for ours in (name for name in took if name.startswith("predict")):
        for other in took:
            if other.startswith("predict") or other == ours:
                continue
            for key in ("clock", "classifying")[: 1 + (other == "megadetector")]:
                ratios = [b[key] / a["clock"] for a, b in zip(took[ours], took[other], strict=True)]
                aim = WANTED.get(other) if ours == "predict onnx" else None
                without = " without its cropping" if key == "classifying" else ""
                print(f"{ours} has {statistics.median(ratios):.2f} times the images/s of "
                      f"{other}{without} ({min(ratios):.2f} to {max(ratios):.2f})"
                      f"{f'; wanted: {aim}' if aim else ''}")  # fmt: skip


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, help="how many of the photographs; default: all")
    parser.add_argument("--model-name", default="efficientnet-b3")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="of the peers")
    parser.add_argument("--many", type=int, help="measure the memory of so many images instead")
    given = parser.parse_args()
    if given.many:
        with tempfile.TemporaryDirectory() as temporary:
            measure_memory(Path(temporary), given)
        return
    if not MISSOURI.exists():
        sys.exit(f"{MISSOURI} is not there: no photographs to measure with.")
    with tempfile.TemporaryDirectory() as temporary:
        compare(Path(temporary), given)


if __name__ == "__main__":
    main()
