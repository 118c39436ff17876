"""Several processes, started by torchrun, learn what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_training
from small_dataset import TINY, make_dataset

from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier import crops
from animl_pipeline.classifier.predicting import Outputs, predict_batches
from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.errors import OptionError
from animl_pipeline.running import devices, perform, processes
from animl_pipeline.stages import crop, train
from animl_pipeline.training import distributed, loop

# Sums in another order, over four steps.
TOLERANCE = 1e-3


def torchrun(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    alone, two = tmp_path / "alone", tmp_path / "two"
    for folder in (alone, two):
        folder.mkdir()
        small_training.draw_pictures(folder)
    small_training.main(alone)
    done = torchrun(two, str(Path(small_training.__file__)), str(two))
    assert done.returncode == 0, done.stderr
    expected = json.loads((alone / "rank0.json").read_bytes())
    seen = [json.loads((two / f"rank{rank}.json").read_bytes()) for rank in range(2)]
    np.testing.assert_allclose(seen[0]["head"], expected["head"], rtol=TOLERANCE, atol=1e-6)
    assert seen[0]["head"] == seen[1]["head"]
    assert seen[0]["gathered"] == seen[1]["gathered"] == expected["gathered"]
    for mine, theirs in zip(seen[0]["history"], expected["history"], strict=True):
        for figure in ("lr", "train_loss", "val_loss", "val_balanced_accuracy"):
            assert mine[figure] == pytest.approx(theirs[figure], rel=TOLERANCE), figure


@pytest.fixture(scope="module")
def run_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two epochs by two processes; train and val of an odd number."""
    folder = tmp_path_factory.mktemp("two")
    make_dataset(folder, train=5, val=3)
    words = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in TINY.items()
        if name != "pretrained"
    ]
    done = torchrun(
        folder, "-m", "animl_pipeline", "train", *words, "--no-pretrained", "--epochs=2",
        "--run-name=two", "--device=cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch   2") == 1  # one of them speaks
    assert done.stdout.count("train: best of 2 epochs") == 1
    return folder


def test_one_process_writes_what_any_run_has(run_of_two: Path) -> None:
    names = {path.name for path in (run_of_two / "runs/two").iterdir()}
    assert {name for name in names if not name.startswith("events")} == {
        "model.safetensors", "model.json", "last.pt", "augmentation.jpg", "history.csv",
        "train.json", "trained_on.csv",
    }  # fmt: skip
    assert len([name for name in names if name.startswith("events")]) == 1


def test_the_loss_on_val_is_that_of_one_process_with_the_same_weights(
    run_of_two: Path,
) -> None:
    network, card = classifier.load(run_of_two / "runs/two")
    table = pd.read_csv(run_of_two / "dataset/dataset.csv", keep_default_na=False)
    rows = table[table["split"] == "val"]
    truth = [card.labels.index(label) for label in rows["label"]]
    data = crops.Crops(run_of_two / "crops", list(rows["crop"]), truth, make_transform(card))
    fabric = devices.make_fabric("cpu", "32-true")
    batches = crops.make_loader(data, workers=0, batch_size=2)
    outputs = predict_batches(fabric, fabric.setup(network), batches, "val")
    figures = loop.compute_metrics(outputs.as_predictions(rows, card.labels))
    row = pd.read_csv(run_of_two / "runs/two/history.csv").iloc[card.epoch]
    assert figures["log_loss"] == pytest.approx(row["val_loss"], rel=1e-5)


def test_one_process_goes_on_with_what_two_began(
    run_of_two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_of_two)
    perform.perform("train", train.Options(**TINY, epochs=3, run_name="two", device="cpu"))
    assert len(pd.read_csv("runs/two/history.csv")) == 3


def test_other_stages_are_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OptionError, match="torchrun"):
        perform.perform("crop", crop.Options())


def test_gathering_what_one_process_predicted_changes_nothing() -> None:
    soft = np.random.default_rng(0).dirichlet([1, 1], 4)
    own = Outputs(soft, np.zeros(4), np.array([True, False, True, True]))
    gathered = distributed.gather_outputs(own, 4)
    np.testing.assert_array_equal(gathered.probabilities, soft)
    np.testing.assert_array_equal(gathered.readable, own.readable)


def test_a_cluster_s_own_numbering_is_not_torchrun_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name, value in {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert (processes.get_rank(), processes.count(), processes.count_here()) == (0, 1, 1)
