import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image
from shop import Done
from small_dataset import make_dataset

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.running import stage

Pipeline = Callable[..., Done]

# DESIGN 4: each option, and its default where the design gives one.
OPTIONS: dict[str, dict[str, str | None]] = {
    "download": {
        "--coco-file": "required", "--output-dir": "images",
        "--bucket": "animl-images-serving-prod", "--key-field": None, "--key-prefix": None,
        "--endpoint-url": None, "--profile": None, "--region": None, "--no-sign-request": None,
        "--requester-pays": None, "--workers": None, "--dry-run": None, "--tolerate": "0.0",
    },
    "check": {"--coco-file": "required", "--output-file": "export_report.json"},
    "convert": {"--input-file": "required", "--output-file": "required", "--to": "megadetector"},
    "detect": {
        "--images-dir": "images", "--model": "MDV5A", "--output-file": "detections.json",
        "--threshold": "0.1", "--image-size": None, "--device": "auto", "--batch-size": None,
        "--workers": None, "--tolerate": "0.01",
    },
    "crop": {
        "--coco-file": "images/cct.json", "--images-dir": "images", "--output-dir": "crops",
        "--detections": None, "--threshold": "0.2", "--square-crops": "square-crops",
        "--no-square-crops": "square-crops", "--margin": "0.0", "--quality": "95",
        "--dataset": None, "--include-unvalidated": None, "--workers": None,
        "--tolerate": "0.01", "--iou": "0.5", "--sequence-labels": None,
    },
    "split": {
        "--crops-dir": "crops", "--output-dir": "dataset", "--label-spec": None,
        "--min-locs": "3", "--val-frac": "0.2", "--test-frac": "0.2", "--group-by": "location",
        "--match-test": None, "--seed": "0", "--taxonomy": None, "--rare": "drop",
        "--sequence-gap": None, "--location-map": None, "--test-locations": None,
        "--time-cutoff": None, "--seen-test-frac": "0.0", "--folds": None,
        "--classification-ds": None, "--compare-pictures": "compare-pictures",
        "--no-compare-pictures": "compare-pictures", "--audit": None,
    },
    "train": {
        "--dataset-dir": "dataset", "--crops-dir": "crops", "--logdir": "runs",
        "--run-name": None, "--model-name": "efficientnet-b3", "--pretrained": "pretrained",
        "--no-pretrained": "pretrained", "--weights": None, "--label-weighted": "label-weighted",
        "--no-label-weighted": "label-weighted", "--epochs": "50", "--batch-size": "80",
        "--lr": "3e-05", "--weight-decay": "1e-06", "--num-workers": None, "--image-size": None,
        "--log-extreme-examples": "3", "--patience": "8", "--precision": "auto",
        "--device": "auto", "--seed": "0", "--resume": "resume", "--no-resume": "resume",
    },
    "evaluate": {
        "--run-dir": "runs/latest", "--dataset-dir": None, "--crops-dir": None,
        "--splits": "test", "--output-dir": None,
    },
}  # fmt: skip


def options_of(text: str) -> dict[str, str]:
    """The help of each option, on one line, by each of its names."""
    sentences = {}
    for paragraph in re.split(r"\n(?=  -)|\n\n", text):
        sentence = " ".join(paragraph.split())
        if names := re.match(r"((?:-\w, )?--[\w-]+(?: / --[\w-]+)?)", sentence):
            sentences |= dict.fromkeys(re.findall(r"--[\w-]+", names[1]), sentence)
    return sentences


@pytest.fixture
def crops(here: Path) -> Path:
    """A current folder with crops."""
    make_dataset(here)
    table = table_io.read(tables.DATASET, here / "dataset" / "dataset.csv")
    table_io.write(tables.CROPS, here / "crops" / "crops.csv", table[tables.CROPS.names])
    return here


@pytest.mark.parametrize("name", OPTIONS)
def test_a_command_has_the_options_of_the_design_with_their_defaults(
    pipeline: Pipeline, name: str
) -> None:
    done = pipeline(name, "--help")
    assert done.code == 0
    found = options_of(done.out)
    assert set(OPTIONS[name]) <= set(found)
    for option, default in OPTIONS[name].items():
        shown = re.findall(r"\[(?:default:)?(.*?)[;\]]", found[option].replace(" ", ""))
        assert default is None or default in shown, option


def test_every_stage_of_the_design_is_a_command_in_their_order(pipeline: Pipeline) -> None:
    done = pipeline("--help")
    assert done.code == 0
    listed = re.findall(r"^  (\w+)  ", done.out[done.out.index("work:") :], re.MULTILINE)
    assert listed[:5] == ["download", "detect", "crop", "split", "train"]
    assert sorted(listed) == sorted([*stage.list_stages(), "run"])
    assert set(OPTIONS) <= set(listed)


@pytest.mark.parametrize("name", [*OPTIONS, "run"])
def test_a_commands_help_is_one_screen_wide(pipeline: Pipeline, name: str) -> None:
    assert max(map(len, pipeline(name, "--help").out.splitlines())) <= 100


@pytest.mark.parametrize("words", [["--version"], ["-h"], ["split", "-h"], ["run", "--help"]])
def test_asking_is_done_with_0(pipeline: Pipeline, words: list[str]) -> None:
    done = pipeline(*words)
    assert (done.code, done.err) == (0, "")
    assert done.out


def test_the_version_is_the_packages(pipeline: Pipeline) -> None:
    assert pipeline("--version").out == f"animl-pipeline {version('animl-pipeline')}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["split", "--nonsense"],
        ["split", "extra"],
        ["split", "--min-locs", "three"],
        ["split", "--min-locs", "0"],
        ["split", "--val-frac", "1.5"],
        ["split", "--val-frac", "-0.1"],
        ["split", "--group-by", "species"],
        ["split", "--seed"],
        ["train", "--epochs", "1.5"],
        ["train", "--image-size", "63"],
        ["crop", "--quality", "best"],
        ["download"],
        ["run"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2_and_says_what_is_wrong(pipeline: Pipeline, words: list[str]) -> None:
    done = pipeline(*words)
    assert done.code == 2
    assert "Error: " in done.err
    assert done.out == ""


def test_options_that_make_no_sense_together_are_2_too(pipeline: Pipeline, here: Path) -> None:
    (here / "crops").mkdir()
    (here / "crops" / "crops.csv").touch()
    done = pipeline("split", "--val-frac", 0.5, "--test-frac", 0.5)
    assert done.code == 2
    assert done.err.startswith("Error: --val-frac and --test-frac")


def test_no_words_at_all_show_the_help(pipeline: Pipeline) -> None:
    done = pipeline()
    assert "In the order of work:" in done.out + done.err


@pytest.mark.parametrize("name", ["crop", "split", "train", "evaluate"])
def test_what_cannot_go_on_is_1_with_a_message_and_no_traceback(
    pipeline: Pipeline, name: str
) -> None:
    done = pipeline(name)
    assert done.code == 1
    assert done.err.startswith("Error: ")
    assert "`pipeline " in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def make_export(here: Path, images: int, broken: int) -> None:
    (here / "images").mkdir()
    content = {
        "info": {"version": "1.0", "description": "Image data exported from Animl project 'isle'"},
        "categories": [{"id": 1, "name": "fox"}],
        "images": [
            {"id": f"isle:{n}", "file_name": f"{n}.jpg", "width": 40, "height": 30,
             "location": "pier", "datetime": "2023-03-02T06:41:10.000-08:00"}
            for n in range(images)
        ],
        "annotations": [
            {"id": f"a{n}", "image_id": f"isle:{n}", "category_id": 1, "bbox": [5, 5, 20, 10],
             "sequence_level_annotation": False}
            for n in range(images)
        ],
    }  # fmt: skip
    (here / "images" / "cct.json").write_text(json.dumps(content))
    for number in range(images):
        Image.new("RGB", (40, 30), "green").save(here / "images" / f"{number}.jpg")
        if number < broken:
            (here / "images" / f"{number}.jpg").write_bytes(b"no picture")


def test_done_is_0_and_the_last_line_counts(pipeline: Pipeline, here: Path) -> None:
    make_export(here, images=3, broken=0)
    done = pipeline("crop")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("crop: ")
    assert "3" in done.out


def test_more_failures_than_tolerated_are_3(pipeline: Pipeline, here: Path) -> None:
    make_export(here, images=4, broken=2)
    done = pipeline("crop", "--tolerate", 0.4)
    assert done.code == 3
    assert "2 of 4 failed" in done.err
    assert "--tolerate 0.4" in done.err
    assert (here / "crops" / "failures.csv").read_text().count("\n") == 3
    assert pipeline("crop", "--tolerate", 0.5).code == 0


def test_a_disk_that_cannot_be_written_to_is_a_message(pipeline: Pipeline, here: Path) -> None:
    make_export(here, images=1, broken=0)
    (here / "crops").write_text("a file in the way")
    done = pipeline("crop")
    assert done.code == 1
    assert done.err.startswith("Error: ")
    assert os.strerror(errno.EEXIST) in done.err


def test_an_interrupted_command_says_how_to_go_on_and_ends_with_130(crops: Path) -> None:
    spec = crops / "spec.json"
    os.mkfifo(spec)  # reading it waits until somebody writes
    command = [sys.executable, "-m", "animl_pipeline", "split", "--label-spec", "spec.json"]
    with subprocess.Popen(command, cwd=crops, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(3000):
            try:
                writer = os.open(spec, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError:  # nobody reads yet
                time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        os.close(writer)
    assert process.returncode == 130
    assert "Run the same command again" in err
    assert "Traceback" not in err


def test_the_command_is_installed_and_speaks_on_the_right_streams(here: Path) -> None:
    command = [sys.executable, "-m", "animl_pipeline", "split"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: crops/crops.csv is not there.")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is not there"),
        ("", "no section"),
        ("[", "not a TOML file"),
        ("[splitt]", "Did you mean split?"),
        ("[split]\nmin-loc = 3", "Did you mean min-locs?"),
        ('[split]\nmin-locs = "three"', "it is a whole number"),
        ("[split]\nmin-locs = 0", "min-locs is 0"),
        ("[split]\nval-frac = 2", "val-frac is 2"),
        ("[split]\nval-frac = nan", "val-frac"),
        ("[download]", "coco-file"),
        ("split = 3", "is to be a section"),
    ],
    ids=str,
)
def test_a_project_file_that_is_wrong_is_1_before_any_work(
    pipeline: Pipeline, here: Path, content: str | None, words: str
) -> None:
    if content is not None:
        (here / "project.toml").write_text(content)
    done = pipeline("run", "project.toml")
    assert done.code == 1
    assert done.err.startswith("Error: ")
    assert words in done.err
    assert [path.name for path in here.iterdir()] in ([], ["project.toml"])


def test_a_project_file_runs_its_stages_and_ends_at_the_first_that_fails(
    pipeline: Pipeline, here: Path
) -> None:
    make_export(here, images=2, broken=0)
    (here / "project.toml").write_text("[evaluate]\n[split]\n[crop]\nquality = 80\n")
    done = pipeline("run", "project.toml")
    assert done.code == 1
    assert done.out.startswith("crop: ")
    assert "No label is at 3 locations" in done.err
    assert not (here / "runs").exists()
    record = json.loads((here / "crops" / "crop.json").read_text())
    assert record["options"]["quality"] == 80


def test_a_project_file_ends_with_3_if_a_stage_does(pipeline: Pipeline, here: Path) -> None:
    make_export(here, images=2, broken=1)
    (here / "project.toml").write_text("[crop]\n[split]\nmin-locs = 1\n")
    done = pipeline("run", "project.toml")
    assert done.code == 3
    assert not (here / "dataset").exists()


def test_nan_is_no_fraction(pipeline: Pipeline) -> None:
    assert pipeline("split", "--val-frac", "nan").code == 2


def test_a_file_may_be_given_without_its_option(pipeline: Pipeline, here: Path) -> None:
    make_export(here, images=2, broken=0)
    assert pipeline("check", "images/cct.json").code == 0
    assert (here / "export_report.json").exists()
    done = pipeline("check", "images/cct.json", "--coco-file", "images/cct.json")
    assert (done.code, done.err) == (
        2, "Error: --coco-file is given twice, with its name and without.\n",
    )  # fmt: skip
    assert pipeline("convert", "images/cct.json", "results.json").code == 0
    assert (here / "results.json").exists()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["spilt"], "Did you mean split?"),
        (["classify"], "`pipeline predict` says what"),
        (["runs"], "folders in runs/"),
        (["list"], "folders in runs/"),
        (["split", "--min-loc", "3"], "--min-locs"),
        (["crop", "--quiet"], "pipeline --quiet crop"),
        (["split", "--group-by", "locatoin"], "Did you mean location?"),
        (["train", "--epochs", "0"], "--epochs is 0; it is 1 or more."),
    ],
    ids=str,
)
def test_a_mistyped_word_is_answered_with_what_there_is(
    pipeline: Pipeline, words: list[str], hint: str
) -> None:
    done = pipeline(*words)
    assert done.code == 2
    assert hint in done.err


def test_quiet_says_nothing_of_what_went_well_and_the_log_has_all(
    pipeline: Pipeline, here: Path
) -> None:
    make_export(here, images=2, broken=0)
    done = pipeline("--quiet", "--log-file", "logs/run.log", "crop")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert "crop: dataset 'isle': 2 crops" in (here / "logs" / "run.log").read_text()
    assert pipeline("--log-file", "logs/run.log", "crop", "--quality", "0").code == 2
    assert "ERROR Error: --quality is 0" in (here / "logs" / "run.log").read_text()


def test_an_error_of_the_system_names_its_path(pipeline: Pipeline, here: Path) -> None:
    make_export(here, images=1, broken=0)
    (here / "crops").write_text("a file in the way")
    assert pipeline("crop").err == (
        f"Error: crops: {os.strerror(errno.EEXIST)}. Fix that and run the same command again.\n"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_once(
    pipeline: Pipeline, here: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    for _ in range(2):
        assert pipeline("--install-completion").code == 0
    scripts = [path for path in here.rglob("*") if path.is_file()]
    scripts = [path for path in scripts if "complet" in str(path.relative_to(here))]
    assert "_PIPELINE_COMPLETE" in scripts[0].read_text()
    if shell != "fish":
        assert (here / f".{shell}rc").read_text().count("source") == 1


@pytest.mark.parametrize("words", [("--install-completion", "-h"), ("-h", "--install-completion")])
def test_help_beside_the_installation_of_completion_installs_nothing(
    pipeline: Pipeline, here: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, str]
) -> None:
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("SHELL", "/bin/bash")
    assert "Usage: pipeline" in pipeline(*words).out
    assert list(here.iterdir()) == []


def test_the_shell_is_given_commands_options_and_choices(here: Path) -> None:
    def complete(line: str) -> str:
        environment = os.environ | {
            "_PIPELINE_COMPLETE": "bash_complete", "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
        }  # fmt: skip
        command = [sys.executable, "-m", "animl_pipeline"]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert "split" in complete("pipeline sp")
    assert "--min-locs" in complete("pipeline split --min")
    assert "sequence" in complete("pipeline split --group-by ")


def test_help_on_a_terminal_is_drawn_in_panels(here: Path) -> None:
    pty = pytest.importorskip("pty")
    screen = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 65536)
        screen.extend(data)
        return data

    pty.spawn([sys.executable, "-m", "animl_pipeline", "crop", "--help"], read)
    assert "\N{BOX DRAWINGS LIGHT ARC DOWN AND RIGHT}" in screen.decode()
