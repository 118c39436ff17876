"""Cut the square around every animal's box.

Reads   images/cct.json         the export, for boxes, categories, locations
        images/<file_name>      the pictures
        images/download.csv     where there, for what `download` had not or found wrong
        --detections            MegaDetector results, for animals without a person's box
Writes  crops/<dataset>/<file_name>___<box id>.jpg   one RGB crop per box
        crops/crops.csv         one row per crop, of every dataset cropped so far
        crops/failures.csv      every row of the export that gave no crop, and why
        crops/warnings.csv      every crop that was made although something was odd
        crops/detections.json   the boxes that were used, as MegaDetector results
        The last three are of the export cropped last.
"""

import os
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from animl_pipeline.artifacts import tables
from animl_pipeline.catalogue import conversion, reasons
from animl_pipeline.catalogue.records import Catalogue, Image, Refused, Size
from animl_pipeline.crops import cutting, selection
from animl_pipeline.crops.cutting import CROP_MARK, Outcome, crop_name
from animl_pipeline.crops.selection import Chosen
from animl_pipeline.errors import ImageUnusable, InputInvalid, OptionError
from animl_pipeline.files import names, whole
from animl_pipeline.formats import coco, megadetector
from animl_pipeline.images import opening
from animl_pipeline.running import workers
from animl_pipeline.running.markers import refuse_unfinished_stage
from animl_pipeline.running.options import option, settings
from animl_pipeline.running.stage import Counts
from animl_pipeline.sources import ledger

if TYPE_CHECKING:
    import pandas as pd

OUR_NAMES = {"crops.csv", "failures.csv", "warnings.csv", "detections.json", "crop.json"}


@settings
class Options:
    """The knobs of `pipeline crop`."""

    coco_file: Annotated[Path, option("The export.")] = Path("images/cct.json")
    images_dir: Annotated[Path, option("Folder of the pictures.")] = Path("images")
    output_dir: Annotated[Path, option("Folder for the crops.")] = Path("crops")
    detections: Annotated[
        Path | None, option("MegaDetector results, for animals that no person drew a box around.")
    ] = None
    threshold: Annotated[
        float, option("Least confidence of a detection that is cut.", ge=0.0, le=1.0)
    ] = 0.2
    square_crops: Annotated[bool, option("Cut the tightest square; else the box as it is.")] = True
    margin: Annotated[
        float, option("Room on each side, as a fraction of the square's side.", ge=0.0, le=2.0)
    ] = 0.0
    quality: Annotated[int, option("JPEG quality.", ge=1, le=100)] = 95
    max_side: Annotated[
        int | None, option("Pixels a crop's side is stored with at most; default: as it is.", ge=16)
    ] = None
    iou: Annotated[
        float,
        option(
            "A detection that overlaps a box of the export by so much is that box.", ge=0.01, le=1.0
        ),
    ] = 0.5
    sequence_labels: Annotated[
        bool, option("A label of a whole sequence is one of every image of it, for its detections.")
    ] = False
    dataset: Annotated[str | None, option("Name of this export; default: its Animl project.")] = (
        None
    )
    include_unvalidated: Annotated[bool, option("Also cut boxes that no person validated.")] = False
    workers: Annotated[
        int | None, option("Pictures cut at a time; default: two for each core.", ge=1, le=256)
    ] = None
    tolerate: Annotated[
        float,
        option(
            "Fraction of boxes whose picture may fail before the exit code is 3.", ge=0.0, le=1.0
        ),
    ] = 0.01

    @property
    def folder(self) -> Path:
        """Where the crops and their table go."""
        return self.output_dir

    @property
    def inputs(self) -> list[Path]:
        """The export and the detector's results."""
        return [self.coco_file, *([self.detections] if self.detections else [])]


def run(options: Options) -> Counts:
    """Cut what is missing or out of date, and account for every row of the export."""
    if options.detections:
        refuse_unfinished_stage(options.detections.parent, "detect")
    catalogue = coco.read(options.coco_file, size_of=_size_of(options.images_dir))
    dataset = _dataset(options.dataset or catalogue.dataset)
    chosen = selection.select(
        catalogue,
        megadetector.read(options.detections) if options.detections else None,
        selection.Rules(
            threshold=options.threshold,
            iou=options.iou,
            include_unvalidated=options.include_unvalidated,
            sequence_labels=options.sequence_labels,
        ),
    )
    others = _rows_of_others(
        options.output_dir / tables.CROPS.name, dataset, catalogue, named=bool(options.dataset)
    )
    rule = cutting.Rule(
        images_dir=options.images_dir,
        output_dir=options.output_dir,
        dataset=dataset,
        square=options.square_crops,
        margin=options.margin,
        quality=options.quality,
        max_side_px=options.max_side,
        not_right=ledger.not_held(options.images_dir),
    )
    at_a_time = options.workers or 2 * (os.cpu_count() or 1)
    outcomes = _cut_all(catalogue, chosen.boxes, rule, at_a_time)
    rows = [
        _row(outcome.image, box, dataset)
        for outcome in outcomes
        if not outcome.failure
        for box in outcome.boxes
    ]
    refused = chosen.refused + [
        Refused(outcome.image.file_name, box.annotation_id, outcome.failure)
        for outcome in outcomes
        if outcome.failure
        for box in outcome.boxes
    ]
    odd = [
        Refused(done.image.file_name, *warning) for done in outcomes for warning in done.warnings
    ]
    _write_tables(options, others, rows, refused, odd)
    _write_detections(options, catalogue, outcomes)
    _remove_stale(options.output_dir, dataset, {row["crop"] for row in rows})
    return _counted(dataset, outcomes, refused, odd, chosen.detections, options)


def _size_of(images_dir: Path) -> Callable[[str], Size | None]:
    def size_of(file_name: str) -> Size | None:
        try:
            return opening.upright_size(images_dir / file_name)
        except ImageUnusable:
            return None

    return size_of


def _dataset(name: str) -> str:
    why_not = names.explain_unsafe(name) or ("holds a /" if "/" in name else "")
    if name.casefold() in OUR_NAMES:
        why_not = "is the name of a file this stage writes"
    if why_not:
        raise OptionError(f"--dataset {name!r} {why_not}; it is to name a folder of crops.")
    return name


def _rows_of_others(
    path: Path, dataset: str, catalogue: Catalogue, *, named: bool
) -> "pd.DataFrame":
    """Return the rows of the other datasets cropped before into the same folder.

    Raises:
        OptionError: a dataset of this name is there, but of quite other images, and nobody asked.
    """
    import pandas as pd

    if not path.exists():
        return pd.DataFrame(columns=tables.CROPS.names)
    try:
        table = tables.read(tables.CROPS, path)
    except InputInvalid as error:
        raise InputInvalid(f"{error} If it was made by hand, mend it; else remove it.") from error
    mine = table["dataset"] == dataset
    ids = {image.image_id for image in catalogue.images}
    if mine.any() and not named and not ids & set(table["image_id"][mine]):
        raise OptionError(
            f"{path} holds a dataset {dataset!r} already, of other images. Name this one with "
            f"--dataset, or replace that one with --dataset {dataset}."
        )
    return table[~mine]


def _cut_all(
    catalogue: Catalogue, chosen: dict[str, list[Chosen]], rule: cutting.Rule, at_a_time: int
) -> list[Outcome]:
    """Return the outcome of every image with a box, in the export's order."""
    jobs = [(image, chosen[image.image_id]) for image in catalogue.images
            if image.image_id in chosen]  # fmt: skip
    done = {}
    with (
        warnings.catch_warnings(),
        opening.memory_kept(cutting.PIXELS_AT_A_TIME),
        workers.progress(len(jobs), title="crop", unit="image") as bar,
    ):
        warnings.filterwarnings("ignore", module="PIL")  # on EXIF, which decides nothing here
        for outcome in workers.map_threads(
            lambda job: cutting.cut_image(*job, rule), jobs, workers=at_a_time
        ):
            done[outcome.image.image_id] = outcome
            bar.update()
    return [done[image.image_id] for image, _ in jobs]


def _row(image: Image, box: Chosen, dataset: str) -> dict[str, Any]:
    x, y, width, height = box.box
    return {
        "crop": crop_name(dataset, image.file_name, box.box_id),
        "image": image.file_name,
        "image_id": image.image_id,
        "annotation_id": box.annotation_id,
        "dataset": dataset,
        "location": image.location,
        "datetime": image.datetime,
        "sequence": image.sequence,
        "category": box.category,
        "confidence": box.confidence,
        "x": x, "y": y, "width": width, "height": height,
    }  # fmt: skip


def _write_tables(
    options: Options,
    others: "pd.DataFrame",
    rows: list[dict[str, Any]],
    refused: list[Refused],
    odd: list[Refused],
) -> None:
    import pandas as pd

    table = pd.DataFrame(rows, columns=tables.CROPS.names)
    table = table if others.empty else pd.concat([others, table])
    folder = options.output_dir
    tables.write(tables.CROPS, folder / tables.CROPS.name, table.sort_values("crop"))
    for name, content in (("failures.csv", refused), ("warnings.csv", odd)):
        frame = pd.DataFrame(content, columns=tables.REASONS.names)
        tables.write(tables.REASONS, folder / name, frame)


def _write_detections(options: Options, catalogue: Catalogue, outcomes: list[Outcome]) -> None:
    by_id = {outcome.image.image_id: outcome for outcome in outcomes}
    used = [
        conversion.convert_image(image, outcome.boxes, outcome.failure)
        for image in catalogue.images
        for outcome in (by_id.get(image.image_id, Outcome(image, [])),)
    ]
    detector = options.detections.name if options.detections else "people"
    path = options.output_dir / "detections.json"
    megadetector.write(path, used, detector=f"boxes of {detector}")


def _remove_stale(output_dir: Path, dataset: str, crops: set[str]) -> None:
    """Remove crops of this dataset whose box is gone, and what a crash left half written."""
    for path in (output_dir / dataset).rglob(f"*{CROP_MARK}*"):
        ours = path.suffix in {".jpg", whole.PART} and path.is_file()
        if ours and path.relative_to(output_dir).as_posix() not in crops:
            path.unlink()


def _counted(
    dataset: str,
    outcomes: list[Outcome],
    refused: list[Refused],
    odd: list[Refused],
    detections: Counter[str],
    options: Options,
) -> Counts:
    total = sum(len(outcome.boxes) for outcome in outcomes)
    failed = sum(len(outcome.boxes) for outcome in outcomes if outcome.failure)
    cut_now = sum(outcome.cut_now for outcome in outcomes)
    words = reasons.told(reason for _, _, reason in refused)
    if refused:
        words += f"\n  each of them is in {options.output_dir / tables.REASONS.name}"
    if failed:
        words += "; `pipeline download` fetches missing and damaged pictures again"
    if detections:
        words += f"\nof {detections.total():,} detections{reasons.told(detections.elements())}"
    return Counts(
        items={"crops": total - failed, "failed": failed,
               "rows without a crop": len(refused), "warnings": len(odd),
               "detections cut": detections[selection.USED]},
        summary=f"dataset {dataset!r}: {total - failed:,} crops ({cut_now:,} cut now), "
        f"{len(odd):,} with a warning -> {options.output_dir / tables.CROPS.name}; "
        f"{len(refused):,} rows of the export gave no crop{words}",
        failed=failed,
        total=total,
        tolerate=options.tolerate,
    )  # fmt: skip
