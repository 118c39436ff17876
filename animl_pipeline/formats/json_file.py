"""Read a JSON file from outside, and say what is wrong with one that is none."""

import json
from pathlib import Path
from typing import Any

from animl_pipeline.errors import InputInvalid, InputMissing


def read_object(path: Path, *, what: str, lists: tuple[str, ...]) -> dict[str, Any]:
    """Return the object in a JSON file, which has a list under each of the given keys.

    `what` names the kind of file in the messages.

    Raises:
        InputMissing, InputInvalid: with what is wrong and what to do about it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text)
    except FileNotFoundError:
        raise InputMissing(f"{path} is not there: give {what}.") from None
    except UnicodeDecodeError as error:
        raise InputInvalid(f"{path} is not UTF-8 text, so not {what} ({error}).") from error
    except json.JSONDecodeError as error:
        raise InputInvalid(_what_is_wrong(path, text, error, what)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputInvalid(f"{path} cannot be read: {error}.") from error
    for key in lists:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise InputInvalid(f"{path} is JSON, but not {what}: it has no list {key!r}.")
    return dict(content)


def _what_is_wrong(path: Path, text: str, error: json.JSONDecodeError, what: str) -> str:
    if not text.strip():
        return f"{path} is empty. Make it again."
    if not text.lstrip().startswith("{"):
        return f"{path} is not JSON, so not {what}: {error}."
    at_the_end = error.pos >= len(text.rstrip()) - 1 and error.msg != "Extra data"
    ends_there = at_the_end or error.msg.startswith("Unterminated")
    if ends_there and '"images"' in text and '"categories"' not in text:
        return (
            f"{path} is cut off at line {error.lineno}: its end is missing, and with it the names "
            "of the categories. Animl writes such a file above 18,000 images when the last image "
            "has no reviewed object, and a broken download looks the same. Export in parts of "
            "under 18,000 images (by date or deployment), and run `download` and `crop` for each."
        )
    if ends_there:
        return f"{path} is cut off at line {error.lineno}: its end is missing. Fetch it again."
    return f"{path} is not valid JSON: {error}."


def text(value: Any) -> str:
    """Return foreign text, or a whole number as text, as UTF-8 can hold it and a CSV gives it back.

    Anything else is "".
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 33.0, as some libraries write the location 33
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
