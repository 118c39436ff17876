"""All stages, as a person runs them: five commands, or one file of options."""

import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from killable import Ended, Runner
from s3_server import serve
from world import World, make_world

BUCKET = "whole-pipeline"
RECORDS = {
    "download": "images/download.json",
    "crop": "crops/crop.json",
    "split": "dataset/split.json",
    "train": "runs/tiny/train.json",
    "evaluate": "runs/tiny/evaluation/evaluate.json",
}
LABELS = {
    "bird": ["bird", "scrub jay"],
    "fox": ["fox", "island fox"],
    "skunk": ["skunk"],
    "rodent": ["rodent"],
}
TRAIN = {
    "model-name": "efficientnet-b0", "image-size": 64, "epochs": 1, "batch-size": 16, "lr": 1e-3,
    "num-workers": 0, "precision": "32-true", "run-name": "tiny",
}  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """A folder in which everything was run, and what each command said."""

    folder: Path
    world: World
    said: dict[str, Ended]


def a_project(folder: Path, world: World) -> Path:
    folder.mkdir()
    shutil.copy(world.coco_file, folder / "export.json")
    (folder / "labels.json").write_text(json.dumps(LABELS))
    return folder


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[World, str]]:
    folder = tmp_path_factory.mktemp("whole")
    world = make_world(folder, locations=6, sequences=20, size_px=(160, 120), seed=1)
    with serve(world.bucket_dir, BUCKET) as url:
        yield world, url


@pytest.fixture(scope="module")
def by_commands(served: tuple[World, str], commands: Runner) -> Finished:
    def pipeline(*words: object) -> Ended:
        return commands.run(folder, list(map(str, words)))

    world, url = served
    folder = a_project(world.folder / "by_commands", world)
    where = ("--coco-file", "export.json", "--bucket", BUCKET, "--endpoint-url", url)
    tiny = [word for name, value in TRAIN.items() for word in (f"--{name}", value)]
    said = {
        "download": pipeline("download", *where, "--tolerate", 0.1),
        "crop": pipeline("crop", "--tolerate", 0.1),
        "split": pipeline("split", "--label-spec", "labels.json"),
        "train": pipeline("train", "--no-pretrained", *tiny),
        "evaluate": pipeline("evaluate"),
    }
    return Finished(folder, world, said)


@pytest.fixture(scope="module")
def by_file(served: tuple[World, str]) -> Finished:
    world, url = served
    folder = a_project(world.folder / "by_file", world)
    tiny = "".join(f"{name} = {json.dumps(value)}\n" for name, value in TRAIN.items())
    (folder / "project.toml").write_text(
        f'[download]\ncoco-file = "export.json"\nbucket = "{BUCKET}"\nendpoint-url = "{url}"\n'
        f'tolerate = 0.1\n[crop]\ntolerate = 0.1\n[split]\nlabel-spec = "labels.json"\n'
        f"[train]\npretrained = false\n{tiny}[evaluate]\n"
    )
    started = time.monotonic()
    command = [sys.executable, "-m", "animl_pipeline", "run", "project.toml"]  # as a person does
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    ended = Ended(done.returncode, 0, time.monotonic() - started, done.stdout, done.stderr)
    return Finished(folder, world, {"run": ended})


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("stage", RECORDS)
def test_a_command_ends_well_and_says_on_one_line_what_it_did(
    by_commands: Finished, stage: str
) -> None:
    done = by_commands.said[stage]
    assert done.code == 0, done.err
    assert f"{stage}: " in done.out


@pytest.mark.parametrize("stage", RECORDS)
def test_a_command_leaves_its_record(by_commands: Finished, stage: str) -> None:
    record = json.loads((by_commands.folder / RECORDS[stage]).read_bytes())
    assert list(record) == ["stage", "version", "options", "counts", "seconds", "inputs"]
    assert record["stage"] == stage
    assert all(len(digest) == 64 for digest in record["inputs"].values())


@pytest.mark.parametrize("stage", RECORDS)
def test_a_command_warns_of_nothing_that_is_not_about_the_data(
    by_commands: Finished, stage: str
) -> None:
    assert "Warning" not in by_commands.said[stage].err
    assert "Traceback" not in by_commands.said[stage].err


def test_one_file_of_options_does_all_of_it(by_file: Finished) -> None:
    done = by_file.said["run"]
    assert done.code == 0, done.err
    assert "Warning" not in done.err
    assert all((by_file.folder / record).exists() for record in RECORDS.values())
    said = [line.partition(":")[0] for line in done.out.splitlines()]
    assert [word for word in said if word in RECORDS] == list(RECORDS)


@pytest.mark.parametrize(
    "name",
    ["dataset/dataset.csv", "dataset/splits.json", "crops/crops.csv", "dataset/label_index.json",
     "dataset/split_report.json", "crops/failures.csv", "crops/detections.json",
     "images/download.csv", "runs/tiny/evaluation/metrics.json",
     "runs/tiny/evaluation/predictions_test.csv"],
)  # fmt: skip
def test_commands_and_file_make_the_same_bytes(
    by_commands: Finished, by_file: Finished, name: str
) -> None:
    assert (by_commands.folder / name).read_bytes() == (by_file.folder / name).read_bytes()


def test_commands_and_file_record_the_same_options(
    by_commands: Finished, by_file: Finished
) -> None:
    for record in RECORDS.values():
        one, other = (
            json.loads((finished.folder / record).read_bytes())
            for finished in (by_commands, by_file)
        )
        assert one["options"] == other["options"]


def test_every_crop_of_the_table_comes_from_the_world(by_commands: Finished) -> None:
    crops = table(by_commands.folder / "crops/crops.csv")
    expected = {row.annotation_id for row in by_commands.world.rows if row.expected == "crop"}
    assert {row["annotation_id"] for row in crops} == expected


def test_no_location_is_in_two_parts(by_commands: Finished) -> None:
    parts: dict[tuple[str, str], set[str]] = {}
    for row in table(by_commands.folder / "dataset/dataset.csv"):
        parts.setdefault((row["dataset"], row["location"]), set()).add(row["split"])
    assert all(len(found) == 1 for found in parts.values())
    assert set.union(*parts.values()) == {"train", "val", "test"}


def test_what_is_predicted_is_the_test_set(by_commands: Finished) -> None:
    dataset = table(by_commands.folder / "dataset/dataset.csv")
    predicted = table(by_commands.folder / "runs/tiny/evaluation/predictions_test.csv")
    expected = {row["crop"]: row["label"] for row in dataset if row["split"] == "test"}
    assert {row["crop"]: row["label"] for row in predicted} == expected


def test_nothing_is_written_but_the_folders_of_the_contract(by_commands: Finished) -> None:
    names = {path.name for path in by_commands.folder.iterdir()}
    assert names == {"export.json", "labels.json", "images", "crops", "dataset", "runs"}
    assert not [path for path in by_commands.folder.rglob("*") if path.name.endswith(".part")]
    assert not list(by_commands.folder.rglob(".*.unfinished"))


def test_a_stage_that_fails_ends_the_run(
    served: tuple[World, str], commands: Runner, tmp_path: Path
) -> None:
    world, url = served
    folder = a_project(tmp_path / "stopped", world)
    (folder / "project.toml").write_text(
        f'[download]\ncoco-file = "export.json"\nbucket = "{BUCKET}"\nendpoint-url = "{url}"\n'
        "[crop]\n"
    )
    done = commands.run(folder, ["run", "project.toml"])
    assert done.code == 3  # an image of the world is missing, and --tolerate is 0
    assert not (folder / "crops").exists()
