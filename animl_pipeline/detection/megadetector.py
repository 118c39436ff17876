"""MegaDetector itself: its weights, and what it detects in a batch of images.

The one module that knows the `megadetector` package and the YOLOs it runs on (the extra `detect`).
They are AGPL and GPL, and nothing else of this program needs them.
"""

import contextlib
import difflib
import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageFile

from animl_pipeline.catalogue.records import DetectedImage, Detection
from animl_pipeline.detection.settings import MODELS
from animl_pipeline.errors import InputInvalid, InputMissing, WeightsMissing
from animl_pipeline.files import whole
from animl_pipeline.formats.megadetector import CATEGORIES

EXTRA = "pip install 'animl-pipeline[detect]'"
ULTRALYTICS = "ultralytics.nn.tasks."  # the modules of its networks, in a weights file
# Whose names a weights file may hold. That of another library (os.system) is no part of a network.
LIBRARIES = (
    "torch.nn.",
    "ultralytics.",
    "models.",
    "utils.",
    "yolov5.",
    "yolov9.",
    "numpy.",
    "collections.",
    "pathlib.",
    "argparse.Namespace",
    "builtins.set",
    "__builtin__.set",
    "builtins.slice",
    "__builtin__.slice",
)
# What loading a file raises that is no network, or one the installed libraries cannot build.
BROKEN = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    OSError,
    EOFError,
    ImportError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
PILLOW_OPEN = Image.open


@dataclass(frozen=True)
class Detector:
    """Loaded weights, and what they are called in results."""

    network: Any  # the package's PTDetector
    name: str
    device: str
    metadata: dict[str, Any]  # the package's, of the models it knows: sensible thresholds


@contextlib.contextmanager
def _contained() -> Iterator[io.StringIO]:
    """Keep the package and its YOLO from changing anything of this process; yield what they print.

    The one place where what is global to the process is set for them, and set back.
    """
    # Neither is to ask the internet, nor pip, for anything while they load.
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    os.environ |= {"YOLO_VERBOSE": "false", "YOLOv5_VERBOSE": "false"}
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield printed
    finally:
        Image.open = PILLOW_OPEN  # ultralytics' own asks for libraries nobody has
        ImageFile.LOAD_TRUNCATED_IMAGES = False  # megadetector asks for half images


def find_weights(model: str) -> Path:
    """Return the file of a model: a file, or one of MegaDetector's names, fetched if need be.

    Raises:
        WeightsMissing: the extra is not installed, or a named model cannot be fetched.
        InputMissing: there is no such file, nor name.
    """
    package = _import_package()
    if Path(model).is_file():
        return Path(model)
    name = find_known_name(model)
    if name is None:
        near = difflib.get_close_matches(model.lower(), map(str.lower, MODELS), n=2)
        meant = [known for known in MODELS if known.lower() in near]
        raise InputMissing(
            f"--model {model} is neither a file nor the name of a model: {', '.join(MODELS)}."
            + (f" Did you mean {meant[0]}?" if meant else "")
        )
    path, reason = None, ""
    with _contained() as printed:
        try:
            path = package.try_download_known_detector(name)
        except OSError as error:  # urllib's and requests' own are such
            reason = f" ({error})"
    if not path or not Path(path).is_file():
        lines = printed.getvalue().splitlines()
        reason = reason or (f" ({lines[-1]})" if lines else "")
        about = package.known_models[name]
        raise WeightsMissing(
            f"The weights of {model} cannot be fetched here{reason}. Fetch {about['url']} where "
            f"the internet is (md5 {about.get('md5', 'not known')}), and name the file: --model "
            f"{about['url'].rpartition('/')[2]}."
        )
    return Path(path)


def _import_package() -> Any:
    try:
        with _contained():
            from megadetector.detection import run_detector
    except ImportError as error:
        raise WeightsMissing(
            f"`pipeline detect` needs more libraries ({error}): {EXTRA}."
        ) from None
    return run_detector


def read_package_version() -> str:
    """Return the name and version of the package: the whole one, or the one without a YOLO."""
    for name in ("megadetector", "megadetector-utils"):
        with contextlib.suppress(PackageNotFoundError):
            return f"{name} {version(name)}"
    return "unknown"


def find_known_name(model: str) -> str | None:
    """Return the package's own name of a model it knows, or None."""
    package = _import_package()
    for name in (model.lower(), f"mdv1000-{model.lower()}"):
        version = package.model_string_to_model_version.get(name, name)
        if version in package.known_models:
            return str(version)
    return None


def load_detector(path: Path, *, device: str) -> Detector:
    """Return the detector in a weights file.

    A YOLO's weights are pickled, so loading them can run code that is in them: only a file that
    one trusts is to be loaded. A file that names what is no part of a network is refused.

    Raises:
        WeightsMissing: a library that the weights need is not installed.
        InputInvalid: the file holds no network of MegaDetector's categories.
    """
    package = _import_package()
    digest = whole.digest(path, "md5")
    known = package.known_models.items()
    release = next((name for name, about in known if about.get("md5") == digest), None)
    options = {"device": device} | ({} if release else {"model_type": _find_kind(path)})
    with _contained() as printed:
        try:
            network = package.load_detector(str(path), detector_options=options)
        except ModuleNotFoundError as error:
            raise WeightsMissing(
                f"{path} cannot be loaded: it needs the library {error.name}. {EXTRA} brings what "
                "all of MegaDetector's need but cedar: that is `pip install yolov9pip`."
            ) from error
        except BROKEN as error:
            last = printed.getvalue().strip().rpartition("\n")[2]
            raise InputInvalid(
                f"{path} holds no detector that MegaDetector's package can load: "
                f"{type(error).__name__}: {error} ({last})."
            ) from error
    if not release:
        _refuse_other_categories(network, path)
    metadata = package.known_models.get(release, {})
    kept = ("typical_detection_threshold", "conservative_detection_threshold")
    thresholds = {key: metadata[key] for key in kept if key in metadata}
    about = {"megadetector_version": release or "unknown", **thresholds}
    return Detector(network, path.name, device, about)


def _find_kind(path: Path) -> str:
    """Return which YOLO a file is of: what it says itself, else by the names that are in it.

    Raises:
        InputInvalid: it is no weights file, or names what is no part of a network.
    """
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except BROKEN as error:
        raise InputInvalid(f"{path} is no weights file of PyTorch's ({error}).") from error
    strange = sorted(name for name in names if not name.startswith(LIBRARIES))
    if strange:
        raise InputInvalid(
            f"{path} would call {', '.join(strange[:5])} when it is loaded, which is no part of a "
            "network: it may do harm, so it is not loaded."
        )
    with _contained():
        from megadetector.detection import pytorch_detector

        metadata = pytorch_detector.read_metadata_from_megadetector_model_file(str(path)) or {}
    ultralytics = any(name.startswith(ULTRALYTICS) for name in names)
    return str(metadata.get("model_type", "ultralytics" if ultralytics else "yolov5"))


def _refuse_other_categories(network: Any, path: Path) -> None:
    """Refuse a network that tells other things apart than MegaDetector's."""
    names = getattr(network.model, "names", None)
    names = list(names.values()) if isinstance(names, dict) else list(names or [])
    if names != list(CATEGORIES.values())[: len(names)]:
        raise InputInvalid(
            f"{path} finds {len(names)} categories ({', '.join(map(str, names[:5]))}); "
            f"MegaDetector's are {', '.join(CATEGORIES.values())}."
        )


def detect(
    detector: Detector,
    images: Sequence[Image.Image],
    file_names: Sequence[str],
    *,
    threshold: float,
    image_size: int | None,
) -> list[DetectedImage]:
    """Return what is detected in upright RGB images, surest first, in their order.

    An image on which the network failed has the package's own word for it and the reason; where
    several were too much at once, each is tried alone. `image_size` is the longer side in pixels of
    what the network sees, by default the model's.
    """
    with _contained() as printed, torch.inference_mode():
        records = detector.network.generate_detections_one_batch(
            list(images), list(file_names), detection_threshold=threshold, image_size=image_size
        )
    if len(records) > 1 and any(record.get("failure") for record in records):
        return [
            result
            for image, name in zip(images, file_names, strict=True)
            for result in detect(
                detector, [image], [name], threshold=threshold, image_size=image_size
            )
        ]
    reason = printed.getvalue().strip().rpartition("\n")[2]
    return [_make_result(record, threshold, reason) for record in records]


def _make_result(record: dict[str, Any], threshold: float, reason: str) -> DetectedImage:
    if record.get("failure"):
        return _report_failure(record["file"], record["failure"], reason)
    detections = [
        Detection(CATEGORIES[box["category"]], box["conf"], tuple(box["bbox"]))
        for box in record["detections"]
        if box["conf"] >= threshold  # the package rounds after it has compared
    ]
    return DetectedImage(
        record["file"], sorted(detections, key=lambda box: (-box.confidence, box.box))
    )


def report_unreadable(file_name: str, reason: str) -> DetectedImage:
    """Return the result of an image that cannot be opened, as MegaDetector has it."""
    return _report_failure(file_name, _import_package().FAILURE_IMAGE_OPEN, reason)


def _report_failure(file_name: str, failure: str, reason: str) -> DetectedImage:
    """Return a failure: MegaDetector's own word, which its tools look for, and the reason."""
    return DetectedImage(file_name, [], f"{failure}: {reason}")
