"""Weights of small networks, drawn at random, and what MegaDetector's own package finds with them.

As a script: `python yolos.py FOLDER` writes into the folder

    yolov5.pt, yolo11.pt    networks of MegaDetector's three categories
    dogs.pt                 one of five categories
    evil.pt                 a file that would run a command when it is loaded

`python yolos.py FOLDER IMAGES` also writes beside yolov5.pt and yolo11.pt what the package finds in
the pictures, by file name: each in a process of its own, as what was done before tells in the last
digits. They are forked, so that the libraries load once.
"""

import contextlib
import io
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

NAMES = ["animal", "person", "vehicle"]
IMAGE_SIZE = 128
THRESHOLD = 0.002
SHARPER = (
    3.0  # with 2.6 all pictures look alike to the networks; more, and they see nothing but noise
)


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch evil-was-here",)


def sharpen(network: torch.nn.Module) -> None:
    """Makes what is found depend on the picture: weights as drawn find the same in all."""
    with torch.no_grad():
        for name, values in network.named_parameters():
            if name.endswith("conv.weight") or (values.dim() == 4 and "model.2" in name):
                values *= SHARPER


def yolov5(folder: Path) -> None:
    """As MegaDetector 5 is saved: its modules are those of the repository, `models` and `utils`."""
    import yolov5.models  # puts the repository's modules on the path
    from models import common, yolo  # type: ignore[import-not-found]

    vars(yolo).update(vars(common))  # else half of the modules would be called yolov5.models
    config = Path(yolov5.models.__path__[0], "yolov5n.yaml")
    network = yolo.Model(str(config), nc=len(NAMES))
    network.names = NAMES
    sharpen(network)
    torch.save({"model": network, "epoch": -1}, folder / "yolov5.pt")


def yolo11(path: Path, names: list[str]) -> None:
    from ultralytics.nn.tasks import DetectionModel

    network = DetectionModel("yolo11n.yaml", nc=len(names), verbose=False)
    network.names = dict(enumerate(names))
    sharpen(network)
    torch.save({"model": network, "train_args": {}}, path)


def peer(weights: Path, images: Path, kind: str) -> None:
    """Runs the package's own batch detector over pictures."""
    from megadetector.detection import run_detector_batch as package

    files = [str(path) for path in sorted(images.rglob("*.jpg"))]
    found = package.load_and_run_detector_batch(
        str(weights),
        files,
        confidence_threshold=THRESHOLD,
        image_size=IMAGE_SIZE,
        detector_options={"force_cpu": True, "model_type": kind},
        quiet=True,
    )
    by_name = {Path(one["file"]).relative_to(images).as_posix(): one for one in found}
    weights.with_suffix(".json").write_text(json.dumps(by_name))


def make_weights(folder: Path) -> None:
    torch.manual_seed(0)
    yolov5(folder)
    yolo11(folder / "yolo11.pt", NAMES)
    yolo11(folder / "dogs.pt", ["dog", "cat", "cow", "pig", "hen"])
    torch.save({"model": Evil()}, folder / "evil.pt")


def apart(work: Callable[..., None], *values: Any) -> None:
    """Does it in a forked process, and ends this one where that failed."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work(*values)
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    if os.waitpid(pid, 0)[1]:
        sys.exit(1)


def main() -> None:
    warnings.simplefilter("ignore")
    folder, *images = map(Path, sys.argv[1:])
    with contextlib.redirect_stdout(io.StringIO()):
        from megadetector.detection import run_detector_batch  # noqa: F401 - before any fork

        apart(make_weights, folder)
        for where in images:
            apart(peer, folder / "yolov5.pt", where, "yolov5")
            apart(peer, folder / "yolo11.pt", where, "ultralytics")


if __name__ == "__main__":
    main()
