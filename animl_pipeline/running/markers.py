"""The marker `.<stage>.unfinished`: it is there from the start of a stage until its record is."""

import itertools
from collections.abc import Iterable
from pathlib import Path

from animl_pipeline.artifacts.names import explain_origin
from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.running.stage import list_stages


def find_marker(folder: Path, stage: str) -> Path:
    """Return the marker of a stage that writes to `folder`.

    A stage may keep in it what an interrupted run had finished, one line per item.
    """
    return folder / f".{stage}.unfinished"


def require_inputs(stage: str, paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the paths, if each is a file that is whole.

    Raises:
        InputMissing: it is not there; the message names the command that writes it.
        InputInvalid: it is a folder, or another stage that writes beside it has not ended.
    """
    inputs = tuple(paths)
    for path in inputs:
        if not path.exists():
            raise InputMissing(f"{path} is not there. {explain_origin(path.name)}")
        if path.is_dir():
            raise InputInvalid(f"{path} is a folder, not a file. {explain_origin(path.name)}")
        refuse_unfinished(path.parent, but=stage)
    return inputs


def refuse_unfinished(folder: Path, *, but: str) -> None:
    """Raise InputInvalid if a stage, other than `but`, that writes to `folder` has not ended.

    The folder may be one of several that a stage makes (dataset/fold_0).
    """
    for where, (stage, entry) in itertools.product((folder, folder.parent), list_stages().items()):
        if stage != but and not entry.is_one_file:
            refuse_unfinished_stage(where, stage)


def refuse_unfinished_stage(folder: Path, stage: str) -> None:
    """Raise InputInvalid if this stage, which writes to `folder`, has not ended."""
    if find_marker(folder, stage).exists():
        raise InputInvalid(
            f"`pipeline {stage}` into {folder} was interrupted, or is running now: "
            f"run `pipeline {stage}` again (it goes on where it stopped), then this."
        )
