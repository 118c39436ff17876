"""The mean of a network's weights over its last steps: what is validated, kept, and used.

Single steps throw the weights about, most with few crops or a high learning rate; their mean lies
still, so one epoch is better than another for what it learned rather than by chance.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Average(AveragedModel):
    """A network of its own, `module`, whose weights follow those of one that learns.

    Their exponential moving average over `steps`, as EfficientNet is published with (Tan & Le
    2019), batch norm's statistics included; over fewer in the first steps, as TensorFlow's
    `ExponentialMovingAverage` has it. 0 steps: the weights themselves.
    """

    def __init__(self, network: nn.Module, *, steps: float) -> None:
        super().__init__(network, multi_avg_fn=self._follow, use_buffers=True)
        self.steps = steps
        self.requires_grad_(False)

    def past(self) -> dict[str, Any]:
        """Return all that is needed to go on."""
        return {"weights": self.module.state_dict(), "steps": int(self.n_averaged)}

    def go_on(self, past: dict[str, Any]) -> None:
        """Become what was when `past` was returned."""
        self.module.load_state_dict(past["weights"])
        self.n_averaged.fill_(past["steps"])

    def _follow(self, means: Any, values: Sequence[Tensor], _: Any) -> None:
        if not values[0].is_floating_point():  # a count, or a table of places: it has no mean
            for mean, value in zip(means, values, strict=True):
                mean.copy_(value)
            return
        done = int(self.n_averaged)  # on the CPU: no step waits for the GPU
        decay = min(1 - 1 / max(self.steps, 1), (1 + done) / (10 + done))
        get_ema_multi_avg_fn(decay)(means, values, done)  # type: ignore[no-untyped-call]
