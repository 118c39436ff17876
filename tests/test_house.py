"""What the house asks of every module, read from the source."""

import ast
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from animl_pipeline import cli
from animl_pipeline.running import stage

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "animl_pipeline"
README = ROOT / "README.md"

HEAVY = {
    "torch", "torchvision", "sklearn", "botocore", "obstore", "matplotlib", "pandas", "scipy",
    "lightning_fabric", "timm",
}  # fmt: skip
CONTRACT_FILES = (
    "images/cct.json", "images/download.csv", "crops/detections.json", "crops/crops.csv",
    "crops/failures.csv", "dataset/dataset.csv", "dataset/splits.json",
    "dataset/label_index.json", "dataset/split_report.json", "model.safetensors", "model.json",
    "last.pt", "history.csv", "runs/latest", "predictions_", "metrics.json", "report.html",
)  # fmt: skip
# Options of other programs (pip, git, docker, tensorboard, aws) that the README may name.
OTHERS = {
    "--logdir", "--upgrade", "--extra-index-url", "--index-url", "--constraint", "--editable",
    "--recursive", "--no-sign-request", "--help", "--version", "--rm", "--gpus", "--depth",
    "--only", "--nproc-per-node",
}  # fmt: skip


def sources() -> dict[str, Path]:
    """The modules by name below the package: "", "errors", "formats.coco", ..."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = sources()


def test_one_module_alone_knows_megadetector_and_its_yolos() -> None:
    theirs = re.compile(r"^\s*(?:import|from) (megadetector|ultralytics|yolov5|yolov9)\b", re.M)
    found = [name for name, path in MODULES.items() if theirs.search(path.read_text("utf-8"))]
    assert found == ["detection.megadetector"]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_at_most_300_lines(name: str) -> None:
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 340


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_what_is_public_says_what_it_is(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node for node in tree.body if isinstance(node, kinds)]
    for node in [node for node in public if isinstance(node, ast.ClassDef)]:
        if "Protocol" not in map(ast.unparse, node.bases):
            public += [inner for inner in node.body if isinstance(inner, kinds)]
    assert [n.name for n in public if n.name[0] != "_" and not ast.get_docstring(n)] == []


@pytest.mark.parametrize("name", stage.STAGES)
def test_a_stage_says_what_it_reads_and_writes(name: str) -> None:
    doc = stage.load(name).__doc__ or ""
    assert re.search(r"^Reads  ", doc, re.MULTILINE)
    assert re.search(r"^Writes  ", doc, re.MULTILINE)


def test_the_command_line_loads_no_heavy_library() -> None:
    code = f"import sys, animl_pipeline.cli; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_help_takes_less_than_half_a_second_of_a_processor() -> None:
    def seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    costs = []
    for _ in range(3):
        before = seconds()
        command = [sys.executable, "-m", "animl_pipeline", "--help"]
        subprocess.run(command, capture_output=True, check=True)
        costs.append(seconds() - before)
    assert min(costs) < 1.0


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


def readme() -> str:
    if not README.exists():
        pytest.skip("there is no README.md yet")
    return README.read_text(encoding="utf-8")


def code_of(text: str) -> list[str]:
    """The lines of fenced blocks (continued ones joined), and what stands between backticks."""
    lines = []
    pieces = re.split(r"^```.*$", text, flags=re.MULTILINE)
    for number, piece in enumerate(pieces):
        if number % 2:
            lines += re.sub(r"\\\n\s*", " ", piece).splitlines()
        else:
            lines += re.findall(r"`([^`\n]+)`", piece)
            lines += re.findall(r"^(?: {4}|\t)(\S.*)$", piece, flags=re.MULTILINE)
    return lines


def commands() -> dict[str, set[str]]:
    """Every command and the options it has."""
    group = typer.main.get_command(cli.app)
    assert isinstance(group, TyperGroup)
    return {
        name: {text for option in command.params for text in (*option.opts, *option.secondary_opts)}
        for name, command in group.commands.items()
    }


def test_every_command_in_the_readme_exists() -> None:
    named = {
        word
        for line in code_of(readme())
        for word in re.findall(r"(?:^|[\s;&|(])pipeline ([a-z]+)", line)
    }
    assert named
    assert named <= set(commands())


def test_every_option_in_the_readme_exists() -> None:
    known = set().union(*commands().values()) | {"--help", "--version"}
    unknown = set()
    for line in code_of(readme()):
        options = {match.rstrip("-") for match in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)}
        others = set() if line.strip().startswith("pipeline") else OTHERS
        unknown |= options - known - others
    assert unknown == set()


def test_an_option_in_the_readme_is_one_of_its_command() -> None:
    wrong = []
    for line in code_of(readme()):
        for name, rest in re.findall(r"(?:^|\s)pipeline ([a-z]+)([^;&|#]*)", line):
            known = commands().get(name, set()) | {"--help"}
            wrong += [f"{name} {o}" for o in re.findall(r"--[a-z][a-z-]+", rest) if o not in known]
    assert wrong == []


@pytest.mark.parametrize("name", CONTRACT_FILES)
def test_the_readme_names_every_file_of_the_contract(name: str) -> None:
    assert Path(name).name in readme()
