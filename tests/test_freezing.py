"""What is frozen stays as it was, and a head on kept embeddings is a whole classifier."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from small_dataset import TINY, make_dataset
from torch import nn

from animl_pipeline.classifier import cache, networks
from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.errors import OptionError
from animl_pipeline.running import perform as stages
from animl_pipeline.running import stage
from animl_pipeline.running.stage import Counts
from animl_pipeline.stages.train import Options
from animl_pipeline.training import frozen
from animl_pipeline.training.settings import Freeze

RUN = Path("runs/one")
HEAD = {"fc.weight", "fc.bias"}  # of test_resnet


@pytest.fixture
def train(here: Path) -> Callable[..., Counts]:
    make_dataset(here)

    def perform(**more: Any) -> Counts:
        options = TINY | {"model_name": "test_resnet", "run_name": "one", "epochs": 1, "lr": 1e-2}
        return stages.perform("train", Options(**options | more))

    return perform


def weights(run: Path = RUN) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def started(seed: int = 0) -> dict[str, torch.Tensor]:
    """The weights a run from scratch starts with."""
    torch.manual_seed(seed)
    return dict(networks.build("test_resnet", 3, 64).state_dict())


def changed(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in one if not torch.equal(one[name], other[name])}


@given(st.integers(0, 20), st.integers(1, 20))
def test_staged_freezing_ends_after_its_epochs_and_never_comes_back(epoch: int, after: int) -> None:
    assert Freeze.STAGED.is_on(epoch, unfreeze_after=after) == (epoch < after)
    assert Freeze.HEAD.is_on(epoch, unfreeze_after=after)
    assert not Freeze.NONE.is_on(epoch, unfreeze_after=after)


@pytest.mark.parametrize("name", ["efficientnet-b0", "test_resnet", "test_vit"])
def test_only_the_head_of_a_frozen_network_gets_gradients_and_is_in_training(name: str) -> None:
    network = networks.build(name, 3, 64)
    network.train()
    frozen.set_train_mode(network, is_frozen=True)
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    got = {name for name, tensor in network.named_parameters() if tensor.grad is not None}
    assert got == networks.head_names(network)
    assert {m for m in network.modules() if m.training} == set(
        networks.find_head(network).modules()
    )
    frozen.set_train_mode(network, is_frozen=False)
    assert all(module.training for module in network.modules())
    assert all(tensor.requires_grad for tensor in network.parameters())


def test_training_a_head_leaves_all_else_as_it_was_loaded(train: Callable[..., Counts]) -> None:
    train(freeze=Freeze.HEAD, epochs=2)
    assert changed(started(), weights()) == HEAD


def test_staged_training_changes_the_rest_after_its_epochs_alone(
    train: Callable[..., Counts],
) -> None:
    train(freeze=Freeze.STAGED, unfreeze_after=1, epochs=1)
    assert changed(started(), weights()) == HEAD
    train(freeze=Freeze.STAGED, unfreeze_after=1, epochs=2)  # goes on
    state = torch.load(RUN / "last.pt", weights_only=True)["network"]
    assert changed(started(), state) > HEAD


def test_a_staged_run_that_goes_on_equals_one_undisturbed(train: Callable[..., Counts]) -> None:
    how = {"freeze": Freeze.STAGED, "unfreeze_after": 2}
    for epochs in (1, 2, 3, 4):
        train(epochs=epochs, **how)
    train(epochs=4, logdir=Path("calm"), **how)
    one, other = (
        torch.load(path / "last.pt", weights_only=True)["network"]
        for path in (RUN, Path("calm/one"))
    )
    assert changed(one, other) == set()


# Embeddings


def test_a_head_on_embeddings_is_saved_with_the_whole_network(train: Callable[..., Counts]) -> None:
    train(cache_embeddings=True, epochs=3)
    assert changed(started(), weights()) == HEAD
    network, card = classifier.load(RUN)
    assert card.labels == ["bird", "fox", "lizard"]
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 3)
    stages.perform("evaluate", stage.load("evaluate").Options(run_dir=RUN))
    assert len(pd.read_csv(RUN / "evaluation/predictions_test.csv")) == 6


def test_what_is_learned_of_embeddings_is_what_the_network_says_of_the_pictures(
    train: Callable[..., Counts],
) -> None:
    """The probabilities on val by which the best epoch was chosen are those of the whole."""
    train(cache_embeddings=True, epochs=2)
    network, card = classifier.load(RUN)
    transform = make_transform(card)
    dataset = pd.read_csv("dataset/dataset.csv", keep_default_na=False)
    val = dataset[dataset["split"] == "val"]
    with torch.inference_mode():
        pictures = torch.stack([transform(Image.open(Path("crops") / c)) for c in val["crop"]])
        truth = torch.tensor([card.labels.index(label) for label in val["label"]])
        loss = nn.functional.cross_entropy(network(pictures), truth)
    history = pd.read_csv(RUN / "history.csv")
    assert history["val_loss"][card.epoch] == pytest.approx(float(loss), rel=1e-4)


def test_embeddings_that_were_kept_are_not_made_again(train: Callable[..., Counts]) -> None:
    train(cache_embeddings=True, log_extreme_examples=0)
    (path,) = Path("crops", cache.FOLDER).iterdir()
    before = path.read_bytes()
    assert before.strip(b"\0")
    for crop in Path("crops").rglob("*.jpg"):
        state = crop.stat()
        crop.write_bytes(b"\0" * state.st_size)
        os.utime(crop, ns=(state.st_atime_ns, state.st_mtime_ns))
    train(cache_embeddings=True, run_name="two", log_extreme_examples=0)
    assert changed(weights(), weights(Path("runs/two"))) == set()
    assert path.read_bytes() == before


def test_embeddings_of_other_weights_are_others(train: Callable[..., Counts]) -> None:
    train(cache_embeddings=True)
    train(cache_embeddings=True, run_name="two", seed=1)
    assert len(list(Path("crops", cache.FOLDER).iterdir())) == 2


def test_a_run_on_embeddings_that_goes_on_equals_one_undisturbed(
    train: Callable[..., Counts],
) -> None:
    for epochs in (1, 3):
        train(cache_embeddings=True, epochs=epochs)
    train(cache_embeddings=True, epochs=3, logdir=Path("calm"), cache_gb=0.0)
    one, other = (
        torch.load(path / "last.pt", weights_only=True)["network"]
        for path in (RUN, Path("calm/one"))
    )
    assert changed(one, other) == set()


def test_a_crop_that_cannot_be_read_has_no_embedding_and_is_replaced(
    train: Callable[..., Counts], caplog: pytest.LogCaptureFixture
) -> None:
    next(Path("crops/isle").glob("train*/fox*")).write_bytes(b"no picture")
    train(cache_embeddings=True, label_weighted=False)
    assert "1 crops could not be read" in caplog.text


def test_a_network_whose_head_is_more_than_a_layer_has_no_embeddings_to_learn_from(
    train: Callable[..., Counts],
) -> None:
    with pytest.raises(OptionError, match="--freeze head"):
        train(model_name="dpn48b", cache_embeddings=True)


def test_embeddings_and_staged_freezing_do_not_go_together(train: Callable[..., Counts]) -> None:
    with pytest.raises(OptionError, match="--freeze staged"):
        train(cache_embeddings=True, freeze=Freeze.STAGED)


# The cache of decoded crops, through the stage


@pytest.mark.parametrize("readers", [0, 1])
def test_training_is_the_same_with_the_cache_and_without(
    train: Callable[..., Counts], readers: int
) -> None:
    train(epochs=2, num_workers=readers)
    assert list(Path("crops", cache.FOLDER).iterdir())
    train(epochs=2, num_workers=0, cache_gb=0.0, logdir=Path("plain"))
    assert changed(weights(), weights(Path("plain/one"))) == set()
