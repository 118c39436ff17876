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

from typing import TYPE_CHECKING

from animl_pipeline.crops.selection import USED
from animl_pipeline.crops.settings import Settings
from animl_pipeline.running.options import settings
from animl_pipeline.running.stage import Counts

if TYPE_CHECKING:
    from animl_pipeline.crops.plan import CropPlan


@settings
class Options(Settings):
    """The knobs of `pipeline crop`."""


def prepare(options: Options) -> "CropPlan":
    """Read the labels and choose the boxes."""
    from animl_pipeline.crops.plan import make_plan

    return make_plan(options)


def run(plan: "CropPlan") -> Counts:
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
    return Counts(
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
