"""The README and the pages name what is there: commands, options, files, packages, links.

Links between pages are checked by the build (`scripts/docs`).
"""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from animl_pipeline import cli
from animl_pipeline.artifacts.names import ARTIFACTS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
FRONT = [README, ROOT / "CONTRIBUTING.md", ROOT / "label_specs/README.md", ROOT / "llms.txt"]
MADE = ("commands", "tables.md", "commands.md", "packages.md")  # by docs/generate.py
PAGES = FRONT + [
    path for path in sorted((ROOT / "docs").rglob("*.md")) if not {*path.parts, path.name} & {*MADE}
]
# Options of other programs (pip, git, torchrun, tensorboard, our scripts) that pages may name.
OTHERS = """
    --many --images --batches
    --logdir --constraint --help --version --only --nproc-per-node --nnodes --rdzv-endpoint --rounds
"""


def code_of(path: Path) -> list[str]:
    """The lines of fenced blocks (continued ones joined), and what stands between backticks."""
    lines = []
    pieces = re.split(r"^```.*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for number, piece in enumerate(pieces):
        if number % 2:
            lines += re.sub(r"\\\n\s*", " ", piece).splitlines()
        else:
            lines += re.findall(r"`([^`\n]+)`", piece)
    return lines


@pytest.fixture(scope="module")
def commands() -> dict[str, set[str]]:
    """Every command and the options it has."""
    group: Any = cli.app
    return {
        name: {
            text
            for option in group.get_command(None, name).params
            for text in (*option.opts, *option.secondary_opts)
        }
        for name in group.list_commands(None)
    }


def test_every_command_that_a_page_names_exists(commands: dict[str, set[str]]) -> None:
    named = {
        (word, str(path.relative_to(ROOT)))
        for path in PAGES
        for line in code_of(path)
        for word in re.findall(r"(?:^|[\s;&|(])pipeline ([a-z]+)", line)
    }
    assert named
    assert [where for where in sorted(named) if where[0] not in commands] == []


def test_every_option_that_a_page_names_exists(commands: dict[str, set[str]]) -> None:
    group: Any = cli.app
    of_all = {text for option in group.params for text in (*option.opts, *option.secondary_opts)}
    known = set().union(*commands.values()) | of_all | {*OTHERS.split()}
    unknown = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in PAGES
        for line in code_of(path)
        for name in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)
        if name.rstrip("-") not in known
    ]
    assert unknown == []


def test_an_option_that_a_page_gives_to_a_command_is_one_of_it(
    commands: dict[str, set[str]],
) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name} {option}"
        for path in PAGES
        for line in code_of(path)
        for name, rest in re.findall(r"(?:^|\s)pipeline ([a-z]+)([^;&|#]*)", line)
        for option in re.findall(r"--[a-z][a-z-]+", rest)
        if option not in commands.get(name, set()) | {"--help"}
    ]
    assert wrong == []


def test_the_files_page_names_every_file_of_the_contract() -> None:
    text = (ROOT / "docs/reference/files.md").read_text(encoding="utf-8")
    names = [artifact.name for artifact in ARTIFACTS]
    assert names
    assert [name for name in names if Path(name).stem not in text] == []


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 100


def test_the_architecture_names_every_package() -> None:
    text = (ROOT / "docs/development/architecture.md").read_text(encoding="utf-8")
    packages = [path.parent.name for path in (ROOT / "animl_pipeline").glob("*/__init__.py")]
    assert [name for name in packages if f"  {name}/" not in text] == []


@pytest.mark.parametrize("path", FRONT, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_outside_the_pages_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    targets = [link for link in links if "://" not in link]
    assert [link for link in targets if not (path.parent / link).exists()] == []


def test_llms_txt_lists_every_page() -> None:
    text = (ROOT / "llms.txt").read_text(encoding="utf-8")
    names = [str(path.relative_to(ROOT)) for path in PAGES if path not in FRONT]
    via_another = {"docs/index.md", "docs/changes.md", "docs/guides/label-specs.md"}
    via_another |= {"docs/development/style.md", *(n for n in names if n.endswith("/index.md"))}
    assert [name for name in names if name not in text and name not in via_another] == []


def test_every_message_that_troubleshooting_quotes_is_one_of_the_code() -> None:
    texts = []
    for path in (ROOT / "animl_pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            words = [p.value for p in parts if isinstance(p, ast.Constant)]
            texts.append("…".join(word for word in words if isinstance(word, str)))
    page = (ROOT / "docs/guides/troubleshooting.md").read_text(encoding="utf-8")
    quoted = [
        text
        for cell in re.findall(r"^\| (.+?) \|", page, flags=re.MULTILINE)
        for quote in re.findall(r"`([a-zA-Z][^`']+ [^`']+)`", cell)
        for text in quote.split(" ... ")
    ]
    system = {"No space left on device"}
    said = "\n".join(texts)
    assert quoted
    assert [text for text in quoted if text not in said and text not in system] == []
