"""Turn a COCO Camera Traps export into MegaDetector results, or results into an export.

Reads   --input-file      an export, or MegaDetector results of any version
Writes  --output-file     the other: all that both can hold
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from animl_pipeline.catalogue import conversion, reasons
from animl_pipeline.errors import OptionError
from animl_pipeline.formats import coco_write, megadetector, readers
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

    @property
    def folder(self) -> Path:
        """Where the file goes, and the record beside it."""
        return self.output_file.parent

    @property
    def inputs(self) -> list[Path]:
        """The file that is read."""
        return [self.input_file]


def run(options: Options) -> Counts:
    """Write the other format, and count what it cannot hold."""
    if options.output_file.resolve() == options.input_file.resolve():
        raise OptionError("--output-file is the --input-file: name another.")
    if options.to is To.COCO:
        results = megadetector.read(options.input_file)
        catalogue = conversion.convert_to_catalogue(results, options.input_file.stem)
        left_out = [*catalogue.refused_images, *catalogue.refused_annotations]
        coco_write.write(options.output_file, catalogue)
        images, boxes = len(catalogue.images), len(catalogue.annotations)
    else:
        catalogue = readers.read(options.input_file)
        written, left_out = conversion.convert_to_results(catalogue)
        whose = f"boxes of {options.input_file.name}"
        megadetector.write(options.output_file, written, detector=whose)
        images, boxes = len(written), sum(len(one.detections) for one in written)
    clipped = sum(bool(row.box and row.warning) for row in catalogue.annotations)
    words = reasons.list_kinds(row.reason for row in left_out)
    return Counts(
        items={"images": images, "boxes": boxes, "clipped": clipped, "left out": len(left_out)},
        summary=f"{images:,} images with {boxes:,} boxes ({clipped:,} clipped to the frame) -> "
        f"{options.output_file}; {len(left_out):,} rows left out{words}",
    )
