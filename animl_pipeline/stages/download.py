"""Fetch every picture of an export from S3, a web address or a folder, verified.

Reads   --coco-file          the export: Animl's Export to COCO, or another COCO Camera Traps file
        the source           under the key of each image record
Writes  images/<file_name>   the pictures
        images/cct.json      the export, byte for byte
        images/download.csv  one row per image of the export: its state, and the reason
"""

import contextlib
import dataclasses
import functools
import shutil
from collections import Counter
from pathlib import Path
from typing import Annotated

from animl_pipeline.artifacts import tables
from animl_pipeline.catalogue.animl import ARCHIVE_BUCKET, SERVING_BUCKET, find_md5
from animl_pipeline.catalogue.records import Image
from animl_pipeline.errors import ObjectUnavailable, OptionError
from animl_pipeline.files import whole
from animl_pipeline.formats import readers
from animl_pipeline.running import workers
from animl_pipeline.running.markers import marker_of
from animl_pipeline.running.options import option, settings
from animl_pipeline.running.progress import format_seconds
from animl_pipeline.running.stage import Counts
from animl_pipeline.sources import downloading, ledger
from animl_pipeline.sources import source as storage
from animl_pipeline.sources.folder import Folder
from animl_pipeline.sources.ledger import HELD, STATES, Row
from animl_pipeline.sources.source import Source

SAMPLE = 50
OF_ANIML = ("serving_bucket_key", "original_relative_path")  # fields of the key
NOT_REACHED = "not reached: the run was stopped"


@settings
class Options:
    """The knobs of `pipeline download`."""

    coco_file: Annotated[Path, option("The export (Animl: Export to COCO).", positional=True)]
    output_dir: Annotated[Path, option("Folder for the pictures.")] = Path("images")
    bucket: Annotated[str, option("S3 bucket the pictures are in.")] = SERVING_BUCKET
    source: Annotated[
        str | None, option("In the place of a bucket: an http(s):// address, or a folder.")
    ] = None
    key_field: Annotated[
        str | None, option("Field of an image record with its key in the bucket; found by itself.")
    ] = None
    key_prefix: Annotated[str, option("Text before every key, such as a folder in the bucket.")] = (
        ""
    )
    endpoint_url: Annotated[str | None, option("Address of an S3-compatible server not AWS's.")] = (
        None
    )
    profile: Annotated[str | None, option("AWS profile with the credentials.")] = None
    region: Annotated[str | None, option("AWS region; that of the bucket is found by itself.")] = (
        None
    )
    no_sign_request: Annotated[bool, option("For a public bucket: use no credentials.")] = False
    requester_pays: Annotated[bool, option("Agree to pay for the transfer.")] = False
    workers: Annotated[int, option("Pictures fetched at a time.", ge=1, le=512)] = 16
    timeout: Annotated[
        float, option("Seconds of silence after which a request is made again.", ge=0.1, le=3600)
    ] = 30.0
    dry_run: Annotated[
        bool,
        option("Only say how many pictures and bytes there are to fetch, and how long it takes."),
    ] = False
    rate: Annotated[float, option("MB per second that --dry-run reckons with.", ge=0.001)] = 10.0
    tolerate: Annotated[
        float, option("Fraction of images that may fail before the exit code is 3.", ge=0.0, le=1.0)
    ] = 0.0

    @property
    def folder(self) -> Path:
        """Where the pictures and the ledger go."""
        return self.output_dir

    @property
    def inputs(self) -> list[Path]:
        """The export."""
        return [self.coco_file]


def run(options: Options) -> Counts:
    """Fetch what is not there yet, and account for every image of the export."""
    images, problems, key_field = readers.read_images(
        options.coco_file, key_field=options.key_field
    )
    rows = [_row(image, options.key_prefix, key_field) for image in images]
    rows += [Row("", name, "", "failed", reason=why) for name, _, why in problems]
    del images
    with contextlib.closing(_open(options, key_field)) as source:
        if options.dry_run:
            return _preview(rows, source, options)
        folder, log = options.output_dir, marker_of(options.output_dir, "download")
        md5_of = functools.partial(find_md5, bare=key_field in OF_ANIML)
        todo = downloading.look(rows, folder=folder, journal=log, md5_of=md5_of)
        if todo:
            source.check()
        _copy_export(options)
        try:
            downloading.fetch(
                todo, rows, source, folder=folder, journal=log, md5_of=md5_of,
                at_a_time=options.workers,
            )  # fmt: skip
        finally:
            # Stopped, or the source is gone: what was got stays, and the rest is said to be open.
            for number, row, _ in todo:
                if not rows[number].state:
                    rows[number] = row._replace(state="failed", reason=NOT_REACHED)
            ledger.write(folder, rows)
    return _counted(rows, options)


def _row(image: Image, key_prefix: str, key_field: str) -> Row:
    """Return the row of an image before anything was done; its state is "" where that is open."""
    row = Row(image.image_id, image.file_name, key_prefix + image.key if image.key else "", "")
    if image.unsafe:
        return row._replace(state="unsafe", reason=f"file_name {image.unsafe}")
    if not row.key:
        return row._replace(state="failed", reason=f"the record has no {key_field}")
    return row


def _open(options: Options, key_field: str) -> Source:
    connections, timeout_s = options.workers, options.timeout
    if options.source is not None:
        _refuse_options_of_s3(options)
        if not options.source.strip():
            raise OptionError("--source is empty: give an http(s):// address or a folder.")
        if "://" in options.source:
            from animl_pipeline.sources.web import Web

            return Web(options.source, connections=connections, timeout_s=timeout_s)
        return Folder(Path(options.source))
    name = options.bucket
    if name == SERVING_BUCKET and options.endpoint_url is None:
        if key_field == "original_relative_path":
            name = ARCHIVE_BUCKET
        elif key_field == "file_name":
            raise OptionError(
                f"{options.coco_file} has no serving_bucket_key, so it is no Animl export of "
                f"today: name its bucket with --bucket, or its address or folder with --source."
            )
    from animl_pipeline.sources.bucket import Bucket

    return Bucket(
        name,
        endpoint_url=options.endpoint_url,
        profile=options.profile,
        region=options.region,
        sign=not options.no_sign_request,
        requester_pays=options.requester_pays,
        connections=connections,
        timeout_s=timeout_s,
    )


def _refuse_options_of_s3(options: Options) -> None:
    of_s3 = {
        "bucket", "endpoint_url", "profile", "region", "no_sign_request", "requester_pays",
    }  # fmt: skip
    for field in dataclasses.fields(options):
        if field.name in of_s3 and getattr(options, field.name) != field.default:
            name = field.name.replace("_", "-")
            raise OptionError(f"--{name} is of S3, and --source is no bucket: leave one out.")


def _copy_export(options: Options) -> None:
    target = options.output_dir / "cct.json"
    if not (target.exists() and target.samefile(options.coco_file)):
        with whole.whole(target) as part:
            shutil.copyfile(options.coco_file, part)


def _preview(rows: list[Row], source: Source, options: Options) -> Counts:
    """Say what there is to fetch, without writing anything."""
    source.check()
    wanted = [row for row in rows if not row.state]
    absent = [row for row in wanted if not (options.output_dir / row.file_name).exists()]
    sample = absent[:: max(1, len(absent) // SAMPLE)][:SAMPLE]

    def size(row: Row) -> int | str:
        try:
            return storage.size_bytes(source, row.key)
        except ObjectUnavailable as error:
            return f"{error.state}, {error}"

    asked = list(workers.map_threads(size, sample, workers=options.workers, abort=source.close))
    sizes = [found for found in asked if isinstance(found, int)]
    reasons = [found for found in asked if isinstance(found, str)]
    amount = f"of unknown size: {reasons[0]}" if reasons else "nothing"
    if sizes:
        megabytes = sum(sizes) / len(sizes) * len(absent) / 1e6
        amount = (
            f"about {megabytes:,.0f} MB by the sizes of {len(sizes)} of a sample of {len(sample)}; "
            f"at {options.rate:g} MB/s that takes {format_seconds(megabytes / options.rate)}"
        )
    items = {"images": len(rows), "to fetch": len(absent), "unusable": len(rows) - len(wanted)}
    words = f"{len(rows):,} images, {len(rows) - len(wanted):,} of them unsafe or without a key"
    return Counts(items=items, summary=f"dry run: {words}; {len(absent):,} to fetch, {amount}")


def _counted(rows: list[Row], options: Options) -> Counts:
    states = Counter(row.state for row in rows)
    failed = sum(count for state, count in states.items() if state not in HELD)
    words = [f"{states[state]:,} {state}" for state in STATES if states[state]]
    notes = sum(row.state in HELD and bool(row.reason) for row in rows)
    return Counts(
        items={state: states[state] for state in STATES},
        summary=f"{len(rows):,} images: {', '.join(words)}"
        + (f"; {notes:,} with a note" if notes else "")
        + f" -> {options.output_dir / tables.LEDGER.name}",
        failed=failed,
        total=len(rows),
        tolerate=options.tolerate,
    )
