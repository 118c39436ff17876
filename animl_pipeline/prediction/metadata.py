"""What is known of an image beside its pixels: when and where it was taken, and its sequence."""

import re
from collections.abc import Callable
from datetime import datetime

from PIL import Image

from animl_pipeline.catalogue.sequences import parse_datetime
from animl_pipeline.images.opening import DAMAGE

# EXIF 2.32, table 4 and 7: tags of the first directory, and of the Exif directory within it.
EXIF_DIRECTORY, DATETIME = 0x8769, 0x0132
DATETIME_ORIGINAL, OFFSET_ORIGINAL, OFFSET = 0x9003, 0x9011, 0x9010
WRITTEN = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)(?!\d)")
WRITTEN_OFFSET = re.compile(r"[+-]\d\d:\d\d|Z")


def read_datetime(image: Image.Image) -> str:
    """Return when an open picture was taken, as `2006-08-14 22:34:00`, or "" where nothing says so.

    It is EXIF's DateTimeOriginal, else its DateTime; with `-08:00` behind it where an offset is
    there. Of a picture whose EXIF is damaged it is what can still be read.
    """
    original = _read_tag(image, EXIF_DIRECTORY, DATETIME_ORIGINAL)
    offset = _read_tag(image, EXIF_DIRECTORY, OFFSET_ORIGINAL)
    if text := _write_datetime(original, offset):
        return text
    changed = _read_tag(image, None, DATETIME)
    return _write_datetime(changed, _read_tag(image, EXIF_DIRECTORY, OFFSET))


def _read_tag(image: Image.Image, directory: int | None, tag: int) -> str:
    def read() -> object:
        exif = image.getexif()
        return (exif if directory is None else exif.get_ifd(directory)).get(tag)

    value = _survive(read)
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.strip(" \0") if isinstance(value, str) else ""


def _survive(read: Callable[[], object]) -> object:
    try:
        return read()
    except (*DAMAGE, UserWarning):
        return None  # broken EXIF says nothing; the picture itself may be whole


def _write_datetime(text: str, offset: str) -> str:
    """Return what EXIF writes with colons as the date of the files, or "" where it is none."""
    parts = WRITTEN.match(text)
    if not parts:
        return ""
    try:
        year, month, day, hour, minute, second = map(int, parts.groups())
        known = str(datetime(year, month, day, hour, minute, second))
    except ValueError:
        return ""
    zoned = known + offset if WRITTEN_OFFSET.fullmatch(offset) else known
    return next((written for written in (zoned, known) if parse_datetime(written)), "")
