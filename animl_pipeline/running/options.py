"""Options: each is written once, and its type and limits are checked in one place.

A settings group is a class made by `settings`; its fields are the options, and `panel` is the
heading of the help under which they stand. A stage's `Options` inherits from groups:

    @settings
    class Stopping:
        panel: ClassVar[str] = "When it ends"
        epochs: Annotated[int, option("At most so many.", ge=1)] = 50
"""

import dataclasses
import difflib
import functools
import inspect
import math
import shlex
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
)

import pydantic
from annotated_types import Ge, Le
from pydantic_core import ArgsKwargs, ErrorDetails

from animl_pipeline.errors import OptionError

T = TypeVar("T")
CONFIG = pydantic.ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
PANEL = "Options"  # of an option whose group names none
KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}


def option(
    help: str,  # noqa: A002 - the word of every command line library
    *,
    ge: float | None = None,
    le: float | None = None,
    panel: str = "",
    positional: bool = False,
) -> Any:
    """Return what is to be known of an option beside its type and default.

    Args:
        help: a sentence.
        ge: the least value.
        le: the greatest value.
        panel: the heading it stands under; default: its group's.
        positional: whether the command line takes it without its name, too.
    """
    extra: dict[str, Any] = {"panel": panel, "positional": positional}
    return pydantic.Field(description=help, ge=ge, le=le, json_schema_extra=extra)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass whose values are checked when it is made.

    Numbers, switches and text are to have their type; a path or a choice may be given as text, and
    many values as a list.

    Raises:
        OptionError: (of the class) a value is of another type or beyond its limits.
    """
    for name, hint in inspect.get_annotations(cls).items():
        if any(
            isinstance(part, type) and issubclass(part, Path | Enum) for part in list_parts(hint)
        ) or is_many(hint):
            cls.__annotations__[name] = Annotated[hint, pydantic.Strict(False)]
    made: Any = pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=CONFIG)(cls)
    check = made.__init__

    @functools.wraps(check)
    def init(self: Any, **values: Any) -> None:
        try:
            check(self, **values)
        except pydantic.ValidationError as error:
            raise OptionError(_explain(made, error)) from None

    made.__init__ = init
    return cast(type[T], made)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Knob:
    """An option as the command line, a project file and the documentation show it."""

    name: str  # of its field
    kind: Any  # its type
    default: Any  # dataclasses.MISSING where a value is needed
    help: str
    panel: str
    positional: bool
    low: Any  # the least value and the greatest; None: there is no limit
    high: Any

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is dataclasses.MISSING

    @property
    def is_many(self) -> bool:
        """Whether it may be given several times."""
        return is_many(self.kind)

    @property
    def choices(self) -> list[str]:
        """The words there are to choose among; none of a number or of free text."""
        return [word for part in list_parts(self.kind) for word in _list_words(part)]


def list_knobs(options_type: type[Any]) -> list[Knob]:
    """Return the options of a settings class, group by group as its bases are."""
    owners: dict[str, type[Any]] = {}
    for cls in options_type.__mro__:
        for name in inspect.get_annotations(cls):
            owners.setdefault(name, cls)
    fields = options_type.__pydantic_fields__
    return [_make_knob(name, fields[name], cls) for name, cls in owners.items() if name in fields]


def _make_knob(name: str, field: Any, owner: type[Any]) -> Knob:
    extra = field.json_schema_extra
    limits = [
        limit for part in (field, *get_args(field.annotation)) for limit in _list_limits(part)
    ]
    low = [limit.ge for limit in limits if isinstance(limit, Ge)]
    high = [limit.le for limit in limits if isinstance(limit, Le)]
    return Knob(
        name=name,
        kind=field.annotation,
        default=dataclasses.MISSING if field.is_required() else field.default,
        help=field.description,
        panel=extra["panel"] or vars(owner).get("panel", PANEL),
        positional=extra["positional"],
        low=next(iter(low), None),
        high=next(iter(high), None),
    )


def _list_limits(part: Any) -> list[Any]:
    metadata: Any = getattr(part, "__metadata__", None) or getattr(part, "metadata", ())
    return [limit for item in metadata for limit in getattr(item, "metadata", [item])]


def list_parts(kind: Any) -> list[Any]:
    """Return the types a value may have: those of a union or of many, None left out."""
    if get_origin(kind) in {Annotated, tuple}:
        return list_parts(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return [part for arg in get_args(kind) for part in list_parts(arg)]
    return [] if kind is NoneType else [kind]


def is_many(kind: Any) -> bool:
    """Return whether a type is of many values: `tuple[str, ...]`."""
    return get_origin(get_args(kind)[0] if get_origin(kind) is Annotated else kind) is tuple


def _list_words(part: Any) -> list[str]:
    if get_origin(part) is Literal:
        return [str(word) for word in get_args(part)]
    is_choice = isinstance(part, type) and issubclass(part, Enum)
    return [str(choice.value) for choice in part] if is_choice else []


def dash_name(name: str) -> str:
    """Return an option as the command line names it.

    >>> dash_name("batch_size")
    '--batch-size'
    """
    return f"--{name.replace('_', '-')}"


def make_options(
    options_type: type[T],
    values: dict[str, Any],
    *,
    is_text: bool = False,
    name_of: Callable[[str], str] = dash_name,
) -> T:
    """Return the options with these values.

    Args:
        options_type: a stage's Options.
        values: by the name of the field.
        is_text: numbers may be given as text, as a command line has nothing else.
        name_of: what a message calls an option.

    Raises:
        OptionError: a value is missing, of another type or beyond its limits.
    """
    validator: Any = vars(options_type)["__pydantic_validator__"]
    made = object.__new__(options_type)
    try:
        validator.validate_python(
            ArgsKwargs((), values), strict=False if is_text else None, self_instance=made
        )
    except pydantic.ValidationError as error:
        raise OptionError(_explain(options_type, error, name_of, is_text=is_text)) from None
    return made


def _explain(
    options_type: type[Any],
    error: pydantic.ValidationError,
    name_of: Callable[[str], str] = dash_name,
    *,
    is_text: bool = False,
) -> str:
    """Return what is wrong with the first value that is wrong, and what it is to be."""
    problem = error.errors()[0]
    name = str(problem["loc"][0])
    knob = next((knob for knob in list_knobs(options_type) if knob.name == name), None)
    if knob is None:
        return f"There is no option {name_of(name)}."
    if problem["type"].startswith("missing"):
        return f"{name_of(name)} is needed: {knob.help}"
    value = problem["input"]
    shown = value if is_text else repr(value)
    return f"{name_of(name)} is {shown}; {_describe(knob, problem, is_text=is_text)}"


def _describe(knob: Knob, problem: ErrorDetails, *, is_text: bool) -> str:
    """Return what an option's value is to be."""
    value = problem["input"]
    is_out_of_limits = problem["type"] in {"greater_than_equal", "less_than_equal", "finite_number"}
    if is_out_of_limits and (knob.low is not None or knob.high is not None):
        if knob.high is None:
            ends = "" if math.isfinite(float(value)) else ", and finite"
            return f"it is {knob.low:g} or more{ends}."
        return (
            f"it lies between {knob.low:g} and {knob.high:g}."
            if knob.low is not None
            else (f"it is {knob.high:g} at most.")
        )
    words = [KINDS[part] for part in list_parts(knob.kind) if part in KINDS]
    words = [f"a list, each {word}" for word in words] if knob.is_many else words
    words += [f"one of {', '.join(knob.choices)}"] if len(knob.choices) > 1 else knob.choices
    sentence = f"it is {' or '.join(words)}."
    if isinstance(value, str):
        near = difflib.get_close_matches(value, knob.choices, n=1)
        sentence += f" Did you mean {near[0]}?" if near else ""
        is_number = value.strip().lstrip("-").replace(".", "", 1).isdecimal()
        sentence += f" Write {value}, without quotes." if is_number and not is_text else ""
    return sentence


def make_plain(options: Any) -> dict[str, Any]:
    """Return the options as a record keeps them: paths as text."""
    values = {knob.name: getattr(options, knob.name) for knob in list_knobs(type(options))}
    return {name: _make_plain_value(value) for name, value in values.items()}


def _make_plain_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_make_plain_value(part) for part in value]
    return value.as_posix() if isinstance(value, Path) else value


def write_command_line(name: str, options_type: type[Any], values: dict[str, Any]) -> str:
    """Return the command that has these options, without those that have their default."""
    return " ".join(["pipeline", name, *_write_arguments(options_type, values)])


def _write_arguments(options_type: type[Any], values: dict[str, Any]) -> Iterator[str]:
    for knob in list_knobs(options_type):
        value = values.get(knob.name, knob.default)
        if value is None or value == _make_plain_value(knob.default):
            continue
        if isinstance(value, bool):
            yield dash_name(knob.name) if value else dash_name(f"no_{knob.name}")
            continue
        for part in value if knob.is_many else [value]:
            yield dash_name(knob.name)
            yield shlex.quote(str(part))
