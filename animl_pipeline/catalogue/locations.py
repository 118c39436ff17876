"""Where cameras stood: a location is one of its dataset."""

import re
import unicodedata
from collections import defaultdict

Location = tuple[str, str]  # dataset, name


def find_variants(locations: set[Location]) -> list[str]:
    """Return, for each set of locations that may be one in several spellings, which they are."""
    alike: dict[Location, list[str]] = defaultdict(list)
    for dataset, name in sorted(locations):
        plain = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
        if plain:
            alike[dataset, plain].append(name)
    return [
        f"{dataset}: {', '.join(map(repr, names))} may be one location"
        for (dataset, _), names in alike.items()
        if len(names) > 1
    ]
