"""A CSV that a person or another tool wrote: some of its columns, as text."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from animl_pipeline.errors import InputInvalid, InputMissing

CELL_MAX = 1_000_000  # characters


def read_header(path: Path) -> list[str]:
    """Return the names of the columns.

    Raises:
        InputMissing, InputInvalid: it is no table.
    """
    with _opened(path) as rows:
        return list(rows.fieldnames or ())


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the number of each row (the header is 1) and its text in these columns.

    Raises:
        InputMissing, InputInvalid: it is not such a table.
    """
    with _opened(path) as rows:
        missing = [name for name in columns if name not in (rows.fieldnames or ())]
        if missing:
            raise InputInvalid(f"{path} has no column {missing[0]}; it needs {', '.join(columns)}.")
        for number, row in enumerate(rows, start=2):
            yield number, tuple(row[name] or "" for name in columns)


@contextmanager
def _opened(path: Path) -> "Iterator[csv.DictReader[str]]":
    csv.field_size_limit(CELL_MAX)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield csv.DictReader(file, strict=True)
    except FileNotFoundError:
        raise InputMissing(f"{path} is not there. Check the path.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputInvalid(f"{path} is not a table: {error}.") from error
