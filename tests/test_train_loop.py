"""What `pipeline train` does with its loop: recipes, going on, stopping, odd data, what is seen."""

import json
import math
import re
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from shop import Done
from small_dataset import COLOURS, TINY, make_dataset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.errors import InputInvalid, OptionError
from animl_pipeline.running import perform
from animl_pipeline.running.perform import Counts
from animl_pipeline.stages.train import Options
from animl_pipeline.training.settings import Freeze, Optimizer, Schedule, SelectBy

Pipeline = Callable[..., Done]
RUN = Path("runs/first")
MANY = tuple(f"label{number:02}" for number in range(20))


def train(**changes: Any) -> Counts:
    return perform.perform(
        "train", Options(**{**TINY, "epochs": 1, "run_name": "first", **changes})
    )


def history(run: Path = RUN) -> pd.DataFrame:
    table = table_io.read(tables.HISTORY, run / "history.csv")
    return table.drop(columns=["seconds", "images_per_second"])


def weights(run: Path = RUN) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def change_dataset(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = folder / "dataset/dataset.csv"
    table_io.write(tables.DATASET, path, change(table_io.read(tables.DATASET, path)))


# Going on


def test_a_finished_run_goes_on_with_more_epochs_as_if_it_had_had_them_at_once(
    in_trained: Path,
) -> None:
    train(epochs=3)
    train(epochs=3, run_name="at-once")
    pd.testing.assert_frame_equal(history(), history(Path("runs/at-once")))
    assert same(weights(), weights(Path("runs/at-once")))


def test_a_finished_run_goes_on_with_more_patience(here: Path) -> None:
    make_dataset(here)
    train(epochs=9, patience=1, lr=0.0, freeze=Freeze.HEAD)  # nothing changes
    assert len(history()) == 2
    train(epochs=9, patience=2, lr=0.0, freeze=Freeze.HEAD)  # nothing changes
    assert len(history()) == 3


def test_with_a_cosine_other_epochs_are_another_run(here: Path) -> None:
    make_dataset(here)
    train(lr_schedule=Schedule.COSINE)
    with pytest.raises(InputInvalid, match="--run-name"):
        train(lr_schedule=Schedule.COSINE, epochs=2)


def test_running_a_finished_run_again_adds_no_events(in_trained: Path) -> None:
    before = sorted(RUN.glob("events*"))
    train(epochs=2)
    assert sorted(RUN.glob("events*")) == before


# Recipes


@pytest.fixture(scope="module")
def confident(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose labels differ in number and whose crops differ in confidence."""
    folder = tmp_path_factory.mktemp("confident")
    make_dataset(folder)

    def change(table: pd.DataFrame) -> pd.DataFrame:
        table = table[
            (table["label"] != "fox") | (table["split"] != "train") | (table.index % 2 > 0)
        ]
        return table.assign(confidence=np.linspace(0.1, 1, len(table)).round(3))

    change_dataset(folder, change)
    return folder


@pytest.fixture
def in_confident(confident: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(confident)
    if not (confident / "runs/plain").exists():
        train(run_name="plain")
    return confident


@pytest.mark.parametrize(
    "changes",
    [
        {"label_weighted": False},
        {"loss_weighted": True},
        {"loss_weighted": True, "effective_number": 0.5},
        {"confidence_weighted": True},
        {"effective_number": 0.5},
        {"label_smoothing": 0.1},
        {"optimizer": Optimizer.ADAMW},
        {"lr_schedule": Schedule.COSINE},
        {"warmup_epochs": 1.0},
    ],
    ids=str,
)
def test_a_knob_of_the_recipe_changes_what_is_learned(
    in_confident: Path, changes: dict[str, Any]
) -> None:
    train(**changes, run_name="changed", resume=False)
    assert not same(weights(Path("runs/changed")), weights(Path("runs/plain")))
    assert (
        json.loads(Path("runs/changed/model.json").read_bytes())["options"].items()
        >= changes.items()
    )


@pytest.mark.parametrize(
    "changes", [{"num_workers": 1}, {"save_minutes": 0.0}, {"patience": 3}], ids=str
)
def test_a_knob_that_is_not_of_the_recipe_changes_nothing_of_what_is_learned(
    in_confident: Path, changes: dict[str, Any]
) -> None:
    train(**changes, run_name="changed", resume=False)
    assert same(weights(Path("runs/changed")), weights(Path("runs/plain")))
    pd.testing.assert_frame_equal(history(Path("runs/changed")), history(Path("runs/plain")))


def test_no_weighting_at_all_leaves_nothing_for_confidence_to_weight(here: Path) -> None:
    make_dataset(here)
    with pytest.raises(OptionError, match="--confidence-weighted"):
        train(label_weighted=False, confidence_weighted=True)


def test_a_label_without_confidence_cannot_be_weighted_by_it(here: Path) -> None:
    make_dataset(here)
    change_dataset(here, lambda t: t.assign(confidence=(t["label"] != "fox").astype(float)))
    with pytest.raises(InputInvalid, match="'fox' in train has a confidence"):
        train(confidence_weighted=True)


def test_batch_size_auto_is_the_published_one(here: Path, pipeline: Pipeline) -> None:
    make_dataset(here)
    for run, size in (("auto", "auto"), ("eighty", "80")):
        options = ["--num-workers", 0, "--image-size", 64, "--epochs", 1, "--run-name", run]
        model = ["--model-name", "efficientnet-b0", "--no-pretrained", "--precision", "32-true"]
        done = pipeline("train", *options, *model, "--batch-size", size)
        assert done.code == 0, done.err
    assert same(weights(Path("runs/auto")), weights(Path("runs/eighty")))


@pytest.mark.parametrize("size", ["many", "0", "-3", "1.5", ""])
def test_a_batch_size_that_is_none_is_wrong_usage(
    here: Path, pipeline: Pipeline, size: str
) -> None:
    make_dataset(here)
    done = pipeline("train", "--no-pretrained", "--batch-size", size)
    assert done.code == 2
    assert "--batch-size" in done.err
    assert "Traceback" not in done.err


def test_a_batch_size_may_be_a_number_or_auto_in_a_project(here: Path, pipeline: Pipeline) -> None:
    make_dataset(here)
    for value, code in (("8", 0), ('"auto"', 0), ("0", 1), ('"some"', 1)):
        Path("project.toml").write_text(
            f"[train]\nbatch-size = {value}\npretrained = false\nepochs = 1\nimage-size = 64\n"
            'model-name = "efficientnet-b0"\nnum-workers = 0\nprecision = "32-true"\n'
        )
        done = pipeline("run", "project.toml")
        assert done.code == code, done.err


@pytest.mark.parametrize("select_by", [SelectBy.BALANCED_ACCURACY, SelectBy.LOSS])
def test_the_best_epoch_may_be_chosen_by_another_figure(here: Path, select_by: SelectBy) -> None:
    make_dataset(here)
    train(epochs=4, select_by=select_by, lr=3e-3)
    figures = history()[select_by.column]
    best = figures.argmin() if select_by is SelectBy.LOSS else figures.argmax()
    assert json.loads((RUN / "model.json").read_bytes())["epoch"] == best


# Odd data


@pytest.mark.parametrize("labels", [MANY, MANY[:2], MANY[:1]], ids=["20", "2", "1"])
def test_one_crop_of_each_label_is_enough(here: Path, labels: tuple[str, ...]) -> None:
    COLOURS.update({label: (9 * i, 99, 250 - 9 * i) for i, label in enumerate(MANY)})
    make_dataset(here, labels, train=1, val=1, test=0)
    train(batch_size=8)
    assert len(history()) == 1


def test_a_batch_may_be_larger_than_the_set(here: Path) -> None:
    make_dataset(here)
    train(batch_size=500)
    assert len(history()) == 1


@pytest.mark.parametrize("crops", [8, 9])
def test_no_batch_is_a_single_crop_where_it_need_not_be(here: Path, crops: int) -> None:
    make_dataset(here, ("bird",), train=crops, val=1)
    train(batch_size=8)
    assert history()["train_loss"].notna().all()


def test_crops_of_val_that_cannot_be_read_are_left_out_and_said(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_dataset(here)
    Path("crops/isle/val0/fox0.jpg___foxval0.jpg").write_bytes(b"no picture")
    train()
    assert "val: 1 crops could not be read" in caplog.text
    assert history()["val_loss"].notna().all()


def test_where_no_crop_of_val_can_be_read_the_last_epoch_is_kept(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_dataset(here)
    for path in Path("crops/isle").glob("val*/*"):
        path.write_bytes(b"no picture")
    train(epochs=2)
    assert "val: 6 crops could not be read" in caplog.text
    assert history()["val_loss"].isna().all()
    assert json.loads((RUN / "model.json").read_bytes())["epoch"] == 1


# The death of a second reader may reach PyTorch while it takes its own loader apart.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_reader_that_is_killed_is_a_message(here: Path, pipeline: Pipeline) -> None:
    make_dataset(here, train=99, val=1)
    done = Event()

    def kill() -> None:
        while not done.wait(0.3):
            for reader in active_children():
                reader.kill()

    killer = Thread(target=kill)
    killer.start()
    try:
        ended = pipeline(
            "train", "--no-pretrained", "--model-name", "efficientnet-b0", "--image-size", 64,
            "--batch-size", 2, "--precision", "32-true", "--num-workers", 1,
        )  # fmt: skip
    finally:
        done.set()
        killer.join()
    assert ended.code == 1
    assert "--num-workers" in ended.err
    assert "Traceback" not in ended.err


# What is seen


@pytest.fixture(scope="module")
def events(trained: Path) -> EventAccumulator:
    found = EventAccumulator(str(trained / RUN), size_guidance={"images": 0, "tensors": 0})
    found.Reload()
    return found


@pytest.mark.parametrize("column", tables.HISTORY.names[1:])
def test_every_column_of_history_is_a_curve(
    trained: Path, events: EventAccumulator, column: str
) -> None:
    table = table_io.read(tables.HISTORY, trained / RUN / "history.csv")
    points = events.Scalars(column)
    assert [point.step for point in points] == table["epoch"].tolist()
    assert [point.value for point in points] == pytest.approx(table[column].tolist())


def test_every_label_has_a_curve_of_recall_and_of_average_precision(
    trained: Path, events: EventAccumulator
) -> None:
    for figure, column in (
        ("recall", "val_balanced_accuracy"),
        ("average_precision", "val_macro_average_precision"),
    ):
        values = [
            [point.value for point in events.Scalars(f"{figure}/{label}")]
            for label in ("bird", "fox", "lizard")
        ]
        means = table_io.read(tables.HISTORY, trained / RUN / "history.csv")[column]
        assert np.mean(values, axis=0) == pytest.approx(means.tolist())


def test_the_confusion_matrix_of_the_best_epoch_is_a_picture(
    trained: Path, events: EventAccumulator
) -> None:
    best = json.loads((trained / RUN / "model.json").read_bytes())["epoch"]
    picture = events.Images("confusion matrix")[-1]
    assert picture.step == best
    assert picture.width > 200
    assert picture.height > 200


def test_the_most_extreme_pictures_are_of_the_crops_named_beside_them(
    trained: Path, events: EventAccumulator, tmp_path: Path
) -> None:
    tags = [tag for tag in events.Tags()["images"] if tag != "confusion matrix"]
    assert tags
    for tag in tags:
        label, kind = tag.split("/")
        picture = events.Images(tag)[-1]
        (tmp_path / "strip.png").write_bytes(picture.encoded_image_string)
        strip = Image.open(tmp_path / "strip.png").convert("RGB")
        text = events.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode()
        rows = [re.split(r" *\| *", line.strip("| ")) for line in text.splitlines()[2:]]
        assert strip.size == (112 * len(rows), 112)
        for place, (crop, truth, predicted, probability) in enumerate(rows):
            assert label == (truth if kind != "false positive" else predicted)
            assert (truth == predicted) == (kind == "true positive")
            assert 1 / 3 <= float(probability) <= 1
            with Image.open(trained / "crops" / crop.replace("\\", "")) as shown:
                middle = shown.convert("RGB").getpixel((24, 24))
            seen = strip.getpixel((112 * place + 56, 56))
            assert isinstance(middle, tuple)
            assert isinstance(seen, tuple)
            assert math.dist(seen, middle) < 12


def test_an_epoch_s_line_says_how_fast_how_good_and_how_long_yet(
    here: Path, pipeline: Pipeline
) -> None:
    make_dataset(here)
    options = ["--num-workers", 0, "--image-size", 64, "--epochs", 2, "--run-name", "first"]
    done = pipeline(
        "train", *options, "--model-name", "efficientnet-b0", "--no-pretrained",
        "--precision", "32-true",
    )  # fmt: skip
    lines = done.out.splitlines()
    assert re.fullmatch(
        r"epoch   1  train loss \d\.\d+  val loss \d+\.\d+  macro AP \d\.\d+  [\d.]+ images/s  "
        r"\d+ s left  \*",
        lines[0],
    )
    assert re.match(r"train: best of 2 epochs is [12], .* -> runs/first$", lines[2])
    assert lines[3] == "  curves: tensorboard --logdir runs"
