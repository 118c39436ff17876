"""Reasons, told by their kind: how many there are of each, without the particulars of every row."""

import re
from collections import Counter
from collections.abc import Mapping

PLACE = re.compile(r"^(?:images|annotations)\[\d+\]:? ")  # where in a file, before the reason
AN_ID = re.compile(r"(?<= id) \S+")


def by_kind(reasons: Mapping[str, int]) -> dict[str, int]:
    """Return how many there are of each kind, the most common first.

    >>> by_kind({"several categories (fox, bird): which?": 2, "several categories (a, b)": 1})
    {'several categories': 3}
    >>> by_kind({"annotations[3]: annotation id 7 is there twice": 1, "images[1] has no id": 1})
    {'annotation id is there twice': 1, 'has no id': 1}
    """
    kinds: Counter[str] = Counter()
    for reason, count in reasons.items():
        kinds[re.split(r"[:(]", AN_ID.sub("", PLACE.sub("", reason)))[0].strip()] += count
    return dict(kinds.most_common())


def told(reasons: Mapping[str, int]) -> str:
    """Return a line for each kind."""
    return "".join(f"\n  {count:>7,}  {kind}" for kind, count in by_kind(reasons).items())
