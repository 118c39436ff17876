import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from animl_pipeline.training.optimisation import compute_rate
from animl_pipeline.training.settings import Recipe, Schedule, SelectBy


def rates(schedule: Schedule, *, steps: int = 4, epochs: int = 5, warmup: float = 0) -> list[float]:
    recipe = Recipe(lr=2.0, lr_schedule=schedule, warmup_epochs=float(warmup))
    return [
        compute_rate(recipe, step, steps=steps, epochs=epochs) for step in range(steps * epochs)
    ]


def test_step_falls_by_the_published_decay_after_every_epoch() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    published = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.97 ** (1 / 2.4))
    expected = []
    for _ in range(5):
        expected += [published.get_last_lr()[0]] * 4
        optimizer.step()
        published.step()
    assert rates(Schedule.STEP) == pytest.approx(expected)


def test_cosine_is_that_of_pytorch() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    expected = []
    for _ in range(20):
        expected.append(cosine.get_last_lr()[0])
        optimizer.step()
        cosine.step()
    assert rates(Schedule.COSINE) == pytest.approx(expected)


def test_warm_up_rises_in_a_line_to_the_full_rate() -> None:
    assert rates(Schedule.CONSTANT, warmup=1)[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates(Schedule.CONSTANT, warmup=0.5)[:3] == [1.0, 2.0, 2.0]


@given(st.sampled_from(Schedule), st.integers(0, 999), st.integers(1, 9), st.floats(0, 9))
def test_a_rate_is_never_above_the_one_asked_for_nor_below_zero(
    schedule: Schedule, step: int, epochs: int, warmup: float
) -> None:
    recipe = Recipe(lr=2.0, lr_schedule=schedule, warmup_epochs=warmup)
    rate = compute_rate(recipe, step, steps=7, epochs=epochs)
    assert 0 <= rate <= 2.0
    assert math.isfinite(rate)


def test_of_a_loss_less_is_better() -> None:
    assert SelectBy.LOSS.as_score(0.2) > SelectBy.LOSS.as_score(0.3)
    assert SelectBy.MACRO_AP.as_score(0.2) < SelectBy.MACRO_AP.as_score(0.3)
