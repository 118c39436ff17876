"""Memory that is not enough, and what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import OutOfMemoryError

from animl_pipeline.errors import OptionError, ReaderLost

# What PyTorch's allocator for the CPU says, as a RuntimeError, on Linux and on Windows.
SAID_BY_CPU = ("DefaultCPUAllocator: can't allocate", "DefaultCPUAllocator: not enough memory")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of PyTorch says that there is not enough memory."""
    return isinstance(error, OutOfMemoryError) or any(text in str(error) for text in SAID_BY_CPU)


def refuse_to_go_on(batch: int, pieces: int, *, splits: bool) -> None:
    """Raise OptionError, with what to try, unless a batch may go through in more pieces yet."""
    if pieces >= batch:
        raise OptionError(
            "Out of memory with a single crop at a time: lower --image-size, or choose a smaller "
            "--model-name."
        )
    if not splits:
        raise OptionError(
            f"Out of memory with {batch} crops at a time: try --batch-size {batch // 2}, or "
            "--batch-size auto, which takes a batch in as many pieces as memory asks for."
        )


@contextmanager
def explaining_lost_readers() -> Iterator[None]:
    """Raise ReaderLost where PyTorch says that a process that reads crops has gone."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise ReaderLost(
            "A process that reads crops was ended from outside, as a system does that runs out of "
            "memory (or a container out of shared memory): run the same command again with a lower "
            "--num-workers; it goes on where it last saved."
        ) from error
