"""Walk a folder: which images are there, as they are now, and how many videos."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.formats import json_file

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif", ".bmp", ".webp"}
VIDEO_SUFFIXES = {".mp4", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".mkv", ".mts", ".3gp"}


class FileState(NamedTuple):
    """What changes when a file does; zeros where it cannot be asked, as of a link to nowhere."""

    time_ns: int = 0  # of its last change
    size_bytes: int = 0


class Listing(NamedTuple):
    """What is in a folder: its images in the order of their names, and the videos."""

    images: dict[str, FileState]
    videos: list[str]


def list_files(folder: Path) -> Listing:
    """Return the images and videos below a folder; what is neither is no concern of anyone.

    Links to folders are followed, once each. What begins with a dot is hidden, and left out.

    Raises:
        InputMissing: it is no folder.
        InputInvalid: it holds no image.
    """
    if not folder.is_dir():
        raise InputMissing(f"{folder} is no folder of images. Check --images-dir.")
    images, videos = {}, []
    for name, path in _walk(folder):
        suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - a Path for each takes longer
        if suffix in SUFFIXES:
            images[name] = read_state(path)
        elif suffix in VIDEO_SUFFIXES:
            videos.append(name)
    if not images:
        suffixes = ", ".join(sorted(SUFFIXES))
        of_videos = f", but {len(videos):,} videos, which are not read" if videos else ""
        raise InputInvalid(f"{folder} holds no images ({suffixes}){of_videos}. Check --images-dir.")
    return Listing(dict(sorted(images.items())), sorted(videos))


def _walk(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield every file's name, relative to the folder and with `/`, and its path."""
    seen = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        below = os.path.relpath(where, folder).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        for name in names:
            if not name.startswith("."):
                yield json_file.as_text(prefix + name), os.path.join(where, name)  # noqa: PTH118


def read_state(path: str | Path) -> FileState:
    """Return what a file is now, as far as it can be asked."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - as above
    except OSError:  # a link to nowhere: opening it says so
        return FileState()
    return FileState(stat.st_mtime_ns, stat.st_size)
