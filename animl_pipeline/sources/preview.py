"""What a download would fetch: how many images, how many bytes, how long it takes."""

from pathlib import Path
from typing import NamedTuple

from animl_pipeline.errors import ObjectUnavailable
from animl_pipeline.running import workers
from animl_pipeline.running.progress import format_seconds
from animl_pipeline.sources.ledger import Row
from animl_pipeline.sources.source import Source
from animl_pipeline.sources.verified import ask_size

SAMPLE = 50


class Preview(NamedTuple):
    """How many images are absent, and in words how much that is to fetch."""

    absent: int
    amount: str


def preview(
    rows: list[Row], source: Source, *, folder: Path, at_a_time: int, megabytes_per_s: float
) -> Preview:
    """Return what there is to fetch, by the sizes of a sample; nothing is written.

    Raises:
        StorageRefused: nothing can be had from the source.
    """
    absent = [row for row in rows if not row.state and not (folder / row.file_name).exists()]
    sample = absent[:: max(1, len(absent) // SAMPLE)][:SAMPLE]

    def ask(row: Row) -> int | str:
        try:
            return ask_size(source, row.key)
        except ObjectUnavailable as error:
            return f"{error.state}, {error}"

    answers = list(workers.map_threads(ask, sample, workers=at_a_time, abort=source.close))
    sizes = [answer for answer in answers if isinstance(answer, int)]
    if sizes:
        megabytes = sum(sizes) / len(sizes) * len(absent) / 1e6
        seconds = format_seconds(megabytes / megabytes_per_s)
        return Preview(
            len(absent),
            f"about {megabytes:,.0f} MB by the sizes of {len(sizes)} of a sample of "
            f"{len(sample)}; at {megabytes_per_s:g} MB/s that takes {seconds}",
        )
    return Preview(len(absent), f"of unknown size: {answers[0]}" if answers else "nothing")
