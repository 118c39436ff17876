"""The weights that are kept are the mean of those of the last steps."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from animl_pipeline.training.averaging import WeightAverage


class Number(nn.Module):
    """A network of one weight and one statistic."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value, dtype=torch.float64))
        self.register_buffer("seen", torch.tensor(value, dtype=torch.float64))
        self.register_buffer("batches", torch.tensor(0))

    def become(self, value: float) -> None:
        self.weight.data.fill_(value)
        self.get_buffer("seen").fill_(value)


def followed(values: list[float], *, steps: float) -> list[tuple[float, float]]:
    """The averages of weight and statistic after each step."""
    network, found = Number(values[0]), []
    average = WeightAverage(network, steps=steps)
    for value in values:
        network.become(value)
        average.update(network)
        found.append((float(average.network.weight), float(average.network.seen)))
    return found


def test_weights_that_stay_have_themselves_for_their_mean() -> None:
    assert followed([0.1] * 50, steps=7) == [(0.1, 0.1)] * 50


def test_averaged_over_no_steps_are_the_weights_themselves() -> None:
    values = list(np.random.default_rng(0).normal(size=30))
    assert followed(values, steps=0) == [(value, value) for value in values]


@pytest.mark.parametrize("steps", [20, 100])
def test_after_as_many_steps_as_it_is_over_a_mean_has_all_but_forgotten(steps: int) -> None:
    weights = followed([1.0] * 2000 + [0.0] * steps, steps=steps)
    assert weights[-1][0] == pytest.approx(np.exp(-1), rel=0.03)


def test_of_its_beginning_little_is_left_long_before_that() -> None:
    weights = followed([1.0] + [0.0] * 20, steps=1000)
    assert weights[-1][0] < 1e-6


def test_what_is_no_weight_is_taken_as_it_is() -> None:
    network = Number(0.0)
    average = WeightAverage(network, steps=100)
    for number in (3, 8, 11):
        network.get_buffer("batches").fill_(number)
        average.update(network)
        assert int(average.network.batches) == number


def test_a_mean_that_goes_on_equals_one_undisturbed() -> None:
    network, other = Number(0.0), Number(5.0)
    average, again = WeightAverage(network, steps=30), WeightAverage(other, steps=30)
    for value in range(20):
        network.become(value)
        average.update(network)
        if value == 10:
            again.load_state_dict(copy.deepcopy(average.state_dict()))
        if value > 10:
            again.update(network)
    assert again.state_dict() == average.state_dict()


def test_a_mean_lies_stiller_than_the_weights() -> None:
    values = list(np.random.default_rng(0).normal(size=3000))
    weights = [weight for weight, _ in followed(values, steps=50)]
    # The variance of a moving average that gives each new value a share a is a / (2 - a) of theirs.
    assert np.var(weights[500:]) == pytest.approx(0.02 / 1.98, rel=0.3)
