"""Reasons: why a row is not used, as a sentence that knows the kind it is counted under."""

from collections import Counter
from collections.abc import Iterable
from typing import Self

from animl_pipeline.files.names import Names


class Reason(str):
    """A sentence about one row, and its `kind`: what is the same for all rows alike.

    A text without particulars is its own kind and needs no Reason.

    >>> reason = Reason("image id is there twice", "images[3]: image id 7 is there twice")
    >>> reason, find_kind(reason)
    ('images[3]: image id 7 is there twice', 'image id is there twice')
    """

    __slots__ = ("kind",)
    kind: str

    def __new__(cls, kind: str, sentence: str) -> Self:
        """Return the sentence with its kind."""
        reason = super().__new__(cls, sentence)
        reason.kind = kind
        return reason


def find_kind(reason: str) -> str:
    """Return the kind that a reason is counted under."""
    return reason.kind if isinstance(reason, Reason) else reason


def explain_clash(names: Names, file_name: str, image_id: str) -> str:
    """Return why a file may not be written beside those before it, or "" and note its name."""
    clash = names.claim(file_name, image_id)
    return Reason("clashes with that of another file", clash) if clash else ""


def join_reasons(first: str, second: str) -> str:
    """Return two reasons as one, which is of the first one's kind."""
    if not first or not second:
        return first or second
    return Reason(find_kind(first), f"{first}; {second}")


def list_kinds(reasons: Iterable[str]) -> str:
    """Return a line for each kind of reason and how many are of it, the most common first."""
    kinds = Counter(map(find_kind, reasons)).most_common()
    return "".join(f"\n  {count:>7,}  {kind}" for kind, count in kinds)
