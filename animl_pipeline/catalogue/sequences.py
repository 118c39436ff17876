"""Sequences: the images of one burst, told from the time between them where a source has none."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Protocol

# MegaDetector's default for splitting a camera's images into sequences. Animl's own analysis
# uses 3 s; the larger gap keeps more of what is not independent together.
GAP_SECONDS = 60.0


class Shot(Protocol):
    """What has to be known of an image."""

    @property
    def image_id(self) -> str: ...  # noqa: D102
    @property
    def file_name(self) -> str: ...  # noqa: D102
    @property
    def location(self) -> str: ...  # noqa: D102
    @property
    def datetime(self) -> str: ...  # noqa: D102
    @property
    def sequence(self) -> str: ...  # noqa: D102


def find_sequences(images: Iterable[Shot], gap_seconds: float = GAP_SECONDS) -> dict[str, str]:
    """Return, by image id, the source's own sequence, or the first image id of the burst.

    A burst is a run of images of one camera (location and folder) in which each follows the one
    before within the gap. An image without a readable datetime has no sequence: "".
    """
    images = list(images)
    sequences = {image.image_id: image.sequence for image in images}
    timed = [
        (time, image.image_id, (image.location, image.file_name.rpartition("/")[0]))
        for image in images
        if not image.sequence and (time := parse_datetime(image.datetime)) is not None
    ]
    last: dict[tuple[str, str], tuple[datetime, str]] = {}
    for time, image_id, camera in sorted(timed):
        before, sequence = last.get(camera, (None, image_id))
        if before is None or (time - before).total_seconds() > gap_seconds:
            sequence = image_id
        last[camera] = (time, sequence)
        sequences[image_id] = sequence
    return sequences


def parse_datetime(text: str) -> datetime | None:
    """Return the moment of a COCO file's datetime (without an offset: taken as UTC), or None.

    >>> parse_datetime("2023-03-02T06:41:10.000-08:00").isoformat()
    '2023-03-02T14:41:10+00:00'
    >>> parse_datetime("0000-00-00 00:00:00")
    """
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
