"""What one run of `download` leaves to the next: download.csv, and the journal of a run."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from animl_pipeline.artifacts import table_io
from animl_pipeline.artifacts.tables import LEDGER
from animl_pipeline.files.journal import read_journal
from animl_pipeline.sources.ledger import HELD, Held, Row


def write_ledger(folder: Path, rows: list[Row]) -> None:
    """Write download.csv, whole or not at all."""
    table_io.write_rows(LEDGER, folder / LEDGER.name, rows)


def read_held(journal_path: Path, folder: Path) -> dict[str, Held]:
    """Return, by file name, what the last ledger and the journal of an interrupted run know.

    Raises:
        InputInvalid: download.csv is not the table that was written.
    """
    path = folder / LEDGER.name
    known = dict(_read_ledger(path)) if path.exists() else {}
    return known | dict(_read_journal(journal_path))


def read_not_held(folder: Path) -> dict[tuple[str, str], str]:
    """Return, by image id and file name, why an image is not the one the COCO file means.

    What lies in its place, if anything does, is not to be used.

    Raises:
        InputInvalid: download.csv is not the table that was written.
    """
    path = folder / LEDGER.name
    if not path.exists():
        return {}
    table = table_io.read(LEDGER, path)
    table = table[~table["state"].isin(HELD)]
    columns = (table[name] for name in ("image_id", "file_name", "state", "reason"))
    return {
        (image_id, name): f"{path.name} says {state} ({reason})"
        for image_id, name, state, reason in zip(*columns, strict=True)
    }


def _read_ledger(path: Path) -> Iterator[tuple[str, Held]]:
    mtime_ns = path.stat().st_mtime_ns
    table = table_io.read(LEDGER, path)
    table = table[table["state"].isin(HELD)]
    columns = (table[name] for name in ("file_name", "image_id", "key", "bytes", "md5"))
    for name, image_id, key, size, md5 in zip(*columns, strict=True):
        with contextlib.suppress(ValueError):  # edited; its image is looked at anew
            yield name, Held(image_id, key, "present", int(size), md5, mtime_ns, exact=False)


def _read_journal(path: Path) -> Iterator[tuple[str, Held]]:
    for line in read_journal(path):
        with contextlib.suppress(ValueError, TypeError):  # cut off by a full disk
            name, image_id, key, size, md5, mtime_ns = line
            yield name, Held(image_id, key, "downloaded", size, md5, mtime_ns, exact=True)
