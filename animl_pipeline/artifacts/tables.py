"""Every table one stage hands to another: its columns, checked on reading and on writing."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.files import whole as files

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = "confidence"
PROBABILITY = "prob_"  # before a label: the columns of its probabilities


@dataclass(frozen=True)
class Column:
    """A column: what it holds, whether a cell may be empty, and where its numbers lie."""

    name: str
    description: str
    kind: type[str | float | int] = str
    may_be_empty: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Table:
    """A CSV between two stages, written by `stage`; no two rows have the same `key`.

    Columns of numbers whose names begin with `more` follow the others.
    """

    name: str
    stage: str
    description: str
    columns: tuple[Column, ...]
    key: str = ""
    more: str = ""

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def written_by(self) -> str:
        """The command that writes the table."""
        return f"pipeline {self.stage}"


CROP = Column("crop", "Path of the crop in the folder of the crops.")
IMAGE = Column("image", "`file_name` of the image.")
IMAGE_ID = Column("image_id", "Id of the image in the COCO file.")
ANNOTATION_ID = Column("annotation_id", "Id of the annotation in the COCO file.", may_be_empty=True)
DATASET_NAME = Column("dataset", "Name of the dataset.")
LOCATION = Column("location", "Where the camera stood.", may_be_empty=True)
LABEL = Column("label", "Name to train on.")
SPLIT = Column("split", "`train`, `val`, `test` or `seen_test`.")
REASON = Column("reason", "Why, in words.")
CROPS = Table(
    "crops.csv",
    "crop",
    "One row per crop, of every dataset cropped so far.",
    (
        CROP,
        IMAGE,
        IMAGE_ID,
        ANNOTATION_ID,
        DATASET_NAME,
        LOCATION,
        Column("datetime", "When the image was taken, as the COCO file says.", may_be_empty=True),
        Column("sequence", "Which burst the image belongs to.", may_be_empty=True),
        Column("category", "Name of the animal in the COCO file."),
        Column(CONFIDENCE, "The detector's, or 1 for a box of a person.", float, low=0, high=1),
        Column("x", "Left edge of the box, as a fraction of the width.", float, low=0, high=1),
        Column("y", "Top edge of the box, as a fraction of the height.", float, low=0, high=1),
        Column("width", "Width of the box, as a fraction of the width.", float, low=0, high=1),
        Column("height", "Height of the box, as a fraction of the height.", float, low=0, high=1),
    ),
    key="crop",
)
DATASET = Table(
    "dataset.csv",
    "split",
    "One row per crop that is used, with its label and its split.",
    (*CROPS.columns, LABEL, SPLIT),
    key="crop",
)
TRAINED_ON = Table(
    "trained_on.csv",
    "train",
    "The crops of train and val that a run has seen.",
    (CROP, IMAGE_ID, DATASET_NAME, LOCATION, LABEL, SPLIT),
)
REASONS = Table(
    "failures.csv",
    "crop",
    "Every row of the COCO file that gave no crop, and why.",
    (
        Column("image", "`file_name` of the image.", may_be_empty=True),
        ANNOTATION_ID,
        REASON,
    ),
)
LEDGER = Table(
    "download.csv",
    "download",
    "One row per image of the COCO file: what became of it.",
    (
        Column("image_id", "Id of the image in the COCO file.", may_be_empty=True),
        Column("file_name", "Path of the image in the folder of the images.", may_be_empty=True),
        Column("key", "Where the source has the image.", may_be_empty=True),
        Column("state", "`present`, `downloaded`, or why it is not there."),
        Column("bytes", "Size of the file.", may_be_empty=True),
        Column("md5", "MD5 of the file.", may_be_empty=True),
        Column("reason", "Why, in words.", may_be_empty=True),
    ),
)
HISTORY = Table(
    "history.csv",
    "train",
    "One row per epoch of training.",
    (
        Column("epoch", "Number of the epoch, from 0.", int),
        Column("lr", "Learning rate at its end.", float),
        Column("train_loss", "Mean loss over the crops it was trained on.", float),
        Column("val_loss", "Mean loss on val.", float, may_be_empty=True),
        Column("val_balanced_accuracy", "Mean recall of the labels on val.", float, True),
        Column("val_macro_average_precision", "Mean over the labels on val.", float, True),
        Column("seconds", "How long the epoch took.", float),
        Column("images_per_second", "Crops trained on per second.", float),
    ),
    key="epoch",
)
LABEL_ERRORS = Table(
    "label_errors.csv",
    "evaluate",
    "The crops whose label may be wrong, the likeliest first.",
    (
        IMAGE,
        IMAGE_ID,
        ANNOTATION_ID,
        CROP,
        DATASET_NAME,
        LOCATION,
        LABEL,
        Column("suggested", "The label that the classifier thinks likelier."),
        Column("probability", "Probability of the suggested label.", float),
        Column("margin", "Its lead over the probability of the label.", float),
    ),
    key="crop",
)
PREDICTIONS = Table(
    "predictions.csv",
    "evaluate",
    "One row per crop of a split: what the classifier says of it.",
    (
        CROP,
        IMAGE,
        DATASET_NAME,
        LOCATION,
        LABEL,
        Column("predicted", "The label of the largest probability."),
    ),
    key="crop",
    more=PROBABILITY,
)
TABLES = (LEDGER, CROPS, REASONS, DATASET, TRAINED_ON, HISTORY, PREDICTIONS, LABEL_ERRORS)


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
    types = {column.name: column.kind for column in table.columns}
    types |= dict.fromkeys(_list_further(table, frame), float)
    for name in frame.columns:
        if types.get(name, str) is not str:
            frame[name] = _to_numbers(frame[name], f"{path}: {name}")
        if types.get(name) is int:
            whole = frame[name] % 1 == 0  # false for NaN and infinity, too
            if not whole.all():
                row = int((~whole).to_numpy().argmax())
                raise InputInvalid(f"{path}: row {row + 2}: {name} is no whole number.")
            frame[name] = frame[name].astype("int64")
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


def write_rows(table: Table, path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Write rows that have a cell for each column, whole or not at all.

    Raises:
        InputInvalid: the rows are not of such a table.
    """
    import pandas as pd

    write(table, path, pd.DataFrame(rows, columns=table.names))


def _list_further(table: Table, frame: "pd.DataFrame") -> list[str]:
    return [name for name in frame.columns if table.more and name.startswith(table.more)]


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


def _check(table: Table, frame: "pd.DataFrame", where: str) -> None:
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
