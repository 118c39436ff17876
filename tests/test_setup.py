"""What a run is put together from: `build_learner`, by the groups of settings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_training import LABELS, TRAIN, VAL, dataset_of, draw_pictures, make_learner

from animl_pipeline.classifier.crops import Crops
from animl_pipeline.errors import InputInvalid, OptionError
from animl_pipeline.training import setup
from animl_pipeline.training.frozen import Embeddings, HeadOnly
from animl_pipeline.training.sampling import SeededDataset
from animl_pipeline.training.settings import Augmentation, Freeze, Optimizer, Recipe, Schedule
from animl_pipeline.training.state import Learner


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    draw_pictures(folder)
    return folder


def learner_of(folder: Path, **recipe: Any) -> Learner:
    return make_learner(folder, **{"model_name": "test_resnet", **recipe})


def train_data(learner: Learner) -> SeededDataset:
    data = learner.train.dataset
    assert isinstance(data, SeededDataset)
    return data


def test_train_and_val_are_the_crops_of_their_splits_in_order(pictures: Path) -> None:
    learner = learner_of(pictures)
    train = train_data(learner).data
    assert isinstance(train, Crops)
    assert train.names == [f"{number:02}.png" for number in TRAIN]
    assert train.truth == [0, 0, 0, 0, 1, 1, 1]
    assert list(learner.val_rows["crop"]) == [f"{number:02}.png" for number in VAL]
    assert learner.val
    assert [truth for batch in learner.val for truth in batch[1].tolist()] == [0, 0, 1, 1]


def test_only_crops_of_train_are_changed_and_replaced(pictures: Path) -> None:
    learner = learner_of(pictures)
    assert learner.val
    train, val = train_data(learner).data, learner.val.dataset
    assert isinstance(train, Crops)
    assert isinstance(val, Crops)
    assert (train.replace, val.replace) == (True, False)
    assert torch.equal(val[0][0], val[0][0])
    assert not torch.equal(train[0][0], train[0][0])


def test_without_val_there_is_nothing_to_validate(pictures: Path) -> None:
    assert learner_of(pictures, val=False).val is None


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({}, [7 / 8] * 4 + [7 / 6] * 3),
        ({"label_weighted": False}, None),
        ({"loss_weighted": True}, None),
        ({"effective_number": 0.0}, [1.0] * 7),
    ],
    ids=str,
)
def test_crops_are_drawn_by_the_weights_of_their_labels(
    pictures: Path, recipe: dict[str, Any], expected: list[float] | None
) -> None:
    weights = learner_of(pictures, **recipe).sampler.weights
    assert weights is None if expected is None else weights == pytest.approx(expected)


def test_weights_in_the_loss_are_those_of_drawing_and_one_on_average(pictures: Path) -> None:
    in_loss = train_data(learner_of(pictures, loss_weighted=True)).weights
    assert in_loss is not None
    assert in_loss.tolist() == pytest.approx([7 / 8] * 4 + [7 / 6] * 3)
    assert train_data(learner_of(pictures)).weights is None


def test_confidence_weights_crops_within_their_label(pictures: Path) -> None:
    weights = learner_of(pictures, confidence_weighted=True).sampler.weights
    assert weights is not None
    shares = np.array([number + 1 for number in TRAIN], dtype=float)
    assert weights[:4] / weights[0] == pytest.approx(shares[:4] / shares[0])
    assert weights[:4].sum() == pytest.approx(weights[4:].sum())


def test_the_optimizer_is_the_one_asked_for_with_its_rate_and_decay(pictures: Path) -> None:
    published = learner_of(pictures, lr=0.5, weight_decay=0.25).optimizer.param_groups[0]
    assert (published["lr"], published["weight_decay"], published["alpha"]) == (0.5, 0.25, 0.9)
    adamw = learner_of(pictures, optimizer=Optimizer.ADAMW, lr=0.5).optimizer
    assert "betas" in adamw.param_groups[0]


def test_the_rate_follows_the_schedule_over_the_epochs_of_the_course(pictures: Path) -> None:
    learner = learner_of(pictures, lr=1.0, lr_schedule=Schedule.COSINE, batch_size=4)
    steps = 3 * learner.sampler.steps  # of a course of three epochs
    assert [learner.rate(step) for step in (0, steps // 2, steps)] == pytest.approx([1, 0.5, 0])


def test_the_kept_weights_are_averaged_over_the_steps_of_so_many_epochs(pictures: Path) -> None:
    learner = learner_of(pictures, ema_epochs=2.0)
    assert learner.average.steps == 2 * learner.sampler.steps == 6


def test_batches_label_smoothing_and_pieces_are_the_recipe_s(pictures: Path) -> None:
    learner = learner_of(pictures, batch_size=2, label_smoothing=0.25)
    assert (learner.sampler.steps, learner.label_smoothing) == (4, 0.25)
    assert not learner.splits_batches
    assert learner_of(pictures, batch_size="auto").splits_batches


def test_a_frozen_network_learns_with_its_head_alone(pictures: Path) -> None:
    learner = learner_of(pictures, freeze=Freeze.STAGED, unfreeze_after=1)
    for epoch, count in ((0, 2), (1, len(list(learner.network.parameters())))):
        learner.network.train()
        learner.begin_epoch(epoch)
        assert sum(p.requires_grad for p in learner.network.parameters()) == count


def test_a_head_on_embeddings_is_given_them_for_pictures(pictures: Path) -> None:
    learner = learner_of(pictures, cache_embeddings=True)
    train = train_data(learner).data
    assert isinstance(train, Embeddings)
    assert train.mirrors
    assert isinstance(learner.average.network, HeadOnly)


def test_augmentation_is_as_strong_as_asked_for(pictures: Path) -> None:
    train = train_data(learner_of(pictures, augmentation=Augmentation.NONE)).data
    assert isinstance(train, Crops)
    assert torch.equal(train[0][0], train[0][0])


@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        ({"label_weighted": False, "confidence_weighted": True}, "--confidence-weighted"),
        ({"cache_embeddings": True, "freeze": Freeze.STAGED}, "--freeze staged"),
    ],
    ids=["weights", "freezing"],
)
def test_options_that_contradict_one_another_are_refused(
    recipe: dict[str, Any], named: str
) -> None:
    with pytest.raises(OptionError, match=named):
        setup.refuse_contradictions(Recipe(**recipe))


@pytest.mark.parametrize(
    ("recipe", "named"),
    [({"batch_size": "auto"}, "--batch-size auto"), ({"freeze": Freeze.STAGED}, "--freeze staged")],
    ids=["pieces", "freezing"],
)
def test_what_only_one_process_can_do_is_refused_to_several(
    recipe: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OptionError, match=named):
        setup.refuse_contradictions(Recipe(**recipe))


def test_a_label_without_confidence_cannot_be_weighted_by_it() -> None:
    dataset = dataset_of(train=TRAIN)
    dataset.loc[dataset["label"] == "fox", "confidence"] = 0.0
    with pytest.raises(InputInvalid, match="'fox' in train has a confidence"):
        setup.make_sampler(dataset, LABELS, Recipe(confidence_weighted=True))
