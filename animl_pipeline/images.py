"""Open a picture upright in RGB, cut a rectangle, write a JPEG; knows nothing of labels."""

import os
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from animl_pipeline import files
from animl_pipeline.boxes import Rectangle
from animl_pipeline.errors import ImageUnusable

ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}
TURNED = {5, 6, 7, 8}  # width and height change places
FORMATS = ("JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP")  # none that runs a program
# What Pillow raises for damaged files, by format and kind of damage.
DAMAGE = (
    OSError, SyntaxError, ValueError, struct.error, zlib.error, EOFError, IndexError, KeyError,
    TypeError, AttributeError, OverflowError, ZeroDivisionError, RuntimeError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


def upright_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in pixels as the picture is seen, from its header alone.

    Raises:
        ImageUnusable: the message is the reason.
    """
    with _open(path) as image:
        width, height = image.size
        # Pillow gives the size of a TIFF upright, and of no other format.
        turned = image.format != "TIFF" and _orientation(image) in TURNED
        return (height, width) if turned else (width, height)


def open_upright(path: Path) -> Image.Image:
    """Return the whole picture, decoded, upright by its EXIF orientation, in RGB.

    Raises:
        ImageUnusable: missing, empty, not an image, too large, truncated or unreadable. Half a
            JPEG is truncated, never a picture with a grey half.
    """
    with _open(path) as image:
        try:
            # Other libraries ask for half pictures, for the whole process: megadetector does.
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            image.load()
            for transpose in UPRIGHT.get(_orientation(image), ()):
                image = image.transpose(transpose)
            if image.mode in {"I", "F"}:
                raise ImageUnusable(f"picture is of mode {image.mode}, whose range is not known")
            if image.mode.startswith("I;16"):  # Pillow would clip it to white
                image = image.point(lambda grey: grey / 257, "L")
            if "transparency" in image.info:
                image = image.convert("RGBA")
            return image.convert("RGB")
        except ImageUnusable:
            raise
        except DAMAGE as error:
            truncated = "truncated" in str(error) or "broken data stream" in str(error)
            reason = "truncated" if truncated else "unreadable"
            raise ImageUnusable(f"picture is {reason}: {error}") from error


def _open(path: Path) -> Image.Image:
    try:
        if path.stat().st_size == 0:
            raise ImageUnusable("picture is empty (0 bytes)")
        return Image.open(path, formats=FORMATS)
    except FileNotFoundError:
        raise ImageUnusable("picture is missing") from None
    except UnidentifiedImageError:
        raise ImageUnusable("file is not a picture") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageUnusable(f"picture is too large: {error}") from error
    except ImageUnusable:
        raise
    except DAMAGE as error:
        raise ImageUnusable(f"picture is unreadable: {error}") from error


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except (*DAMAGE, UserWarning):
        return 1  # broken EXIF says nothing; the picture itself may be whole


def cut(image: Image.Image, rectangle: Rectangle) -> Image.Image:
    """Return a rectangle of the picture; where it leaves the frame there is black."""
    return image.crop(rectangle)


def save_jpeg(image: Image.Image, path: Path, *, quality: int, comment: str) -> None:
    """Write a JPEG without chroma subsampling, whole or not at all."""
    with files.whole(path) as part:
        image.save(part, "JPEG", quality=quality, subsampling=0, comment=comment)


def jpeg_comment(path: Path) -> str:
    """Return the comment of a whole JPEG, or "" if there is none, or no whole JPEG."""
    try:
        with Image.open(path) as image, path.open("rb") as file:
            file.seek(-2, os.SEEK_END)
            whole = file.read() == b"\xff\xd9"
            comment = image.info.get("comment", b"")
    except DAMAGE:
        return ""
    return str(comment.decode("utf-8", "replace")) if whole else ""
