"""`project.toml`: the options of every stage in one file, checked before any work."""

import dataclasses
import difflib
import tomllib
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.running import perform

NUMBER_MAX = 1e9  # of options without a limit of their own; no knob needs more


def fields(options_type: type[Any]) -> "tuple[dataclasses.Field[Any], ...]":
    """Return the fields of a stage's Options, in order."""
    return dataclasses.fields(options_type)


def read(path: Path) -> list[tuple[str, perform.StageOptions]]:
    """Return (stage name, options) for each section of a project file, in the stages' order.

    Raises:
        InputMissing, InputInvalid: with the section, the key and what was expected.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputMissing(f"{path} is not there; `pipeline run --help` shows one.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputInvalid(f"{path} is not a TOML file: {error}.") from error
    for section in content:
        _known(section, perform.STAGES, f"{path}: there is no stage")
    if not content:
        raise InputInvalid(f"{path} has no section; `pipeline run --help` shows one.")
    return [
        (name, _options(name, content[name], f"{path}: [{name}]"))
        for name in perform.STAGES
        if name in content
    ]


def _options(name: str, section: Any, where: str) -> perform.StageOptions:
    if not isinstance(section, dict):
        raise InputInvalid(f"{where} is to be a section, not a value.")
    options_type = perform.load(name).Options
    by_name = {field.name: field for field in fields(options_type)}
    kinds = get_type_hints(options_type)
    values = {}
    for key, value in section.items():
        field = by_name[_known(key.replace("-", "_"), tuple(by_name), f"{where} has no option")]
        if field.name in values:
            raise InputInvalid(f"{where} {key} is there twice, with a - and with a _.")
        values[field.name] = _value(value, kinds[field.name], field, f"{where} {key}")
    missing = [
        key.replace("_", "-")
        for key, field in by_name.items()
        if field.default is dataclasses.MISSING and key not in values
    ]
    if missing:
        raise InputInvalid(f"{where} needs {', '.join(missing)}.")
    return options_type(**values)


def _value(value: Any, kind: Any, field: "dataclasses.Field[Any]", where: str) -> Any:
    """Return a TOML value as the option's type, within its limits."""
    accepted = [part for part in _parts(kind) if part is not type(None)]
    if isinstance(value, str):
        for part in accepted:
            if issubclass(part, Enum):
                return _choice(value, part, where)
            if issubclass(part, Path):
                return Path(value)
    if {int, float} & set(accepted) and isinstance(value, int | float):
        low, high = field.metadata["min"], field.metadata["max"]
        low, high = -NUMBER_MAX if low is None else low, NUMBER_MAX if high is None else high
        if not isinstance(value, bool) and not low <= value <= high:  # true of NaN, too
            raise InputInvalid(f"{where} is {value!r}; it lies between {low} and {high}.")
        if accepted[0] is float and type(value) is int:
            return float(value)
    if type(value) not in accepted:
        words = " or ".join(part.__name__.lower() for part in accepted)
        raise InputInvalid(f"{where} is {value!r}; a {words} is expected.")
    return value


def _choice(value: str, choices: type[Enum], where: str) -> Enum:
    try:
        return choices(value)
    except ValueError:
        words = ", ".join(str(choice.value) for choice in choices)
        raise InputInvalid(f"{where} is {value!r}; it is one of {words}.") from None


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if isinstance(kind, UnionType) else (kind,)


def _known(name: str, names: tuple[str, ...], complaint: str) -> str:
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0].replace('_', '-')}?" if near else ""
    raise InputInvalid(f"{complaint} {name!r}.{hint}")
