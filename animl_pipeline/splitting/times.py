"""Sequences by another gap, and what is before or from a date: never half a sequence."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from animl_pipeline.catalogue import sequences
from animl_pipeline.errors import OptionError

IMAGE = ["dataset", "image_id"]
BEFORE, FROM, UNKNOWN = "before", "from", ""


def name_sequences(crops: pd.DataFrame) -> "pd.Series[str]":
    """Return the sequence of each crop; an image without one is a sequence by itself."""
    return crops["sequence"].where(crops["sequence"] != "", crops["image_id"])


@dataclass(frozen=True)
class _Shot:
    image_id: str
    file_name: str
    location: str
    datetime: str
    sequence: str = ""


def regroup_sequences(crops: pd.DataFrame, gap_seconds: float) -> pd.DataFrame:
    """Return the crops with the sequences of a gap; a crop without a datetime keeps its own."""
    images = crops.drop_duplicates(IMAGE)
    new: dict[tuple[object, str], str] = {}
    for dataset, of_dataset in images.groupby("dataset"):
        columns = of_dataset[["image_id", "image", "location", "datetime"]]
        shots = [_Shot(*row) for row in columns.itertuples(index=False, name=None)]
        for image_id, sequence in sequences.find_sequences(shots, gap_seconds).items():
            new[dataset, image_id] = sequence
    rows = zip(crops["dataset"], crops["image_id"], crops["sequence"], strict=True)
    return crops.assign(sequence=[new[of, image] or given for of, image, given in rows])


def find_period(crops: pd.DataFrame, cutoff: str) -> "pd.Series[str]":
    """Return BEFORE, FROM or (no datetime) UNKNOWN for each crop; a sequence is when it began.

    A cutoff without an offset is of the cameras' own clocks, whatever their offset.

    Raises:
        OptionError: the cutoff is no date.
    """
    limit = _parse_time(cutoff)
    if limit is None:
        raise OptionError(f"--time-cutoff {cutoff!r} is no date, such as 2024-06-01.")
    own_clock = limit.tzinfo is None
    texts = crops["datetime"].unique()
    seconds = {text: _count_seconds(_parse_time(text), own_clock=own_clock) for text in texts}
    began = crops["datetime"].map(seconds).groupby([crops["dataset"], name_sequences(crops)])
    first = began.transform("min")
    later = first >= _count_seconds(limit, own_clock=own_clock)
    return later.map({True: FROM, False: BEFORE}).where(first.notna(), UNKNOWN)


def _parse_time(text: str) -> datetime | None:
    return None if sequences.parse_datetime(text) is None else datetime.fromisoformat(text)


def _count_seconds(time: datetime | None, *, own_clock: bool) -> float:
    """Return seconds since 1970 by the camera's clock, or by all clocks' common time; or NaN."""
    if time is None:
        return float("nan")
    known = time.replace(tzinfo=None) if own_clock else time
    common = sequences.parse_datetime(known.isoformat())
    return float("nan") if common is None else common.timestamp()
