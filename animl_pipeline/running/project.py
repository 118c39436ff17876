"""`project.toml`: the options of every stage in one file, checked before any work."""

import difflib
import tomllib
from pathlib import Path
from typing import Any

from animl_pipeline.errors import InputInvalid, InputMissing, OptionError
from animl_pipeline.running.options import list_knobs, make_options
from animl_pipeline.running.stage import list_stages, load

OUTPUTS = ("output_dir", "output_file", "logdir")  # the options that say where a stage writes


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
    for section in content:
        _match(section, tuple(list_stages()), f"{path}: there is no stage")
    if not content:
        raise InputInvalid(f"{path} has no section; `pipeline run --help` shows one.")
    sections = [name for name in list_stages() if name in content]
    stages = [(name, _read_section(name, content[name], f"{path}: [{name}]")) for name in sections]
    _refuse_folds(dict(stages), path)
    return stages


def _refuse_folds(stages: dict[str, Any], path: Path) -> None:
    """Raise InputInvalid if [split] makes folds, and a later stage reads the folder above them."""
    split = stages.get("split")
    if split is None or split.folds is None:
        return
    for name in ("train", "evaluate"):
        if name in stages and stages[name].dataset_dir == split.output_dir:
            raise InputInvalid(
                f"{path}: [split] folds makes {split.output_dir}/fold_0 and so on, and [{name}] "
                f'reads {split.output_dir}. Write dataset-dir = "{split.output_dir}/fold_0" there, '
                "or leave folds out."
            )


def require_files(path: Path, stages: list[tuple[str, Any]]) -> None:
    """Refuse a project file that names what is not there, unless a stage before makes it.

    So a mistyped name is known at once, not after hours of other stages. What is not named is for
    each stage to look for: it knows the command that makes it.

    Raises:
        InputMissing: with the section and the key.
    """
    made: list[Path] = []
    for name, options in stages:
        for knob in list_knobs(type(options)):
            value = getattr(options, knob.name)
            if knob.name in OUTPUTS:
                made += [value] if value else []
                continue
            is_named = isinstance(value, Path) and value != knob.default
            if is_named and not any(value.is_relative_to(folder) for folder in made):
                key = knob.name.replace("_", "-")
                if not value.exists():
                    raise InputMissing(f"{path}: [{name}] {key} is {value}, which is not there.")


def _read_section(name: str, section: Any, where: str) -> Any:
    if not isinstance(section, dict):
        raise InputInvalid(f"{where} is to be a section, not a value.")
    options_type = load(name).Options
    names = tuple(knob.name for knob in list_knobs(options_type))
    values: dict[str, Any] = {}
    for key, value in section.items():
        field = _match(key.replace("-", "_"), names, f"{where} has no option")
        if field in values:
            raise InputInvalid(f"{where} {key} is there twice, with a - and with a _.")
        values[field] = value
    try:
        return make_options(
            options_type, values, name_of=lambda field: f"{where} {field.replace('_', '-')}"
        )
    except OptionError as error:
        raise InputInvalid(str(error)) from None


def _match(name: str, names: tuple[str, ...], complaint: str) -> str:
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0].replace('_', '-')}?" if near else ""
    raise InputInvalid(f"{complaint} {name!r}.{hint}")
