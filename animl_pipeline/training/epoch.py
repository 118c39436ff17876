"""What looks after an epoch of training: it counts, shows, checks, saves, and stops in between."""

import logging
import math
import time
from collections.abc import Callable
from enum import IntEnum
from types import TracebackType

import torch
from torch import Tensor

from animl_pipeline.classifier.crops import LOST, REPLACED
from animl_pipeline.errors import CropsLost, Stopped, TrainingDiverged
from animl_pipeline.running import processes
from animl_pipeline.running.progress import progress as show_progress
from animl_pipeline.running.stopping import Stop
from animl_pipeline.training import distributed
from animl_pipeline.training.state import Learner, Progress

LOOK_S = 0.5  # to look at a loss waits for the GPU; on a CPU there is nothing to wait for

logger = logging.getLogger(__name__)


class Wish(IntEnum):
    """What a process wishes for after a step; of several processes the largest wish is granted."""

    NOTHING = 0
    SAVE = 1
    STOP = 2


class EpochMonitor:
    """Follows an epoch's training from the step it begins with to its last."""

    def __init__(
        self,
        learner: Learner,
        progress: Progress,
        *,
        title: str,
        stop: Stop,
        save: Callable[[], None],
        save_every_s: float,
    ) -> None:
        self.learner, self.progress, self.title = learner, progress, title
        self.stop, self.save, self.save_every_s = stop, save, save_every_s
        self.shown = learner.sampler.count_before(progress.step)
        self.bar = show_progress(learner.sampler.n, title=title, unit="crop", done=self.shown)
        self.saved_at = self.looked_at = time.monotonic()
        self.start = self.saved_at - progress.seconds
        self.losses: list[Tensor] = []
        self.process_loss, self.process_crops = 0.0, 0  # of this process, to show

    def __enter__(self) -> "EpochMonitor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.bar.close()
        if kind is None:
            self._sum_up()
            if replaced := self.progress.replaced:
                message = "%s: %d crops could not be read; others took their place"
                logger.warning(message, self.title, replaced)

    def finish_step(self, loss: Tensor, truth: Tensor, read: Tensor) -> None:
        """Take note of a step: its loss, summed over its crops, and what was read of them.

        `truth` (b,) and `read` (b,) are of the crops of this process.

        Raises:
            Stopped: somebody asked to stop; all is saved.
            TrainingDiverged: the loss is not a number.
            CropsLost: of a label no crop can be read.
        """
        progress, now = self.progress, time.monotonic()
        if (read == LOST).any():
            label = self.learner.labels[int(truth[read == LOST][0])]
            raise CropsLost(
                f"Of the label {label!r} no crop of train can be read. If the disk is there, run "
                "`pipeline crop` again; then this command goes on where it was last saved."
            )
        progress.step += 1
        progress.replaced += int((read == REPLACED).sum())
        self.losses.append(loss)
        self.process_crops += len(read)
        wish = distributed.find_largest(self._wish(now))
        is_on_cpu = self.learner.fabric.device.type == "cpu"
        if wish or is_on_cpu or now - self.looked_at > LOOK_S:
            self._look(now)
        if wish:
            self._sum_up()
            self.save()
            self.saved_at = now
        if wish == Wish.STOP:
            raise Stopped(distributed.find_largest(self.stop.signal))

    def _wish(self, now: float) -> Wish:
        if self.stop.signal:
            return Wish.STOP
        return Wish.SAVE if now - self.saved_at >= self.save_every_s else Wish.NOTHING

    def _look(self, now: float) -> None:
        """Take in the losses since the last look, and show them."""
        progress = self.progress
        self.looked_at, progress.seconds = now, now - self.start
        for loss in torch.stack(self.losses).tolist() if self.losses else []:
            if not math.isfinite(loss):
                title = f"{self.title}, by step {progress.step}"
                raise TrainingDiverged(f"{title}: the loss is {loss}.")
            progress.loss += loss
            self.process_loss += loss
        self.losses.clear()
        if self.process_crops:
            mean = self.process_loss / self.process_crops
            self.bar.note(f"loss {mean:.3f}")
        shown = self.learner.sampler.count_before(progress.step)
        self.bar.update(shown - self.shown)
        self.shown = shown

    def _sum_up(self) -> None:
        """Look at what is left, and let the first process hold the sums of all of them."""
        self._look(time.monotonic())
        progress, is_first = self.progress, processes.get_rank() == 0
        loss, replaced = distributed.sum_up(progress.loss, progress.replaced)
        progress.loss, progress.replaced = (loss, int(replaced)) if is_first else (0.0, 0)
