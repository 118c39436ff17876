"""Write a picture as a JPEG, small enough, with a comment that says what it was made from."""

import io
import os
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from animl_pipeline.files import whole as files
from animl_pipeline.images.opening import DAMAGE


def bound_size(size_px: tuple[int, int], max_side_px: int | None) -> tuple[int, int]:
    """Return the size a picture is stored at: its longer side is at most so many pixels.

    >>> bound_size((900, 600), 300)
    (300, 200)
    """
    longer = max(size_px)
    if max_side_px is None or longer <= max_side_px:
        return size_px
    width, height = (max(1, round(side * max_side_px / longer)) for side in size_px)
    return width, height


def bound(image: Image.Image, max_side_px: int | None) -> Image.Image:
    """Return the picture at its `bound_size`, resized once, if at all, by Lanczos' filter."""
    size_px = bound_size(image.size, max_side_px)
    return image if size_px == image.size else image.resize(size_px, Image.Resampling.LANCZOS)


def save_jpeg(image: Image.Image, path: Path, *, quality: int, comment: str) -> None:
    """Write a JPEG without chroma subsampling, whole or not at all."""
    with files.whole(path) as part:
        _encode(image, part, quality, comment)


def pass_through_jpeg(image: Image.Image, *, quality: int) -> Image.Image:
    """Return the picture as it is read where `save_jpeg` wrote it, without a file."""
    memory = io.BytesIO()
    _encode(image, memory, quality, "")
    read = Image.open(memory, formats=["JPEG"])
    read.load()  # a JPEG of our own is whole: to look whether it is takes a second decoding
    return read


def _encode(image: Image.Image, target: Path | BinaryIO, quality: int, comment: str) -> None:
    image.save(target, "JPEG", quality=quality, subsampling=0, comment=comment)


def read_comment(path: Path) -> str:
    """Return the comment of a whole JPEG, or "" if there is none, or no whole JPEG."""
    try:
        with path.open("rb") as file, Image.open(file, formats=["JPEG"]) as image:
            file.seek(-2, os.SEEK_END)
            whole = file.read() == b"\xff\xd9"
            comment = image.info.get("comment", b"")
    except DAMAGE:
        return ""
    return str(comment.decode("utf-8", "replace")) if whole else ""
