"""The crops of a split as a data set, and in batches."""

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import PIL
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from animl_pipeline.classifier import cache
from animl_pipeline.classifier.cache import Records
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.preprocessing import Transform
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.images import opening
from animl_pipeline.running import stopping

READ, REPLACED, LOST = 0, 1, 2


class Crops(Dataset[tuple[Tensor, int, int]]):
    """The crops of a split: (picture (3, side, side), truth, what was read).

    For training one that cannot be read is REPLACED by the next of its label. Else, or where there
    is none, it is LOST: black, and left out by whoever asked. What was decoded once is taken
    from the cache, if it has one (`share_cache`): with it and without, the pictures are the same.
    """

    def __init__(
        self,
        folder: Path,
        names: list[str],
        truth: list[int],
        transform: Transform,
        *,
        replace: bool = False,
    ) -> None:
        self.folder, self.names, self.truth = folder, names, truth
        self.transform, self.replace = transform, replace
        self.cache: Records | None = None
        self.first = 0  # the number in the cache of the first crop

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        for number in self._list_candidates(index):
            try:
                picture = self.read_prepared(number)
            except ImageUnusable:
                continue
            read = READ if number == index else REPLACED
            return self.transform.finish(picture), self.truth[index], read
        return self.transform(Image.new("RGB", (1, 1))), self.truth[index], LOST

    def read_prepared(self, number: int) -> Tensor:
        """Return a crop at the network's size, as bytes (3, side, side).

        Raises:
            ImageUnusable: the message is the reason.
        """
        kept = self.cache.get(self.first + number) if self.cache else None
        if kept is not None:
            return torch.from_numpy(kept)
        picture = self.transform.prepare(opening.open_upright(self.folder / self.names[number]))
        if self.cache:
            self.cache.put(self.first + number, picture.numpy())
        return picture

    def _list_candidates(self, index: int) -> Iterator[int]:
        yield index
        for step in range(1, len(self) if self.replace else 0):
            other = (index + step) % len(self)
            if self.truth[other] == self.truth[index]:
                yield other


def share_cache(parts: Sequence[Crops], card: Card, *, gigabytes: float) -> None:
    """Let the parts of a dataset keep their decoded crops in one file beside the crops.

    It is named by what is in it: the files and their times, the size, and what decodes and scales.
    """
    names = [name for part in parts for name in part.names]
    side = card.image_size
    decoding = (side, card.interpolation, PIL.__version__, version("torchvision"))
    key = cache.make_key(parts[0].folder, names, *decoding)
    records = cache.open_records(
        parts[0].folder, key, len(names), (3, side, side), gigabytes=gigabytes
    )
    first = 0
    for part in parts:
        part.cache, part.first = records, first
        first += len(part)


def make_loader(
    data: Dataset[Any],
    *,
    workers: int,
    batch_size: int = 1,
    order: Iterable[int] | None = None,
    batches: Iterable[list[Any]] | None = None,
) -> DataLoader[Any]:
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
        worker_init_fn=stopping.ignore_signals,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,  # to start them anew for every epoch takes seconds
    )
