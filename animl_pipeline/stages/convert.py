"""Turn a COCO Camera Traps export into MegaDetector results, or results into an export.

Reads   --input-file      an export, or MegaDetector results of any version
Writes  --output-file     the other: all that both can hold
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from animl_pipeline.catalogue import conversion, reasons
from animl_pipeline.catalogue.records import Catalogue, DetectedImage, Refused
from animl_pipeline.errors import OptionError
from animl_pipeline.formats import coco_write, megadetector, readers
from animl_pipeline.running import stage
from animl_pipeline.running.markers import require_inputs
from animl_pipeline.running.options import option, settings
from animl_pipeline.running.stage import Counts


class To(StrEnum):
    """What is written."""

    MEGADETECTOR = "megadetector"
    COCO = "coco"


@settings
class Options:
    """The knobs of `pipeline convert`."""

    input_file: Annotated[Path, option("An export, or MegaDetector results.", positional=True)]
    output_file: Annotated[Path, option("The file to write.", positional=True)]
    to: Annotated[To, option("What to write: MegaDetector results, or an export.")] = (
        To.MEGADETECTOR
    )


@dataclass(frozen=True, kw_only=True)
class Plan(stage.Plan):
    """Both forms of what is converted."""

    options: Options
    catalogue: Catalogue
    results: list[DetectedImage]  # none where a COCO file is written
    left_out: list[Refused]


def prepare(options: Options) -> Plan:
    """Read the file and make the other form of it."""
    inputs = require_inputs("convert", [options.input_file])
    if options.output_file.resolve() == options.input_file.resolve():
        raise OptionError("--output-file is the --input-file: name another.")
    results: list[DetectedImage] = []
    if options.to is To.COCO:
        source = megadetector.read(options.input_file)
        catalogue = conversion.convert_to_catalogue(source, options.input_file.stem)
        left_out = [*catalogue.refused_images, *catalogue.refused_annotations]
    else:
        catalogue = readers.read(options.input_file)
        results, left_out = conversion.convert_to_results(catalogue)
    return Plan(
        folder=options.output_file.parent,
        inputs=inputs,
        options=options,
        catalogue=catalogue,
        results=results,
        left_out=left_out,
    )


def run(plan: Plan) -> Counts:
    """Write the other form, and count what it cannot hold."""
    options, catalogue = plan.options, plan.catalogue
    if options.to is To.COCO:
        coco_write.write(options.output_file, catalogue)
        images, boxes = len(catalogue.images), len(catalogue.annotations)
    else:
        whose = f"boxes of {options.input_file.name}"
        megadetector.write(options.output_file, plan.results, detector=whose)
        images, boxes = len(plan.results), sum(len(image.detections) for image in plan.results)
    clipped = sum(bool(row.box and row.warning) for row in catalogue.annotations)
    words = reasons.list_kinds(row.reason for row in plan.left_out)
    return Counts(
        items={
            "images": images,
            "boxes": boxes,
            "clipped": clipped,
            "left out": len(plan.left_out),
        },
        summary=f"{images:,} images with {boxes:,} boxes ({clipped:,} clipped to the frame) -> "
        f"{options.output_file}; {len(plan.left_out):,} rows left out{words}",
    )
