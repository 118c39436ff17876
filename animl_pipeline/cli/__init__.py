"""The command line: one command per stage, made from its Options, and `run` for all of them.

Nothing imports this package.
"""

import os
from importlib.metadata import version
from pathlib import Path

import click

from animl_pipeline.cli.completion import install_completion
from animl_pipeline.cli.errors import report_errors
from animl_pipeline.cli.guesses import suggest
from animl_pipeline.cli.help import HELP_OF_RUN, RUN, WIDTH_MAX, write_panel
from animl_pipeline.running import progress
from animl_pipeline.running.stage import list_stages

SPINS = "10000"
HELP = """From camera-trap labels and images to a trained, honestly evaluated species classifier.

The stages, in order: download, crop, split, train, evaluate. Each finds its input where the one
before wrote it, so only the first needs an argument. Then predict names the animals in new images:

    pipeline download export.json
    pipeline predict /media/card

Beside them: check a COCO file before any work, detect animals with MegaDetector, convert between
a COCO file and MegaDetector results.

Run a command again and it does only what is missing. Exit codes: 0 done; 1 cannot go on, the
message says what to do; 2 wrong usage; 3 finished, but more items failed than --tolerate
allows; 130 stopped by Ctrl-C; 143 stopped by SIGTERM."""


class Commands(click.Group):
    """The commands; the module of a stage is loaded when its command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names, in the order of work."""
        return [*list_stages(), RUN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None where there is none of this name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        from animl_pipeline.cli.commands import make_command

        return make_command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the words ask for; of another word say what there is."""
        names = self.list_commands(ctx)
        if not ctx.resilient_parsing and not args[0].startswith("-") and args[0] not in names:
            ctx.fail(suggest(args[0], names))
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of all commands, and the commands with a sentence each."""
        options = [param.get_help_record(ctx) for param in self.get_params(ctx)]
        write_panel(formatter, "Options", [row for row in options if row])
        panels: dict[str, list[tuple[str, str]]] = {"In the order of work": []}
        for name, entry in list_stages().items():
            panels.setdefault(entry.panel, []).append((name, entry.help))
        panels.setdefault("Beside it", []).append((RUN, HELP_OF_RUN.partition("\n")[0]))
        for title, rows in panels.items():
            write_panel(formatter, title, rows)


def main() -> None:
    """Run the command line."""
    # PyTorch's threads wait for one another by spinning, which made training ten times slower on a
    # computer busy with other work: spin briefly, then sleep. To be set before torch loads.
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    app(prog_name="pipeline")


@click.group(
    cls=Commands,
    help=HELP.replace("\n\n    pipe", "\n\n\b\n    pipe"),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH_MAX},
)
@click.version_option(
    version("animl-pipeline"),
    "-V",
    "--version",
    message="animl-pipeline %(version)s",
    help="Print the version and end.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say only what is wrong.")
@click.option("-v", "--verbose", is_flag=True, help="Say more of what is done.")
@click.option("--log-file", type=click.Path(path_type=Path), help="Add all that is said to a file.")
@click.option(
    "--install-completion",
    is_flag=True,
    help="Let bash, zsh or fish complete commands and options.",
    expose_value=False,  # and not eager: beside it, --help and --version are still what is done
    callback=lambda ctx, _, value: _install_completion(ctx) if value else None,
)
def app(*, quiet: bool, verbose: bool, log_file: Path | None) -> None:
    """Set up what is said; a command follows."""
    with report_errors():
        progress.set_up(is_quiet=quiet, is_verbose=verbose, log_file=log_file)


def _install_completion(ctx: click.Context) -> None:
    with report_errors():
        click.echo(install_completion(ctx.command))
    ctx.exit()
