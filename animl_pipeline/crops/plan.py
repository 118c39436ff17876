"""All that `crop` reads before it cuts, and what it refuses."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from animl_pipeline.artifacts.tables import CROPS
from animl_pipeline.catalogue.records import Catalogue
from animl_pipeline.crops import tables
from animl_pipeline.crops.selection import Selection, select
from animl_pipeline.crops.settings import Settings
from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.formats import megadetector, readers
from animl_pipeline.images.opening import make_size_reader
from animl_pipeline.running.markers import refuse_unfinished_stage, require_inputs
from animl_pipeline.running.stage import Plan
from animl_pipeline.sources import ledger_file


@dataclass(frozen=True, kw_only=True)
class CropPlan(Plan):
    """Which boxes are cut, and what is in the folder already."""

    options: Settings
    catalogue: Catalogue
    selection: Selection
    dataset: str
    other_datasets: pd.DataFrame  # rows of crops.csv
    distrusted: Mapping[tuple[str, str], str]  # images, by id and file name


def make_plan(options: Settings) -> CropPlan:
    """Return which boxes are cut; nothing is written.

    Raises:
        OptionError, InputMissing, InputInvalid: with what is wrong and what to do.
    """
    given = [options.detections] if options.detections else []
    inputs = require_inputs("crop", [options.coco_file, *given])
    for path in given:
        refuse_unfinished_stage(path.parent, "detect")
    catalogue = readers.read(options.coco_file, read_size=make_size_reader(options.images_dir))
    refuse_without_images(options.images_dir, catalogue)
    dataset = tables.check_dataset_name(options.dataset or catalogue.dataset)
    results = megadetector.read(options.detections) if options.detections else None
    return CropPlan(
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


def refuse_without_images(folder: Path, catalogue: Catalogue) -> None:
    """Refuse a folder with none of the images: by it every crop there is would be removed.

    Raises:
        InputMissing: it is no folder.
        InputInvalid: it holds none of the images of the COCO file.
    """
    remedy = "Check --images-dir, or run `pipeline download`."
    if not folder.is_dir():
        raise InputMissing(f"{folder} is no folder of images. {remedy}")
    names = [image.file_name for image in catalogue.images]
    if names and not any(os.path.lexists(folder / name) for name in names):
        raise InputInvalid(f"{folder} holds none of the images of the COCO file. {remedy}")
