"""Give every row of the ledger its state, fetching the pictures that are not there yet."""

import contextlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Never

from tqdm import tqdm

from animl_pipeline import ledger, storage, workers
from animl_pipeline.errors import ObjectUnavailable
from animl_pipeline.ledger import Held, Row
from animl_pipeline.storage import Source

ID_MD5 = re.compile(r"(?:.*:)?([0-9a-f]{32})")
ALL_ALIKE = 100  # so many from the start and none of them had: something else is wrong
Item = tuple[int, Row, Held | None]


def account_for(
    rows: list[Row], source: Source, *, folder: Path, journal: Path, at_a_time: int
) -> None:
    """Replace every row without a state by one that has it; `rows` is true at every moment.

    Raises:
        StorageRefused: nothing can be had from the source, or nothing any more.
    """
    known = ledger.held(journal, folder)
    todo: list[Item] = []
    for number, row in enumerate(rows):
        before = known.get(row.file_name)
        if not row.state:
            here = ledger.at_first_sight(row, folder / row.file_name, before, _id_md5(row))
            if here:
                rows[number] = here
            else:
                todo.append((number, row, before))
    if not todo:
        return
    source.check()
    bar = workers.progress(len(rows), title="download", unit="image", done=len(rows) - len(todo))
    with bar, contextlib.closing(ledger.Journal(journal)) as log:
        news, fetch = _News(bar), _fetcher(rows, source, folder, log)
        for number in workers.map_threads(fetch, todo, workers=at_a_time, abort=source.close):
            news.tell(rows[number])


def _fetcher(
    rows: list[Row], source: Source, folder: Path, log: ledger.Journal
) -> Callable[[Item], int]:
    """Return the function that gives one of the rows its state, and returns which."""

    def fetch(item: Item) -> int:
        number, row, before = item
        id_md5, target = _id_md5(row), folder / row.file_name
        try:
            here = ledger.after_reading(row, target, before, id_md5, source)
            # In the journal first, in place second: a crash between the two fetches it again, and
            # a picture in place that no journal knows was there before us.
            rows[number] = here or row.of(
                storage.fetch(
                    source, row.key, target, md5=id_md5,
                    arrived=lambda got: log.note(row.file_name, got),
                )
            )  # fmt: skip
        except ObjectUnavailable as error:
            if not source.patience.stopped.is_set():  # else it is as open as it was
                rows[number] = row._replace(state=error.state, reason=str(error))
        return number

    return fetch


class _News:
    """What the progress bar says beside its count, and one early word if nothing is to be had."""

    def __init__(self, bar: "tqdm[Never]") -> None:
        self.bar, self.bytes, self.states = bar, 0, Counter[str]()

    def tell(self, row: Row) -> None:
        """Count a row."""
        self.states[row.state] += 1
        self.bytes += int(row.bytes) if row.state == "downloaded" else 0
        elapsed_s = self.bar.format_dict["elapsed"]
        rate = self.bytes / elapsed_s / 1e6 if elapsed_s else 0.0
        self.bar.set_postfix_str(f"{self.bytes / 1e6:,.1f} MB, {rate:,.1f} MB/s", refresh=False)
        self.bar.update()
        alike = self.states.total() == self.states[row.state] == ALL_ALIKE
        if alike and row.state not in ledger.HELD:
            workers.say(
                f"The first {ALL_ALIKE} pictures are all {row.state} ({row.reason}), such as "
                f"{row.key!r}: check --bucket or --source, --key-prefix, --key-field and "
                "--profile. Going on; Ctrl-C stops."
            )


def _id_md5(row: Row) -> str:
    """Return the md5 of the picture that an Animl id holds, else ""."""
    found = ID_MD5.fullmatch(row.image_id)
    return found[1] if found else ""
