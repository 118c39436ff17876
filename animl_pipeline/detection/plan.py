"""All that `detect` loads and reads before it looks at an image, and what it refuses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animl_pipeline.catalogue.records import DetectedImage
from animl_pipeline.detection import megadetector, unfinished, walking
from animl_pipeline.detection.megadetector import Detector
from animl_pipeline.detection.settings import Settings
from animl_pipeline.files import whole
from animl_pipeline.running import devices
from animl_pipeline.running.markers import require_inputs
from animl_pipeline.running.stage import Plan


@dataclass(frozen=True, kw_only=True)
class DetectionPlan(Plan):
    """The network, the images there are, and what earlier runs detected in them."""

    options: Settings
    detector: Detector
    settings: dict[str, Any]  # all that decides what is detected
    names: list[str]  # of all images
    earlier: dict[str, DetectedImage]


def make_plan(options: Settings) -> DetectionPlan:
    """Return the network, and which images it has seen; nothing is written.

    Raises:
        OptionError, InputMissing, InputInvalid: with what is wrong and what to do.
    """
    model = Path(options.model)
    inputs = require_inputs("detect", [model] if model.is_file() else [])
    images = walking.list_files(options.images_dir).images
    weights = megadetector.find_weights(options.model)
    decides = {
        "weights_sha256": whole.digest(weights, "sha256"),
        "threshold": options.threshold,
        "image_size": options.image_size,
        "package": megadetector.read_package_version(),
    }
    times_ns = {name: state.time_ns for name, state in images.items()}
    earlier = unfinished.read_earlier(options.output_file, decides, times_ns)
    device = str(devices.make_fabric(options.device, "32-true").device)
    return DetectionPlan(
        folder=options.output_file.parent,
        inputs=inputs,
        options=options,
        detector=megadetector.load_detector(weights, device=device),
        settings=decides,
        names=list(images),
        earlier=earlier,
    )
