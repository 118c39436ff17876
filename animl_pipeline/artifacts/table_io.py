"""Read and write the tables between stages: their columns and cells are checked both times."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from animl_pipeline.artifacts.tables import Table
from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.files import whole

Append = Callable[[Sequence[Any]], None]


def read(table: Table, path: Path) -> pd.DataFrame:
    """Return a table with exactly its columns; text stays text: `007` and `NA` are names.

    Raises:
        InputMissing, InputInvalid: with the row (the header is row 1) and the column.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[], encoding="utf-8")
    except FileNotFoundError:
        raise InputMissing(f"{path} is not there; `{table.written_by}` writes it.") from None
    except (OSError, ValueError) as error:
        raise InputInvalid(f"{path} is not a table: {error}. Run `{table.written_by}`.") from error
    if not isinstance(frame.index, pd.RangeIndex):  # what pandas makes of a cell too many
        raise InputInvalid(
            f"{path}: the rows have more cells than the header. Run `{table.written_by}` again."
        )
    types = {column.name: column.kind for column in table.columns}
    types |= dict.fromkeys(_list_further(table, frame), float)
    for name in frame.columns:
        if types.get(name, str) is not str:
            frame[name] = _to_numbers(frame[name], f"{path}: {name}")
        if types.get(name) is int:
            integral = frame[name] % 1 == 0  # false for NaN and infinity, too
            if not integral.all():
                row = int((~integral).to_numpy().argmax())
                raise InputInvalid(f"{path}: row {row + 2}: {name} is no whole number.")
            frame[name] = frame[name].astype("int64")
    _check(table, frame, str(path))
    return frame


def write(table: Table, path: Path, frame: pd.DataFrame) -> None:
    """Write a table, whole or not at all; the same rows are the same bytes.

    Raises:
        InputInvalid: the frame is not such a table.
    """
    _check(table, frame, str(path))
    text = frame.select_dtypes(exclude="number")
    # A lone carriage return ends a line for whoever reads, so it is quoted, with all text there is.
    returns = any(text[column].astype(str).str.contains("\r").any() for column in text)
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    with whole.whole(path) as part:
        frame.to_csv(part, index=False, lineterminator="\n", encoding="utf-8", quoting=quoting)


def write_rows(table: Table, path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Write rows that have a cell for each column, whole or not at all.

    Raises:
        InputInvalid: the rows are not of such a table.
    """
    write(table, path, pd.DataFrame(rows, columns=table.names))


@contextmanager
def open_rows(table: Table, path: Path, further: Sequence[str] = ()) -> Iterator[Append]:
    """Yield a function that adds a row to a table, which is there when the block ends well.

    So a table of a million rows takes no memory. A row has a cell for each column, and then for
    each `further` one, without the table's prefix; NaN is an empty cell. The same rows are the
    same bytes, as `write` has them.
    """
    with whole.whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        plain = csv.writer(file, lineterminator="\n")
        quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)

        def append(row: Sequence[Any]) -> None:
            cells = ["" if cell != cell else cell for cell in row]
            # A lone carriage return ends a line for whoever reads.
            has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
            (quoted if has_return else plain).writerow(cells)

        append([*table.names, *(table.prefix + name for name in further)])
        yield append


def _list_further(table: Table, frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if table.prefix and name.startswith(table.prefix)]


def _to_numbers(values: "pd.Series[str]", where: str) -> "pd.Series[float]":
    """Return text as the numbers it was written from, bit for bit; "" is NaN."""
    try:
        return values.replace("", "nan").astype(object).astype("float64")
    except ValueError:
        for row, value in enumerate(values, start=2):
            if not _is_number(value):
                message = f"{where}: row {row} is no number: {value!r}."
                raise InputInvalid(message) from None
        raise


def _is_number(value: str) -> bool:
    try:
        float(value or "nan")
    except ValueError:
        return False
    return True


def _check(table: Table, frame: pd.DataFrame, where: str) -> None:
    expected = [*table.names, *_list_further(table, frame)]
    if list(frame.columns) != expected:
        raise InputInvalid(
            f"{where}: the columns are {', '.join(map(str, frame.columns))}; expected are "
            f"{', '.join(expected)}. Run `{table.written_by}` again."
        )
    for column in table.columns:
        values = frame[column.name]
        if not column.may_be_empty:
            empty = values.isna() | (values.astype(str) == "")
            if empty.any():
                row = int(empty.to_numpy().argmax())
                raise InputInvalid(f"{where}: row {row + 2} has no {column.name}.")
        if column.low is not None and column.high is not None:
            outside = ~values.between(column.low, column.high)
            if outside.any():
                row = int(outside.to_numpy().argmax())
                raise InputInvalid(
                    f"{where}: row {row + 2}: {column.name} is {values.iloc[row]}; it is to be "
                    f"from {column.low:g} to {column.high:g}."
                )
    if table.key and (twice := frame[table.key].duplicated()).any():
        row = int(twice.to_numpy().argmax())
        name = frame[table.key].iloc[row]
        raise InputInvalid(f"{where}: row {row + 2}: {table.key} {name!r} is there twice.")
