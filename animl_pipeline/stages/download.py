"""Fetch every image of a COCO file from S3, a web address or a folder, verified.

Reads   --coco-file          the COCO file: Animl's Export to COCO, or another
        the source           under the key of each image record
Writes  images/<file_name>   the images
        images/cct.json      the COCO file, byte for byte
        images/download.csv  one row per image of the COCO file: its state, and the reason
"""

import contextlib
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from animl_pipeline.artifacts import names
from animl_pipeline.artifacts.tables import LEDGER
from animl_pipeline.files import whole
from animl_pipeline.formats import readers
from animl_pipeline.running.markers import find_marker, require_inputs
from animl_pipeline.running.options import option, settings
from animl_pipeline.running.stage import Counts
from animl_pipeline.running.stage import Plan as StagePlan
from animl_pipeline.sources.ledger import HELD, STATES, Row, Todo, make_rows
from animl_pipeline.sources.preview import preview
from animl_pipeline.sources.settings import SourceSettings
from animl_pipeline.sources.source import Source

FIELDS_OF_ANIML = ("serving_bucket_key", "original_relative_path")  # which hold the key


@settings
class Files:
    """What is read, what is written, and how much of it may fail."""

    panel: ClassVar[str] = "Inputs and outputs"
    coco_file: Annotated[Path, option("The COCO file (Animl: Export to COCO).", positional=True)]
    output_dir: Annotated[Path, option("Folder for the images.")] = Path("images")
    dry_run: Annotated[
        bool,
        option("Only say how many images and bytes there are to fetch, and how long it takes."),
    ] = False
    rate: Annotated[float, option("MB per second that --dry-run reckons with.", ge=0.001)] = 10.0
    tolerate: Annotated[
        float, option("Fraction of images that may fail before the exit code is 3.", ge=0.0, le=1.0)
    ] = 0.0


@settings
class Options(Files, SourceSettings):
    """The options of `pipeline download`."""

    @property
    def folder(self) -> Path:
        """Where the images and the ledger go."""
        return self.output_dir


@dataclass(frozen=True, kw_only=True)
class Plan(StagePlan):
    """The rows of the ledger as far as they are known, and those to look at or to fetch."""

    options: Options
    rows: list[Row]
    todo: list[Todo]
    source: Source


def prepare(options: Options) -> Plan:
    """Read the COCO file and what an earlier run knew, and ask whether the source is there."""
    from animl_pipeline.sources.choosing import open_source
    from animl_pipeline.sources.downloading import find_todo

    inputs = require_inputs("download", [options.coco_file])
    images, refused, key_field = readers.read_images(options.coco_file, key_field=options.key_field)
    rows = make_rows(images, refused, key_prefix=options.key_prefix, key_field=key_field)
    source = open_source(options, key_field)
    todo: list[Todo] = []
    if not options.dry_run:
        todo = find_todo(
            rows,
            folder=options.output_dir,
            journal=find_marker(options.output_dir, "download"),
            has_bare_ids=key_field in FIELDS_OF_ANIML,
        )
    if todo or options.dry_run:
        source.check()
    return Plan(
        folder=options.output_dir,
        inputs=inputs,
        writes=not options.dry_run,
        options=options,
        rows=rows,
        todo=todo,
        source=source,
    )


def run(plan: Plan) -> Counts:
    """Fetch what is not there yet, and account for every image of the COCO file."""
    from animl_pipeline.sources.downloading import fetch_all

    options = plan.options
    with contextlib.closing(plan.source) as source:
        if options.dry_run:
            return _preview(plan.rows, source, options)
        _copy_coco_file(options)
        fetch_all(
            plan.todo,
            plan.rows,
            source,
            folder=plan.folder,
            journal=find_marker(plan.folder, "download"),
            at_a_time=options.workers,
        )
    return _count(plan.rows, options)


def _copy_coco_file(options: Options) -> None:
    target = options.output_dir / names.COCO_FILE.name
    if not (target.exists() and target.samefile(options.coco_file)):
        with whole.whole(target) as part:
            shutil.copyfile(options.coco_file, part)


def _preview(rows: list[Row], source: Source, options: Options) -> Counts:
    """Say what there is to fetch, without writing anything."""
    absent, amount = preview(
        rows,
        source,
        folder=options.output_dir,
        at_a_time=options.workers,
        megabytes_per_s=options.rate,
    )
    unusable = sum(bool(row.state) for row in rows)
    words = f"{len(rows):,} images, {unusable:,} of them unsafe or without a key"
    return Counts(
        items={"images": len(rows), "to fetch": absent, "unusable": unusable},
        summary=f"dry run: {words}; {absent:,} to fetch, {amount}",
    )


def _count(rows: list[Row], options: Options) -> Counts:
    states = Counter(row.state for row in rows)
    failed = sum(count for state, count in states.items() if state not in HELD)
    words = [f"{states[state]:,} {state}" for state in STATES if states[state]]
    notes = sum(row.state in HELD and bool(row.reason) for row in rows)
    return Counts(
        items={state: states[state] for state in STATES},
        summary=f"{len(rows):,} images: {', '.join(words)}"
        + (f"; {notes:,} with a note" if notes else "")
        + f" -> {options.output_dir / LEDGER.name}",
        failed=failed,
        total=len(rows),
        tolerate=options.tolerate,
    )
