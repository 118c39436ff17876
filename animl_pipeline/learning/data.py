"""The crops of a split as a data set, and in batches."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from animl_pipeline import images, stopping
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


def loader(
    data: Dataset[Any],
    *,
    workers: int,
    batch_size: int = 1,
    order: Iterable[int] | None = None,
    batches: Iterable[list[Any]] | None = None,
) -> "DataLoader[Any]":
    """Return batches of (pictures, truth, what was read, ...).

    They are the given `batches`, or of `batch_size` in the given `order`, or in the data's own.
    """
    how: dict[str, Any] = (
        {"batch_sampler": batches} if batches else {"batch_size": batch_size, "sampler": order}
    )
    return DataLoader(
        data,
        **how,
        num_workers=workers,
        worker_init_fn=stopping.ignored,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,  # to start them anew for every epoch takes seconds
    )
