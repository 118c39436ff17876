"""Options: written once as annotations, checked in one place."""

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from animl_pipeline.errors import OptionError
from animl_pipeline.running.options import (
    list_knobs,
    make_options,
    make_plain,
    option,
    settings,
    write_command_line,
)


class Colour(StrEnum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


@settings
class Look:
    """How it looks."""

    panel: ClassVar[str] = "How it looks"

    colour: Annotated[Colour, option("A colour.")] = Colour.RED
    share: Annotated[float, option("A share.", ge=0, le=1)] = 0.5


@settings
class Size:
    """How large it is."""

    panel: ClassVar[str] = "How large it is"

    batch: Annotated[Annotated[int, option("", ge=1)] | Literal["auto"], option("A number.")] = 8
    most: Annotated[int | None, option("A limit.", ge=16)] = None


@settings
class Options(Look, Size):
    """All of them."""

    file: Annotated[Path, option("A file.", panel="Inputs", positional=True)]
    is_square: Annotated[bool, option("A switch.")] = True


def test_options_come_group_by_group_under_the_headings_of_their_groups() -> None:
    assert [(knob.name, knob.panel) for knob in list_knobs(Options)] == [
        ("file", "Inputs"), ("is_square", "Options"), ("colour", "How it looks"),
        ("share", "How it looks"), ("batch", "How large it is"), ("most", "How large it is"),
    ]  # fmt: skip


def test_an_option_knows_its_limits_its_choices_and_whether_it_is_needed() -> None:
    by_name = {knob.name: knob for knob in list_knobs(Options)}
    assert (by_name["share"].low, by_name["share"].high) == (0, 1)
    assert (by_name["batch"].low, by_name["most"].low, by_name["most"].high) == (1, 16, None)
    assert by_name["colour"].choices == ["red", "blue"]
    assert [knob.name for knob in by_name.values() if knob.is_required] == ["file"]


def test_options_are_the_groups_they_are_made_of() -> None:
    options = Options(file=Path("a"))
    assert isinstance(options, Look)
    assert isinstance(options, Size)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": 2.0}, "--share is 2.0; it lies between 0 and 1."),
        ({"share": float("nan")}, "--share is nan; it lies between 0 and 1."),
        ({"share": "0.3"}, "--share is '0.3'; it is a number. Write 0.3, without quotes."),
        ({"most": 3}, "--most is 3; it is 16 or more."),
        ({"most": True}, "--most is True; it is a whole number."),
        ({"batch": 0}, "--batch is 0; it is 1 or more."),
        ({"batch": "all"}, "--batch is 'all'; it is a whole number or auto."),
        ({"colour": "rde"}, "--colour is 'rde'; it is one of red, blue. Did you mean red?"),
        ({"is_square": 1}, "--is-square is 1; it is true or false."),
    ],
    ids=str,
)
def test_python_and_files_are_answered_alike(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Options(**{"file": Path("a")} | values)
    assert str(caught.value) == message
    with pytest.raises(OptionError) as caught:
        make_options(Options, {"file": "a"} | values)
    assert str(caught.value) == message
    with pytest.raises(OptionError) as caught:
        dataclasses.replace(Options(file=Path("a")), **values)
    assert str(caught.value) == message


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(OptionError, match="There is no option --clour"):
        Options(file=Path("a"), clour="red")


def test_a_command_line_gives_numbers_as_text() -> None:
    text = {"file": "a", "share": "1", "batch": "16", "most": "20", "colour": "blue"}
    assert make_options(Options, text, is_text=True) == Options(
        file=Path("a"), share=1.0, batch=16, most=20, colour=Colour.BLUE
    )
    assert make_options(Options, {"file": "a", "batch": "auto"}, is_text=True).batch == "auto"
    with pytest.raises(OptionError, match=r"^--share is 1\.5; it lies between 0 and 1\.$"):
        make_options(Options, {"file": "a", "share": "1.5"}, is_text=True)


def test_a_whole_number_will_do_where_a_number_is_wanted() -> None:
    share = make_options(Options, {"file": "a", "share": 1}).share
    assert (share, type(share)) == (1.0, float)


def test_a_record_makes_the_command_again() -> None:
    options = Options(file=Path("a b"), is_square=False, share=0.25)
    assert write_command_line("trial", Options, make_plain(options)) == (
        "pipeline trial --file 'a b' --no-is-square --share 0.25"
    )
