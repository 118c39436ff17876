"""Cut the square around every animal's box.

Reads   images/cct.json         the COCO file, for boxes, categories, locations
        images/<file_name>      the images
        images/download.csv     where there, for what `download` had not or found wrong
        --detections            MegaDetector results, for animals without a person's box
Writes  crops/<dataset>/<file_name>___<box id>.jpg   one RGB crop per box
        crops/crops.csv         one row per crop, of every dataset cropped so far
        crops/failures.csv      every row of the COCO file that gave no crop, and why
        crops/warnings.csv      every crop that was made although something was odd
        crops/detections.json   the boxes that were used, as MegaDetector results
        The last three are of the COCO file cropped last.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from animl_pipeline.catalogue.records import Catalogue
from animl_pipeline.crops.selection import USED, Selection, select
from animl_pipeline.crops.settings import CropRule, Machine, SelectionRules
from animl_pipeline.running import stage
from animl_pipeline.running.markers import refuse_unfinished_stage, require_inputs
from animl_pipeline.running.options import option, settings

if TYPE_CHECKING:
    import pandas as pd


@settings
class Options(SelectionRules, CropRule, Machine):
    """The knobs of `pipeline crop`."""

    panel: ClassVar[str] = "Inputs and outputs"
    coco_file: Annotated[Path, option("The COCO file.")] = Path("images/cct.json")
    images_dir: Annotated[Path, option("Folder of the images.")] = Path("images")
    detections: Annotated[
        Path | None, option("MegaDetector results, for animals that no person drew a box around.")
    ] = None
    output_dir: Annotated[Path, option("Folder for the crops.")] = Path("crops")
    dataset: Annotated[str | None, option("Name of this dataset; default: its Animl project.")] = (
        None
    )
    tolerate: Annotated[
        float,
        option("Fraction of boxes whose image may fail before the exit code is 3.", ge=0.0, le=1.0),
    ] = 0.01


@dataclass(frozen=True, kw_only=True)
class Plan(stage.Plan):
    """Which boxes are cut, and what is in the folder already."""

    options: Options
    catalogue: Catalogue
    selection: Selection
    dataset: str
    other_datasets: "pd.DataFrame"  # rows of crops.csv
    distrusted: Mapping[tuple[str, str], str]  # images, by id and file name


def prepare(options: Options) -> Plan:
    """Read the labels and choose the boxes."""
    from animl_pipeline.artifacts.tables import CROPS
    from animl_pipeline.crops import tables
    from animl_pipeline.formats import megadetector, readers
    from animl_pipeline.images.opening import make_size_reader
    from animl_pipeline.sources import ledger_file

    given = [options.detections] if options.detections else []
    inputs = require_inputs("crop", [options.coco_file, *given])
    for path in given:
        refuse_unfinished_stage(path.parent, "detect")
    catalogue = readers.read(options.coco_file, read_size=make_size_reader(options.images_dir))
    dataset = tables.check_dataset_name(options.dataset or catalogue.dataset)
    results = megadetector.read(options.detections) if options.detections else None
    return Plan(
        folder=options.output_dir,
        inputs=inputs,
        options=options,
        catalogue=catalogue,
        selection=select(catalogue, results, options),
        dataset=dataset,
        other_datasets=tables.read_other_datasets(
            options.output_dir / CROPS.name,
            dataset,
            catalogue.images,
            is_named=bool(options.dataset),
        ),
        distrusted=ledger_file.read_not_held(options.images_dir),
    )


def run(plan: Plan) -> stage.Counts:
    """Cut what is missing or out of date, and account for every row of the COCO file."""
    from animl_pipeline.crops import cutting, summary, tables

    options = plan.options
    job = cutting.Job(
        images_dir=options.images_dir,
        output_dir=options.output_dir,
        dataset=plan.dataset,
        rule=options,
        distrusted=plan.distrusted,
    )
    images = plan.catalogue.images
    outcomes = cutting.cut_all(images, plan.selection.boxes, job, threads=options.workers)
    rows = tables.make_rows(outcomes, plan.selection.refused, plan.dataset)
    tables.write_tables(plan.folder, rows, plan.other_datasets)
    source = options.detections.name if options.detections else "people"
    tables.write_detections(plan.folder, images, outcomes, source=source)
    cutting.remove_stale(plan.folder, plan.dataset, {row["crop"] for row in rows.crops})
    total = sum(len(outcome.boxes) for outcome in outcomes)
    failed = total - len(rows.crops)
    return stage.Counts(
        items={
            "crops": len(rows.crops),
            "failed": failed,
            "rows without a crop": len(rows.failures),
            "warnings": len(rows.warnings),
            "detections cut": plan.selection.detections[USED],
        },
        summary=summary.summarize(
            outcomes, rows, plan.selection, job, has_detector=bool(options.detections)
        ),
        failed=failed,
        total=total,
        tolerate=options.tolerate,
    )
