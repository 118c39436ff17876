"""Open a picture and cut what is wanted of it, upright in RGB.

An image that cannot be used is one of: missing, empty, not an image, too large, truncated,
unreadable; the message of ImageUnusable says which.
"""

import io
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from animl_pipeline.boxes import Rectangle
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.images import jpeg

ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
RIGHT_TO_LEFT, BOTTOM_UP = {2, 3, 6, 7}, {3, 4, 7, 8}  # seen upright
TURNED = {5, 6, 7, 8}  # width and height change places
FORMATS = ("JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP")  # none that runs a program
PIXELS_MAX = 89_478_485  # where Pillow begins to speak of decompression bombs
# Without waiting (Windows has neither): a pipe that nobody writes to would keep us for ever.
OPENING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
BYTES_PER_PIXEL = 4  # in RGB, too
BLOCK_BYTES = 256 * 1024
# What Pillow raises for damaged files, by format and kind of damage.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    zlib.error,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass(frozen=True)
class Picture:
    """An open picture, of which only the header was read."""

    stored: Image.Image
    file: BinaryIO
    orientation: int

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) as the picture is seen."""
        width, height = self.stored.size
        return (height, width) if self.orientation in TURNED else (width, height)


@contextmanager
def opened(path: Path) -> Iterator[Picture]:
    """Yield the picture, open as long as the block lasts.

    Raises:
        ImageUnusable: the message is the reason.
    """
    try:
        file = os.fdopen(os.open(path, OPENING), "rb")
    except FileNotFoundError:
        raise ImageUnusable("image is missing") from None
    except (OSError, ValueError) as error:
        raise ImageUnusable("image is unreadable", str(error)) from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ImageUnusable("file is not an image", "it is a pipe or a device")
        if not os.fstat(file.fileno()).st_size:
            raise ImageUnusable("image is empty (0 bytes)")
        yield _open(file)


def _open(file: BinaryIO) -> Picture:
    try:
        stored = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageUnusable("file is not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageUnusable("image is too large", str(error)) from error
    except DAMAGE as error:
        raise ImageUnusable("image is unreadable", str(error)) from error
    if stored.width * stored.height > PIXELS_MAX:  # whatever the process told Pillow to let pass
        size = f"{stored.width}x{stored.height}"
        raise ImageUnusable("image is too large", f"{size}, more than {PIXELS_MAX:,} pixels")
    return Picture(stored, file, _read_orientation(stored))


def _read_orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow turns a TIFF upright by itself, and no other format
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except (*DAMAGE, UserWarning):
        return 1  # broken EXIF says nothing; the picture itself may be whole


def read_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in pixels as the picture is seen, from its header alone.

    Raises:
        ImageUnusable: the message is the reason.
    """
    with opened(path) as picture:
        return picture.size_px


def make_size_reader(folder: Path) -> Callable[[str], tuple[int, int] | None]:
    """Return a function from a file's name to its `read_size`, or None where it has none."""

    def read(file_name: str) -> tuple[int, int] | None:
        try:
            return read_size(folder / file_name)
        except ImageUnusable:
            return None

    return read


def open_upright(path: Path) -> Image.Image:
    """Return the whole picture, decoded, upright by its EXIF orientation, in RGB.

    Raises:
        ImageUnusable: the message is the reason. Half a JPEG is truncated, never a picture with a
            grey half.
    """
    with opened(path) as picture:
        return cut_whole(picture)


def cut_whole(picture: Picture) -> Image.Image:
    """Return the whole picture, decoded, upright in RGB.

    Raises:
        ImageUnusable: the message is the reason.
    """
    return cut(picture, [(0, 0, *picture.size_px)])[0]


def show(image: Image.Image) -> Picture:
    """Return a picture that is decoded and upright already, to `cut` it as one in a file."""
    return Picture(image, io.BytesIO(), orientation=1)


def cut(picture: Picture, rectangles: Sequence[Rectangle]) -> list[Image.Image]:
    """Return rectangles of the upright picture in RGB; where one leaves the frame there is black.

    Of a JPEG only the rows that are needed are decoded.

    Raises:
        ImageUnusable: truncated, unreadable, or so long that its square is too large.
    """
    if max(map(_measure_area, rectangles)) > PIXELS_MAX:
        raise ImageUnusable("image is too large", f"a square of it has over {PIXELS_MAX:,} pixels")
    width, height = picture.size_px
    inside = [
        (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        for left, top, right, bottom in rectangles
    ]
    stored = [_find_stored(rectangle, picture) for rectangle in inside]
    bottom = max(bottom for *_, bottom in stored)
    try:
        image = _decode(picture, bottom)
        parts = [_turn_upright(image.crop(part), picture.orientation) for part in stored]
    except ImageUnusable:
        raise
    except DAMAGE as error:
        truncated = "truncated" in str(error) or "broken data stream" in str(error)
        reason = "truncated" if truncated else "unreadable"
        raise ImageUnusable(f"image is {reason}", str(error)) from error
    return [
        part if frame == whole else part.crop(_shift(whole, frame))
        for part, frame, whole in zip(parts, inside, rectangles, strict=True)
    ]


def count_pixels(picture: Picture, rectangles: Sequence[Rectangle]) -> int:
    """Return how many pixels `cut` holds in memory at most."""
    return _measure_area((0, 0, *picture.size_px)) + sum(map(_measure_area, rectangles))


def _measure_area(rectangle: Rectangle) -> int:
    left, top, right, bottom = rectangle
    return (right - left) * (bottom - top)


def _find_stored(rectangle: Rectangle, picture: Picture) -> Rectangle:
    """Return where a rectangle of the upright picture is in the file."""
    (left, top, right, bottom), (width, height) = rectangle, picture.size_px
    if picture.orientation in RIGHT_TO_LEFT:
        left, right = width - right, width - left
    if picture.orientation in BOTTOM_UP:
        top, bottom = height - bottom, height - top
    turned = picture.orientation in TURNED
    return (top, left, bottom, right) if turned else (left, top, right, bottom)


def _shift(rectangle: Rectangle, frame: Rectangle) -> Rectangle:
    """Return the rectangle as it is seen from the corner of the frame."""
    left, top, right, bottom = rectangle
    return left - frame[0], top - frame[1], right - frame[0], bottom - frame[1]


def _decode(picture: Picture, bottom_px: int) -> Image.Image:
    """Return the picture as it is stored, at least down to a row."""
    # Pillow's switch holds for the whole process, and other libraries ask for half pictures.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    if picture.stored.format in {"JPEG", "MPO"}:  # MPO: with further pictures behind the first
        picture.file.seek(0)
        image = jpeg.decode(picture.file.read(), bottom_px)
        if image:
            return image
    picture.stored.load()
    return picture.stored


def _turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return a part of a picture as it is seen, in RGB."""
    if orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[orientation])
    if image.mode in {"I", "F"}:
        raise ImageUnusable("image is unreadable", f"the range of mode {image.mode} is not known")
    if image.mode.startswith("I;16"):  # Pillow would clip it to white
        image = image.point(lambda grey: grey / 257, "L")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


@contextmanager
def unwarned() -> Iterator[None]:
    """Let Pillow be silent on broken EXIF, which decides nothing here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


@contextmanager
def keep_memory(pixels: int) -> Iterator[None]:
    """Let Pillow use the memory of so many pixels again: to ask the system anew takes longer.

    (Pillow's handbook, "Block allocator".)
    """
    pillow: Any = Image
    before = pillow.core.get_block_size(), pillow.core.get_blocks_max()
    pillow.core.set_block_size(BLOCK_BYTES)
    pillow.core.set_blocks_max(pixels * BYTES_PER_PIXEL // BLOCK_BYTES)
    try:
        yield
    finally:
        pillow.core.set_block_size(before[0])
        pillow.core.set_blocks_max(before[1])
