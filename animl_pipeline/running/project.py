"""`project.toml`: the options of every stage in one file, checked before any work."""

import difflib
import tomllib
from pathlib import Path
from typing import Any

from animl_pipeline.errors import InputInvalid, InputMissing, OptionError
from animl_pipeline.running.options import knobs, make_options
from animl_pipeline.running.stage import load, registry


def read(path: Path) -> list[tuple[str, Any]]:
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
    stages = tuple(registry())
    for section in content:
        _known(section, stages, f"{path}: there is no stage")
    if not content:
        raise InputInvalid(f"{path} has no section; `pipeline run --help` shows one.")
    return [
        (name, _options(name, content[name], f"{path}: [{name}]"))
        for name in stages
        if name in content
    ]


def _options(name: str, section: Any, where: str) -> Any:
    if not isinstance(section, dict):
        raise InputInvalid(f"{where} is to be a section, not a value.")
    options_type = load(name).Options
    names = tuple(knob.name for knob in knobs(options_type))
    values: dict[str, Any] = {}
    for key, value in section.items():
        field = _known(key.replace("-", "_"), names, f"{where} has no option")
        if field in values:
            raise InputInvalid(f"{where} {key} is there twice, with a - and with a _.")
        values[field] = value
    try:
        return make_options(
            options_type, values, name_of=lambda field: f"{where} {field.replace('_', '-')}"
        )
    except OptionError as error:
        raise InputInvalid(str(error)) from None


def _known(name: str, names: tuple[str, ...], complaint: str) -> str:
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0].replace('_', '-')}?" if near else ""
    raise InputInvalid(f"{complaint} {name!r}.{hint}")
