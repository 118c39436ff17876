"""Names of files that are safe to write: inside their folder, and no two alike."""

import os
import re
import unicodedata
from collections.abc import Collection, Iterator

from animl_pipeline.files.whole import PART

NAME_BYTES_MAX = 255 - len(PART)  # of ext4, NTFS and APFS, less what we add while writing
PATH_BYTES_MAX = 1024
NAME_CHARACTERS_SAFE = NAME_BYTES_MAX // 4  # in UTF-8 a character has four bytes at most
BETWEEN_PARTS = re.compile(r"[\\/]")
CONTROL = re.compile(r"[\x00-\x1f]")
DRIVE = re.compile(r"[A-Za-z]:[\\/]")
WINDOWS_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
WINDOWS_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')


def explain_unsafe(name: str) -> str:
    r"""Return why `name` may not be written below a folder of ours, or "" if it may.

    >>> explain_unsafe("project/camera/picture.jpg")
    ''
    >>> explain_unsafe("../../etc/passwd")
    'leaves the output folder (..)'
    >>> explain_unsafe("C:\\pictures\\1.jpg")
    'is an absolute path'
    """
    return next(_list_reasons(name), "")


def _list_reasons(name: str) -> Iterator[str]:
    parts = BETWEEN_PARTS.split(name)  # as Windows would read it, too
    if not name.strip() or parts[-1] in {"", "."}:
        yield "is empty"
    if CONTROL.search(name):
        yield "holds a NUL or another control character"
    if not parts[0] or DRIVE.match(name):
        yield "is an absolute path"
    if ".." in parts:
        yield "leaves the output folder (..)"
    if not is_encodable(name):
        yield "is not valid text"
    if any(part.casefold().endswith(PART) for part in parts):
        yield "ends in .part, as our files do while they are written"
    if len(name) > NAME_CHARACTERS_SAFE and (
        len(name.encode()) > PATH_BYTES_MAX
        or any(len(part.encode()) > NAME_BYTES_MAX for part in parts)
    ):
        yield "is too long"
    if any(map(WINDOWS_RESERVED.fullmatch, parts)):
        yield "is a name Windows reserves"
    if os.name == "nt" and WINDOWS_FORBIDDEN.search(name):
        yield "holds a character Windows forbids"


class Names:
    """The names of the images of one folder, so that none takes the place of another file.

    `reserved` are the names, in lower case, of files of ours that lie in the folder, too.

    >>> names = Names()
    >>> [names.claim(name, "7") for name in ("a/1.jpg", "A/./1.JPG", "a/1.jpg/2.jpg")]
    ['', 'has the same name as image 7', 'would lie in a folder that is image 7']
    """

    def __init__(self, reserved: Collection[str] = ()) -> None:
        self._reserved = reserved
        self._taken: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def claim(self, name: str, image_id: str) -> str:
        """Return why `name` may not be written beside those before it, or "" and take it.

        Names are compared without case, as many file systems do.
        """
        plain = name if name.isascii() else unicodedata.normalize("NFC", name)
        parts = [part for part in plain.casefold().split("/") if part not in {"", "."}]
        key = "/".join(parts)
        if parts[0] in self._reserved:
            return "has the name of a file this pipeline writes"
        if key in self._taken:
            return f"has the same name as image {self._taken[key]}"
        if key in self._folders:
            return f"has the name of the folder of image {self._folders[key]}"
        new = []  # folders; above one that is known all are known, and none is an image
        for end in range(len(parts) - 1, 0, -1):
            folder = "/".join(parts[:end])
            if folder in self._folders:
                break
            if folder in self._taken:
                return f"would lie in a folder that is image {self._taken[folder]}"
            new.append(folder)
        self._taken[key] = image_id
        self._folders |= dict.fromkeys(new, image_id)
        return ""


def is_encodable(name: str) -> bool:
    r"""Return whether a file can hold the text: it has no lone surrogate, as JSON's \ud800."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
