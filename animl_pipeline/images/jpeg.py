"""Decode a JPEG from the top, only as far as it is needed, and notice one that ends early.

libjpeg makes as many rows as the frame header says. With a lower height written there it stops
early, and the rows it made are those of the whole picture, pixel for pixel. Two things are then
looked at here. The file must have its end, which libjpeg no longer reaches. And its data must not
end before its rows do, which libjpeg never says: it fills up with grey.

libvips decodes partly, too. It is slower, and lets pass what ends early: `scripts/bench decode`.
The header is that of ITU-T T.81, annex B.
"""

import io
import re
from typing import NamedTuple

from PIL import Image

from animl_pipeline.errors import ImageUnusable

BASELINE, PROGRESSIVE, LAST_OF_FRAMES = 0xC0, 0xC2, 0xCF
NO_FRAME = {0xC4, 0xC8, 0xCC}  # tables, among the markers of frames
START_OF_SCAN, RESTART_INTERVAL = 0xDA, 0xDD
END = b"\xff\xd9"
BLOCK_PX = 8
GREYS = {127, 128, 129}  # what libjpeg fills up with, mixed with the colours beside it
# Data that decode to something else than nothing, and hold no marker.
MORE_DATA = bytes(range(1, 255))
ANY_MARKER, NO_RESTART = re.compile(rb"\xff[\x01-\xfe]"), re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


class Header(NamedTuple):
    """What decides how the rows of a JPEG are stored."""

    height_at: int  # where the two bytes of the height are
    height_px: int
    colour_px: int  # rows that share a sample of colour, at most
    is_sequential: bool
    has_restarts: bool
    data_at: int  # where the first coded data begin


def decode(data: bytes, bottom_px: int) -> Image.Image | None:
    """Return the picture at least down to a row, or None where its header is not by the book.

    Raises:
        ImageUnusable: it is truncated.
        OSError and what else Pillow raises: it is damaged.
    """
    header = read_header(data)
    if not header:
        return None
    if not has_end(data, header):
        raise ImageUnusable("image is truncated", "its end is missing")
    rows_px = count_rows(header, bottom_px)
    image = _load(cut_top(data, header, rows_px))
    if not header.is_sequential or _has_grey_corner(image):
        again = _load(cut_top(add_data(data, header), header, rows_px))
        if again.tobytes() != image.tobytes():
            raise ImageUnusable("image is truncated", "its data end before its last row")
    return image


def _load(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    image.load()
    return image


def _has_grey_corner(image: Image.Image) -> bool:
    """Return whether the block decoded last may be one that libjpeg filled up for lack of data."""
    if image.mode not in {"L", "RGB"}:
        return True
    right, bottom = image.width - 1, image.height - 1
    corner = image.getpixel((right, bottom))
    if not GREYS.issuperset(corner if isinstance(corner, tuple) else [corner]):
        return False
    left, above = (last // BLOCK_PX * BLOCK_PX for last in (right, bottom))
    block = image.crop((left, above, right + 1, bottom + 1)).convert("L")
    return GREYS.issuperset(block.tobytes())


def read_header(data: bytes) -> Header | None:
    """Return the header of a JPEG, or None where it is not quite by the book."""
    at, frame_at, has_restarts = 2, 0, False
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if BASELINE <= marker <= LAST_OF_FRAMES and marker not in NO_FRAME:
            if frame_at or marker > PROGRESSIVE:
                return None
            frame_at = at
        has_restarts |= marker == RESTART_INTERVAL
        at += 2 + length
        if marker == START_OF_SCAN:
            return _read_frame(data, frame_at, has_restarts, at) if frame_at else None
    return None


def _read_frame(data: bytes, frame_at: int, has_restarts: bool, data_at: int) -> Header | None:
    length = int.from_bytes(data[frame_at + 2 : frame_at + 4])
    frame = data[frame_at : frame_at + 2 + length]
    height_px, factors = int.from_bytes(frame[5:7]), [byte & 15 for byte in frame[11::3]]
    if not height_px or not factors or not all(factors):
        return None
    is_sequential = frame[1] != PROGRESSIVE
    return Header(frame_at + 5, height_px, max(factors), is_sequential, has_restarts, data_at)


def has_end(data: bytes, header: Header) -> bool:
    """Return whether the marker of the end is there; no data hold it by chance."""
    return data.rfind(END) >= header.data_at


def count_rows(header: Header, bottom_px: int) -> int:
    """Return how many rows to decode so that those above `bottom_px` come out as ever.

    Smooth upsampling of the colours looks at the row of samples below, so that is one more. It is
    all rows where they are not stored one after the other.
    """
    if not header.is_sequential:
        return header.height_px
    return min(bottom_px + header.colour_px, header.height_px)


def cut_top(data: bytes, header: Header, rows_px: int) -> bytes:
    """Return the JPEG of the top rows alone: the same data under a lower height."""
    at = header.height_at
    return b"".join((data[:at], rows_px.to_bytes(2), memoryview(data)[at + 2 :]))


def add_data(data: bytes, header: Header) -> bytes:
    """Return the JPEG with more data wherever its data end.

    A decoder that had enough skips them, so what it decodes stays the same. One whose data ended
    early, at a marker in their midst or an end that somebody put there, had filled up with grey.
    """
    marker = NO_RESTART if header.has_restarts else ANY_MARKER
    longer = marker.sub(lambda match: MORE_DATA + match[0], data[header.data_at :])
    return data[: header.data_at] + longer
