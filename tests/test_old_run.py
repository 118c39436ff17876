"""Runs that 0.1.0 trained and evaluated go on being what they were."""

import json
import shutil
from pathlib import Path

import pytest
from small_dataset import TINY, make_dataset

from animl_pipeline.running import perform
from animl_pipeline.stages import evaluate, train

# What 0.1.0 called the run of these options on `make_dataset`'s crops.
NAME = "efficientnet-b0-180f5f42"
TEMPERATURE = 1.75
OPTIONS_OF_OLD = (
    "dataset_dir", "crops_dir", "logdir", "run_name", "model_name", "pretrained", "weights",
    "freeze", "unfreeze_after", "cache_embeddings", "augmentation", "label_weighted",
    "loss_weighted", "confidence_weighted", "effective_number", "label_smoothing", "epochs",
    "batch_size", "optimizer", "lr", "lr_schedule", "warmup_epochs", "ema_epochs", "weight_decay",
    "cache_gb", "num_workers", "image_size", "log_extreme_examples", "select_by", "patience",
    "precision", "device", "seed", "save_minutes", "resume",
)  # fmt: skip


def options() -> train.Options:
    return train.Options(**TINY | {"model_name": "efficientnet-b0", "epochs": 1})


@pytest.fixture(scope="module")
def of_old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with such a run as 0.1.0 left it: `evaluate` wrote the temperature into its card."""
    folder = tmp_path_factory.mktemp("old")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_dataset(folder)
        perform.perform("train", options())
    path = folder / "runs" / NAME / "model.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    card["options"] = {name: card["options"][name] for name in OPTIONS_OF_OLD}
    card["versions"]["animl-pipeline"] = "0.1.0"
    card["temperature"] = TEMPERATURE
    path.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def old_run(here: Path, of_old: Path) -> Path:
    shutil.copytree(of_old, here, symlinks=True, dirs_exist_ok=True)
    return here / "runs" / NAME


def test_the_same_command_finds_the_run_again_and_learns_nothing_more(old_run: Path) -> None:
    before = {name: (old_run / name).read_bytes() for name in ("model.safetensors", "last.pt")}
    perform.perform("train", options())
    assert {path.name for path in old_run.parent.iterdir()} == {NAME, "latest"}
    assert {name: (old_run / name).read_bytes() for name in before} == before


def test_on_another_dataset_the_temperature_in_its_card_is_used_and_stays(old_run: Path) -> None:
    card = (old_run / "model.json").read_bytes()
    Path("other").mkdir()
    make_dataset(Path("other"), val=3)
    others = {"dataset_dir": Path("other/dataset"), "crops_dir": Path("other/crops")}
    perform.perform("evaluate", evaluate.Options(output_dir=Path("out"), **others))
    metrics = json.loads(Path("out/metrics.json").read_text(encoding="utf-8"))
    assert metrics["temperature_fitted"] is False
    assert metrics["splits"]["test"]["calibration"]["temperature"] == TEMPERATURE
    assert (old_run / "model.json").read_bytes() == card
