"""Every table one stage hands to another: its columns, checked on reading and on writing."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.files import whole as files

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = "confidence"
NUMBERS = {CONFIDENCE, "x", "y", "width", "height", "lr", "train_loss", "val_loss"}
NUMBERS |= {"val_balanced_accuracy", "val_macro_average_precision", "seconds", "images_per_second"}
NUMBERS |= {"probability", "margin"}
FRACTIONS = {CONFIDENCE, "x", "y", "width", "height"}
INTEGERS = {"epoch"}
PROBABILITY = "prob_"


@dataclass(frozen=True)
class Table:
    """A CSV between two stages: columns in order; text unless named in NUMBERS or INTEGERS."""

    name: str
    written_by: str
    columns: tuple[str, ...]
    may_be_empty: tuple[str, ...] = ()
    key: str = ""
    more: str = ""  # further columns begin so, after the others


CROPS = Table(
    name="crops.csv",
    written_by="pipeline crop",
    columns=(
        "crop", "image", "image_id", "annotation_id", "dataset", "location", "datetime",
        "sequence", "category", CONFIDENCE, "x", "y", "width", "height",
    ),
    may_be_empty=("annotation_id", "location", "datetime", "sequence"),
    key="crop",
)  # fmt: skip
DATASET = Table(
    name="dataset.csv",
    written_by="pipeline split",
    columns=(*CROPS.columns, "label", "split"),
    may_be_empty=CROPS.may_be_empty,
    key="crop",
)
TRAINED_ON = Table(
    name="trained_on.csv",
    written_by="pipeline train",
    columns=("crop", "image_id", "dataset", "location", "label", "split"),
    may_be_empty=("location",),
)
REASONS = Table(
    name="failures.csv",
    written_by="pipeline crop",
    columns=("image", "annotation_id", "reason"),
    may_be_empty=("image", "annotation_id"),
)
LEDGER = Table(
    name="download.csv",
    written_by="pipeline download",
    columns=("image_id", "file_name", "key", "state", "bytes", "md5", "reason"),
    may_be_empty=("image_id", "file_name", "key", "bytes", "md5", "reason"),
)
HISTORY = Table(
    name="history.csv",
    written_by="pipeline train",
    columns=(
        "epoch", "lr", "train_loss", "val_loss", "val_balanced_accuracy",
        "val_macro_average_precision", "seconds", "images_per_second",
    ),
    may_be_empty=("val_loss", "val_balanced_accuracy", "val_macro_average_precision"),
    key="epoch",
)  # fmt: skip
LABEL_ERRORS = Table(
    name="label_errors.csv",
    written_by="pipeline evaluate",
    columns=(
        "image", "image_id", "annotation_id", "crop", "dataset", "location", "label", "suggested",
        "probability", "margin",
    ),
    may_be_empty=("annotation_id", "location"),
    key="crop",
)  # fmt: skip
PREDICTIONS = Table(
    name="predictions.csv",
    written_by="pipeline evaluate",
    columns=("crop", "image", "dataset", "location", "label", "predicted"),
    may_be_empty=("location",),
    key="crop",
    more=PROBABILITY,
)


def read(table: Table, path: Path) -> "pd.DataFrame":
    """Return a table with exactly its columns; text stays text: `007` and `NA` are names.

    Raises:
        InputMissing, InputInvalid: with the row (the header is row 1) and the column.
    """
    import pandas as pd

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
    more = _more(table, frame)
    for column in frame.columns:
        if column in NUMBERS or column in INTEGERS or column in more:
            frame[column] = _as_numbers(frame[column], f"{path}: {column}")
        if column in INTEGERS:
            whole = frame[column] % 1 == 0  # false for NaN and infinity, too
            if not whole.all():
                row = int((~whole).to_numpy().argmax())
                raise InputInvalid(f"{path}: row {row + 2}: {column} is no whole number.")
            frame[column] = frame[column].astype("int64")
    _check(table, frame, str(path))
    return frame


def write(table: Table, path: Path, frame: "pd.DataFrame") -> None:
    """Write a table, whole or not at all; the same rows are the same bytes.

    Raises:
        InputInvalid: the frame is not such a table.
    """
    _check(table, frame, str(path))
    text = frame.select_dtypes(exclude="number")
    # A lone carriage return ends a line for whoever reads, so it is quoted, with all text there is.
    returns = any(text[column].astype(str).str.contains("\r").any() for column in text)
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    with files.whole(path) as part:
        frame.to_csv(part, index=False, lineterminator="\n", encoding="utf-8", quoting=quoting)


def read_labels(path: Path) -> list[str]:
    """Return the labels in the order of label_index.json.

    Raises:
        InputInvalid: it is not {"0": label, "1": label, ...}.
    """
    content = files.read_json(path, written_by="`pipeline split`")
    expected = [str(number) for number in range(len(content) if isinstance(content, dict) else 0)]
    labels = [content.get(number) for number in expected]
    named = all(isinstance(label, str) and label for label in labels)
    if not labels or not named or len(set(labels)) < len(labels):
        raise InputInvalid(
            f'{path} is to be {{"0": label, "1": label, ...}}. Run `pipeline split` again.'
        )
    return labels


def _more(table: Table, frame: "pd.DataFrame") -> list[str]:
    return [name for name in frame.columns if table.more and name.startswith(table.more)]


def _as_numbers(values: "pd.Series[str]", where: str) -> "pd.Series[float]":
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


def _check(table: Table, frame: "pd.DataFrame", where: str) -> None:
    expected = [*table.columns, *_more(table, frame)]
    if list(frame.columns) != expected:
        raise InputInvalid(
            f"{where}: the columns are {', '.join(map(str, frame.columns))}; expected are "
            f"{', '.join(expected)}. Run `{table.written_by}` again."
        )
    for column in table.columns:
        values = frame[column]
        if column not in table.may_be_empty:
            empty = values.isna() | (values.astype(str) == "")
            if empty.any():
                row = int(empty.to_numpy().argmax())
                raise InputInvalid(f"{where}: row {row + 2} has no {column}.")
        if column in FRACTIONS and not values.between(0, 1).all():
            row = int((~values.between(0, 1)).to_numpy().argmax())
            raise InputInvalid(
                f"{where}: row {row + 2}: {column} is {values.iloc[row]}; it is to be from 0 to 1."
            )
    if table.key and (twice := frame[table.key].duplicated()).any():
        row = int(twice.to_numpy().argmax())
        name = frame[table.key].iloc[row]
        raise InputInvalid(f"{where}: row {row + 2}: {table.key} {name!r} is there twice.")
