"""Give every row of the ledger its state, fetching the images that are not there yet."""

import errno
import time
from collections import Counter
from pathlib import Path

from animl_pipeline.catalogue.animl import find_md5
from animl_pipeline.errors import ObjectUnavailable
from animl_pipeline.files.journal import Journal
from animl_pipeline.running import workers
from animl_pipeline.running.progress import Bar, progress, say
from animl_pipeline.sources import ledger, ledger_file
from animl_pipeline.sources.ledger import Row, Todo
from animl_pipeline.sources.source import Source
from animl_pipeline.sources.verified import fetch_verified

NEWS_EVERY_S = 0.2
ALL_ALIKE = 100  # so many from the start and none of them had: something else is wrong
# What is wrong with the place of one image; any other trouble with the disk is of all of them.
NAME_TROUBLE = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
OF_ONE_FILE = NAME_TROUBLE | {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
NOT_REACHED = "not reached: the run was stopped"


def find_todo(rows: list[Row], *, folder: Path, journal: Path, has_bare_ids: bool) -> list[Todo]:
    """Give the rows that need no look into a file or at the source their state; return the others.

    `has_bare_ids` is whether ids may be md5s alone, as Animl's.

    Raises:
        InputInvalid: download.csv is not the table that was written.
    """
    known = ledger_file.read_held(journal, folder)
    todo: list[Todo] = []
    for number, row in enumerate(rows):
        if row.state:
            continue
        before = known.get(row.file_name)
        if before and (before.image_id, before.key) != (row.image_id, row.key):
            before = None  # of another COCO file: what is there is another image
        id_md5 = find_md5(row.image_id, bare=has_bare_ids)
        held_row = ledger.judge_by_stat(row, folder / row.file_name, before, id_md5)
        if held_row:
            rows[number] = held_row
        else:
            todo.append(Todo(number, row, before, id_md5))
    return todo


def fetch_all(
    todo: list[Todo],
    rows: list[Row],
    source: Source,
    *,
    folder: Path,
    journal: Path,
    at_a_time: int,
) -> None:
    """Give each of the rows its state, and write the ledger, however this ends.

    Raises:
        StorageRefused: nothing can be had from the source any more.
        OSError: nothing can be written any more.
    """
    done = len(rows) - len(todo)
    try:
        bar = progress(len(rows), title="download", unit="image", done=done)
        with bar, Journal(journal) as log:
            news = _News(bar)

            def settle(job: Todo) -> int:
                # At once, not when it is counted: what is in place is never said to be open.
                rows[job.number] = _judge(job, source, folder, log)
                return job.number

            for number in workers.map_threads(settle, todo, workers=at_a_time, abort=source.close):
                news.count(rows[number])
    finally:
        # Stopped, or the source is gone: what was got stays, and the rest is said to be open.
        for number, row, _, _ in todo:
            if not rows[number].state:
                rows[number] = row._replace(state="failed", reason=NOT_REACHED)
        ledger_file.write_ledger(folder, rows)


def _judge(job: Todo, source: Source, folder: Path, log: Journal) -> Row:
    """Return the row with its state, after fetching the image if need be."""
    _, row, before, id_md5 = job
    target = folder / row.file_name
    try:
        held_row = ledger.judge_by_bytes(row, target, before, id_md5, source)
        if held_row:
            return held_row
        # In the journal first, in place second: a crash between the two fetches it again, and
        # an image in place that no journal knows was there before us.
        fetched = fetch_verified(
            source,
            row.key,
            target,
            md5=id_md5,
            arrived=lambda fetched: ledger.note_fetched(log, row, fetched),
        )
        return row.as_fetched(fetched)
    except ObjectUnavailable as error:
        if source.patience.stopped.is_set():  # it is as open as it was
            return row
        there = "; another image lies in its place" if target.exists() else ""
        return row._replace(state=error.state, reason=f"{error}{there}")
    except OSError as error:
        if error.errno not in OF_ONE_FILE:
            raise
        return row._replace(state="failed", reason=f"cannot be written: {error.strerror}")


class _News:
    """What the progress bar says beside its count, and one early word if nothing is to be had."""

    def __init__(self, bar: Bar) -> None:
        self.bar, self.bytes, self.states = bar, 0, Counter[str]()
        self.began = self.last_news = time.monotonic()

    def count(self, row: Row) -> None:
        """Count a row."""
        self.states[row.state] += 1
        self.bytes += int(row.bytes) if row.state == "downloaded" else 0
        self.bar.update()
        now = time.monotonic()
        if now - self.last_news > NEWS_EVERY_S:
            self.last_news = now
            rate = self.bytes / (now - self.began) / 1e6
            self.bar.note(f"{self.bytes / 1e6:,.1f} MB, {rate:,.1f} MB/s")
        alike = self.states.total() == self.states[row.state] == ALL_ALIKE
        if alike and row.state not in ledger.HELD:
            say(
                f"The first {ALL_ALIKE} images are all {row.state} ({row.reason}), such as "
                f"{row.key!r}: check --bucket or --source, --key-prefix, --key-field and "
                "--profile. Going on; Ctrl-C stops."
            )
