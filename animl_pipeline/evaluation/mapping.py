"""Read a classifier's probabilities as those of other labels: which of its labels make up which."""

from pathlib import Path

from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole

Mapping = dict[str, list[str]]


def read_mapping(path: Path, *, members: list[str], targets: list[str] | None = None) -> Mapping:
    """Return {target: [label of the classifier, ...]}, as MegaDetector's evaluator takes it.

    `targets` are all there may be; None: any.

    Raises:
        InputMissing, InputInvalid: with the target and what is wrong with it.
    """
    content = whole.read_json(path, written_by="a person")
    if not isinstance(content, dict) or not content:
        raise InputInvalid(f'{path} is to be {{"target": ["label of the classifier", ...], ...}}.')
    taken: dict[str, str] = {}
    for target, names in content.items():
        if targets is not None and target not in targets:
            raise InputInvalid(f"{path}: {target!r} is no label here ({_list_some(targets)}).")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputInvalid(f"{path}: {target!r} is not a list of labels.")
        for name in names:
            if name not in members:
                raise InputInvalid(
                    f"{path}: {target!r} names {name!r}, which the classifier does not know "
                    f"({_list_some(members)})."
                )
            if name in taken:
                raise InputInvalid(f"{path}: {name!r} is in {taken[name]!r} and in {target!r}.")
            taken[name] = target
    return content


def _list_some(names: list[str]) -> str:
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")


def match_by_name(targets: list[str], *, members: list[str]) -> Mapping:
    """Return for each target the labels of the same name, whatever their case; may be none."""
    return {
        target: [name for name in members if name.casefold() == target.casefold()]
        for target in targets
    }
