"""The label spec: which categories of which dataset make up each label we train on.

The grammar, with examples, is in label_specs/README.md.
"""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.files.names import is_encodable
from animl_pipeline.splitting.labels.taxonomy import Taxonomy

ANY_DATASET = "*"
SELECTORS = {"dataset_labels", "taxa"}
KEYS = {*SELECTORS, "exclude", "max_count", "prioritize", "parent"}
NOT_A_SPECIES = {"animal", "unknown"}  # what Animl and MegaDetector write where nobody could tell
# What a name of a species never holds, and a regular expression often does.
REGULAR_EXPRESSION = re.compile(r"[*^$|]|\\[bdsw]|\(\?|\.\+|\[[^\]]*-[^\]]*\]")
COMMA_TOO_MANY = re.compile(r",\s*[\]}]")

Pair = tuple[str, str]  # dataset (or a name with *), category


@dataclass(frozen=True)
class Terms:
    """Categories as they are written, and those of taxa in lower case."""

    named: frozenset[Pair] = frozenset()
    of_taxa: frozenset[Pair] = frozenset()

    def have(self, dataset: str, category: str) -> bool:
        """Return whether a category is one of them."""
        return (dataset.lower(), category.lower()) in self.of_taxa or any(
            category == name and covers(pattern, dataset) for pattern, name in self.named
        )


@dataclass(frozen=True)
class LabelRule:
    """What a label is made of, less what is excluded; at most `max_count` images, if given.

    `prioritize` are levels of datasets from which images are taken first; `parent` is the label
    that a label at too few locations becomes.
    """

    include: Terms
    exclude: Terms = Terms()
    max_count: int | None = None
    prioritize: tuple[frozenset[str], ...] = ()
    parent: str | None = None

    def matches(self, dataset: str, category: str) -> bool:
        """Return whether crops of this category get the label."""
        return self.include.have(dataset, category) and not self.exclude.have(dataset, category)


def covers(pattern: str, dataset: str) -> bool:
    """Return whether a dataset is the one named, of which each * stands for anything.

    >>> covers("sci_*", "sci_biosecurity"), covers("*", "any"), covers("sci", "sci_biosecurity")
    (True, True, False)
    """
    if "*" not in pattern:
        return pattern == dataset
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), dataset, re.S) is not None


@dataclass(frozen=True)
class LabelSpec:
    """Labels in the order of the file; `source` is for messages."""

    source: str
    rules: dict[str, LabelRule] = field(default_factory=dict)

    def find_label(self, dataset: str, category: str) -> str | None:
        """Return the label of a category, or None if the spec does not name it.

        Raises:
            InputInvalid: two labels claim it.
        """
        labels = [name for name, rule in self.rules.items() if rule.matches(dataset, category)]
        if len(labels) > 1:
            raise InputInvalid(
                f"{self.source}: category {category!r} of dataset {dataset!r} belongs to both "
                f"{labels[0]!r} and {labels[1]!r}; take it out of one (or `exclude` it there)."
            )
        return labels[0] if labels else None

    def list_absent(self, present: Iterable[Pair]) -> list[str]:
        """Return the labels that match none of the categories that are present."""
        present = set(present)
        return [
            label
            for label, rule in self.rules.items()
            if not any(rule.matches(*pair) for pair in present)
        ]

    def describe_unmatched(self, present: Iterable[Pair]) -> list[str]:
        """Return a sentence for each label, and each category of one, that matches nothing."""
        present = set(present)
        absent = set(self.list_absent(present))
        sentences = []
        for label, rule in self.rules.items():
            if label in absent:
                sentences.append(f"label {label!r} matches no category of the crops")
            for dataset, category in sorted(rule.include.named):
                if not any(category == name and covers(dataset, of) for of, name in present):
                    of = "" if dataset == ANY_DATASET else f" of dataset {dataset!r}"
                    hint = _suggest(dataset, category, present)
                    sentences.append(f"{label}: no crop has the category {category!r}{of}{hint}")
        return sentences


def _suggest(dataset: str, category: str, present: set[Pair]) -> str:
    """Return, in parentheses, what a category that no crop has may be meant to be, or ""."""
    datasets = sorted({name for name, _ in present})
    if not any(covers(dataset, name) for name in datasets):
        return f" (the datasets of the crops are {', '.join(map(repr, datasets))})"
    names = {name.casefold(): name for _, name in sorted(present)}
    near = difflib.get_close_matches(category.casefold(), names, n=1)
    is_other = bool(near) and names[near[0]] != category
    return f" (did you mean {names[near[0]]!r}?)" if is_other else ""


def read_spec(path: Path, taxonomy: Taxonomy | None = None) -> LabelSpec:
    """Return a label spec; its taxa are looked up in the taxonomy.

    Raises:
        InputMissing, InputInvalid: with the label and what is wrong.
    """
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text, object_pairs_hook=_refuse_repeated_keys)
    except FileNotFoundError:
        raise InputMissing(f"{path} is not there. Give a label spec, or leave it out.") from None
    except (OSError, ValueError, RecursionError) as error:
        hint = " Take out the comma before a ] or }." if COMMA_TOO_MANY.search(text) else ""
        raise InputInvalid(f"{path} is not a label spec: {error}.{hint}") from error
    if not isinstance(content, dict) or not content:
        raise InputInvalid(f'{path} is to be an object of labels: {{"fox": ["fox"]}}.')
    rules = {
        label: _read_rule(value, f"{path}: {label!r}", taxonomy) for label, value in content.items()
    }
    if any(not label.strip() for label in rules):
        raise InputInvalid(f"{path}: a label has no name.")
    if not all(is_encodable(label) for label in rules):
        raise InputInvalid(f"{path}: a label holds a character that no file can.")
    _refuse_parents(rules, path)
    return LabelSpec(str(path), rules)


def make_spec_of_categories(present: Iterable[Pair]) -> LabelSpec:
    """Return the spec used when none is given: every category is a label, but for `unknown`."""
    names = sorted({category for _, category in present} - NOT_A_SPECIES)
    rules = {name: LabelRule(Terms(frozenset({(ANY_DATASET, name)}))) for name in names}
    return LabelSpec("(no label spec)", rules)


def _refuse_parents(rules: dict[str, LabelRule], path: Path) -> None:
    """Raise InputInvalid if a parent is no label of the spec, or leads back to its child."""
    for label in rules:
        line = [label]
        while (parent := rules[line[-1]].parent) is not None:
            if parent not in rules:
                raise InputInvalid(f"{path}: {line[-1]!r}: parent {parent!r} is no label here.")
            if parent in line:
                raise InputInvalid(f"{path}: {parent!r} is its own parent, by way of {line!r}.")
            line.append(parent)


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is there twice")
    return dict(pairs)


def _read_rule(value: Any, where: str, taxonomy: Taxonomy | None) -> LabelRule:
    if isinstance(value, list):  # the short form: these categories, whatever the dataset
        return LabelRule(Terms(_read_pairs({ANY_DATASET: value}, where)))
    if not isinstance(value, dict):
        raise InputInvalid(f"{where} is to be a list of categories, or an object.")
    _refuse_unknown(value, where, KEYS)
    if not SELECTORS & set(value):
        raise InputInvalid(f"{where} has no dataset_labels and no taxa, so it matches nothing.")
    exclude = value.get("exclude", {})
    if not isinstance(exclude, dict):
        raise InputInvalid(f"{where}: exclude is to be an object.")
    _refuse_unknown(exclude, f"{where}: exclude", SELECTORS)
    count, parent = value.get("max_count"), value.get("parent")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        raise InputInvalid(f"{where}: max_count is to be a whole number from 1: {count!r}.")
    if parent is not None and not isinstance(parent, str):
        raise InputInvalid(f"{where}: parent is to be a label: {parent!r}.")
    return LabelRule(
        include=_read_terms(value, where, taxonomy),
        exclude=_read_terms(exclude, f"{where}: exclude", taxonomy),
        max_count=count,
        prioritize=_read_levels(value.get("prioritize"), count, where),
        parent=parent,
    )


def _read_terms(value: dict[str, Any], where: str, taxonomy: Taxonomy | None) -> Terms:
    taxa = value.get("taxa", [])
    if not isinstance(taxa, list):
        raise InputInvalid(f"{where}: taxa is to be a list.")
    if taxa and taxonomy is None:
        raise InputInvalid(f"{where} names taxa: say with --taxonomy which categories are what.")
    of_taxa: frozenset[Pair] = frozenset()
    for taxon in taxa:
        known = isinstance(taxon, dict) and set(taxon) <= {"level", "name", "datasets"}
        names = [taxon.get("level"), taxon.get("name")] if known else [None]
        datasets = taxon.get("datasets") if known else None
        if not all(isinstance(name, str) for name in names) or not _is_list_of_names(
            datasets or []
        ):
            raise InputInvalid(
                f'{where}: a taxon is to be {{"level": "family", "name": "cervidae"}}, and '
                f'"datasets" a list, if any: {taxon!r}.'
            )
        if taxonomy is not None:
            of_taxa |= taxonomy.find_categories(taxon["level"], taxon["name"], datasets)
    return Terms(_read_pairs(value.get("dataset_labels", {}), where), of_taxa)


def _read_levels(value: Any, count: int | None, where: str) -> tuple[frozenset[str], ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(map(_is_list_of_names, value)):
        raise InputInvalid(f"{where}: prioritize is to be a list of lists of datasets: {value!r}.")
    if count is None:
        raise InputInvalid(f"{where}: prioritize goes with max_count, which says of how many.")
    return tuple(map(frozenset, value))


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def _refuse_unknown(value: dict[str, Any], where: str, known: set[str]) -> None:
    for key in value:
        if key not in known:
            raise InputInvalid(f"{where}: unknown key {key!r}; known are {sorted(known)}.")


def _read_pairs(value: Any, where: str) -> frozenset[Pair]:
    if not isinstance(value, dict):
        raise InputInvalid(f"{where}: dataset_labels is to be an object of lists by dataset.")
    for dataset, names in value.items():
        if not _is_list_of_names(names):
            raise InputInvalid(f"{where}: {dataset!r} is to be a list of category names.")
        for name in filter(REGULAR_EXPRESSION.search, names):
            raise InputInvalid(
                f"{where}: {name!r} looks like a pattern. Categories are named as they are written "
                "in the crops; a * stands only for datasets."
            )
    return frozenset((dataset, name) for dataset, names in value.items() for name in names)
