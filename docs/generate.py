"""The pages of the reference that follow from the code: commands and tables."""

import inspect
import re
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import typer

from animl_pipeline import cli
from animl_pipeline.artifacts import tables

COMMANDS = "commands"  # folder of one page per command
TABLES = "tables.md"
NOTE = "<!-- Made by docs/generate.py from the code: do not edit. -->\n\n"
KINDS = {int: "integer", float: "number", str: "text", Path: "path"}


def write_reference(folder: Path) -> None:
    """Write the page of every command and the page of the tables; leave what is equal alone."""
    pages = {f"{COMMANDS}/{name}.md": describe_command(name) for name in list_commands()}
    pages[TABLES] = describe_tables(tables)
    (folder / COMMANDS).mkdir(parents=True, exist_ok=True)
    for path in (folder / COMMANDS).glob("*.md"):
        if f"{COMMANDS}/{path.name}" not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != NOTE + text:
            path.write_text(NOTE + text, encoding="utf-8")


def list_commands() -> list[str]:
    """Return the names of all commands, in the order of the help."""
    group: Any = typer.main.get_command(cli.app)
    return list(group.list_commands(None))


def describe_command(name: str) -> str:
    """Return the page of a command: what it does, reads and writes, and its options by panel."""
    group: Any = typer.main.get_command(cli.app)
    command = group.get_command(None, name)
    lines = [f"# pipeline {name}", "", *_help_of(command), f"```{{program}} pipeline {name}", "```"]
    panels: dict[str, list[Any]] = {}
    for param in command.params:
        if param.name != "help":
            panel = getattr(param, "rich_help_panel", None)
            panels.setdefault(panel or "Options", []).append(param)
    for panel, params in panels.items():
        lines += ["", f"## {panel}", ""]
        for param in params:
            lines += _option(param)
    return "\n".join(lines) + "\n"


def _help_of(command: Any) -> list[str]:
    """Return the paragraphs of a command's help; what is laid out stays as it is."""
    lines = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        text = paragraph.removeprefix("\b").strip("\n")
        is_laid_out = paragraph.startswith(("\b", "    "))
        lines += ["```text", text, "```", ""] if is_laid_out else [_escape(text), ""]
    return lines


def _option(param: Any) -> list[str]:
    """Return one option or argument as Sphinx's directive, with its default and limits."""
    is_option = param.opts[0].startswith("-")
    names = ", ".join(param.opts + param.secondary_opts) if is_option else param.name
    value = f" {_kind(param)}" if is_option and not _is_switch(param) else ""
    return [
        f"````{{option}} {names}{value}",
        *_facts(param),
        "",
        _escape(param.help or ""),
        "````",
        "",
    ]


def _escape(text: str) -> str:
    """Return plain text as Markdown; what stands between backticks stays code."""
    return re.sub(r"(?<!`)([*<$])(?!`)", r"\\\1", text)


def _is_switch(param: Any) -> bool:
    return bool in _types_of(param)


def _types_of(param: Any) -> tuple[type, ...]:
    kind = param.type_descriptor.annotation
    return get_args(kind) or (kind,)


def _kind(param: Any) -> str:
    kinds = _types_of(param)
    if issubclass(kinds[0], Enum):
        return "|".join(str(choice.value) for choice in kinds[0])
    return (param.metavar or KINDS[kinds[0]]).lower()


def _facts(param: Any) -> list[str]:
    """Return what the signature says: required or its default, and the limits."""
    default = getattr(param.default, "value", param.default)
    facts = ["*Required.*"] if param.required else []
    if _is_switch(param):
        facts = [f"Default: {'on' if default else 'off'}."]
    elif default not in (None, "") and not param.required:
        facts = [f"Default: `{default}`."]
    low, high = (getattr(param, limit, None) for limit in ("min", "max"))
    if low is not None and high is not None:
        facts.append(f"From {low:,} to {high:,}.")
    elif low is not None:
        facts.append(f"At least {low:,}.")
    return [" ".join(facts)] if facts else []


def describe_tables(module: ModuleType) -> str:
    """Return the page of all tables: who writes each, its columns and which may be empty."""
    lines = ["# Tables and their columns", ""]
    lines += ["Every CSV file between two commands. Text stays text: `007` and `NA` are names.", ""]
    kind = module.Table
    for table in [value for value in vars(module).values() if isinstance(value, kind)]:
        lines += [
            f"## {table.name}",
            "",
            f"{table.description} Written by `{table.written_by}`.",
            "",
        ]
        lines += ["| column | |", "| --- | --- |"]
        for column in table.columns:
            about = [column.description]
            about += ["May be empty."] if column.may_be_empty else []
            about += ["Each row has another."] if column.name == table.key else []
            lines.append(f"| `{column.name}` | {' '.join(filter(None, about))} |")
        if table.more:
            lines.append(f"| `{table.more}...` | One column per label, in the order of labels. |")
        lines.append("")
    return "\n".join(lines)
