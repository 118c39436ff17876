import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from shop import Done
from small_dataset import TINY, make_dataset

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.errors import InputInvalid, OptionError, WeightsMissing
from animl_pipeline.running import perform
from animl_pipeline.stages import train
from animl_pipeline.training.settings import Freeze

Pipeline = Callable[..., Done]
RUN = Path("runs/first")
CARD_KEYS = {
    "temperature",
    "format_version", "model_name", "labels", "image_size", "mean", "std", "interpolation",
    "crop_rule", "options", "versions", "data_fingerprint", "epoch",
}  # fmt: skip

PUBLISHED = "efficientnet-b0"  # its ImageNet weights are at one web address


def options(**changes: Any) -> train.Options:
    return train.Options(**{**TINY, "epochs": 1, "run_name": "first", **changes})


def words(**changes: object) -> list[object]:
    """The tiny options as words of the command line."""
    given = {**TINY, "epochs": 1, "run_name": "first", **changes}
    del given["pretrained"]
    return [w for name, value in given.items() for w in (f"--{name.replace('_', '-')}", value)]


# What it writes


def test_a_run_has_the_files_of_the_contract(trained: Path) -> None:
    names = {path.name for path in (trained / RUN).iterdir()}
    assert {name for name in names if not name.startswith("events.out.tfevents")} == {
        "model.safetensors", "model.json", "last.pt", "history.csv", "train.json",
        "augmentation.jpg", "trained_on.csv",
    }  # fmt: skip
    assert any(name.startswith("events.out.tfevents") for name in names)


def test_the_newest_run_is_what_latest_points_at(trained: Path) -> None:
    assert (trained / "runs/latest").resolve() == (trained / RUN).resolve()


def test_model_json_says_everything_a_user_of_the_weights_needs(trained: Path) -> None:
    card = json.loads((trained / RUN / "model.json").read_bytes())
    assert set(card) == CARD_KEYS
    assert card["labels"] == ["bird", "fox", "lizard"]
    assert (card["model_name"], card["image_size"]) == (TINY["model_name"], 64)
    assert (len(card["mean"]), len(card["std"])) == (3, 3)
    assert card["options"]["batch_size"] == 8
    assert {"animl-pipeline", "torch", "python"} <= set(card["versions"])
    assert len(card["data_fingerprint"]) == 64


def test_a_run_keeps_which_crops_it_was_trained_on(trained: Path) -> None:
    kept = table_io.read(tables.TRAINED_ON, trained / RUN / "trained_on.csv")
    dataset = table_io.read(tables.DATASET, trained / "dataset/dataset.csv")
    used = dataset[dataset["split"] != "test"].reset_index(drop=True)
    assert kept.equals(used[list(kept.columns)])


def test_the_weights_know_the_card_too(trained: Path) -> None:
    with safe_open(trained / RUN / "model.safetensors", "pt") as file:
        card = json.loads(file.metadata()["card"])
    assert card == json.loads((trained / RUN / "model.json").read_bytes())


def test_the_card_says_how_the_crops_were_cut(here: Path) -> None:
    make_dataset(here)
    cut = {"square_crops": False, "margin": 0.25, "quality": 80}
    (here / "crops/crop.json").write_text(json.dumps({"options": cut}))
    perform.perform("train", options())
    assert cut.items() <= json.loads((RUN / "model.json").read_bytes())["crop_rule"].items()


def test_last_pt_loads_without_running_code(trained: Path) -> None:
    state = torch.load(trained / RUN / "last.pt", weights_only=True)
    assert {"network", "optimizer", "precision", "progress"} <= set(state)
    assert state["progress"]["next_epoch"] == 2


def test_history_has_a_row_for_each_epoch(trained: Path) -> None:
    history = table_io.read(tables.HISTORY, trained / RUN / "history.csv")
    assert list(history.columns) == [
        "epoch", "lr", "train_loss", "val_loss", "val_balanced_accuracy",
        "val_macro_average_precision", "seconds", "images_per_second",
    ]  # fmt: skip
    assert history["epoch"].tolist() == [0, 1]
    assert history.notna().all(axis=None)


def test_the_best_epoch_by_val_is_what_is_kept(trained: Path) -> None:
    history = table_io.read(tables.HISTORY, trained / RUN / "history.csv")
    card = json.loads((trained / RUN / "model.json").read_bytes())
    assert card["epoch"] == int(history["val_macro_average_precision"].argmax())


def test_a_run_without_a_name_is_called_by_its_options_and_data(here: Path) -> None:
    make_dataset(here)
    perform.perform("train", options(run_name=None))
    [name] = [path.name for path in Path("runs").iterdir() if path.name != "latest"]
    assert name.startswith(f"{TINY['model_name']}-")
    assert train.prepare(options(run_name=None)).folder.name == name
    assert train.prepare(options(run_name=None, seed=1)).folder.name != name


# Running it again


def test_running_again_redoes_nothing(in_trained: Path) -> None:
    before = {path.name: path.read_bytes() for path in RUN.iterdir()}
    perform.perform("train", options(epochs=2))
    after = {path.name: path.read_bytes() for path in RUN.iterdir()}
    for name in ("model.safetensors", "model.json", "last.pt", "history.csv"):
        assert after[name] == before[name]


def test_the_same_seed_makes_the_same_weights(trained: Path, here: Path) -> None:
    make_dataset(here)
    perform.perform("train", options(epochs=2))
    mine, first = (load_file(path / RUN / "model.safetensors") for path in (here, trained))
    assert mine.keys() == first.keys()
    assert all(torch.equal(tensor, first[name]) for name, tensor in mine.items())


def test_another_seed_makes_other_weights(trained: Path, here: Path) -> None:
    make_dataset(here)
    perform.perform("train", options(epochs=2, seed=1))
    mine, first = (load_file(path / RUN / "model.safetensors") for path in (here, trained))
    assert not all(torch.equal(tensor, first[name]) for name, tensor in mine.items())


def test_other_options_under_the_same_name_are_refused(in_trained: Path) -> None:
    before = (RUN / "model.safetensors").read_bytes()
    with pytest.raises(InputInvalid, match="--run-name"):
        perform.perform("train", options(epochs=2, lr=0.5))
    assert (RUN / "model.safetensors").read_bytes() == before
    assert (RUN / "train.json").exists()


def test_other_data_under_the_same_name_is_refused(in_trained: Path) -> None:
    make_dataset(in_trained, train=3)
    with pytest.raises(InputInvalid, match="--no-resume"):
        perform.perform("train", options(epochs=2))


def test_no_resume_starts_over(in_trained: Path) -> None:
    perform.perform("train", options(epochs=1, resume=False))
    assert table_io.read(tables.HISTORY, RUN / "history.csv")["epoch"].tolist() == [0]


def test_a_damaged_state_is_a_message(in_trained: Path) -> None:
    (RUN / "last.pt").write_bytes((RUN / "last.pt").read_bytes()[:1000])
    with pytest.raises(InputInvalid, match="--no-resume"):
        perform.perform("train", options(epochs=2))


def test_training_stops_when_nothing_gets_better(here: Path) -> None:
    make_dataset(here)
    perform.perform("train", options(epochs=30, patience=1, lr=0.0, freeze=Freeze.HEAD))
    assert len(table_io.read(tables.HISTORY, RUN / "history.csv")) == 2


# Data that is unusual


@pytest.mark.parametrize("labels", [("bird", "fox"), ("bird",)], ids=["two labels", "one label"])
def test_few_labels_are_enough(here: Path, labels: tuple[str, ...]) -> None:
    make_dataset(here, labels)
    perform.perform("train", options())
    assert json.loads((RUN / "model.json").read_bytes())["labels"] == list(labels)


def test_without_val_the_last_epoch_is_kept(here: Path) -> None:
    make_dataset(here, val=0)
    perform.perform("train", options(epochs=2))
    history = table_io.read(tables.HISTORY, RUN / "history.csv")
    assert history["val_loss"].isna().all()
    assert json.loads((RUN / "model.json").read_bytes())["epoch"] == 1


def test_a_label_without_crops_in_train_or_val_is_no_trouble(here: Path) -> None:
    make_dataset(here)
    path = here / "dataset/dataset.csv"
    table = table_io.read(tables.DATASET, path)
    fox = table["label"] == "fox"
    table_io.write(tables.DATASET, path, table[~fox | (table["split"] == "test")])
    perform.perform("train", options())
    assert json.loads((RUN / "model.json").read_bytes())["labels"] == ["bird", "fox", "lizard"]


def test_a_last_batch_of_one_is_trained_on(here: Path) -> None:
    make_dataset(here, ("bird", "fox"), train=1, val=1)
    perform.perform("train", options(batch_size=1))
    assert (RUN / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["test", "seen_test"])
def test_the_crops_of_a_test_need_not_be_there(here: Path, name: str) -> None:
    make_dataset(here)
    path = here / "dataset/dataset.csv"
    path.write_text(path.read_text().replace(",test\n", f",{name}\n"))
    for path in (here / "crops/isle").glob("test*"):
        shutil.rmtree(path)
    perform.perform("train", options())
    assert (RUN / "model.safetensors").exists()


def test_a_missing_crop_is_named_before_any_training(here: Path, pipeline: Pipeline) -> None:
    make_dataset(here)
    Path("crops/isle/train0/fox0.jpg___foxtrain0.jpg").unlink()
    done = pipeline("train", "--no-pretrained", *words())
    assert done.code == 1
    assert "isle/train0/fox0.jpg___foxtrain0.jpg" in done.err
    assert "pipeline crop" in done.err
    assert not (RUN / "model.safetensors").exists()


def test_a_crop_that_cannot_be_read_is_replaced_and_said(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_dataset(here)
    Path("crops/isle/train0/fox0.jpg___foxtrain0.jpg").write_bytes(b"no picture")
    perform.perform("train", options(label_weighted=False))
    assert "1 crops could not be read" in caplog.text


@pytest.mark.parametrize("readers", [0, 1])
def test_a_label_of_which_no_crop_can_be_read_is_a_short_message(
    here: Path, pipeline: Pipeline, readers: int
) -> None:
    make_dataset(here)
    for path in Path("crops/isle").glob("train*/fox*"):
        path.write_bytes(b"no picture")
    done = pipeline("train", "--no-pretrained", *words(num_workers=readers))
    assert done.code == 1
    assert "run `pipeline crop` again" in done.err
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) == 1


def test_a_label_that_is_not_in_the_index_is_a_message(here: Path) -> None:
    make_dataset(here)
    Path("dataset/label_index.json").write_text('{"0": "bird", "1": "fox"}')
    with pytest.raises(InputInvalid, match="'lizard' is not in label_index"):
        perform.perform("train", options())


def test_a_dataset_that_is_not_there_is_a_message(pipeline: Pipeline) -> None:
    done = pipeline("train")
    assert done.code == 1
    assert "`pipeline split` writes it" in done.err
    assert not Path("runs").exists()


# The weights it starts from


def test_without_network_pretrained_stops_and_names_the_ways_out(
    here: Path, pipeline: Pipeline, no_network: Path
) -> None:
    make_dataset(here)
    done = pipeline("train", "--pretrained", *words(model_name=PUBLISHED))
    assert done.code == 1
    assert "--weights FILE" in done.err
    assert "--no-pretrained" in done.err
    assert "Traceback" not in done.err
    assert not list(Path("runs").rglob("model.*"))
    assert not Path("runs/latest").exists()


def test_after_pretrained_could_not_be_had_no_pretrained_goes_on(
    here: Path, pipeline: Pipeline, no_network: Path
) -> None:
    make_dataset(here)
    pipeline("train", "--pretrained", *words(model_name=PUBLISHED))
    assert pipeline("train", "--no-pretrained", *words(model_name=PUBLISHED)).code == 0


def test_a_damaged_download_of_the_weights_is_a_message(
    here: Path, no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from efficientnet_pytorch.utils import url_map

    make_dataset(here)
    no_network.mkdir(parents=True)
    (no_network / url_map[PUBLISHED].rpartition("/")[2]).write_bytes(b"half a file")
    with pytest.raises((WeightsMissing, InputInvalid)):
        perform.perform("train", options(pretrained=True, model_name=PUBLISHED))


def test_training_may_start_from_the_weights_of_another_run(in_trained: Path) -> None:
    perform.perform("train", options(run_name="second", weights=RUN / "model.safetensors", lr=0.0))
    first = load_file(RUN / "model.safetensors")
    second = load_file("runs/second/model.safetensors")
    learned = [name for name in first if name.endswith((".weight", ".bias"))]
    assert all(torch.equal(first[name], second[name]) for name in learned)
    assert Path("runs/latest").resolve().name == "second"


def test_weights_of_another_number_of_labels_give_all_but_the_head(
    in_trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_dataset(in_trained, ("bird", "fox"))
    weights = RUN / "model.safetensors"
    perform.perform("train", options(run_name="second", weights=weights, lr=0.0))
    assert "labels (bird, fox, lizard): classifier.weight, classifier.bias" in caplog.text
    first, second = load_file(weights), load_file("runs/second/model.safetensors")
    assert torch.equal(first["conv_stem.weight"], second["conv_stem.weight"])


def test_a_file_that_holds_no_weights_is_a_message(here: Path) -> None:
    make_dataset(here)
    Path("w.pt").write_bytes(b"PK\x03\x04 half a zip")
    with pytest.raises(InputInvalid, match=r"w\.pt"):
        perform.perform("train", options(weights=Path("w.pt")))


def test_weights_of_another_network_are_a_message(in_trained: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, "other.pt")
    with pytest.raises(InputInvalid, match="--model-name"):
        perform.perform("train", options(run_name="second", weights=Path("other.pt")))


# Options


@pytest.mark.parametrize(("name", "value"), [("model_name", "resnet-of-nobody"), ("device", "tpu")])
def test_an_option_that_makes_no_sense_is_wrong_usage(here: Path, name: str, value: str) -> None:
    make_dataset(here)
    with pytest.raises(OptionError, match=f"--{name.replace('_', '-')}"):
        perform.perform("train", options(**{name: value}))
    assert not Path("runs/latest").exists()


def test_a_loss_that_is_no_number_stops_with_the_remedy(here: Path, pipeline: Pipeline) -> None:
    make_dataset(here)
    done = pipeline("train", "--no-pretrained", *words(lr=1e30, epochs=4))
    assert done.code == 1
    assert "--lr" in done.err


def test_the_curves_are_in_tensorboard(trained: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / RUN))
    events.Reload()
    losses = [event.value for event in events.Scalars("train_loss")]
    history = pd.read_csv(trained / RUN / "history.csv")
    assert losses == pytest.approx(history["train_loss"].tolist())
    assert any("true positive" in tag or "false" in tag for tag in events.Tags()["images"])
