"""The mean of a network's weights over its last steps: what is validated, kept, and used.

Single steps throw the weights about, most with few crops or a high learning rate; their mean lies
still, so one epoch is better than another for what it learned rather than by chance.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage:
    """The exponential moving average over `steps`, as a network of its own: `network`.

    EfficientNet is published with one (Tan & Le 2019), batch norm's statistics included. In the
    first steps it is over fewer, as TensorFlow's `ExponentialMovingAverage` has it. Over 0 steps it
    is the weights themselves.
    """

    def __init__(self, network: nn.Module, *, steps: float) -> None:
        self.steps = steps
        self._averaged = AveragedModel(network, multi_avg_fn=self._follow, use_buffers=True)
        self._averaged.requires_grad_(False)

    @property
    def network(self) -> nn.Module:
        """The network that has the mean weights."""
        return self._averaged.module

    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        self._averaged.update_parameters(network)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on."""
        return {"weights": self.network.state_dict(), "steps": int(self._averaged.n_averaged)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Become what was when the state was returned."""
        self.network.load_state_dict(state["weights"])
        self._averaged.n_averaged.fill_(state["steps"])

    def _follow(self, means: Any, values: Sequence[Tensor], _: Any) -> None:
        if not values[0].is_floating_point():  # a count, or a table of positions: it has no mean
            for mean, value in zip(means, values, strict=True):
                mean.copy_(value)
            return
        done = int(self._averaged.n_averaged)  # on the CPU: no step waits for the GPU
        decay = min(1 - 1 / max(self.steps, 1), (1 + done) / (10 + done))
        for mean, value in zip(means, values, strict=True):
            mean.lerp_(value, 1 - decay)
