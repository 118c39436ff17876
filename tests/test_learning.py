import _thread
import csv
import dataclasses
import json
import logging
import math
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file
from small_training import (
    LABELS,
    SIDE,
    TRAIN,
    VAL,
    crops_of,
    draw_pictures,
    fit,
    load_state,
    make_learner,
)
from torch import nn

from animl_pipeline.artifacts import tables
from animl_pipeline.classifier import card, networks
from animl_pipeline.classifier.crops import LOST, READ, REPLACED, Crops, make_loader
from animl_pipeline.classifier.predicting import Outputs, predict_batches
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.errors import CropsLost, InputInvalid, OptionError, Stopped, TrainingDiverged
from animl_pipeline.running import devices
from animl_pipeline.running import perform as stages
from animl_pipeline.running.perform import Counts
from animl_pipeline.running.stopping import Stop
from animl_pipeline.stages.train import Options
from animl_pipeline.training import loop
from animl_pipeline.training.optimisation import DECAY
from animl_pipeline.training.settings import Course, SelectBy
from animl_pipeline.training.state import Learner, Progress, save_state

TIMED = ("seconds", "images_per_second")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As many threads everywhere: a sum in another order is another number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def as_the_command_line_does(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    draw_pictures(folder)
    return folder


def rows_of(state: Progress) -> list[str]:
    return [repr({k: v for k, v in row.items() if k not in TIMED}) for row in state.history]


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# Crops


def test_a_crop_is_a_picture_its_label_and_that_it_was_read(pictures: Path) -> None:
    picture, truth, read = crops_of(pictures, [0, 6])[1]
    assert picture.shape == (3, SIDE, SIDE)
    assert (truth, read) == (1, READ)


@pytest.fixture
def damaged(pictures: Path, tmp_path: Path) -> Path:
    """The pictures, of which bird 01 is cut short, fox 07 no picture, and fox 09 gone."""
    for path in pictures.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "01.png").write_bytes((tmp_path / "01.png").read_bytes()[:3000])
    (tmp_path / "07.png").write_text("no picture")
    (tmp_path / "09.png").unlink()
    return tmp_path


def test_a_crop_that_cannot_be_read_is_replaced_by_the_next_of_its_label(damaged: Path) -> None:
    data = crops_of(damaged, [6, 0, 7, 1, 8], replace=True)
    picture, truth, read = data[2]
    assert (truth, read) == (1, REPLACED)
    assert torch.equal(picture, data[4][0])
    picture, truth, read = data[3]
    assert (truth, read) == (0, REPLACED)
    assert torch.equal(picture, data[1][0])


def test_a_crop_is_never_replaced_where_it_is_judged(damaged: Path) -> None:
    assert crops_of(damaged, [6, 7])[1][2] == LOST


def test_training_on_a_label_without_a_readable_crop_is_refused(damaged: Path) -> None:
    with pytest.raises(CropsLost, match=r"'fox'.*pipeline crop"):
        fit(make_learner(damaged, numbers=[0, 7]), Progress())


def test_replaced_crops_are_counted_and_said(
    damaged: Path, caplog: pytest.LogCaptureFixture
) -> None:
    learner = make_learner(damaged)
    fit(learner, Progress(), epochs=1)
    learner.sampler.step = 0
    bad = sum(int((read != READ).sum()) for _, _, read, _ in learner.train)
    assert bad > 0
    assert f"epoch 1/1: {bad} crops could not be read" in caplog.text


def predict(data: Crops, workers: int = 0) -> Outputs:
    torch.manual_seed(0)
    network = networks.build("efficientnet-b0", 2)
    fabric = devices.make_fabric("cpu", "32-true")
    batches = make_loader(data, batch_size=3, workers=workers)
    return predict_batches(fabric, fabric.setup(network), batches, "test")


def test_crops_that_cannot_be_read_are_left_out_of_predictions(damaged: Path) -> None:
    found = predict(crops_of(damaged, [0, 1, 2, 6, 7, 8]))
    assert found.readable.tolist() == [True, False, True, True, False, True]
    rows = pd.DataFrame({"crop": list("abcdef"), "label": ["bird"] * 3 + ["fox"] * 3})
    predictions = found.as_predictions(rows, LABELS)
    assert predictions.unreadable == ["b", "e"]
    assert predictions.truth.tolist() == [0, 0, 1, 1]
    expected = predict(crops_of(damaged, [0, 2, 6, 8]))
    np.testing.assert_allclose(predictions.probabilities, expected.probabilities, atol=1e-6)


def test_a_label_without_a_readable_crop_is_left_out_of_predictions(damaged: Path) -> None:
    found = predict(crops_of(damaged, [0, 7]))
    assert found.readable.tolist() == [True, False]


def test_predictions_without_any_readable_crop_are_empty(damaged: Path) -> None:
    rows = pd.DataFrame({"crop": ["a", "b"], "label": ["bird", "fox"]})
    predictions = predict(crops_of(damaged, [1, 7])).as_predictions(rows, LABELS)
    assert predictions.probabilities.shape == (0, 2)
    assert len(predictions) == len(predictions.truth) == 0


# The loop


@pytest.fixture(scope="module")
def undisturbed(pictures: Path) -> tuple[Learner, Progress]:
    learner = make_learner(pictures)
    return learner, fit(learner, Progress())


def test_every_epoch_has_a_row(undisturbed: tuple[Learner, Progress]) -> None:
    _, state = undisturbed
    assert [row["epoch"] for row in state.history] == [0, 1, 2]
    assert [row["lr"] for row in state.history] == pytest.approx(
        [1e-3 * DECAY**epoch for epoch in range(3)]
    )
    assert all(math.isfinite(value) for row in state.history for value in row.values())


def test_the_best_epoch_is_the_first_of_the_highest_score(
    undisturbed: tuple[Learner, Progress],
) -> None:
    _, state = undisturbed
    scores = [row["val_macro_average_precision"] for row in state.history]
    assert state.best_epoch == scores.index(max(scores))
    assert state.best_score == max(scores)


class PlugPulled(Exception):
    """Somebody pulled the plug."""


STEPS = 3  # of an epoch


@pytest.mark.parametrize("done", [1, STEPS, STEPS + 2])
def test_a_run_that_goes_on_from_any_step_equals_one_undisturbed(
    pictures: Path, tmp_path: Path, undisturbed: tuple[Learner, Progress], done: int
) -> None:
    path = tmp_path / "last.pt"
    learner, saved = make_learner(pictures), []

    def save(state: Progress) -> None:
        save_state(path, learner, state, identity="this run")
        saved.append(state.step)
        if len(saved) == done:
            raise PlugPulled

    with pytest.raises(PlugPulled):
        fit(learner, Progress(), save=save, save_minutes=0.0)
    again = make_learner(pictures, seed=99)
    torch.rand(17)  # another past
    state = load_state(path, again, identity="this run")
    assert state.next_epoch * STEPS + state.step == done
    fit(again, state)
    assert_same(again, state, *undisturbed)


def assert_same(
    learner: Learner, state: Progress, expected: Learner, expected_state: Progress
) -> None:
    assert rows_of(state) == rows_of(expected_state)
    assert same_weights(learner.network.state_dict(), expected.network.state_dict())
    assert same_weights(learner.average.network.state_dict(), expected.average.network.state_dict())
    assert (state.best_epoch, state.best_score) == (
        expected_state.best_epoch, expected_state.best_score,
    )  # fmt: skip


def test_the_mean_is_what_is_validated(pictures: Path) -> None:
    learner = make_learner(pictures)
    state = fit(learner, Progress())
    mean, last = learner.average.network.state_dict(), learner.network.state_dict()
    assert not torch.equal(mean["_fc.weight"], last["_fc.weight"])
    assert learner.val
    outputs = predict_batches(learner.fabric, learner.average.network, learner.val, "val")
    predicted = outputs.as_predictions(learner.val_rows, LABELS)
    chosen = predicted.probabilities[np.arange(len(predicted.truth)), predicted.truth]
    assert state.history[-1]["val_loss"] == pytest.approx(-np.log(chosen).mean(), rel=1e-6)


def test_who_asks_to_stop_within_an_epoch_finds_the_step_saved(pictures: Path) -> None:
    learner, stop, saved = make_learner(pictures), Stop(), []
    stop.signal = signal.SIGTERM
    with pytest.raises(Stopped):
        fit(learner, Progress(), stop=stop, save=lambda state: saved.append(state.step))
    assert saved == [1]


def test_who_asks_to_stop_during_validation_finds_the_whole_epoch_saved(
    pictures: Path, tmp_path: Path, undisturbed: tuple[Learner, Progress]
) -> None:
    learner, path = make_learner(pictures), tmp_path / "last.pt"
    assert learner.val
    batches = iter(learner.val)

    class Interrupted:
        sampler = learner.val.sampler

        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Any:
            yield next(batches)
            raise Stopped(signal.SIGINT)

    learner = dataclasses.replace(learner, val=Interrupted())
    with pytest.raises(Stopped):
        fit(learner, Progress(), save=lambda s: save_state(path, learner, s, identity=""))
    again = make_learner(pictures)
    state = load_state(path, again, identity="")
    assert (state.next_epoch, state.step) == (0, STEPS)
    fit(again, state)
    assert_same(again, state, *undisturbed)


def test_the_number_of_readers_does_not_change_what_is_learned(
    pictures: Path, undisturbed: tuple[Learner, Progress]
) -> None:
    learner = make_learner(pictures, readers=2)
    assert_same(learner, fit(learner, Progress()), *undisturbed)


class Small(nn.Module):
    """A network in a memory that holds so many crops at a time."""

    def __init__(self, network: nn.Module, holds: int, said: RuntimeError) -> None:
        super().__init__()
        self.network, self.holds, self.said, self.sizes = network, holds, said, []

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(pictures))
        if self.training and len(pictures) > self.holds:
            raise self.said
        return self.network(pictures)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
]


@pytest.mark.parametrize("said", OUT_OF_MEMORY, ids=["GPU", "CPU"])
def test_out_of_memory_names_a_batch_size_to_try(pictures: Path, said: RuntimeError) -> None:
    learner = make_learner(pictures, batch_size=7)
    small = dataclasses.replace(learner, network=Small(learner.network, 4, said))
    with pytest.raises(OptionError, match="try --batch-size 3, or --batch-size auto"):
        fit(small, Progress())


@pytest.mark.parametrize("said", OUT_OF_MEMORY, ids=["GPU", "CPU"])
def test_a_batch_is_halved_until_it_fits_and_stays_so(
    pictures: Path, tmp_path: Path, said: RuntimeError
) -> None:
    learner = make_learner(pictures, batch_size="auto")
    network = Small(learner.network, 2, said)
    small = dataclasses.replace(learner, network=network)
    state = fit(small, Progress(), epochs=2)
    assert state.pieces == 4
    assert network.sizes == [7, 4, *[2, 2, 2, 1], *[2, 2, 2, 1]]
    save_state(tmp_path / "last.pt", learner, state, identity="")
    assert load_state(tmp_path / "last.pt", learner, identity="").pieces == 4


def test_memory_for_not_even_one_crop_is_a_message(pictures: Path) -> None:
    learner = make_learner(pictures, batch_size="auto")
    small = dataclasses.replace(learner, network=Small(learner.network, 0, OUT_OF_MEMORY[0]))
    with pytest.raises(OptionError, match="--image-size"):
        fit(small, Progress())


def test_one_crop_that_is_too_few_for_a_batch_norm_is_a_message(pictures: Path) -> None:
    learner = make_learner(pictures, batch_size=1)
    norm = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(OptionError, match="--batch-size"):
        fit(dataclasses.replace(learner, network=norm), Progress())


def test_a_full_disk_is_said_and_leaves_the_last_state(pictures: Path, tmp_path: Path) -> None:
    learner, path = make_learner(pictures), tmp_path / "last.pt"
    save_state(path, learner, Progress(), identity="")
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_state(path, learner, Progress(next_epoch=1), identity="")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before


def test_a_state_of_which_some_bytes_were_turned_is_refused(pictures: Path, tmp_path: Path) -> None:
    learner, path = make_learner(pictures), tmp_path / "last.pt"
    save_state(path, learner, Progress(), identity="")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputInvalid, match="--no-resume"):
        load_state(path, learner, identity="")


def gradients(learner: Learner, pieces: int) -> torch.Tensor:
    learner.network.eval()  # else batch norm sees a piece at a time
    pictures, truth, _, weights = next(iter(learner.train))
    loop.compute_gradients(learner, Progress(pieces=pieces), pictures, truth, weights)
    found = learner.network.get_parameter("_fc.weight").grad
    assert found is not None
    return found.clone()


def test_the_gradients_of_pieces_are_those_of_the_batch(pictures: Path) -> None:
    learner = make_learner(pictures, batch_size=7)
    torch.testing.assert_close(gradients(learner, 3), gradients(learner, 1))


def test_the_loss_is_the_mean_of_pytorch_s_by_weight_and_smoothing(pictures: Path) -> None:
    learner = dataclasses.replace(make_learner(pictures, batch_size=7), label_smoothing=0.1)
    learner.network.eval()
    bias = learner.network.get_parameter("_fc.bias")
    seen, truth, _, _ = next(iter(learner.train))
    weights = torch.tensor([0.5, 2.0])[truth]
    each = nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1)(learner.network(seen), truth)
    (expected,) = torch.autograd.grad((each * weights).mean(), bias)
    loss = loop.compute_gradients(learner, Progress(), seen, truth, weights)
    torch.testing.assert_close(bias.grad, expected)
    torch.testing.assert_close(loss, (each * weights).sum().detach())


@pytest.mark.parametrize("select_by", SelectBy)
def test_the_best_epoch_is_the_best_by_the_figure_asked_for(
    pictures: Path, select_by: SelectBy
) -> None:
    state = fit(make_learner(pictures, lr=3e-3), Progress(), epochs=5, select_by=select_by)
    figures = [row[select_by.column] for row in state.history]
    best = min(figures) if select_by is SelectBy.LOSS else max(figures)
    assert state.best_epoch == figures.index(best)


def test_a_finished_run_does_nothing_more(undisturbed: tuple[Learner, Progress]) -> None:
    learner, state = undisturbed
    before = rows_of(state)
    assert rows_of(fit(learner, state)) == before


def test_without_val_the_last_epoch_is_the_best(pictures: Path) -> None:
    seen = []
    state = fit(
        make_learner(pictures, val=False),
        Progress(),
        lambda _, validation, is_best: seen.append((validation, is_best)),
        epochs=2,
        patience=1,
    )
    assert seen == [(None, True), (None, True)]
    assert state.best_epoch == 1
    assert all(math.isnan(row["val_loss"]) for row in state.history)


def test_training_stops_when_no_epoch_is_better_any_more(pictures: Path) -> None:
    state = fit(make_learner(pictures, lr=0.0), Progress(), epochs=40, patience=1)
    assert len(state.history) == state.best_epoch + 2 < 40


@given(st.integers(-1, 20), st.integers(0, 20), st.integers(1, 20), st.integers(0, 5))
def test_a_run_ends_by_its_epochs_or_by_patience(
    best: int, done: int, epochs: int, patience: int
) -> None:
    ended = Progress(next_epoch=done, best_epoch=best).is_over(
        Course(epochs=epochs, patience=patience)
    )
    if done >= epochs:
        assert ended
    elif patience == 0 or done == 0:
        assert not ended
    else:
        assert ended == (done - 1 - best >= patience)


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_loss_that_is_no_number_ends_training_and_says_what_helps(pictures: Path) -> None:
    with pytest.raises(TrainingDiverged, match="step"):
        fit(make_learner(pictures, lr=1e30), Progress())


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_loss_that_becomes_no_number_leaves_the_last_good_state(
    pictures: Path, tmp_path: Path
) -> None:
    calm = make_learner(pictures)
    wild = dataclasses.replace(calm, rate=lambda step: 1e-3 if step < STEPS + 1 else 1e30)
    path, kept, saved = tmp_path / "last.pt", [], []

    def save(state: Progress) -> None:
        save_state(path, wild, state, identity="")
        saved.append((state.next_epoch, state.step))

    with pytest.raises(TrainingDiverged, match=r"epoch 2/3, by step \d"):
        fit(wild, Progress(), lambda *_: kept.append(1), save=save, save_minutes=0.0)
    assert len(kept) == 1
    state = load_state(path, calm, identity="")
    assert (state.next_epoch, state.step) == saved[-1] >= (1, 1)
    assert math.isfinite(state.loss)
    assert all(row["train_loss"] < 99 for row in state.history)


def test_a_network_that_went_to_pieces_in_the_last_step_is_not_the_best(pictures: Path) -> None:
    kept = []
    with pytest.raises(TrainingDiverged):
        fit(
            make_learner(pictures, lr=1e30, batch_size=99),
            Progress(),
            lambda state, *_: kept.append(state.next_epoch),
            epochs=1,
        )
    assert kept == []


def test_a_score_without_crops_has_no_value() -> None:
    nobody = Predictions.from_arrays(LABELS, np.empty((0, 2)), np.empty(0, dtype=int), [])
    assert loop.compute_metrics(nobody) == {}


# The state


def test_the_state_holds_no_code(pictures: Path, tmp_path: Path) -> None:
    learner = make_learner(pictures)
    save_state(tmp_path / "last.pt", learner, Progress(), identity="a")
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    assert content["progress"]["next_epoch"] == 0


def test_the_state_of_another_run_is_refused(pictures: Path, tmp_path: Path) -> None:
    learner = make_learner(pictures)
    save_state(tmp_path / "last.pt", learner, Progress(), identity="a")
    with pytest.raises(InputInvalid, match="--run-name"):
        load_state(tmp_path / "last.pt", learner, identity="b")


@pytest.mark.parametrize("kept", [0, 10, 5000, -20])
def test_a_state_that_is_cut_short_is_refused(pictures: Path, tmp_path: Path, kept: int) -> None:
    path, learner = tmp_path / "last.pt", make_learner(pictures)
    save_state(path, learner, Progress(), identity="a")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputInvalid, match="--no-resume"):
        load_state(path, learner, identity="a")


@pytest.mark.parametrize("content", [[], {}, 3, "text", {"identity": "a"}])
def test_a_state_of_something_else_is_refused(pictures: Path, tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(InputInvalid, match="--no-resume"):
        load_state(tmp_path / "last.pt", make_learner(pictures), identity="a")


# The stage


def write_dataset(folder: Path, parts: dict[str, list[int]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "dataset.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(tables.DATASET.names)
        for part, numbers in parts.items():
            for number in numbers:
                label, place = LABELS[number >= 6], f"{part} {number % 2}"
                crop, image = f"{number:02}.png", f"{number}.jpg"
                box = (1.0, 0.1, 0.1, 0.5, 0.5)
                row = (crop, image, image, "", "island", place, "", "", label, *box, label, part)
                writer.writerow(row)
    index = {str(i): label for i, label in enumerate(LABELS)}
    (folder / "label_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset", {"train": TRAIN, "val": VAL, "test": [11]})


@pytest.fixture
def train(dataset: Path, pictures: Path, tmp_path: Path) -> Callable[..., Counts]:
    def perform(**more: Any) -> Counts:
        options = {
            "dataset_dir": dataset, "crops_dir": pictures, "logdir": tmp_path / "runs",
            "run_name": "one", "model_name": "efficientnet-b0", "pretrained": False,
            "image_size": SIDE, "epochs": 2, "batch_size": 3, "num_workers": 0,
            "precision": "32-true", "device": "cpu", "lr": 1e-3, "patience": 0,
        }  # fmt: skip
        return stages.perform("train", Options(**options | more))

    return perform


def history_of(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMED} for row in csv.DictReader(file)]


# Ctrl-C may come between opening a picture and knowing that it is open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_run_that_goes_on_equals_one_undisturbed(
    train: Callable[..., Counts], tmp_path: Path
) -> None:
    train(epochs=3, logdir=tmp_path / "calm")
    last = tmp_path / "runs" / "one" / "last.pt"

    def press_control_c() -> None:
        for _ in range(3000):
            if last.exists():
                return _thread.interrupt_main()
            time.sleep(0.01)
        return None

    watcher = threading.Thread(target=press_control_c)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        train(epochs=3)
    watcher.join()
    run, calm = tmp_path / "runs" / "one", tmp_path / "calm" / "one"
    assert not (run / "train.json").exists()
    assert len(history_of(run)) < 3
    train(epochs=3)
    assert history_of(run) == history_of(calm)
    one, other = load_file(run / "model.safetensors"), load_file(calm / "model.safetensors")
    assert same_weights(one, other)
    assert card.read_card(run).epoch == card.read_card(calm).epoch


def test_a_run_that_was_to_start_over_and_was_stopped_has_not_the_old_end(
    train: Callable[..., Counts], tmp_path: Path
) -> None:
    train(epochs=1)
    old = (tmp_path / "runs" / "one" / "last.pt").stat().st_mtime_ns
    with pytest.raises(TrainingDiverged):
        train(epochs=1, lr=1e30, resume=False)
    last = tmp_path / "runs" / "one" / "last.pt"
    assert not last.exists() or last.stat().st_mtime_ns != old


def test_a_folder_given_as_weights_is_refused(train: Callable[..., Counts], tmp_path: Path) -> None:
    with pytest.raises(InputInvalid):
        train(weights=tmp_path)


def test_a_seed_that_is_too_large_is_wrong_usage(train: Callable[..., Counts]) -> None:
    with pytest.raises(OptionError, match="--seed"):
        train(epochs=1, seed=2**63)


def as_array(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def test_the_score_on_val_is_macro_average_precision_over_the_labels_there() -> None:
    soft = np.array([[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    labels, places = ["bird", "fox", "lizard"], [("isle", "a"), ("isle", "b"), ("isle", "b")]
    figures = loop.compute_metrics(
        Predictions.from_arrays(labels, soft, as_array([0, 1, 1]), places)
    )
    assert figures["log_loss"] == pytest.approx(-np.log([0.9, 0.7, 0.3]).mean())
    assert figures["balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert figures["macro_average_precision"] == pytest.approx(1.0)
    assert figures["recall/fox"] == 0.5
