"""The label spec: which categories of which dataset make up each label we train on.

The grammar, with examples, is in label_specs/README.md.
"""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.files import encodable

ANY_DATASET = "*"
KEYS = {"dataset_labels", "exclude", "max_count"}
LATER = {
    "taxa": "list the categories under dataset_labels",
    "prioritize": "leave it out: max_count takes crops evenly from all locations",
}
NOT_A_SPECIES = {"animal", "unknown"}  # what Animl and MegaDetector write where nobody could tell

Pair = tuple[str, str]  # dataset (or ANY_DATASET), category


@dataclass(frozen=True)
class LabelRule:
    """What a label is made of, less what is excluded; at most `max_count` images, if given."""

    include: frozenset[Pair]
    exclude: frozenset[Pair] = frozenset()
    max_count: int | None = None

    def matches(self, dataset: str, category: str) -> bool:
        """Return whether crops of this category get the label."""
        pairs = {(dataset, category), (ANY_DATASET, category)}
        return bool(pairs & self.include) and not pairs & self.exclude


@dataclass(frozen=True)
class LabelSpec:
    """Labels in the order of the file; `source` is for messages."""

    source: str
    rules: dict[str, LabelRule] = field(default_factory=dict)

    def label(self, dataset: str, category: str) -> str | None:
        """Return the label of a category, or None if the spec does not name it.

        Raises:
            InputInvalid: two labels claim it.
        """
        found = [name for name, rule in self.rules.items() if rule.matches(dataset, category)]
        if len(found) > 1:
            raise InputInvalid(
                f"{self.source}: category {category!r} of dataset {dataset!r} belongs to both "
                f"{found[0]!r} and {found[1]!r}; take it out of one (or `exclude` it there)."
            )
        return found[0] if found else None

    def unmatched(self, present: Iterable[Pair]) -> list[str]:
        """Return a sentence for each label, and each category of one, that matches nothing."""
        present = set(present)
        names = sorted({category for _, category in present})
        sentences = []
        for label, rule in self.rules.items():
            if not any(rule.matches(dataset, category) for dataset, category in present):
                sentences.append(f"label {label!r} matches no category of the crops")
            for dataset, category in sorted(rule.include):
                if not any(
                    category == name and dataset in (ANY_DATASET, of) for of, name in present
                ):
                    near = difflib.get_close_matches(category, names, n=1)
                    hint = f" (did you mean {near[0]!r}?)" if near and near[0] != category else ""
                    of = "" if dataset == ANY_DATASET else f" of dataset {dataset!r}"
                    sentences.append(f"{label}: no crop has the category {category!r}{of}{hint}")
        return sentences


def read_spec(path: Path) -> LabelSpec:
    """Return a label spec.

    Raises:
        InputMissing, InputInvalid: with the label and what is wrong.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_no_key_twice)
    except FileNotFoundError:
        raise InputMissing(f"{path} is not there. Give a label spec, or leave it out.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputInvalid(f"{path} is not a label spec: {error}.") from error
    if not isinstance(content, dict) or not content:
        raise InputInvalid(f'{path} is to be an object of labels: {{"fox": ["fox"]}}.')
    rules = {label: _rule(value, f"{path}: {label!r}") for label, value in content.items()}
    if any(not label.strip() for label in rules):
        raise InputInvalid(f"{path}: a label has no name.")
    if not all(encodable(label) for label in rules):
        raise InputInvalid(f"{path}: a label holds a character that no file can.")
    return LabelSpec(str(path), rules)


def categories_as_labels(present: Iterable[Pair]) -> LabelSpec:
    """Return the spec used when none is given: every category is a label, but for `unknown`."""
    names = sorted({category for _, category in present} - NOT_A_SPECIES)
    rules = {name: LabelRule(frozenset({(ANY_DATASET, name)})) for name in names}
    return LabelSpec("(no label spec)", rules)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is there twice")
    return dict(pairs)


def _rule(value: Any, where: str) -> LabelRule:
    if isinstance(value, list):  # the short form: these categories, whatever the dataset
        return LabelRule(_pairs({ANY_DATASET: value}, where))
    if not isinstance(value, dict):
        raise InputInvalid(f"{where} is to be a list of categories, or an object.")
    _refuse_unknown(value, where, KEYS)
    if "dataset_labels" not in value:
        raise InputInvalid(f"{where} has no dataset_labels, so it would match nothing.")
    exclude = value.get("exclude", {})
    if not isinstance(exclude, dict):
        raise InputInvalid(f"{where}: exclude is to be an object.")
    _refuse_unknown(exclude, f"{where}: exclude", {"dataset_labels"})
    count = value.get("max_count")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        raise InputInvalid(f"{where}: max_count is to be a whole number from 1: {count!r}.")
    return LabelRule(
        include=_pairs(value["dataset_labels"], where),
        exclude=_pairs(exclude.get("dataset_labels", {}), f"{where}: exclude"),
        max_count=count,
    )


def _refuse_unknown(value: dict[str, Any], where: str, known: set[str]) -> None:
    for key in value:
        if key in LATER:
            raise InputInvalid(f"{where}: {key} is not supported yet; {LATER[key]}.")
        if key not in known:
            raise InputInvalid(f"{where}: unknown key {key!r}; known are {sorted(known)}.")


def _pairs(value: Any, where: str) -> frozenset[Pair]:
    if not isinstance(value, dict):
        raise InputInvalid(f"{where}: dataset_labels is to be an object of lists by dataset.")
    for dataset, names in value.items():
        if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
            raise InputInvalid(f"{where}: {dataset!r} is to be a list of category names.")
    return frozenset((dataset, name) for dataset, names in value.items() for name in names)
