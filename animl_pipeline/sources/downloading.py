"""Give every row of the ledger its state, fetching the pictures that are not there yet."""

import contextlib
import errno
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from animl_pipeline.errors import ObjectUnavailable
from animl_pipeline.running import workers
from animl_pipeline.running.progress import Bar, progress, say
from animl_pipeline.sources import ledger
from animl_pipeline.sources import source as storage
from animl_pipeline.sources.ledger import Held, Row
from animl_pipeline.sources.source import Source

TOLD_EVERY_S = 0.2
ALL_ALIKE = 100  # so many from the start and none of them had: something else is wrong
# What is wrong with the place of one picture; any other trouble with the disk is of all of them.
OF_ONE_PLACE = {
    errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL,
    errno.EILSEQ,
}  # fmt: skip
Item = tuple[int, Row, Held | None]
Md5Of = Callable[[str], str]  # the md5 that the id of an image holds, else ""


def look(rows: list[Row], *, folder: Path, journal: Path, md5_of: Md5Of) -> list[Item]:
    """Give the rows that need no look into a file or at the source their state; return the others.

    Raises:
        InputInvalid: download.csv is not the table that was written.
    """
    known = ledger.held(journal, folder)
    todo: list[Item] = []
    for number, row in enumerate(rows):
        if row.state:
            continue
        before = known.get(row.file_name)
        if before and (before.image_id, before.key) != (row.image_id, row.key):
            before = None  # of another export: what is there is another picture
        here = ledger.at_first_sight(row, folder / row.file_name, before, md5_of(row.image_id))
        if here:
            rows[number] = here
        else:
            todo.append((number, row, before))
    return todo


def fetch(
    todo: list[Item],
    rows: list[Row],
    source: Source,
    *,
    folder: Path,
    journal: Path,
    md5_of: Md5Of,
    at_a_time: int,
) -> None:
    """Give each of the rows its state; `rows` is true at every moment.

    Raises:
        StorageRefused: nothing can be had from the source any more.
        OSError: nothing can be written any more.
    """
    done = len(rows) - len(todo)
    bar = progress(len(rows), title="download", unit="image", done=done)
    with bar, contextlib.closing(ledger.Journal(journal)) as log:
        news, account = _News(bar), _accountant(rows, source, folder, log, md5_of)
        for number in workers.map_threads(account, todo, workers=at_a_time, abort=source.close):
            news.tell(rows[number])


def _accountant(
    rows: list[Row], source: Source, folder: Path, log: ledger.Journal, md5_of: Md5Of
) -> Callable[[Item], int]:
    """Return the function that gives one of the rows its state, and returns which."""

    def account(item: Item) -> int:
        number, row, before = item
        id_md5, target = md5_of(row.image_id), folder / row.file_name
        try:
            here = ledger.after_reading(row, target, before, id_md5, source)
            # In the journal first, in place second: a crash between the two fetches it again, and
            # a picture in place that no journal knows was there before us.
            rows[number] = here or row.of(
                storage.fetch(
                    source, row.key, target, md5=id_md5, arrived=lambda got: log.note(row, got)
                )
            )
        except ObjectUnavailable as error:
            if not source.patience.stopped.is_set():  # else it is as open as it was
                there = "; another picture lies in its place" if target.exists() else ""
                rows[number] = row._replace(state=error.state, reason=f"{error}{there}")
        except OSError as error:
            if error.errno not in OF_ONE_PLACE:
                raise
            reason = f"cannot be written: {error.strerror}"
            rows[number] = row._replace(state="failed", reason=reason)
        return number

    return account


class _News:
    """What the progress bar says beside its count, and one early word if nothing is to be had."""

    def __init__(self, bar: Bar) -> None:
        self.bar, self.bytes, self.states = bar, 0, Counter[str]()
        self.began = self.told = time.monotonic()

    def tell(self, row: Row) -> None:
        """Count a row."""
        self.states[row.state] += 1
        self.bytes += int(row.bytes) if row.state == "downloaded" else 0
        self.bar.update()
        now = time.monotonic()
        if now - self.told > TOLD_EVERY_S:
            self.told = now
            rate = self.bytes / (now - self.began) / 1e6
            self.bar.note(f"{self.bytes / 1e6:,.1f} MB, {rate:,.1f} MB/s")
        alike = self.states.total() == self.states[row.state] == ALL_ALIKE
        if alike and row.state not in ledger.HELD:
            say(
                f"The first {ALL_ALIKE} pictures are all {row.state} ({row.reason}), such as "
                f"{row.key!r}: check --bucket or --source, --key-prefix, --key-field and "
                "--profile. Going on; Ctrl-C stops."
            )
