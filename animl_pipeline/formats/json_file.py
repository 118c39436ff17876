"""Read a JSON file from outside, item by item, and say what is wrong with one that is none."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from animl_pipeline.errors import InputInvalid, InputMissing

CHUNK_CHARACTERS = 1 << 20
VALUE_CHARACTERS_MAX = 1 << 28  # of one item: no record of a COCO file comes near it
TRUNCATED_BY = 16  # an error this near to the end of what is read may be but a lack of more
NUMBER_MAX = 1e9  # past it a number of an image is nonsense, or overflows
BLANK = re.compile(r"[ \t\r\n]*")
DECODER = json.JSONDecoder()


def read_object(
    path: Path,
    *,
    what: str,
    lists: tuple[str, ...],
    keep: Callable[[str, Any], Any] = lambda _, item: item,
) -> dict[str, Any]:
    """Return the object in a JSON file, which has a list under each of the given keys.

    `what` names the kind of file in the messages. Of an item of those lists `keep(key, item)` is
    kept: the file is read item by item, so what is not kept takes no memory.

    Raises:
        InputMissing, InputInvalid: with what is wrong and what to do about it.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = _Text(file)
            content = dict(_read_members(text, path, what, lists, keep))
    except FileNotFoundError:
        raise InputMissing(f"{path} is not there: give {what}.") from None
    except UnicodeDecodeError as error:
        raise InputInvalid(f"{path} is not UTF-8 text, so not {what} ({error}).") from error
    except json.JSONDecodeError as error:
        wrong = _explain_error(path, text, error, what, is_coco="categories" in lists)
        raise InputInvalid(wrong) from error
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, InputInvalid):
            raise
        raise InputInvalid(f"{path} cannot be read: {error}.") from error
    for key in lists:
        if not isinstance(content.get(key), list):
            raise InputInvalid(f"{path} is JSON, but not {what}: it has no list {key!r}.")
    return content


def _read_members(
    text: "_Text",
    path: Path,
    what: str,
    lists: tuple[str, ...],
    keep: Callable[[str, Any], Any],
) -> Iterator[tuple[str, Any]]:
    """Yield the members of the file's one object."""
    if text.peek() != "{":
        text.take_value()
        text.refuse_more()
        raise InputInvalid(f"{path} is JSON, but not {what}: it has no list {lists[0]!r}.")
    for _ in text.walk_items("{", "}"):
        key = text.take_value(what="property name enclosed in double quotes", opens='"')
        text.skip(":", "':' delimiter")
        if key in text.keys:
            raise InputInvalid(
                f"{path} has two members {key!r}: which is meant? Make the file again."
            )
        text.keys.append(key)
        if key in lists and text.peek() == "[":
            yield key, [keep(key, text.take_value()) for _ in text.walk_items("[", "]")]
        else:
            yield key, text.take_value()
    text.refuse_more()


class _Text:
    """A JSON text of which only a window is in memory."""

    def __init__(self, file: TextIO) -> None:
        self.keys: list[str] = []  # of the object, so far
        self.ends = False
        self._file = file
        self._window, self._at = "", 0
        self._lines_before = 0

    @property
    def line(self) -> int:
        """The line of the place that was come to."""
        return self._lines_before + self._window.count("\n", 0, self._at) + 1

    def peek(self) -> str:
        """Return the next character that is not blank, or "" at the end."""
        while True:
            blank = BLANK.match(self._window, self._at)
            self._at = blank.end() if blank else self._at
            if self._at < len(self._window) or not self._read_on():
                return self._window[self._at : self._at + 1]

    def skip(self, character: str, what: str) -> None:
        """Go past a character, which is to be the next."""
        if self.peek() != character:
            raise json.JSONDecodeError(f"Expecting {what}", self._window, self._at)
        self._at += 1

    def walk_items(self, opens: str, closes: str) -> Iterator[None]:
        """Go from item to item of a list or an object, whose value is to be taken at each."""
        self.skip(opens, repr(opens))
        if self.peek() == closes:
            self._at += 1
            return
        while True:
            yield
            if self.peek() == closes:
                self._at += 1
                return
            self.skip(",", "',' delimiter")

    def take_value(self, what: str = "value", opens: str = "") -> Any:
        """Take the next value; `opens` is the character it has to begin with."""
        if not self.peek() or (opens and self.peek() != opens):
            raise json.JSONDecodeError(f"Expecting {what}", self._window, self._at)
        while True:
            try:
                value, end = DECODER.raw_decode(self._window, self._at)
            except json.JSONDecodeError as error:
                near = error.pos >= len(self._window) - TRUNCATED_BY
                cut = near or error.msg.startswith("Unterminated")
                if not (cut and self._read_on()):
                    self._at = max(self._at, error.pos)
                    raise
            else:
                # A number may go on after the window: 1 of 10, of 1.5, of 1e-5.
                whole = not isinstance(value, int | float)
                if whole or end <= len(self._window) - TRUNCATED_BY or not self._read_on():
                    self._at = end
                    return value

    def refuse_more(self) -> None:
        """Raise JSONDecodeError if something follows."""
        if self.peek():
            raise json.JSONDecodeError("Extra data", self._window, self._at)

    def _read_on(self) -> bool:
        """Read on, drop what was taken, and return whether there was more."""
        rest = self._window[self._at :]
        if self.ends or len(rest) > VALUE_CHARACTERS_MAX:
            return False
        # Ever larger: a long value is not begun anew a thousand times.
        chunk = self._file.read(max(CHUNK_CHARACTERS, len(rest)))
        self.ends = not chunk
        if chunk:
            self._lines_before += self._window.count("\n", 0, self._at)
            self._window, self._at = rest + chunk, 0
        return bool(chunk)


def _explain_error(
    path: Path, text: _Text, error: json.JSONDecodeError, what: str, *, is_coco: bool
) -> str:
    place = f"{error.msg}: line {text.line}"
    if text.ends and not error.doc.strip() and not text.keys:
        return f"{path} is empty. Make it again."
    if not text.keys and not error.doc.lstrip().startswith("{"):
        return f"{path} is not JSON, so not {what}: {place}."
    at_the_end = text.ends and error.pos >= len(error.doc.rstrip()) - 1
    ends_there = error.msg != "Extra data" and (at_the_end or error.msg.startswith("Unterminated"))
    if ends_there and is_coco and "images" in text.keys and "categories" not in text.keys:
        return (
            f"{path} is cut off at line {text.line}: its end is missing, and with it the names "
            "of the categories. Animl writes such a file above 18,000 images when the last image "
            "has no reviewed object, and a broken download looks the same. Export in parts of "
            "under 18,000 images (by date or deployment), and run `download` and `crop` for each."
        )
    if ends_there:
        return f"{path} is cut off at line {text.line}: its end is missing. Fetch or make it again."
    return f"{path} is not valid JSON: {place}."


def as_text(value: Any) -> str:
    """Return foreign text, or a whole number as text, as UTF-8 can hold it and a CSV gives it back.

    Anything else is "".
    """
    if isinstance(value, str) and value.isascii() and "\x00" not in value:
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 33.0, as some libraries write the location 33
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def is_number(value: Any) -> bool:
    """Return whether a foreign value is a number that a box, a side or a confidence can be."""
    # The type itself: a bool is an int to isinstance, which takes twice as long at that.
    return type(value) in (int, float) and -NUMBER_MAX < value < NUMBER_MAX  # false for NaN, too


def as_side_px(value: Any) -> int:
    """Return a record's width or height in pixels, or 0 if that is not what it is."""
    return int(value) if is_number(value) and value >= 1 else 0
