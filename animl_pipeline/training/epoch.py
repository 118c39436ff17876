"""What looks after an epoch of training: it counts, shows, checks, saves, and stops in between."""

import logging
import math
import time
from collections.abc import Callable
from types import TracebackType

import torch
from torch import Tensor

from animl_pipeline.classifier.crops import LOST, REPLACED
from animl_pipeline.errors import CropsLost, Stopped, TrainingDiverged
from animl_pipeline.running import processes
from animl_pipeline.running.progress import progress
from animl_pipeline.running.stopping import Stop
from animl_pipeline.training import distributed
from animl_pipeline.training.state import Learner, Progress

LOOK_S = 0.5  # to look at a loss waits for the GPU; on a CPU there is nothing to wait for
SAVE = 1  # what a process may wish for; 0: nothing; a larger number: to stop, by that signal

logger = logging.getLogger(__name__)


class Watch:
    """The life of an epoch's training, from the step it begins with to its last."""

    def __init__(
        self,
        learner: Learner,
        state: Progress,
        *,
        title: str,
        stop: Stop,
        save: Callable[[], None],
        save_every_s: float,
    ) -> None:
        self.learner, self.state, self.title = learner, state, title
        self.stop, self.save, self.save_every_s = stop, save, save_every_s
        self.seen = learner.draws.start_of(state.step)
        self.bar = progress(learner.draws.n, title=title, unit="crop", done=self.seen)
        self.saved = self.looked = time.monotonic()
        self.start = self.saved - state.seconds
        self.losses: list[Tensor] = []
        self.own_loss, self.own_seen = 0.0, 0  # of this process, to show

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.bar.close()
        if kind is None:
            self._sum_up()
            if self.state.replaced:
                logger.warning(
                    "%s: %d crops could not be read; others took their place",
                    self.title, self.state.replaced,
                )  # fmt: skip

    def stepped(self, loss: Tensor, truth: Tensor, read: Tensor) -> None:
        """Take note of a step: its loss, summed over its crops, and what was read of them.

        `truth` (b,) and `read` (b,) are of the crops of this process.

        Raises:
            Stopped: somebody asked to stop; all is saved.
            TrainingDiverged: the loss is not a number.
            CropsLost: of a label no crop can be read.
        """
        state, now = self.state, time.monotonic()
        if (read == LOST).any():
            label = self.learner.labels[int(truth[read == LOST][0])]
            raise CropsLost(
                f"Of the label {label!r} no crop of train can be read. If the disk is there, run "
                "`pipeline crop` again; then this command goes on where it was last saved."
            )
        state.step += 1
        state.replaced += int((read == REPLACED).sum())
        self.losses.append(loss)
        self.own_seen += len(read)
        due = now - self.saved >= self.save_every_s
        wish = distributed.largest(self.stop.signal or SAVE * due)
        if wish or self.learner.fabric.device.type == "cpu" or now - self.looked > LOOK_S:
            self._look(now)
        if wish:
            self._sum_up()
            self.save()
            self.saved = now
        if wish > SAVE:
            raise Stopped(wish)

    def _look(self, now: float) -> None:
        state = self.state
        self.looked, state.seconds = now, now - self.start
        for value in torch.stack(self.losses).tolist() if self.losses else []:
            if not math.isfinite(value):
                raise TrainingDiverged(f"{self.title}, by step {state.step}: the loss is {value}.")
            state.loss += value
            self.own_loss += value
        self.losses.clear()
        if self.own_seen:
            self.bar.note(f"loss {self.own_loss / self.own_seen:.3f}")
        seen = self.learner.draws.start_of(state.step)
        self.bar.update(seen - self.seen)
        self.seen = seen

    def _sum_up(self) -> None:
        """Look at what is left, and let the first process hold the sums of all of them."""
        self._look(time.monotonic())
        state, first = self.state, processes.rank() == 0
        loss, replaced = distributed.summed(state.loss, state.replaced)
        state.loss, state.replaced = (loss, int(replaced)) if first else (0.0, 0)
