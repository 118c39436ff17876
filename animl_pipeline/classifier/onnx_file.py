"""A trained network as an ONNX file: made once, checked against PyTorch, kept by its weights."""

import dataclasses
import hashlib
import io
import json
import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from animl_pipeline.classifier import card as cards
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.inference import Inference
from animl_pipeline.classifier.predicting import to_probabilities
from animl_pipeline.classifier.weights import NAME as WEIGHTS
from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.files import whole

FOLDER, SUFFIX = ".onnx", ".onnx"
FORMAT = 1  # of what is exported; another makes every file anew
PICTURES, LOGITS, FEATURES = "pictures", "logits", "features"
DIFFERENCE_MAX = 1e-4  # in probability, from PyTorch
CHECKED_PICTURES = 5
BATCH_MAX = 4096
NEEDED = ("onnx", "onnxruntime", "onnxscript")  # to make the file; to run it, onnxruntime alone
# Of the card, what the file depends on.
DECISIVE = ("model_name", "image_size", "mean", "std")

logger = logging.getLogger(__name__)


class DiffersError(InputInvalid):
    """The file does not say what PyTorch says."""


def list_missing() -> list[str]:
    """Return the packages that making and running a file needs and that are not installed."""
    return [name for name in NEEDED if find_spec(name) is None]


def read_or_make(run_folder: Path, card: Card) -> bytes:
    """Return a run's network as ONNX: kept beside the weights, or made now and kept.

    Where the folder of the run cannot be written, it is kept in the cache folder of the user;
    where that cannot be, either, it is made anew each time, which is said.

    Raises:
        InputMissing, InputInvalid: the weights are not there, or damaged.
        DiffersError: the file does not say what PyTorch says.
    """
    name = _name(run_folder, card)
    folders = [run_folder / FOLDER, find_user_cache() / "onnx"]
    for folder in folders:
        if (folder / name).is_file():
            return (folder / name).read_bytes()
    logger.info("The network is made ready for onnxruntime, once: half a minute")
    network, card = cards.load(run_folder)
    inference = Inference(network, card).eval()
    content = export(inference, card.image_size)
    check(content, inference, card.image_size)
    for folder in folders:
        try:
            _keep(folder, name, content)
        except OSError as error:
            logger.info("%s: the network for onnxruntime is not kept there (%s)", folder, error)
        else:
            break
    return content


def find_user_cache() -> Path:
    """Return where a user's programs keep what they can make again."""
    given = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(given) if given else Path.home() / ".cache") / "animl-pipeline"


def _name(run_folder: Path, card: Card) -> str:
    if not (run_folder / WEIGHTS).is_file():
        raise InputMissing(f"{run_folder / WEIGHTS} is not there; `pipeline train` writes it.")
    decisive = {name: dataclasses.asdict(card)[name] for name in DECISIVE}
    weights = whole.digest(run_folder / WEIGHTS, "sha256")
    content = json.dumps([FORMAT, weights, decisive], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest() + SUFFIX


def _keep(folder: Path, name: str, content: bytes) -> None:
    """Write a file whole, also beside another process; files of other weights go."""
    with whole.whole(folder / f"{os.getpid()}.made") as part:
        part.write_bytes(content)
    (folder / f"{os.getpid()}.made").replace(folder / name)
    if folder.name == FOLDER:
        for other in folder.glob(f"*{SUFFIX}"):
            if other.name != name:
                other.unlink(missing_ok=True)


def export(inference: Inference, side_px: int) -> bytes:
    """Return the network as ONNX: pictures (n, 3, side, side), bytes, to logits and features."""
    # Of two pictures, as the exporter takes a batch of one for a constant.
    example = torch.zeros(2, 3, side_px, side_px, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=BATCH_MAX)
    program: Any = torch.onnx.export(
        inference,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: batch},),
        input_names=[PICTURES],
        output_names=[LOGITS, FEATURES],
        external_data=False,
        verbose=False,
    )
    file = io.BytesIO()
    program.save(file)
    return file.getvalue()


def check(content: bytes, inference: Inference, side_px: int) -> None:
    """Compare the file with PyTorch on pictures of noise, from dark to light.

    Raises:
        DiffersError: a probability differs by more than DIFFERENCE_MAX.
    """
    rng = np.random.default_rng(0)
    light = np.linspace(30, 256, CHECKED_PICTURES).reshape(-1, 1, 1, 1)
    noise = rng.random((CHECKED_PICTURES, 3, side_px, side_px)) * light
    pictures = noise.astype(np.uint8)
    session = open_session(content, threads=1)
    logits = torch.from_numpy(session.run([LOGITS], {PICTURES: pictures})[0])
    with torch.inference_mode():
        expected, _ = inference(torch.from_numpy(pictures))
    difference = float(np.abs(to_probabilities(logits) - to_probabilities(expected)).max())
    if not difference <= DIFFERENCE_MAX:
        raise DiffersError(
            f"Probabilities by onnxruntime and by PyTorch differ by {difference:.1g}, more than "
            f"{DIFFERENCE_MAX:g}: use --engine torch."
        )


def open_session(content: bytes, *, threads: int) -> Any:
    """Return what runs an ONNX file on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    # Threads that spin while they wait take the cores of the readers (docs, Measured).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
