from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_training import TRAIN, crops_of, draw_pictures

from animl_pipeline.classifier.crops import make_loader
from animl_pipeline.errors import OptionError
from animl_pipeline.training.sampling import (
    Draw,
    SeededBatchSampler,
    SeededDataset,
    compute_effective_number,
    weigh_crops,
)

Truths = st.lists(st.integers(0, 6), min_size=1, max_size=60)


@settings(deadline=None, max_examples=100)
@given(Truths, st.integers(0, 2**32 - 1))
def test_the_weights_are_those_of_the_old_trainer(truth: list[int], seed: int) -> None:
    labels, u = np.array(truth), np.random.default_rng(seed).uniform(0.01, 1, len(truth))
    of_label, c = np.bincount(labels, u)[labels], len(set(truth))
    expected = u * (u.sum() / c) / of_label
    np.testing.assert_allclose(weigh_crops(labels, u), expected)
    assert weigh_crops(labels).sum() == pytest.approx(len(truth))


@settings(deadline=None, max_examples=100)
@given(Truths, st.floats(0, 0.9999))
def test_a_label_weighs_its_crops_over_their_effective_number(
    truth: list[int], beta: float
) -> None:
    labels = np.array(truth)
    weights, counts = weigh_crops(labels, beta=beta), Counter(truth)
    factors = {label: (1 - beta) / (1 - beta**n) for label, n in counts.items()}
    expected = np.array([factors[label] for label in truth])
    np.testing.assert_allclose(weights / weights[0], expected / expected[0], rtol=1e-6)
    assert weights.sum() == pytest.approx(len(truth))


def test_an_effective_number_lies_between_one_and_the_number() -> None:
    assert compute_effective_number(100, 0.0) == 1
    assert compute_effective_number(100, 1.0) == 100
    assert compute_effective_number(100, 0.999999) == pytest.approx(100, rel=1e-3)
    assert 1 < compute_effective_number(100, 0.9) < 10


def draws_of(
    n: int, weights: NDArray[np.float64] | None = None, *, epoch: int = 0, step: int = 0,
    batch_size: int = 8, seed: int = 0, rank: int = 0, ranks: int = 1,
) -> list[list[Draw]]:  # fmt: skip
    sampler = SeededBatchSampler(
        n, weights, batch_size=batch_size, seed=seed, rank=rank, ranks=ranks
    )
    sampler.epoch, sampler.step = epoch, step
    batches = list(sampler)
    assert len(sampler) == len(batches)
    return batches


def crops(batches: list[list[Draw]]) -> list[int]:
    return [crop for batch in batches for crop, _ in batch]


def test_each_label_is_drawn_about_equally_often() -> None:
    truth = np.array([0] * 5400 + [1] * 540 + [2] * 60)
    counts = Counter(truth[crops(draws_of(6000, weigh_crops(truth)))].tolist())
    assert sum(counts.values()) == 6000
    assert all(abs(counts[label] - 2000) < 200 for label in range(3))


def test_within_a_label_crops_are_drawn_by_confidence() -> None:
    truth, confidence = np.array([0] * 3000 + [1]), np.array([0.9] * 1500 + [0.3] * 1500 + [1.0])
    drawn = np.array(crops(draws_of(3001, weigh_crops(truth, confidence))))
    sure, unsure = np.sum(drawn < 1500), np.sum((drawn >= 1500) & (drawn < 3000))
    assert sure / unsure == pytest.approx(3, rel=0.2)


def test_without_weights_each_crop_is_drawn_once() -> None:
    order = crops(draws_of(55))
    assert sorted(order) == list(range(55))
    assert order != sorted(order)


def test_seed_and_epoch_decide_the_draw() -> None:
    assert draws_of(20, seed=1) == draws_of(20, seed=1)
    assert crops(draws_of(20, seed=1)) != crops(draws_of(20, seed=2))
    assert crops(draws_of(20, epoch=1)) != crops(draws_of(20, epoch=2))


@given(st.integers(1, 300), st.integers(1, 99))
def test_batches_are_of_equal_size_and_hold_every_draw(n: int, batch_size: int) -> None:
    sizes = [len(batch) for batch in draws_of(n, batch_size=batch_size)]
    assert sum(sizes) == n
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size
    assert len(sizes) == -(-n // batch_size)


@given(st.integers(1, 60), st.integers(1, 9), st.data())
def test_an_epoch_goes_on_from_any_step(n: int, batch_size: int, data: st.DataObject) -> None:
    whole = draws_of(n, batch_size=batch_size)
    step = data.draw(st.integers(0, len(whole)))
    assert draws_of(n, batch_size=batch_size, step=step) == whole[step:]


@given(st.integers(8, 60), st.integers(8, 20), st.integers(1, 4), st.booleans())
def test_processes_share_the_draw_of_one(
    n: int, batch_size: int, ranks: int, weighted: bool
) -> None:
    weights = weigh_crops(np.arange(n) % 3) if weighted else None
    alone = draws_of(n, weights, batch_size=batch_size)
    shares = [
        draws_of(n, weights, batch_size=batch_size, rank=rank, ranks=ranks)
        for rank in range(ranks)
    ]  # fmt: skip
    for batch, *parts in zip(alone, *shares, strict=True):
        assert all(parts)
        assert sorted(batch) == sorted(draw for part in parts for draw in part)


def test_more_processes_than_crops_in_a_batch_are_wrong_usage() -> None:
    with pytest.raises(OptionError, match="4 processes"):
        SeededBatchSampler(9, None, batch_size=3, seed=0, rank=0, ranks=4)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    draw_pictures(folder)
    return folder


def seen(folder: Path, *, readers: int, step: int = 0) -> list[torch.Tensor]:
    data = crops_of(folder, TRAIN, augmented=True)
    sampler = SeededBatchSampler(len(data), None, batch_size=2, seed=0)
    sampler.step = step
    batches = make_loader(SeededDataset(data, None), batches=sampler, workers=readers)
    return [pictures for pictures, *_ in batches]


@pytest.mark.parametrize("readers", [1, 2])
def test_the_number_of_readers_does_not_change_what_is_seen(pictures: Path, readers: int) -> None:
    alone, together = seen(pictures, readers=0), seen(pictures, readers=readers)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_where_an_epoch_goes_on_does_not_change_what_is_seen(pictures: Path) -> None:
    whole, rest = seen(pictures, readers=0), seen(pictures, readers=0, step=2)
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], rest, strict=True))


def test_a_crop_drawn_twice_is_seen_in_two_ways(pictures: Path) -> None:
    data = SeededDataset(crops_of(pictures, TRAIN, augmented=True), None)
    one, again, other = data[0, 5][0], data[0, 5][0], data[0, 6][0]
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_draw_leaves_the_chance_of_others_alone(pictures: Path) -> None:
    data = SeededDataset(crops_of(pictures, TRAIN, augmented=True), None)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    assert data[0, 5]
    assert torch.equal(torch.rand(4), expected)


def test_a_crop_brings_its_weight_in_the_loss(pictures: Path) -> None:
    data = crops_of(pictures, TRAIN)
    weights = weigh_crops(np.array(data.truth))
    assert float(SeededDataset(data, weights)[6, 0][3]) == pytest.approx(weights[6])
    assert float(SeededDataset(data, None)[6, 0][3]) == 1
