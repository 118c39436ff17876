"""The pages that follow from the code: commands, tables, packages."""

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import animl_pipeline
from animl_pipeline import cli
from animl_pipeline.artifacts import tables
from animl_pipeline.running.options import Knob, dash_name, list_knobs, list_parts
from animl_pipeline.running.stage import list_stages, load

COMMANDS = "reference/commands"  # the page of all commands, and the folder of one for each
TABLES = "reference/tables.md"
PACKAGES = "development/packages.md"
NOTE = "<!-- Made by docs/generate.py from the code: do not edit. -->\n\n"
KINDS = {int: "number", float: "number", str: "text", Path: "path"}
ORDER = ("download", "crop", "split", "train", "evaluate")  # of the work; the others come after


def write_pages(docs: Path) -> None:
    """Write the pages of the commands, the tables and the packages; leave what is equal alone."""
    folder = docs / COMMANDS
    pages = {folder / f"{name}.md": describe_command(name) for name in list_commands()}
    pages[docs / f"{COMMANDS}.md"] = describe_commands()
    pages[docs / TABLES] = describe_tables(tables)
    pages[docs / PACKAGES] = describe_packages(Path(animl_pipeline.__file__).parent)
    folder.mkdir(parents=True, exist_ok=True)
    for path in set(folder.glob("*.md")) - set(pages):
        path.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != NOTE + text:
            path.write_text(NOTE + text, encoding="utf-8")


def list_commands() -> list[str]:
    """Return the names of all commands: the five in the order of the work, then the others."""
    group: Any = cli.app
    names = list(group.list_commands(None))
    return [name for name in ORDER if name in names] + [n for n in names if n not in ORDER]


def describe_commands() -> str:
    """Return the page that lists the commands, each with its sentence."""
    lines = ["# Commands", "", "![Five commands; each reads the folder that the one before wrote]"]
    lines[-1] += "(../overview.svg)"
    lines += ["", "`pipeline <command> --help` shows what these pages show.", ""]
    lines += ["A path that a command always needs may stand without its name.", ""]
    lines += ["| command | |", "| --- | --- |"]
    for name in list_commands():
        lines.append(f"| [{name}](commands/{name}.md) | {_split_help(name)[0]} |")
    lines += ["", "These options stand before the command, as in `pipeline --quiet train`:", ""]
    lines += ["| option | |", "| --- | --- |"]
    for param in cli.app.params:
        names = ", ".join(f"`{name}`" for name in param.opts)
        lines.append(f"| {names} | {_escape(getattr(param, 'help', None) or '')} |")
    pages = [f"commands/{name}" for name in list_commands()]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *pages, "```", ""])


def describe_command(name: str) -> str:
    """Return the page of a command: what it does, reads and writes, and its options by panel."""
    sentence, paragraphs = _split_help(name)
    lines = [f"# pipeline {name}", "", sentence, ""]
    for paragraph in paragraphs:
        lines += _as_table(paragraph) or _as_markdown(paragraph)
    examples = list_stages()[name].examples if name in list_stages() else []
    lines += ["```sh", *examples, "```", ""] if examples else []
    lines += [f"```{{program}} pipeline {name}", "```"]
    panels: dict[str, list[Knob]] = {}
    for knob in list_knobs(load(name).Options) if name in list_stages() else []:
        panels.setdefault(knob.panel, []).append(knob)
    for panel, group in panels.items():
        lines += ["", f"## {panel}", "", *(line for knob in group for line in _option(knob))]
    return "\n".join(lines) + "\n"


def _split_help(name: str) -> tuple[str, list[str]]:
    """Return the first sentence of a command's help, and its other paragraphs."""
    group: Any = cli.app
    text = group.get_command(None, name).help or ""
    first, *others = inspect.cleandoc(text.replace("\b\n", "")).split("\n\n")
    return _escape(" ".join(first.split())), others


def _as_table(paragraph: str) -> list[str]:
    """Return what a stage reads and writes as a table; [] of any other paragraph."""
    if not paragraph.startswith(("Reads", "Writes")):
        return []
    rows: list[tuple[str, str, str]] = []
    for line in paragraph.splitlines():
        cells = re.match(r"(Reads|Writes)? *(\S.*?)(?: {2,}(\S.*))?$", line)
        if cells and cells[3]:
            rows.append((cells[1] or "", f"`{cells[2]}`", _escape(cells[3])))
        elif rows:  # a sentence that goes on, or one about all of them
            rows[-1] = (*rows[-1][:2], f"{rows[-1][2]}. {_escape(line.strip())}")
    table = [f"| {verb} | {name} | {about} |" for verb, name, about in rows]
    return ["| | file | |", "| --- | --- | --- |", *table, ""]


def _as_markdown(paragraph: str) -> list[str]:
    """Return a paragraph; one that is laid out stays as it is."""
    lines = paragraph.splitlines()
    if any(line.startswith(("    ", "[", "$ ")) for line in lines):
        return ["```text", *lines, "```", ""]
    return [_escape(paragraph), ""]


def _option(knob: Knob) -> list[str]:
    """Return one option as Sphinx's directive: its names, its sentence, its default and limits."""
    names, kinds = dash_name(knob.name), list_parts(knob.kind)
    if kinds == [bool]:
        names += "" if knob.default is False else f", --no-{names[2:]}"
    else:
        words = [KINDS[kind] for kind in kinds if kind in KINDS] + knob.choices
        names += f" {'|'.join(dict.fromkeys(words))}"
    return [f"````{{option}} {names}", f"{_escape(knob.help)} {_facts(knob)}".rstrip(), "````", ""]


def _facts(knob: Knob) -> str:
    """Return what the signature says: required or its default, and the limits."""
    default = getattr(knob.default, "value", knob.default)
    facts = []
    if knob.is_required:
        facts = ["*Required.*" + " *Its name may be left out.*" * knob.positional]
    elif isinstance(default, bool):
        facts = [f"*Default: {'on' if default else 'off'}.*"]
    elif default not in (None, "", ()):
        facts = [f"*Default:* `{default}`."]
    if knob.low is not None and knob.high is not None:
        facts.append(f"*From {knob.low:,} to {knob.high:,}.*")
    elif knob.low is not None:
        facts.append(f"*At least {knob.low:,}.*")
    return " ".join(facts)


def _escape(text: str) -> str:
    """Return plain text as Markdown; what stands between backticks stays code."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(p if p[:1] == "`" else re.sub(r"([*<$|_\[])", r"\\\1", p) for p in pieces)


def describe_tables(module: ModuleType) -> str:
    """Return the page of all tables: who writes each, its columns and which may be empty."""
    lines = ["# Tables and their columns", ""]
    lines += ["Every CSV file between two commands. Text stays text: `007` and `NA` are names.", ""]
    for table in [value for value in vars(module).values() if isinstance(value, module.Table)]:
        lines += [f"## {table.name}", "", _escape(table.description), ""]
        lines += [
            f"Written by `{table.written_by}`.",
            "",
            "| column | holds | |",
            "| --- | --- | --- |",
        ]
        for column in table.columns:
            facts = ["each row has another"] if column.name == table.key else []
            facts += ["may be empty"] if column.may_be_empty else []
            facts += [_kind(column)] if column.kind is not str else []
            about = _escape(column.description)
            lines.append(f"| `{column.name}` | {about} | {'; '.join(facts)} |")
        if table.prefix:
            lines.append(
                f"| `{table.prefix}<label>` | One column per label, in their order. | number |"
            )
        lines.append("")
    return "\n".join(lines)


def _kind(column: tables.Column) -> str:
    kind = "whole number" if column.kind is int else "number"
    if column.low is not None and column.high is not None:
        return f"{kind} from {column.low:g} to {column.high:g}"
    return kind if column.low is None else f"{kind}, at least {column.low:g}"


def describe_packages(root: Path) -> str:
    """Return the page of all packages and their modules, with the first sentence of each."""
    lines = ["# Packages", "", "Each module with the first sentence of its docstring.", ""]
    for package in sorted({path.parent for path in root.rglob("*.py")}):
        name = ".".join(package.relative_to(root.parent).parts)
        lines += [f"## {name}", "", _first_sentence(package / "__init__.py"), ""]
        modules = sorted(path for path in package.glob("*.py") if path.stem[0] != "_")
        rows = [f"| `{path.stem}` | {_first_sentence(path)} |" for path in modules]
        lines += ["| module | |", "| --- | --- |", *rows, ""] if rows else []
    return "\n".join(lines)


def _first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return _escape(" ".join(text.split("\n\n")[0].split()))
