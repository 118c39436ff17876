"""Which of the processes of `torchrun` this is; without it there is one."""

import os


def get_rank() -> int:
    """Return the number of this process, from 0: the first is the one that writes and speaks."""
    return int(os.environ["RANK"]) if _is_by_torchrun() else 0


def count() -> int:
    """Return how many processes there are, on all machines."""
    return int(os.environ["WORLD_SIZE"]) if _is_by_torchrun() else 1


def count_here() -> int:
    """Return how many of them are on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if _is_by_torchrun() else 1


def _is_by_torchrun() -> bool:
    # Schedulers of clusters set RANK and WORLD_SIZE, too, for commands that are one process each.
    return "TORCHELASTIC_RUN_ID" in os.environ
