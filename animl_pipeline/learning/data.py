"""The crops of a split as a data set, label weighting, and the batches of an epoch."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, WeightedRandomSampler

from animl_pipeline import images
from animl_pipeline.errors import ImageUnusable

READ, REPLACED, LOST = 0, 1, 2


class Crops(Dataset[tuple[Tensor, int, int]]):
    """The crops of a split: (picture (3, side, side), truth, what was read).

    For training one that cannot be read is REPLACED by the next of its label. Else, or where there
    is none, it is LOST: black, and left out by whoever asked.
    """

    def __init__(
        self,
        folder: Path,
        names: list[str],
        truth: list[int],
        transform: Callable[[Any], Tensor],
        *,
        replace: bool = False,
    ) -> None:
        self.folder, self.names, self.truth = folder, names, truth
        self.transform, self.replace = transform, replace

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        for number in self._candidates(index):
            try:
                image = images.open_upright(self.folder / self.names[number])
            except ImageUnusable:
                continue
            read = READ if number == index else REPLACED
            return self.transform(image), self.truth[index], read
        return self.transform(Image.new("RGB", (1, 1))), self.truth[index], LOST

    def _candidates(self, index: int) -> Iterator[int]:
        yield index
        for step in range(1, len(self) if self.replace else 0):
            other = (index + step) % len(self)
            if self.truth[other] == self.truth[index]:
                yield other


def label_weights(truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a weight for each crop: n / (c * n_label), for n crops of c labels.

    The weights of every label sum to n / c, all of them to n: each label is seen equally often.
    The formula of MegaDetector's classification trainer.

    >>> label_weights(np.array([0, 0, 0, 1]))
    array([0.66666667, 0.66666667, 0.66666667, 2.        ])
    """
    counts = np.bincount(truth)
    return np.asarray(len(truth) / (np.count_nonzero(counts) * counts[truth]))


def sampler(data: Crops, *, label_weighted: bool, generator: torch.Generator) -> Sampler[int]:
    """Return the order of a training epoch: each label equally often, or each crop once."""
    if not label_weighted:
        return RandomSampler(data, generator=generator)
    weights = label_weights(np.array(data.truth))
    return WeightedRandomSampler(weights.tolist(), len(data), generator=generator)


def loader(
    data: Crops,
    *,
    batch_size: int,
    workers: int,
    generator: torch.Generator | None = None,
    order: Sampler[int] | None = None,
) -> "DataLoader[Any]":
    """Return batches of (pictures, truth, what was read), in the given order or the data's own."""
    return DataLoader(
        data,
        batch_size=batch_size,
        sampler=order,
        num_workers=workers,
        generator=generator,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=False,  # so that every epoch's chance begins at its own seed
    )
