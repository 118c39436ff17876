"""Files that are whole or not there, and names that stay inside their folder."""

import hashlib
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from animl_pipeline.errors import InputInvalid, InputMissing

PART = ".part"
NAME_BYTES_MAX = 255 - len(PART)  # of ext4, NTFS and APFS, less what we add while writing
PATH_BYTES_MAX = 1024
OUR_NAMES = {"cct.json", "download.csv", "download.json", ".download.unfinished"}  # in images/
NAME_CHARACTERS_SAFE = NAME_BYTES_MAX // 4  # in UTF-8 a character has four bytes at most
BETWEEN_PARTS = re.compile(r"[\\/]")
CONTROL = re.compile(r"[\x00-\x1f]")
DRIVE = re.compile(r"[A-Za-z]:[\\/]")
WINDOWS_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
WINDOWS_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a `.part` path beside `path`, which replaces `path` when the block ends well.

    A crash or an error inside the block leaves the old file, if there was one, as it was.
    """
    if not path.parent.is_dir():  # to ask first is ten times as fast where it is
        path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + PART)
    try:
        yield part
        part.replace(path)
    # Ctrl-C, too, leaves no half file. (`finally` would look for one after every whole file.)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Any) -> None:
    """Write JSON a person can read, whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_lines(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object, whole or not at all; what an iterator in it yields is an item a line.

    So a file of a million items takes no memory but that of one, and can be read and compared.
    """
    with whole(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        opens = "{"
        for key, value in content.items():
            file.write(f"{opens}\n {json.dumps(key)}: ")
            opens = ","
            if not isinstance(value, Iterator):
                file.write(_line(value))
                continue
            file.write("[")
            for number, item in enumerate(value):
                file.write(("," if number else "") + "\n  " + _line(item))
            file.write("\n ]")
        file.write("\n}\n")


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_json(path: Path, *, written_by: str) -> Any:
    """Return the content of a JSON file of ours.

    Raises:
        InputMissing: it is not there; the message names what writes it.
        InputInvalid: it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputMissing(f"{path} is not there; {written_by} writes it.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputInvalid(f"{path} cannot be read: {error}.") from error


@contextmanager
def locked(path: Path, taken: str) -> Iterator[None]:
    """Hold a file, made if it is not there, so that no other process does.

    Where the system or its disk knows no locks, nothing is held.

    Raises:
        InputInvalid: another process holds it; `taken` says what that means.
    """
    with path.open("ab") as file:
        try:
            _lock(file.fileno())
        except BlockingIOError:
            raise InputInvalid(f"{taken}: wait for it, or stop it, then run this again.") from None
        except OSError:  # a network disk without locks
            pass
        yield


def _lock(number: int) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def digest(path: Path, algorithm: str) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def point_at(link: Path, folder: Path) -> None:
    """Make `link` lead to a folder beside it: a symbolic link, or a file with its name."""
    part = link.with_name(link.name + PART)
    part.unlink(missing_ok=True)
    try:
        part.symlink_to(folder.name, target_is_directory=True)
    except OSError:
        part.write_text(folder.name, encoding="utf-8")
    part.replace(link)


def pointed_at(link: Path) -> Path:
    """Return the folder that `point_at` made `link` lead to, or `link` itself."""
    if link.is_symlink():
        return link.parent / link.readlink()
    if link.is_file():
        return link.parent / link.read_text(encoding="utf-8").strip()
    return link


def unsafe_reason(name: str) -> str:
    r"""Return why `name` may not be written below a folder of ours, or "" if it may.

    >>> unsafe_reason("project/camera/picture.jpg")
    ''
    >>> unsafe_reason("../../etc/passwd")
    'leaves the output folder (..)'
    >>> unsafe_reason("C:\\pictures\\1.jpg")
    'is an absolute path'
    """
    return next(_reasons(name), "")


def _reasons(name: str) -> Iterator[str]:
    parts = BETWEEN_PARTS.split(name)  # as Windows would read it, too
    if not name.strip() or parts[-1] in {"", "."}:
        yield "is empty"
    if CONTROL.search(name):
        yield "holds a NUL or another control character"
    if not parts[0] or DRIVE.match(name):
        yield "is an absolute path"
    if ".." in parts:
        yield "leaves the output folder (..)"
    if not encodable(name):
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

    >>> names = Names()
    >>> [names.clash(name, "7") for name in ("a/1.jpg", "A/./1.JPG", "a/1.jpg/2.jpg")]
    ['', 'has the same name as image 7', 'would lie in a folder that is image 7']
    """

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def clash(self, name: str, image_id: str) -> str:
        """Return why `name` may not be written beside those before it, or "" and take it.

        Names are compared without case, as many file systems do.
        """
        plain = name if name.isascii() else unicodedata.normalize("NFC", name)
        parts = [part for part in plain.casefold().split("/") if part not in {"", "."}]
        key = "/".join(parts)
        if parts[0] in OUR_NAMES:
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


def encodable(name: str) -> bool:
    r"""Return whether a file can hold the text: it has no lone surrogate, as JSON's \ud800."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
