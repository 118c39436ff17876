"""Help in panels by subject: drawn where there is a terminal, plain lines where there is none."""

import sys
from collections.abc import Iterable

import click

WIDTH_MAX = 100
RUN = "run"  # the command that performs the stages of a project file
HELP_OF_RUN = """Run every stage that has a section in a TOML file, in order.

The names in a section are the options of that command, with or without the dashes:

\b
[download]
coco-file = "export.json"
bucket = "my-bucket"
[crop]
[split]
label-spec = "my_labels.json"
[train]
epochs = 30
[evaluate]

A section may be empty; a stage without a section is left out. Paths are relative to the current
folder, as on the command line. The first stage that fails ends the run."""
Rows = list[tuple[str, str]]


def write_panel(formatter: click.HelpFormatter, title: str, rows: Rows) -> None:
    """Write a heading and, below it, names and what each is."""
    if not rows:
        return
    if sys.stdout.isatty():
        from animl_pipeline.cli.drawing import draw_panel

        formatter.write(draw_panel(title, rows, formatter.width))
        return
    with formatter.section(title):
        formatter.write_dl(rows, col_max=34)


def write_examples(formatter: click.HelpFormatter, lines: Iterable[str]) -> None:
    """Write command lines as they are to be typed."""
    with formatter.section("Examples"):
        formatter.write("".join(f"{'':>{formatter.current_indent}}{line}\n" for line in lines))
