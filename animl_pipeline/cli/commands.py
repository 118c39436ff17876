"""A command of every stage, made from its Options when it is asked for."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from animl_pipeline.cli.errors import EXIT_TOO_MANY_FAILED, fail, report_errors
from animl_pipeline.cli.help import HELP_OF_RUN, RUN, write_examples, write_panel
from animl_pipeline.errors import OptionError
from animl_pipeline.running import processes, progress, project
from animl_pipeline.running.options import Knob, dash_name, list_knobs, list_parts, make_options
from animl_pipeline.running.perform import perform as perform_stage
from animl_pipeline.running.stage import list_stages, load

AS_IT_IS = "\b"  # before a paragraph of help whose lines are to stay as they are
METAVARS = {int: "INTEGER", float: "FLOAT", str: "TEXT", Path: "PATH"}
ARGUMENT = "argument_"  # before the name of an option that is given without its name


def make_command(name: str) -> click.Command:
    """Return the command of a stage, or `run`."""
    if name != RUN:
        return StageCommand(name)
    config = click.Argument(["config"], type=click.Path(path_type=Path), metavar="CONFIG")
    return click.Command(RUN, callback=run_project, help=HELP_OF_RUN, params=[config])


def perform_and_report(name: str, options: Any) -> None:
    """Perform a stage, print its counts, and end with 3 if too many items failed."""
    counts = perform_stage(name, options)
    if processes.get_rank():
        return
    progress.say(f"{name}: {counts.summary}")
    if counts.problem:
        fail(f"{counts.problem}.")
    if counts.too_many_failed:
        fail(
            f"{counts.failed:,} of {counts.total:,} failed, more than --tolerate "
            f"{counts.tolerate:g} allows; they are listed in {counts.folder}.",
            EXIT_TOO_MANY_FAILED,
        )


def run_project(config: Path) -> None:
    """Perform every stage that has a section in a TOML file, in order."""
    with report_errors():
        stages = project.read(config)
        project.require_files(config, stages)
        for name, options in stages:
            perform_and_report(name, options)


class Text(click.ParamType[str]):
    """Text that the options check; the shell completes the words there are to choose among."""

    name = "text"

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the words that begin so."""
        return [CompletionItem(word) for word in self.words if word.startswith(incomplete)]


class StageCommand(click.Command):
    """A command with its options in panels and its examples below."""

    def __init__(self, name: str) -> None:
        """Make the command of a stage."""
        stage = load(name)
        self.entry, self.knobs = list_stages()[name], list_knobs(stage.Options)

        def run(**values: Any) -> None:
            with report_errors():
                perform_and_report(
                    name, make_options(stage.Options, _select_given(values), is_text=True)
                )

        _, _, files = (stage.__doc__ or "").partition("\n\n")
        super().__init__(
            name,
            callback=run,
            help=f"{self.entry.help}\n\n{AS_IT_IS}\n{files}",
            params=[_make_option(knob) for knob in self.knobs]
            + [_make_argument(knob) for knob in self.knobs if knob.positional],
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the words apart; say where an option of all commands belongs."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            group = ctx.parent.command.params if ctx.parent else []
            if any(error.option_name in param.opts for param in group):
                ctx.fail(
                    f"{error.option_name} stands before the command: "
                    f"pipeline {error.option_name} {self.name}"
                )
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a panel for each subject, then the examples."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for knob in self.knobs:
            panels.setdefault(knob.panel, []).append((_write_names(knob), describe(knob)))
        for title, rows in panels.items():
            write_panel(formatter, title, rows)
        options = [param.get_help_record(ctx) for param in self.get_params(ctx)]
        write_panel(formatter, "Help", [row for row in options if row and "--help" in row[0]])
        write_examples(formatter, self.entry.examples)


def _make_option(knob: Knob) -> click.Option:
    name = dash_name(knob.name)
    if bool in list_parts(knob.kind):
        # A switch that is off has one name: `--dry-run`, without a `--no-dry-run` to read past.
        name += dash_name(f"/no_{knob.name}").replace("--/no", "/--no") if knob.default else ""
        return click.Option([name, knob.name], is_flag=True, default=None)
    kind = click.Path() if Path in list_parts(knob.kind) else Text(knob.choices)
    return click.Option([name, knob.name], type=kind, help=knob.help, multiple=knob.is_many)


def _make_argument(knob: Knob) -> click.Argument:
    return click.Argument(
        [ARGUMENT + knob.name], required=False, type=click.Path(), metavar=f"[{knob.name.upper()}]"
    )


def _select_given(values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, those without their name among the others."""
    given = {name: value for name, value in values.items() if value not in (None, ())}
    for name in [name for name in given if name.startswith(ARGUMENT)]:
        option = name.removeprefix(ARGUMENT)
        if option in given:
            raise OptionError(f"{dash_name(option)} is given twice, with its name and without.")
        given[option] = given.pop(name)
    return given


def _write_names(knob: Knob) -> str:
    """Return an option as help shows it, with what it takes."""
    name = dash_name(knob.name)
    kinds = list_parts(knob.kind)
    if bool in kinds:
        return f"{name} / {dash_name(f'no_{knob.name}')}" if knob.default else name
    words = [METAVARS[kind] for kind in kinds if kind in METAVARS]
    return f"{name} {'|'.join(words + knob.choices)}"


def describe(knob: Knob) -> str:
    """Return what an option is for, its default and its limits."""
    facts = []
    if knob.is_required:
        facts.append("required")
    elif isinstance(knob.default, bool):
        facts += [f"default: {dash_name(knob.name)[2:]}"] * knob.default
    elif knob.default not in (None, "", ()):
        facts.append(f"default: {knob.default}")
    if knob.low is not None and knob.high is not None:
        facts.append(f"{knob.low:g} to {knob.high:g}")
    elif knob.low is not None:
        facts.append(f"{knob.low:g} or more")
    elif knob.high is not None:
        facts.append(f"{knob.high:g} at most")
    return knob.help + (f"  [{'; '.join(facts)}]" if facts else "")
