"""Reasons, told by their kind: how many rows have each, without the particulars of every row."""

import re
from collections import Counter
from collections.abc import Iterable

PLACE = re.compile(r"^(?:images|annotations)\[\d+\]: ")  # where in a file, before the reason
ROW = re.compile(r"^(images|annotations)\[\d+\] ")  # or where the row is what is wrong
NAMED = re.compile(r"(?<=\bid) \S+|(?<=^image) (?:\(no id\)|\S+)(?= is not in)")


def kind(reason: str) -> str:
    """Return a reason without its particulars.

    >>> kind("annotations[3]: annotation id 7 is there twice")
    'annotation id is there twice'
    >>> kind("images[1] has no id")
    'a row of images has no id'
    >>> kind("several categories (fox, bird): which detection is which?")
    'several categories'
    """
    plain = ROW.sub(r"a row of \1 ", PLACE.sub("", reason))
    return re.split(r"[:(]", NAMED.sub("", plain))[0].strip()


def told(reasons: Iterable[str]) -> str:
    """Return a line for each kind of reason, the most common first."""
    kinds = Counter(map(kind, reasons)).most_common()
    return "".join(f"\n  {count:>7,}  {what}" for what, count in kinds)
