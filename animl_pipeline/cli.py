"""The command line: one command per stage, derived from its Options, and `run` for all of them.

Nothing imports this module.
"""

import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from animl_pipeline.errors import PipelineError, Stopped
from animl_pipeline.running import perform as performing
from animl_pipeline.running import processes, project
from animl_pipeline.running.options import Knob, dashed, knobs, make_options
from animl_pipeline.running.stage import STAGES, load

SPINS = "10000"
EXIT_TOO_MANY_FAILED = 3
AS_IT_IS = "\b"  # before a paragraph of help whose lines are to stay as they are
EXIT_INTERRUPTED = 130  # the shell's own convention: 128 + SIGINT

app = typer.Typer(
    name="pipeline",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="""From a camera-trap export to a trained, honestly evaluated species classifier.

The stages, in order: download, crop, split, train, evaluate. Each finds its input where the one
before wrote it, so only the first needs an argument:

    pipeline download --coco-file export.json --bucket my-bucket

Beside them: check an export before any work, detect animals with MegaDetector, convert between an
export and MegaDetector results.

Run a command again and it does only what is missing. Exit codes: 0 done; 1 cannot go on, the
message says what to do; 2 wrong usage; 3 finished, but more items failed than --tolerate
allows; 130 stopped by Ctrl-C; 143 stopped by SIGTERM.""",
)


def main() -> None:
    """Run the command line."""
    # PyTorch's threads wait for one another by spinning, which made training ten times slower on a
    # computer busy with other work (docs, Measured): spin briefly, then sleep. To be set before
    # torch loads.
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    level = logging.ERROR if processes.rank() else logging.WARNING  # the first one says it for all
    logging.basicConfig(level=level, format="%(message)s")
    for name in ("botocore", "urllib3"):  # they tell of what we tell, with tracebacks
        logging.getLogger(name).setLevel(logging.CRITICAL)
    app()


@contextmanager
def told() -> Iterator[None]:
    """Turn what stops a command into a message on stderr and an exit code, never a traceback."""
    try:
        yield
    except PipelineError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        typer.echo("Stopped. Run the same command again: it goes on where it stopped.", err=True)
        code = error.exit_code if isinstance(error, Stopped) else EXIT_INTERRUPTED
        raise typer.Exit(code) from error
    except OSError as error:  # the disk is full, a folder is not ours to write to
        if error.errno is None:
            raise
        typer.echo(f"Error: {error}. Mend that and run the same command again.", err=True)
        raise typer.Exit(PipelineError.exit_code) from error


def perform(name: str, options: Any) -> None:
    """Perform a stage, print its counts, and end with 3 if too many items failed."""
    with told():
        counts = performing.perform(name, options)
    if processes.rank():
        return
    typer.echo(f"{name}: {counts.summary}")
    if counts.problem:
        typer.echo(f"Error: {counts.problem}.", err=True)
        raise typer.Exit(PipelineError.exit_code)
    if counts.too_many_failed:
        typer.echo(
            f"Error: {counts.failed:,} of {counts.total:,} failed, more than --tolerate "
            f"{counts.tolerate:g} allows; they are listed in {options.folder}.",
            err=True,
        )
        raise typer.Exit(EXIT_TOO_MANY_FAILED)


def command_for(name: str) -> Callable[..., None]:
    """Return the function Typer makes a command of: its signature is the stage's Options."""
    options_type = load(name).Options

    def command(**values: Any) -> None:
        with told():
            options = make_options(options_type, values)
        perform(name, options)

    sentence, _, files = (sys.modules[options_type.__module__].__doc__ or "").partition("\n\n")
    command.__doc__ = f"{sentence}\n\n{AS_IT_IS}\n{files}"
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter_for(knob) for knob in knobs(options_type)]
    )
    return command


def number_or_word(text: str) -> int | str:
    """Return a number where the text is one."""
    return int(text) if str(text).isdecimal() else text


def parameter_for(knob: Knob) -> inspect.Parameter:
    """Return one option of a command, with its help, its limits and its default."""
    kind = knob.kind
    limits: dict[str, Any] = {"min": knob.low, "max": knob.high}
    if knob.choices == ["auto"]:  # Typer knows no unions
        kind, limits = int, {"parser": number_or_word, "metavar": "INTEGER|WORD"}
    # A switch that is off has one name: `--dry-run`, without a `--no-dry-run` to read past.
    names = [dashed(knob.name)] if knob.default is False else []
    setting = typer.Option(*names, help=knob.help, **limits)
    return inspect.Parameter(
        knob.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if knob.is_required else knob.default,
        annotation=Annotated[kind, setting],
    )


for _name in STAGES:
    app.command(_name)(command_for(_name))


EXAMPLE = f"""{AS_IT_IS}
[download]
coco-file = "export.json"
bucket = "my-bucket"
[crop]
[split]
label-spec = "label_specs/santa_cruz_island.json"
[train]
epochs = 30
[evaluate]"""


@app.command(
    "run",
    help=f"""Run every stage that has a section in a TOML file, in order.

The names in a section are the options of that command, with or without the dashes:

{EXAMPLE}

A section may be empty; a stage without a section is left out. Paths are relative to the current
folder, as on the command line. The first stage that fails ends the run.""",
)
def run(
    config: Annotated[Path, typer.Argument(help="A TOML file with a section per stage.")],
) -> None:
    """Run every stage that has a section in a TOML file, in order."""
    with told():
        wanted = project.read(config)
    for name, options in wanted:
        perform(name, options)


@app.callback(invoke_without_command=True)
def about(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.")
    ] = False,
) -> None:
    """Print the version where that is asked for."""  # the help is the app's own
    if show_version:
        typer.echo(f"animl-pipeline {version('animl-pipeline')}")
        raise typer.Exit
