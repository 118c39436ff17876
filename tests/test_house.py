"""What the house asks of every module, read from the source."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from animl_pipeline.running import stage

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "animl_pipeline"

HEAVY = {
    "torch", "torchvision", "sklearn", "botocore", "obstore", "matplotlib", "pandas", "scipy",
    "lightning_fabric", "timm",
}  # fmt: skip


TREES = {
    path.relative_to(PACKAGE): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def nodes(*kinds: type) -> Iterator[tuple[str, Any]]:
    """Where each node of these kinds stands, and the node."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield f"{path}:{node.lineno}", node


def lines_with(text: str) -> list[str]:
    return [
        f"{path}:{number}"
        for path in TREES
        for number, line in enumerate((PACKAGE / path).read_text("utf-8").splitlines(), 1)
        if text in line
    ]


def at_most(limit: int, offenders: Iterable[str]) -> None:
    """Fails with all of them. A limit only ever goes down."""
    listed = sorted(offenders)
    assert len(listed) <= limit, "\n".join([f"{len(listed)}, and at most {limit} may be:", *listed])


def test_no_module_is_longer_than_300_lines() -> None:
    lengths = {path: len((PACKAGE / path).read_text("utf-8").splitlines()) for path in TREES}
    at_most(0, [f"{path}: {length}" for path, length in lengths.items() if length > 300])


def test_no_function_has_more_than_eight_parameters() -> None:
    offenders = []
    for where, node in nodes(*FUNCTIONS):
        named = [
            arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        ]
        count = len(named) - (named[:1] in (["self"], ["cls"]))
        if count > 8:
            offenders.append(f"{where} {node.name}: {count}")
    at_most(0, offenders)


def test_nothing_is_called_found() -> None:
    def names(node: Any) -> str | None:
        match node:
            case ast.Name(ctx=ast.Store()):
                return node.id
            case ast.Attribute(ctx=ast.Store()):
                return node.attr
            case ast.arg():
                return node.arg
            case _:
                return getattr(node, "name", None)

    kinds = (ast.Name, ast.Attribute, ast.arg, *FUNCTIONS)
    at_most(0, [where for where, node in nodes(*kinds) if names(node) == "found"])


def test_imports_stand_at_the_top() -> None:
    imports = {
        f"{where.split(':')[0]}:{inner.lineno} {ast.unparse(inner)}"
        for where, node in nodes(*FUNCTIONS)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    }
    at_most(28, imports)


def test_types_are_checked_and_code_is_formatted() -> None:
    at_most(8, lines_with("# type: ignore"))
    at_most(9, lines_with("# fmt: skip"))


def test_what_is_public_says_what_it_is() -> None:
    kinds = (*FUNCTIONS, ast.ClassDef)
    silent = []
    for path, tree in TREES.items():
        public = [node for node in tree.body if isinstance(node, kinds)]
        for node in [node for node in public if isinstance(node, ast.ClassDef)]:
            if "Protocol" not in map(ast.unparse, node.bases):
                public += [inner for inner in node.body if isinstance(inner, kinds)]
        silent += [
            f"{path}:{node.lineno} {node.name}"
            for node in public
            if node.name[0] != "_" and not ast.get_docstring(node)
        ]
        if path != Path("__init__.py") and not ast.get_docstring(tree):
            silent.append(str(path))
    assert silent == []


def test_a_stage_says_what_it_reads_and_writes() -> None:
    silent = [
        (name, word)
        for name in stage.list_stages()
        for word in ("Reads", "Writes")
        if not re.search(rf"^{word}  ", stage.load(name).__doc__ or "", re.MULTILINE)
    ]
    assert silent == []


def test_one_module_alone_knows_megadetector_and_its_yolos() -> None:
    theirs = re.compile(r"^\s*(?:import|from) (megadetector|ultralytics|yolov5|yolov9)\b", re.M)
    knowing = [str(p) for p in TREES if theirs.search((PACKAGE / p).read_text("utf-8"))]
    assert knowing == ["detection/megadetector.py"]


def test_no_test_module_imports_another() -> None:
    imports = [
        f"{path.name}: {name}"
        for path in sorted(Path(__file__).parent.rglob("*.py"))
        for name in re.findall(r"^\s*(?:from|import) (test_\w+)", path.read_text("utf-8"), re.M)
    ]
    assert imports == []


HELP = [["--help"], *([name, "--help"] for name in stage.list_stages())]


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_help_loads_no_heavy_library_and_no_stage_it_does_not_show(words: list[str]) -> None:
    code = (
        f"import sys; from animl_pipeline import cli; sys.argv = ['pipeline', *{words}]\n"
        "try: cli.main()\n"
        "except SystemExit: print('LOADED', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout[done.stdout.index("LOADED") :].split())
    assert loaded & HEAVY == set()
    stages = {name.rpartition(".")[2] for name in loaded if ".stages." in name}
    assert stages <= set(words)


def tracked() -> list[Path]:
    command = ["git", "ls-files", "-z"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_file_names_a_folder_of_one_machine() -> None:
    folders = "|".join(["home", "Users", "work", "root", "mnt", "scratch"])
    machine = re.compile(rf"(?<![\w.~>}}-])/({folders})/\w")
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {m[0]}" for m in machine.finditer(text)]
    assert found == []
