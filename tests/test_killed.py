"""`kill -9` at any moment of any stage, then the same command again: as if nothing had been."""

import json
import os
import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from killable import Ended, Runner
from s3_server import serve
from world import make_world

BUCKET = "killed-world"
COMMANDS = {
    "download": "--coco-file export.json --workers 4 --tolerate 1",
    "crop": "--workers 2 --tolerate 1",
    "split": "--min-locs 2",
    "train": "--model-name efficientnet-b0 --no-pretrained --image-size 64 --epochs 3 --lr 1e-3 "
    "--batch-size 8 --precision 32-true --num-workers 0",
    "evaluate": "--splits val,test",
}
STAGES = tuple(COMMANDS)
MOMENTS = 2  # by a change of a file; one more by the clock
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing can be forked here")


@dataclass(frozen=True)
class Undisturbed:
    """A folder as it was before each stage and after it, and how each ran."""

    runner: Runner
    words: dict[str, list[str]]
    before: dict[str, Path]
    after: dict[str, Path]
    ended: dict[str, Ended]


@pytest.fixture(scope="module")
def undisturbed(
    commands: Runner, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Undisturbed]:
    folder = tmp_path_factory.mktemp("undisturbed")
    made = make_world(folder, locations=5, sequences=12, size_px=(160, 120), seed=3)
    work = folder / "work"
    work.mkdir()
    shutil.copy(made.coco_file, work / "export.json")
    words = {name: [name, *command.split()] for name, command in COMMANDS.items()}
    before, after, ended = {}, {}, {}
    with serve(made.bucket_dir, BUCKET) as url:
        words["download"] += ["--bucket", BUCKET, "--endpoint-url", url]
        for stage in STAGES:
            before[stage] = copied(work, folder / f"before-{stage}")
            ended[stage] = commands.run(work, words[stage])
            assert ended[stage].code == 0, ended[stage].said
            after[stage] = copied(work, folder / f"after-{stage}")
        yield Undisturbed(commands, words, before, after, ended)


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to, symlinks=True))


def contents(folder: Path) -> dict[str, Any]:
    """Returns everything below the folder by its path, less what is about this very run."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file() and not path.name.startswith("events.out.tfevents"):
            found[name] = content(path)
    return found


def content(path: Path) -> Any:
    if path.stem in STAGES and path.suffix == ".json":
        record = json.loads(path.read_bytes())
        del record["seconds"]
        return record
    if path.name == "history.csv":
        return pd.read_csv(path).drop(columns=["seconds", "images_per_second"]).to_csv()
    if path.name == "last.pt":
        return comparable(torch.load(path, weights_only=True))
    return path.read_bytes()


def comparable(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.shape, value.dtype, value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        timed = {"seconds", "images_per_second"}
        return {key: comparable(item) for key, item in value.items() if key not in timed}
    if isinstance(value, list | tuple):
        return [comparable(item) for item in value]
    return value


def assert_same(found: Path, expected: Path) -> None:
    mine, theirs = contents(found), contents(expected)
    assert set(mine) == set(theirs)
    assert [name for name in theirs if mine[name] != theirs[name]] == []


@pytest.mark.parametrize("number", range(MOMENTS))
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_killed_at_a_change_of_a_file_ends_as_if_undisturbed(
    undisturbed: Undisturbed, tmp_path: Path, stage: str, number: int
) -> None:
    work = copied(undisturbed.before[stage], tmp_path / "work")
    changes, words = undisturbed.ended[stage].changes, undisturbed.words[stage]
    moment = random.Random(f"{stage} {number}").randint(1, changes)
    killed = undisturbed.runner.run(work, words, at_change=moment)
    assert killed.code == -signal.SIGKILL, killed.said
    again = undisturbed.runner.run(work, words)
    assert again.code == 0, again.said
    assert_same(work, undisturbed.after[stage])


@pytest.mark.parametrize("number", range(MOMENTS))
def test_folds_killed_at_a_change_of_a_file_end_as_if_undisturbed(
    undisturbed: Undisturbed, tmp_path: Path, number: int
) -> None:
    words = [*undisturbed.words["split"], "--folds", "3"]
    whole = copied(undisturbed.before["split"], tmp_path / "whole")
    work = copied(undisturbed.before["split"], tmp_path / "work")
    ended = undisturbed.runner.run(whole, words)
    assert ended.code == 0, ended.said
    moment = random.Random(f"folds {number}").randint(2, ended.changes)
    killed = undisturbed.runner.run(work, words, at_change=moment)
    assert killed.code == -signal.SIGKILL, killed.said
    if (work / "dataset/fold_0/dataset.csv").exists():
        train = [*undisturbed.words["train"], "--dataset-dir", "dataset/fold_0"]
        refused = undisturbed.runner.run(work, train)
        assert refused.code == 1, refused.said
    again = undisturbed.runner.run(work, words)
    assert again.code == 0, again.said
    assert_same(work, whole)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_killed_at_a_random_time_ends_as_if_undisturbed(
    undisturbed: Undisturbed, tmp_path: Path, stage: str
) -> None:
    words, rng = undisturbed.words[stage], random.Random(stage)
    work = tmp_path / "work"
    after_s = rng.uniform(0.3, 0.9) * undisturbed.ended[stage].seconds
    for _ in range(6):
        shutil.rmtree(work, ignore_errors=True)
        copied(undisturbed.before[stage], work)
        killed = undisturbed.runner.run(work, words, after_s=after_s)
        if killed.code == -signal.SIGKILL:
            break
        after_s /= 2
    assert killed.code == -signal.SIGKILL
    again = undisturbed.runner.run(work, words)
    assert again.code == 0, again.said
    assert_same(work, undisturbed.after[stage])


@pytest.mark.parametrize("stage", ["download", "crop"])
def test_a_stage_killed_again_and_again_gets_there(
    undisturbed: Undisturbed, tmp_path: Path, stage: str
) -> None:
    work, words = copied(undisturbed.before[stage], tmp_path / "work"), undisturbed.words[stage]
    rng = random.Random(stage)
    for _ in range(30):
        again = undisturbed.runner.run(work, words, at_change=rng.randint(15, 60))
        if again.code == 0:
            break
    assert again.code == 0, again.said
    assert_same(work, undisturbed.after[stage])


@pytest.mark.parametrize("stage", ["download", "crop", "split", "train"])
def test_the_stage_after_a_killed_one_refuses_to_work_on_half_of_it(
    undisturbed: Undisturbed, tmp_path: Path, stage: str
) -> None:
    work = copied(undisturbed.before[stage], tmp_path / "work")
    rng, changes = random.Random(f"half {stage}"), undisturbed.ended[stage].changes
    words = undisturbed.words[stage]
    undisturbed.runner.run(work, words, at_change=rng.randint(2, changes))
    following = STAGES[STAGES.index(stage) + 1]
    done = undisturbed.runner.run(work, undisturbed.words[following])
    assert done.code == 1, done.said
    assert f"`pipeline {stage}`" in done.said
    assert "Traceback" not in done.said


# Not download: a second run finds its pictures `present`, so its ledger is another.
@pytest.mark.parametrize("stage", ["crop", "split", "train"])
def test_a_finished_stage_killed_while_it_runs_again_loses_nothing(
    undisturbed: Undisturbed, tmp_path: Path, stage: str
) -> None:
    work = copied(undisturbed.after[stage], tmp_path / "work")
    words = undisturbed.words[stage]
    killed = undisturbed.runner.run(work, words, at_change=3)
    assert killed.code == -signal.SIGKILL
    again = undisturbed.runner.run(work, words)
    assert again.code == 0, again.said
    assert_same(work, undisturbed.after[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(
    undisturbed: Undisturbed, tmp_path: Path, stage: str
) -> None:
    work = copied(undisturbed.before[stage], tmp_path / "work")
    words = undisturbed.words[stage]
    stopped = undisturbed.runner.run(work, words, at_change=4, number=signal.SIGINT)
    assert stopped.code == 130, stopped.said
    assert "Run the same command again" in stopped.said
    assert "Traceback" not in stopped.said


def test_training_killed_within_an_epoch_goes_on_from_its_last_step(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    words = [*undisturbed.words["train"], "--save-minutes", "0"]
    whole = copied(undisturbed.before["train"], tmp_path / "whole")
    ended = undisturbed.runner.run(whole, words)
    assert ended.code == 0, ended.said
    rng, inside = random.Random("step"), 0
    for number in range(2):
        work = copied(undisturbed.before["train"], tmp_path / f"work{number}")
        killed = undisturbed.runner.run(work, words, at_change=rng.randint(5, ended.changes))
        assert killed.code == -signal.SIGKILL, killed.said
        for last in work.rglob("last.pt"):
            inside += torch.load(last, weights_only=True)["progress"]["step"] > 0
        again = undisturbed.runner.run(work, words)
        assert again.code == 0, again.said
        assert_same(work, whole)
    assert inside


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_training_asked_to_stop_saves_the_step_it_is_in(
    undisturbed: Undisturbed, tmp_path: Path, number: signal.Signals
) -> None:
    work, words = copied(undisturbed.before["train"], tmp_path / "work"), undisturbed.words["train"]
    changes = undisturbed.ended["train"].changes  # none of which is within an epoch's steps
    stopped = undisturbed.runner.run(work, words, at_change=changes // 3, number=number)
    assert stopped.code == 128 + number, stopped.said
    assert "Run the same command again" in stopped.said
    assert "Traceback" not in stopped.said
    [last] = work.rglob("last.pt")
    progress = torch.load(last, weights_only=True)["progress"]
    assert progress["step"] > 0
    again = undisturbed.runner.run(work, words)
    assert again.code == 0, again.said
    assert_same(work, undisturbed.after["train"])


@pytest.mark.parametrize("stage", ["download", "train"])
def test_after_ctrl_c_the_same_command_ends_as_if_undisturbed(
    undisturbed: Undisturbed, tmp_path: Path, stage: str
) -> None:
    work = copied(undisturbed.before[stage], tmp_path / "work")
    words, changes = undisturbed.words[stage], undisturbed.ended[stage].changes
    undisturbed.runner.run(work, words, at_change=changes // 2, number=signal.SIGINT)
    again = undisturbed.runner.run(work, words)
    assert again.code == 0, again.said
    assert_same(work, undisturbed.after[stage])
