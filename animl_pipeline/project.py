"""`project.toml`: the options of every stage in one file, checked before any work."""

import dataclasses
import difflib
import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from animl_pipeline import stages
from animl_pipeline.errors import InputInvalid, InputMissing


def fields(options_type: type[Any]) -> "tuple[dataclasses.Field[Any], ...]":
    """Return the fields of a stage's Options, in order."""
    return dataclasses.fields(options_type)


def read(path: Path) -> list[tuple[str, stages.StageOptions]]:
    """Return (stage name, options) for each section of a project file, in the stages' order.

    Raises:
        InputMissing, InputInvalid: with the section, the key and what was expected.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputMissing(f"{path} is not there; `pipeline run --help` shows one.") from None
    except (OSError, ValueError) as error:
        raise InputInvalid(f"{path} is not a TOML file: {error}.") from error
    for section in content:
        _known(section, stages.STAGES, f"{path}: there is no stage")
    if not content:
        raise InputInvalid(f"{path} has no section; `pipeline run --help` shows one.")
    return [
        (name, _options(name, content[name], f"{path}: [{name}]"))
        for name in stages.STAGES
        if name in content
    ]


def _options(name: str, section: Any, where: str) -> stages.StageOptions:
    if not isinstance(section, dict):
        raise InputInvalid(f"{where} is to be a section, not a value.")
    options_type = stages.load(name).Options
    by_name = {field.name: field for field in fields(options_type)}
    kinds = get_type_hints(options_type)
    values = {}
    for key, value in section.items():
        field = by_name[_known(key.replace("-", "_"), tuple(by_name), f"{where} has no option")]
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
    if Path in accepted and isinstance(value, str):
        return Path(value)
    if float in accepted and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) not in accepted:
        words = " or ".join(part.__name__.lower() for part in accepted)
        raise InputInvalid(f"{where} is {value!r}; a {words} is expected.")
    low, high = field.metadata["min"], field.metadata["max"]
    if (low is not None and value < low) or (high is not None and value > high):
        raise InputInvalid(f"{where} is {value!r}; it lies between {low} and {high}.")
    return value


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if isinstance(kind, UnionType) else (kind,)


def _known(name: str, names: tuple[str, ...], complaint: str) -> str:
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0].replace('_', '-')}?" if near else ""
    raise InputInvalid(f"{complaint} {name!r}.{hint}")
