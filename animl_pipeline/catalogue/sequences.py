"""Sequences: the images of one burst, told from the time between them where a source has none."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

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


class Moment(NamedTuple):
    """An image of a camera (location and folder) and when it was taken."""

    camera: tuple[str, str]
    time: datetime
    image_id: str


def find_sequences(images: Iterable[Shot], gap_seconds: float = GAP_SECONDS) -> dict[str, str]:
    """Return, by image id, the source's own sequence, or the first image id of the burst.

    A burst is a run of images of one camera (location and folder) in which each follows the one
    before within the gap. An image without a readable datetime has no sequence: "".
    """
    images = list(images)
    sequences = {image.image_id: image.sequence for image in images}
    moments = sorted(
        Moment(find_camera(image.location, image.file_name), time, image.image_id)
        for image in images
        if not image.sequence and (time := parse_datetime(image.datetime)) is not None
    )
    return sequences | dict(name_bursts(moments, gap_seconds))


def find_camera(location: str, file_name: str) -> tuple[str, str]:
    """Return the location and folder of an image: those of one camera share both."""
    return location, file_name.rpartition("/")[0]


def name_bursts(moments: Iterable[Moment], gap_seconds: float) -> Iterator[tuple[str, str]]:
    """Yield the id of each image and the first id of its burst, from moments in their order."""
    before, sequence = None, ""
    for moment in moments:
        if (
            before is None
            or before.camera != moment.camera
            or (moment.time - before.time).total_seconds() > gap_seconds
        ):
            sequence = moment.image_id
        before = moment
        yield moment.image_id, sequence


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
