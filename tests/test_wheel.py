"""The wheel, built from a copy of this checkout and installed where nothing else of it is."""

import json
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from coco_file import annotation, export, image
from PIL import Image

ROOT = Path(__file__).parents[1]
LOCATIONS = "ABCDEF"


def run(*words: object, **more: object) -> str:
    command = list(map(str, words))
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    shutil.copytree(ROOT / "animl_pipeline", copy / "animl_pipeline")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, copy)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The programs of an environment with the wheel, and what it needs as the tests have it."""
    environment = wheel.parent / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    run(*pip, "--python", programs / "python", "install", "--no-deps", "--no-index", wheel)
    [packages] = environment.rglob("site-packages")
    # A folder that is named so is looked in, but the links to checkouts in it are not followed.
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return programs


def test_a_wheel_holds_the_package_its_templates_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name) for name in archive.namelist()}
    package = ROOT / "animl_pipeline"
    wanted = {
        path.relative_to(ROOT)
        for path in package.rglob("*")
        if path.suffix in {".py", ".j2", ".css", ".html", ".typed"} or path.name == "py.typed"
    }
    assert wanted - names == set()
    assert {name.parts[0].partition("-")[0] for name in names} == {"animl_pipeline"}


def test_the_installed_commands_crop_and_split_and_write_a_page(
    installed: Path, tmp_path: Path
) -> None:
    images = [image(f"{place}{number}", location=place) for place in LOCATIONS for number in (0, 1)]
    boxes = [annotation(record["id"], image_id=record["id"]) for record in images]
    (tmp_path / "images").mkdir()
    (tmp_path / "images/cct.json").write_text(json.dumps(export(images, boxes)), encoding="utf-8")
    for number, record in enumerate(images):
        noise = Image.frombytes("L", (32, 24), random.Random(number).randbytes(768))
        noise.resize((640, 480)).save(tmp_path / "images" / record["file_name"])
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    where = {"cwd": tmp_path, "env": alone}
    module = run(
        installed / "python", "-c", "import animl_pipeline as a; print(a.__file__)", **where
    )
    assert Path(module.strip()).is_relative_to(installed.parent)
    assert "evaluate" in run(installed / "pipeline", "--help", **where)
    run(installed / "python", "-c", "import animl_pipeline.report.page", **where)
    run(installed / "pipeline", "crop", **where)
    run(installed / "pipeline", "split", **where)
    assert "<html" in (tmp_path / "dataset/split_report.html").read_text(encoding="utf-8")
