"""Which crops an epoch shows, in which batches, and how much each weighs in the loss."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from animl_pipeline.errors import OptionError

Draw = tuple[int, int]  # which crop, and the seed of the chance it meets


def weigh_crops(
    truth: NDArray[np.int64], confidence: NDArray[np.float64] | None = None, *, beta: float = 1.0
) -> NDArray[np.float64]:
    """Return a weight for each crop (n,): that of its label, shared out within the label.

    A label of n crops weighs n / E, with E = (1 - beta^n) / (1 - beta) the effective number of its
    crops (Cui et al. 2019): by beta = 1, where E is n, every label weighs the same; by beta = 0
    every crop. Within a label a crop weighs in proportion to its `confidence`. The weights sum to
    that of all confidences (without them: n), as in MegaDetector's trainer, whose formula
    w_i = u_i (n / c) / U_label this is where beta = 1.

    >>> weigh_crops(np.array([0, 0, 0, 1]))
    array([0.66666667, 0.66666667, 0.66666667, 2.        ])
    """
    u = np.ones(len(truth)) if confidence is None else confidence
    counts = np.bincount(truth)
    present = np.flatnonzero(counts)
    effective = np.ones(len(counts))
    effective[present] = [compute_effective_number(int(n), beta) for n in counts[present]]
    mean = np.bincount(truth, u)[truth] / counts[truth]
    weights = u / mean / effective[truth]
    return np.asarray(weights * (u.sum() / weights.sum()))


def compute_effective_number(n: int, beta: float) -> float:
    """Return (1 - beta^n) / (1 - beta), which for beta = 1 is n, its limit."""
    return float(n) if beta == 1 else (1 - beta**n) / (1 - beta)


class SeededBatchSampler(Sampler[list[Draw]]):
    """The batches of an epoch: drawn by weight with replacement, or each crop once.

    All follows from (seed, epoch), so an epoch goes on from any step, and several processes make
    one common draw: each takes every n-th crop of every batch, from its own rank on. A crop's
    chance belongs to its place in that draw: neither the number of readers nor of processes, nor
    where an epoch was interrupted changes what is seen.

    The batches are of equal size, give or take one, and of at most `batch_size`: a last batch of
    a single crop would have its batch norms know one picture.

    Raises:
        OptionError: a batch is smaller than the number of processes.
    """

    def __init__(
        self,
        n: int,
        weights: NDArray[np.float64] | None,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.n, self.weights, self.seed = n, weights, seed
        self.rank, self.ranks = rank, ranks
        self.steps = -(-n // batch_size)
        self.epoch, self.step = 0, 0  # where the next iteration begins
        if n // self.steps < ranks:
            raise OptionError(
                f"{ranks} processes cannot share batches of {n // self.steps} crops: raise "
                "--batch-size, or start fewer processes."
            )

    def __len__(self) -> int:
        return self.steps - self.step

    def __iter__(self) -> Iterator[list[Draw]]:
        chance = np.random.default_rng([self.seed, self.epoch])
        if self.weights is None:
            order = chance.permutation(self.n)
        else:
            order = chance.choice(self.n, size=self.n, p=self.weights / self.weights.sum())
        seeds = chance.integers(2**32, size=self.n)  # all that PyTorch's generator takes of one
        for step in range(self.step, self.steps):
            mine = slice(
                self.count_before(step) + self.rank, self.count_before(step + 1), self.ranks
            )
            yield list(zip(order[mine].tolist(), seeds[mine].tolist(), strict=True))

    def count_before(self, step: int) -> int:
        """Return how many crops the steps before this one show, in all processes."""
        return step * self.n // self.steps

    def make_step_seed(self, step: int) -> int:
        """Return the seed of the network's own chance, such as dropout, in a step."""
        key = [self.seed, self.epoch, step, self.rank]
        return int(np.random.SeedSequence(key).generate_state(1)[0])


class SeededDataset(Dataset[tuple[Any, ...]]):
    """A data set whose items are asked for by crop and seed: (*item, its weight in the loss).

    What chance there is in an item follows from the seed alone.
    """

    def __init__(self, data: Dataset[Any], weights: NDArray[np.float64] | None) -> None:
        self.data = data
        self.weights = None if weights is None else torch.from_numpy(weights).float()

    def __getitem__(self, draw: Draw) -> tuple[Any, ...]:
        index, seed = draw
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            item = self.data[index]
        return (*item, self._find_weight(index))

    def _find_weight(self, index: int) -> Tensor:
        return torch.ones(()) if self.weights is None else self.weights[index]
