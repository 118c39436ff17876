"""Turn a COCO Camera Traps file into MegaDetector results, or results into a COCO file.

Reads   --input-file      a COCO file, or MegaDetector results of any version
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
from animl_pipeline.running.markers import require_inputs
from animl_pipeline.running.options import option, settings
from animl_pipeline.running.stage import Counts
from animl_pipeline.running.stage import Plan as StagePlan


class To(StrEnum):
    """What is written."""

    MEGADETECTOR = "megadetector"
    COCO = "coco"


@settings
class Options:
    """The options of `pipeline convert`."""

    input_file: Annotated[Path, option("A COCO file, or MegaDetector results.", positional=True)]
    output_file: Annotated[Path, option("The JSON file to write.", positional=True)]
    to: Annotated[To, option("What to write: MegaDetector results, or a COCO file.")] = (
        To.MEGADETECTOR
    )


@dataclass(frozen=True, kw_only=True)
class Plan(StagePlan):
    """What is written, as results where `results` is not None, and the rows that are left out."""

    options: Options
    catalogue: Catalogue
    results: list[DetectedImage] | None
    left_out: list[Refused]


def prepare(options: Options) -> Plan:
    """Read the file and convert it."""
    inputs = require_inputs("convert", [options.input_file])
    if options.output_file.resolve() == options.input_file.resolve():
        raise OptionError("--output-file is the --input-file: name another.")
    if options.output_file.suffix.lower() != ".json":
        raise OptionError(
            f"--output-file {options.output_file}: JSON is written, so name a file that ends in "
            ".json."
        )
    images: list[DetectedImage] | None = None
    if options.to is To.COCO:
        results = megadetector.read(options.input_file)
        catalogue = conversion.convert_to_catalogue(results, options.input_file.stem)
        left_out = [*catalogue.refused_images, *catalogue.refused_annotations]
    else:
        catalogue = readers.read(options.input_file)
        images, left_out = conversion.convert_to_results(catalogue)
    return Plan(
        folder=options.output_file.parent,
        inputs=inputs,
        options=options,
        catalogue=catalogue,
        results=images,
        left_out=left_out,
    )


def run(plan: Plan) -> Counts:
    """Write the other format, and count what it cannot hold."""
    options, catalogue = plan.options, plan.catalogue
    if plan.results is None:
        coco_write.write(options.output_file, catalogue)
        images, boxes = len(catalogue.images), len(catalogue.annotations)
    else:
        whose = f"boxes of {options.input_file.name}"
        megadetector.write(options.output_file, plan.results, detector=whose)
        images = len(plan.results)
        boxes = sum(len(image.detections) for image in plan.results)
    clipped = sum(bool(row.box and row.warning) for row in catalogue.annotations)
    kinds = reasons.list_kinds(row.reason for row in plan.left_out)
    count = len(plan.left_out)
    return Counts(
        items={"images": images, "boxes": boxes, "clipped": clipped, "left out": count},
        summary=f"{images:,} images with {boxes:,} boxes ({clipped:,} clipped to the frame) -> "
        f"{options.output_file}; {count:,} rows left out{kinds}",
    )
