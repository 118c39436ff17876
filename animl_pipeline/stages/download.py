"""Fetch every picture of an export from S3, verified.

Reads   --coco-file          the export: Animl's Export to COCO, or another COCO Camera Traps file
        the bucket           under the key of each image record
Writes  images/<file_name>   the pictures
        images/cct.json      the export, byte for byte
        images/download.csv  one row per image of the export: its state, and the reason
"""

import contextlib
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from animl_pipeline import artifacts, files, workers
from animl_pipeline.errors import ObjectUnavailable, OptionError
from animl_pipeline.formats import coco
from animl_pipeline.stages import Counts, journal, option

if TYPE_CHECKING:
    from animl_pipeline.storage import Bucket

SERVING_BUCKET = "animl-images-serving-prod"
ARCHIVE_BUCKET = (
    "animl-images-archive-prod"  # where exports of before September 2023 have their keys
)
HELD = ("present", "downloaded")
STATES = (*HELD, "missing", "denied", "corrupt", "unsafe", "failed")
ID_MD5 = re.compile(r"(?:.*:)?([0-9a-f]{32})")
SAMPLE = 50
SEPARATOR = "\t"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The knobs of `pipeline download`."""

    coco_file: Path = option(help="The export (Animl: Export to COCO).")
    output_dir: Path = option(Path("images"), help="Folder for the pictures.")
    bucket: str = option(SERVING_BUCKET, help="S3 bucket the pictures are in.")
    key_field: str | None = option(
        None, help="Field of an image record with its key in the bucket; found by itself."
    )
    key_prefix: str = option("", help="Text before every key, such as a folder in the bucket.")
    endpoint_url: str | None = option(None, help="Address of an S3-compatible server not AWS's.")
    profile: str | None = option(None, help="AWS profile with the credentials.")
    region: str | None = option(None, help="AWS region.")
    no_sign_request: bool = option(False, help="For a public bucket: use no credentials.")
    requester_pays: bool = option(False, help="Agree to pay for the transfer.")
    workers: int = option(32, min=1, max=512, help="Pictures fetched at a time.")
    dry_run: bool = option(False, help="Only say how many pictures and bytes there are to fetch.")
    tolerate: float = option(
        0.0, min=0.0, max=1.0, help="Fraction of images that may fail before the exit code is 3."
    )

    @property
    def folder(self) -> Path:
        """Where the pictures and the ledger go."""
        return self.output_dir

    @property
    def inputs(self) -> list[Path]:
        """The export."""
        return [self.coco_file]


class Row(NamedTuple):
    """A row of the ledger."""

    image_id: str
    file_name: str
    key: str
    state: str
    bytes: int | str = ""
    md5: str = ""
    reason: str = ""


def run(options: Options) -> Counts:
    """Fetch what is not there yet, and account for every image of the export."""
    import pandas as pd

    export = coco.read(options.coco_file, key_field=options.key_field)
    bucket = _open(options, export.key_field)
    todo = [_todo(image, options.key_prefix) for image in export.images]
    problems = [Row("", name, "", "failed", reason=why) for name, _, why in export.image_problems]
    if options.dry_run:
        return _preview(todo, bucket, options)
    _copy_export(options)
    rows = {row.image_id: row for row in _fetch_all(todo, bucket, options, export.key_field)}
    ledger = [rows[row.image_id] for row in todo] + problems
    table = pd.DataFrame(ledger, columns=list(artifacts.LEDGER.columns))
    artifacts.write(artifacts.LEDGER, options.output_dir / artifacts.LEDGER.name, table)
    return _counted(ledger, options)


def _todo(image: coco.Image, key_prefix: str) -> Row:
    """Return the row of an image before anything was done: its state is "" or `unsafe`."""
    key = key_prefix + image.key if image.key else ""
    state, reason = ("unsafe", f"file_name {image.unsafe}") if image.unsafe else ("", "")
    return Row(image.image_id, image.file_name, key, state, reason=reason)


def _open(options: Options, key_field: str) -> "Bucket":
    from animl_pipeline import storage

    name = options.bucket
    if name == SERVING_BUCKET and options.endpoint_url is None:
        if key_field == "original_relative_path":
            name = ARCHIVE_BUCKET
        elif key_field == "file_name":
            raise OptionError(
                f"{options.coco_file} has no serving_bucket_key, so it is no Animl export of "
                f"today: name its bucket with --bucket."
            )
    return storage.open_bucket(
        name,
        endpoint_url=options.endpoint_url,
        profile=options.profile,
        region=options.region,
        sign=not options.no_sign_request,
        requester_pays=options.requester_pays,
        connections=options.workers,
    )


def _copy_export(options: Options) -> None:
    target = options.output_dir / "cct.json"
    if not (target.exists() and target.samefile(options.coco_file)):
        with files.whole(target) as part:
            shutil.copyfile(options.coco_file, part)


def _fetch_all(todo: list[Row], bucket: "Bucket", options: Options, key_field: str) -> list[Row]:
    """Return the ledger's row of each image; each is in the journal before its file is in place."""
    path = journal(options.output_dir, "download")
    held = _held(path, options.output_dir)
    bar = workers.progress(len(todo), title="download", unit="image")
    rows, arrived = [], 0
    with bar, path.open("a", encoding="utf-8", newline="\n") as log:
        account = _accountant(bucket, options, held, log, key_field)
        for row in workers.map_threads(account, todo, workers=options.workers):
            rows.append(row)
            arrived += int(row.bytes) if row.state == "downloaded" else 0
            bar.set_postfix_str(f"{arrived / 1e6:,.1f} MB", refresh=False)
            bar.update()
    return rows


class Held(NamedTuple):
    """What an earlier run knew of a file, and up to when it knew it."""

    state: str
    size_bytes: int
    md5: str
    known_ns: int


def _held(journal_path: Path, folder: Path) -> dict[str, Held]:
    """Return, by file name, what the last ledger and the journal of an interrupted run know."""
    held = {}
    ledger = folder / artifacts.LEDGER.name
    if ledger.exists():
        known_ns = ledger.stat().st_mtime_ns
        table = artifacts.read(artifacts.LEDGER, ledger)
        table = table[table["state"].isin(HELD)]
        columns = (table[name] for name in ("file_name", "bytes", "md5"))
        for name, size, md5 in zip(*columns, strict=True):
            held[name] = Held("present", int(size), md5, known_ns)
    known_ns = journal_path.stat().st_mtime_ns
    text = journal_path.read_text(encoding="utf-8", errors="replace")
    whole_lines = text[: text.rfind("\n") + 1]
    if whole_lines != text:  # the line a crash cut off
        journal_path.write_text(whole_lines, encoding="utf-8", newline="\n")
    for line in whole_lines.split("\n")[:-1]:
        state, size, md5, name = line.split(SEPARATOR, 3)
        held[name] = Held(state, int(size), md5, known_ns)
    return held


def _accountant(
    bucket: "Bucket", options: Options, held: dict[str, Held], log: TextIO, key_field: str
) -> Callable[[Row], Row]:
    """Return the function that gives a row its state, fetching the picture if it has to."""
    from animl_pipeline import storage

    def note(file_name: str, got: "storage.Fetched") -> None:
        # One write of one line: a crash leaves it whole or without its end, never mixed.
        log.write(SEPARATOR.join(["downloaded", str(got.size_bytes), got.md5, file_name]) + "\n")
        log.flush()

    def account(row: Row) -> Row:
        if row.state:
            return row
        if not row.key:
            return row._replace(state="failed", reason=f"the record has no {key_field}")
        found = ID_MD5.fullmatch(row.image_id)
        id_md5 = found[1] if found else ""
        target = options.output_dir / row.file_name
        try:
            here = _already_here(row, target, id_md5, held.get(row.file_name), bucket)
            if here:
                return here
            # In the journal first, in place second: a crash between the two fetches it again, and
            # a picture in place that no journal knows was there before us.
            got = storage.fetch(
                bucket, row.key, target, md5=id_md5, arrived=lambda got: note(row.file_name, got)
            )
        except ObjectUnavailable as error:
            return row._replace(state=error.state, reason=str(error))
        return row._replace(state="downloaded", bytes=got.size_bytes, md5=got.md5, reason=got.note)

    return account


def _already_here(
    row: Row, target: Path, id_md5: str, held: Held | None, bucket: "Bucket"
) -> Row | None:
    """Return the row of a picture that is there and is the right one, else None."""
    from animl_pipeline import storage

    try:
        stat = target.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    note = storage.NOTE_OTHER_MD5 if held and id_md5 and held.md5 != id_md5 else ""
    if held and held.size_bytes == stat.st_size and stat.st_mtime_ns <= held.known_ns:
        return row._replace(state=held.state, bytes=stat.st_size, md5=held.md5, reason=note)
    md5, known = files.digest(target, "md5"), held.md5 if held else id_md5
    if md5 != known and not storage.matches(
        bucket, row.key, size_bytes=stat.st_size, md5=md5, by_size=not known
    ):
        return None
    state = held.state if held else "present"
    return row._replace(state=state, bytes=stat.st_size, md5=md5, reason=note)


def _preview(todo: list[Row], bucket: "Bucket", options: Options) -> Counts:
    """Say what there is to fetch, without writing anything."""
    from animl_pipeline import storage

    storage.refuse_missing(bucket)
    wanted = [row for row in todo if not row.state and row.key]
    absent = [row for row in wanted if not (options.output_dir / row.file_name).exists()]
    sample = absent[:: max(1, len(absent) // SAMPLE)][:SAMPLE]
    sizes = []
    for row in sample:
        with contextlib.suppress(ObjectUnavailable):
            sizes.append(storage.size_bytes(bucket, row.key))
    items = {"images": len(todo), "to fetch": len(absent), "unsafe": len(todo) - len(wanted)}
    megabytes = sum(sizes) / max(1, len(sizes)) * len(absent) / 1e6
    return Counts(
        items=items,
        summary=f"dry run: {len(todo):,} images, {len(absent):,} to fetch, about "
        f"{megabytes:,.0f} MB by the sizes of {len(sizes)} of a sample of {len(sample)}",
    )


def _counted(ledger: list[Row], options: Options) -> Counts:
    states = Counter(row.state for row in ledger)
    failed = sum(count for state, count in states.items() if state not in HELD)
    words = [f"{states[state]:,} {state}" for state in STATES if states[state]]
    notes = sum(row.state in HELD and bool(row.reason) for row in ledger)
    return Counts(
        items={state: states[state] for state in STATES},
        summary=f"{len(ledger):,} images: {', '.join(words)}"
        + (f"; {notes:,} with a note" if notes else "")
        + f" -> {options.output_dir / artifacts.LEDGER.name}",
        failed=failed,
        total=len(ledger),
        tolerate=options.tolerate,
    )
