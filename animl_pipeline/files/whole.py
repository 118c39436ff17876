"""Files that are whole or not there."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from animl_pipeline.errors import InputInvalid, InputMissing

PART = ".part"


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
                file.write(_make_line(value))
                continue
            file.write("[")
            for number, item in enumerate(value):
                file.write(("," if number else "") + "\n  " + _make_line(item))
            file.write("\n ]")
        file.write("\n}\n")


def _make_line(value: Any) -> str:
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


def digest(path: Path, algorithm: str) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
