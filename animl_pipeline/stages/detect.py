"""Run MegaDetector over a folder of images.

Reads   images/             the images, in all folders below
        --model             MegaDetector's weights: a name, or a file that you trust
Writes  detections.json     MegaDetector results (format 1.6)
        Beside it, until it is whole, .detections.json.unfinished: what was detected so far.
"""

from functools import partial
from typing import TYPE_CHECKING

from animl_pipeline.catalogue.records import ANIMAL, DetectedImage
from animl_pipeline.detection.settings import Settings
from animl_pipeline.files.journal import Journal
from animl_pipeline.formats import megadetector
from animl_pipeline.running.options import settings
from animl_pipeline.running.progress import progress
from animl_pipeline.running.stage import Counts

if TYPE_CHECKING:
    from animl_pipeline.detection.plan import DetectionPlan


@settings
class Options(Settings):
    """The knobs of `pipeline detect`."""


def prepare(options: Options) -> "DetectionPlan":
    """Load the network, and find out which images it has seen."""
    from animl_pipeline.detection.plan import make_plan

    return make_plan(options)


def run(plan: "DetectionPlan") -> Counts:
    """Look at every image that is new, changed or not yet looked at with these settings."""
    from animl_pipeline.detection import looking, unfinished

    options, detector, results = plan.options, plan.detector, dict(plan.earlier)
    todo = [name for name in plan.names if name not in results]
    batches = looking.open_batches(
        partial(looking.open_image, options.images_dir),
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
        info = {"detector_metadata": detector.metadata, unfinished.SETTINGS: plan.settings}
        megadetector.write(options.output_file, in_order, detector=detector.name, info=info)
        journal.remove()
    return _count(in_order, len(todo), options)


def _count(results: list[DetectedImage], looked_at: int, options: Settings) -> Counts:
    failed = sum(bool(image.failure) for image in results)
    animals = sum(any(box.category == ANIMAL for box in image.detections) for image in results)
    empty = sum(not image.detections and not image.failure for image in results)
    return Counts(
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
