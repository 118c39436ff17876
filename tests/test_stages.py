import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
from shop import Done
from small_dataset import TINY, make_dataset

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.classifier import card as classifier
from animl_pipeline.errors import InputInvalid, InputMissing, OptionError, PipelineError
from animl_pipeline.running import perform, stage
from animl_pipeline.running.markers import find_marker
from animl_pipeline.running.options import option, settings
from animl_pipeline.stages import evaluate, split, train

Pipeline = Callable[..., Done]


@pytest.fixture
def crops(here: Path) -> Path:
    """A current folder with crops/crops.csv and its pictures."""
    make_dataset(here, train=4, val=4, test=4)
    table = table_io.read(tables.DATASET, here / "dataset" / "dataset.csv")
    table_io.write(tables.CROPS, here / "crops" / "crops.csv", table[tables.CROPS.names])
    for path in (here / "dataset").iterdir():
        path.unlink()
    return here


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_record(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def everything_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_record_says_what_was_done_with_what(crops: Path) -> None:
    counts = perform.perform("split", split.Options(seed=4))
    record = read_record(crops / "dataset" / "split.json")
    assert list(record) == ["stage", "version", "options", "counts", "seconds", "inputs"]
    assert record["stage"] == "split"
    assert record["counts"] == counts.items
    assert record["options"]["seed"] == 4
    assert record["options"]["crops_dir"] == "crops"
    assert record["options"]["group_by"] == "location"
    assert record["inputs"] == {"crops/crops.csv": sha256(crops / "crops" / "crops.csv")}


def test_the_record_holds_the_inputs_as_they_were_read(crops: Path) -> None:
    perform.perform("split", split.Options(seed=0))
    before = sha256(crops / "dataset" / "splits.json")
    options = split.Options(match_test=Path("dataset"), val_frac=0.4, seed=1)
    perform.perform("split", options)  # writes over the file that it reads
    assert sha256(crops / "dataset" / "splits.json") != before
    record = read_record(crops / "dataset" / "split.json")
    assert record["inputs"]["dataset/splits.json"] == before


def test_the_record_is_written_last(crops: Path) -> None:
    perform.perform("split", split.Options())
    folder = crops / "dataset"
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert times.pop("split.json") >= max(times.values())
    assert not list(folder.glob(".*"))


def test_a_stage_that_fails_on_bad_input_leaves_everything_as_it_was(crops: Path) -> None:
    perform.perform("split", split.Options())
    before = everything_in(crops / "dataset")
    for options in (split.Options(val_frac=0.5, test_frac=0.5), split.Options(min_locs=99)):
        with pytest.raises((InputInvalid, OptionError)):
            perform.perform("split", options)
    (crops / "crops" / "crops.csv").write_text("crop\n")
    with pytest.raises(InputInvalid):
        perform.perform("split", split.Options())
    (crops / "crops" / "crops.csv").unlink()
    with pytest.raises(InputMissing):
        perform.perform("split", split.Options())
    assert everything_in(crops / "dataset") == before


def test_a_stage_that_fails_on_bad_input_at_first_leaves_no_record(crops: Path) -> None:
    with pytest.raises(InputInvalid):
        perform.perform("split", split.Options(min_locs=99))
    assert everything_in(crops / "dataset") == {}


def test_an_unfinished_folder_is_refused_by_the_next_stage(crops: Path) -> None:
    perform.perform("split", split.Options())
    find_marker(crops / "crops", "crop").touch()
    with pytest.raises(InputInvalid, match="`pipeline crop` again"):
        perform.perform("split", split.Options())
    find_marker(crops / "dataset", "split").touch()
    with pytest.raises(InputInvalid, match="`pipeline split` again"):
        perform.perform("train", train.Options())


def test_a_stage_may_go_on_in_its_own_unfinished_folder(crops: Path) -> None:
    find_marker(crops / "dataset", "split").parent.mkdir(exist_ok=True)
    find_marker(crops / "dataset", "split").touch()
    perform.perform("split", split.Options())
    assert not find_marker(crops / "dataset", "split").exists()
    assert (crops / "dataset" / "split.json").exists()


def test_an_unfinished_folder_stays_unfinished_when_the_input_is_refused(crops: Path) -> None:
    find_marker(crops / "dataset", "split").touch()
    with pytest.raises(InputInvalid):
        perform.perform("split", split.Options(min_locs=99))
    assert find_marker(crops / "dataset", "split").exists()


def test_what_stops_a_stage_midway_leaves_it_unfinished_without_a_record(crops: Path) -> None:
    perform.perform("split", split.Options())
    (crops / "dataset" / "splits.json.part").mkdir()  # so that it cannot be written
    with pytest.raises(OSError, match=r"splits\.json"):
        perform.perform("split", split.Options(seed=1))
    assert not (crops / "dataset" / "split.json").exists()
    assert find_marker(crops / "dataset", "split").exists()


def test_an_option_found_wrong_after_something_was_written_leaves_the_folder_unfinished(
    crops: Path,
) -> None:
    perform.perform("split", split.Options())
    options = train.Options(
        **TINY | {"run_name": "one", "batch_size": 1, "model_name": "rexnet_100"}
    )
    with pytest.raises(OptionError, match="--batch-size"):
        perform.perform("train", options)
    assert (crops / "runs/one/augmentation.jpg").exists()
    assert find_marker(crops / "runs/one", "train").exists()


@pytest.mark.parametrize("number", [float("inf"), float("nan"), -1.0])
def test_a_number_beyond_its_limits_is_refused(number: float) -> None:
    with pytest.raises(OptionError, match=r"--ema-epochs is .*; it is 0 or more"):
        train.Options(**TINY | {"ema_epochs": number})


def test_crops_that_were_cut_by_another_rule_are_another_run(in_trained: Path) -> None:
    options = train.Options(**TINY | {"run_name": "first", "resume": False})
    seen = [train.prepare(options).start.run.identity]
    for margin in (0.0, 0.1):
        record = {"options": {"margin": margin}}
        (in_trained / "crops/crop.json").write_text(json.dumps(record))
        seen.append(train.prepare(options).start.run.identity)
    assert len(set(seen)) == 3


def test_a_missing_input_names_the_command_that_writes_it(here: Path) -> None:
    for name, options, writer in (
        ("split", split.Options(), "pipeline crop"),
        ("train", train.Options(), "pipeline split"),
        ("evaluate", evaluate.Options(), "pipeline train"),
    ):
        with pytest.raises(InputMissing, match=writer):
            perform.perform(name, options)
    assert list(here.iterdir()) == []


def test_a_folder_in_the_place_of_an_input_is_a_message(crops: Path) -> None:
    (crops / "crops" / "crops.csv").unlink()
    (crops / "crops" / "crops.csv").mkdir()
    with pytest.raises(PipelineError, match=r"crops\.csv"):
        perform.perform("split", split.Options())


@pytest.mark.parametrize("option", ["--weights", "--label-spec"])
def test_a_folder_in_the_place_of_a_file_option_is_a_message(
    crops: Path, pipeline: Pipeline, option: str
) -> None:
    perform.perform("split", split.Options())
    command = {"--weights": "train", "--label-spec": "split"}[option]
    done = pipeline(command, option, crops / "crops")
    assert done.code == 1
    assert done.err.startswith("Error: ")
    assert "is a folder, not a file" in done.err


def test_evaluate_refuses_a_split_without_crops_before_it_writes_anything(
    in_trained: Path,
) -> None:
    perform.perform("evaluate", evaluate.Options())
    dataset = in_trained / "dataset" / "dataset.csv"
    rows = dataset.read_text().splitlines()
    kept = [row for row in rows if not row.endswith(",val")]
    dataset.write_text("\n".join([*kept[:-1], ""]))  # one test crop fewer
    folder = in_trained / "runs" / "first" / "evaluation"
    before = everything_in(folder)
    with pytest.raises(InputInvalid, match="val"):
        perform.perform("evaluate", evaluate.Options(splits="test,val"))
    assert everything_in(folder) == before


def test_a_run_that_may_not_be_called_so_is_refused_before_anything_is_made(crops: Path) -> None:
    perform.perform("split", split.Options())
    before = sorted(crops.rglob("*"))
    for run_name in ("../outside", str(crops / "outside"), "a/b", "a\nb", "latest"):
        with pytest.raises(OptionError, match="--run-name"):
            perform.perform("train", train.Options(run_name=run_name))
    assert sorted(crops.rglob("*")) == before


def test_starting_over_from_weights_that_are_none_leaves_the_run_as_it_was(
    in_trained: Path,
) -> None:
    (in_trained / "bad.pt").write_bytes(b"no weights")
    before = everything_in(in_trained / "runs" / "first")
    options = {"run_name": "first", "resume": False, "weights": Path("bad.pt")}
    with pytest.raises(InputInvalid, match=r"bad\.pt"):
        perform.perform("train", train.Options(**TINY | options))
    assert everything_in(in_trained / "runs" / "first") == before


def test_training_that_cannot_have_its_weights_leaves_no_unfinished_run(
    crops: Path, no_network: Path
) -> None:
    perform.perform("split", split.Options())
    with pytest.raises(PipelineError, match="--no-pretrained"):
        perform.perform("train", train.Options(run_name="one", model_name="efficientnet-b0"))
    assert not find_marker(crops / "runs" / "one", "train").exists()


def test_what_a_run_was_trained_with_is_checked_by_its_fingerprint(in_trained: Path) -> None:
    record = read_record(in_trained / "runs" / "first" / "train.json")
    assert record["inputs"] == {
        name: sha256(in_trained / name)
        for name in ("dataset/dataset.csv", "dataset/label_index.json")
    }
    card = classifier.read_card(in_trained / "runs" / "first")
    assert re.fullmatch("[0-9a-f]{64}", card.data_fingerprint)


def test_counts_tolerate_as_many_failures_as_the_fraction_says() -> None:
    def counts(failed: int, tolerate: float) -> bool:
        found = stage.Counts(items={}, summary="", failed=failed, total=100, tolerate=tolerate)
        return found.too_many_failed

    assert not counts(0, 0.0)
    assert counts(1, 0.0)
    assert not counts(1, 0.01)
    assert counts(2, 0.01)
    assert not counts(100, 1.0)


@settings
class OptionsOfTrial:
    """The options of a stage that is here for the tests alone."""

    refuses: Annotated[str, option("When it refuses its input.")] = "never"
    dry_run: Annotated[bool, option("Write nothing.")] = False


def prepare(options: OptionsOfTrial) -> stage.Plan:
    if options.refuses == "before":
        raise InputInvalid("no good")
    return stage.Plan(folder=Path("out"), inputs=(), writes=not options.dry_run)


def run(_: stage.Plan) -> stage.Counts:
    Path("out/isle/crop.jpg").write_text("new")
    raise InputInvalid("too late")


@pytest.fixture
def trial(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a stage `trial` that ended well before, with a crop below a sub-folder."""
    module = ModuleType("trial")
    module.__dict__.update(Options=OptionsOfTrial, prepare=prepare, run=run)
    monkeypatch.setitem(sys.modules, "animl_pipeline.stages.trial", module)
    (here / "out" / "isle").mkdir(parents=True)
    (here / "out" / "isle" / "crop.jpg").write_text("old")
    (here / "out" / "trial.json").write_text("{}")
    return here / "out"


def test_what_prepare_refuses_leaves_the_folder_as_it_was(trial: Path) -> None:
    before = everything_in(trial)
    with pytest.raises(InputInvalid, match="no good"):
        perform.perform("trial", OptionsOfTrial(refuses="before"))
    assert everything_in(trial) == before
    assert (trial / "isle" / "crop.jpg").read_text() == "old"


def test_a_refusal_after_a_file_below_a_sub_folder_changed_brings_no_old_record_back(
    trial: Path,
) -> None:
    with pytest.raises(InputInvalid, match="too late"):
        perform.perform("trial", OptionsOfTrial())
    assert (trial / "isle" / "crop.jpg").read_text() == "new"
    assert not (trial / "trial.json").exists()
    assert find_marker(trial, "trial").exists()


def test_the_options_of_another_stage_are_an_option_error(here: Path) -> None:
    with pytest.raises(OptionError, match=r"`crop` takes .*crop\.Options, not .*TrainOptions"):
        perform.perform("crop", train.Options())
    assert list(here.iterdir()) == []


def test_a_stage_that_another_process_ended_meanwhile_is_prepared_again(
    trial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, plans = trial / "trial.json", []

    def prepare_beside_another(_: OptionsOfTrial) -> stage.Plan:
        plans.append(stage.Plan(folder=Path("out")))
        if len(plans) == 1:
            record.write_text("of another process")
            later = time.time_ns() + 10**9
            os.utime(record, ns=(later, later))
        return plans[-1]

    def run_latest(plan: stage.Plan) -> stage.Counts:
        assert plan is plans[-1]
        return stage.Counts(items={}, summary="")

    module = sys.modules["animl_pipeline.stages.trial"]
    monkeypatch.setattr(module, "prepare", prepare_beside_another)
    monkeypatch.setattr(module, "run", run_latest)
    perform.perform("trial", OptionsOfTrial())
    assert len(plans) == 2


def test_a_dry_run_has_no_record_and_leaves_the_one_that_is_there(trial: Path) -> None:
    with pytest.raises(InputInvalid, match="too late"):
        perform.perform("trial", OptionsOfTrial(dry_run=True))
    assert (trial / "trial.json").exists()
    assert not find_marker(trial, "trial").exists()
