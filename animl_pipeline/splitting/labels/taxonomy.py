"""A taxonomy CSV as MegaDetector's tools use it: which categories of which dataset are what taxon.

Its columns `dataset_name, query, taxonomy_string` are read; a `taxonomy_string` is a Python list of
(id, level, name, common names) from the category itself up to its kingdom, parsed as data alone.
"""

import ast
import difflib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animl_pipeline.errors import InputInvalid
from animl_pipeline.formats import csv_file

COLUMNS = ("dataset_name", "query", "taxonomy_string")

Taxon = tuple[str, str]  # level, name; lower-case
Pair = tuple[str, str]  # dataset, category; lower-case


@dataclass(frozen=True)
class Taxonomy:
    """The categories below each taxon; `source` is for messages."""

    source: str
    below: dict[Taxon, frozenset[Pair]]

    def find_categories(self, level: str, name: str, datasets: list[str] | None) -> frozenset[Pair]:
        """Return the categories of a taxon, of these datasets (None: of all).

        Raises:
            InputInvalid: no category is of this taxon.
        """
        taxon = (level.lower(), name.lower())
        if taxon not in self.below:
            names = [known for of, known in self.below if of == taxon[0]]
            near = difflib.get_close_matches(taxon[1], names, n=1)
            hint = f"did you mean {near[0]!r}" if near else "is it of another level"
            raise InputInvalid(f"{self.source} has no {level} {name!r}; {hint}?")
        wanted = None if datasets is None else {dataset.lower() for dataset in datasets}
        below = self.below[taxon]
        return frozenset(pair for pair in below if wanted is None or pair[0] in wanted)


def read_taxonomy(path: Path) -> Taxonomy:
    """Return a taxonomy.

    Raises:
        InputMissing, InputInvalid: with the row (the header is row 1) and what is wrong.
    """
    below: dict[Taxon, set[Pair]] = defaultdict(set)
    for number, (dataset, query, lineage) in csv_file.read_rows(path, COLUMNS):
        for taxon in _parse_lineage(lineage, f"{path}: row {number}"):
            below[taxon].add((dataset.lower(), query.lower()))
    return Taxonomy(str(path), {taxon: frozenset(pairs) for taxon, pairs in below.items()})


def _parse_lineage(text: str, where: str) -> list[Taxon]:
    """Return the taxa a category is of; none where it was never resolved."""
    if not text.strip():
        return []
    try:
        content: Any = ast.literal_eval(text)
        return [(str(level).lower(), str(name).lower()) for _, level, name, *_ in content]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise InputInvalid(
            f"{where}: taxonomy_string is to be a list of (id, level, name, common names)."
        ) from error
