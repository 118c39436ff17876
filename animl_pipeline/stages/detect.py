"""Run MegaDetector over a folder of images.

Reads   images/             the images, in all folders below
        --model             MegaDetector's weights: a name, or a file that you trust
Writes  detections.json     MegaDetector results (format 1.6)
        Beside it, until it is whole, .detections.json.unfinished: what was detected so far.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from animl_pipeline.catalogue.records import ANIMAL, DetectedImage
from animl_pipeline.detection.settings import DetectionRules, Machine
from animl_pipeline.running import stage
from animl_pipeline.running.markers import require_inputs
from animl_pipeline.running.options import option, settings
from animl_pipeline.running.progress import progress

if TYPE_CHECKING:
    from animl_pipeline.detection.megadetector import Detector


@settings
class Options(DetectionRules, Machine):
    """The knobs of `pipeline detect`."""

    panel: ClassVar[str] = "Inputs and outputs"
    images_dir: Annotated[Path, option("Folder of the images.")] = Path("images")
    output_file: Annotated[Path, option("The results.")] = Path("detections.json")
    tolerate: Annotated[
        float,
        option("Fraction of images that may fail before the exit code is 3.", ge=0.0, le=1.0),
    ] = 0.01


@dataclass(frozen=True, kw_only=True)
class Plan(stage.Plan):
    """The network, the images there are, and what earlier runs detected in them."""

    options: Options
    detector: "Detector"
    settings: dict[str, Any]  # all that decides what is detected
    names: list[str]  # of all images
    earlier: dict[str, DetectedImage]


def prepare(options: Options) -> Plan:
    """Load the network, and find out which images it has seen."""
    from animl_pipeline.detection import looking, megadetector, unfinished
    from animl_pipeline.files import whole
    from animl_pipeline.running import devices

    model = Path(options.model)
    inputs = require_inputs("detect", [model] if model.is_file() else [])
    times_ns = looking.list_images(options.images_dir)
    weights = megadetector.find_weights(options.model)
    decides = {
        "weights_sha256": whole.digest(weights, "sha256"),
        "threshold": options.threshold,
        "image_size": options.image_size,
        "package": megadetector.read_package_version(),
    }
    earlier = unfinished.read_earlier(options.output_file, decides, times_ns)
    device = str(devices.make_fabric(options.device, "32-true").device)
    return Plan(
        folder=options.output_file.parent,
        inputs=inputs,
        options=options,
        detector=megadetector.load_detector(weights, device=device),
        settings=decides,
        names=list(times_ns),
        earlier=earlier,
    )


def run(plan: Plan) -> stage.Counts:
    """Look at every image that is new, changed or not yet looked at with these settings."""
    from animl_pipeline.detection import looking, unfinished
    from animl_pipeline.files.journal import Journal
    from animl_pipeline.formats import megadetector

    options, detector, results = plan.options, plan.detector, dict(plan.earlier)
    todo = [name for name in plan.names if name not in results]
    batches = looking.open_batches(
        options.images_dir,
        todo,
        batch_size=looking.choose_batch_size(options.batch_size, detector),
        threads=options.workers,
    )
    path = unfinished.find_journal(options.output_file)
    with (
        Journal(path, plan.settings, syncs=True) as journal,
        progress(len(plan.names), title="detect", unit="image", done=len(results)) as bar,
    ):
        for batch in batches:
            detected = looking.detect_batch(batch, detector, options)
            times_ns = [opened.time_ns for opened in batch]
            unfinished.write_batch(journal, list(zip(times_ns, detected, strict=True)))
            results |= {image.file_name: image for image in detected}
            bar.update(len(batch))
        in_order = [results[name] for name in plan.names]
        megadetector.write(
            options.output_file,
            in_order,
            detector=detector.name,
            detector_metadata=detector.metadata,
            **{unfinished.SETTINGS: plan.settings},
        )
        journal.remove()
    return _count(in_order, len(todo), options)


def _count(results: list[DetectedImage], looked_at: int, options: Options) -> stage.Counts:
    failed = sum(bool(image.failure) for image in results)
    animals = sum(any(box.category == ANIMAL for box in image.detections) for image in results)
    empty = sum(not image.detections and not image.failure for image in results)
    return stage.Counts(
        items={
            "images": len(results),
            "failed": failed,
            "with an animal": animals,
            "without a detection": empty,
        },
        summary=f"{len(results):,} images ({looked_at:,} looked at now): {animals:,} with an animal"
        f", {empty:,} without a detection, {failed:,} failed, at {options.threshold:g} or more -> "
        f"{options.output_file}",
        failed=failed,
        total=len(results),
        tolerate=options.tolerate,
    )
