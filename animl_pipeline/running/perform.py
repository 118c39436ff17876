"""Perform a stage: its record is written last, so that its being there means done."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from animl_pipeline.errors import InputInvalid, InputMissing, OptionError, WeightsMissing
from animl_pipeline.files import whole
from animl_pipeline.running import processes
from animl_pipeline.running.options import plain_values
from animl_pipeline.running.stage import (
    BY_SEVERAL,
    ONE_FILE,
    STAGES,
    Counts,
    StageOptions,
    load,
)


def journal(folder: Path, name: str) -> Path:
    """Return the file that is there from the start of a stage until its record is written.

    A stage may keep in it what an interrupted run had finished, one line per item.
    """
    return folder / f".{name}.unfinished"


def perform(name: str, options: StageOptions) -> Counts:
    """Run a stage, then write its record `<stage>.json`, last: its being there means done.

    A dry run writes nothing, so it has no record. Of several processes the first one writes it.
    """
    if getattr(options, "dry_run", False):
        return load(name).run(options)
    if processes.count() > 1 and name not in BY_SEVERAL:
        raise OptionError(f"`pipeline {name}` is one process: run it without torchrun.")
    inputs = options.inputs
    for path in inputs:
        if not path.exists():
            raise InputMissing(f"{path} is not there. {_who_writes(path)}")
        if path.is_dir():
            raise InputInvalid(f"{path} is a folder, not a file. {_who_writes(path)}")
        refuse_unfinished(path.parent, but=name)
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    if processes.rank():
        return load(name).run(options)
    digests = {path.as_posix(): whole.digest(path, "sha256") for path in inputs}
    start = time.monotonic()
    with _unfinished(folder, name) as record:
        counts = load(name).run(options)
        whole.write_json(
            record,
            {
                "stage": name,
                "version": version("animl-pipeline"),
                "options": plain_values(options),
                "counts": counts.items,
                "seconds": round(time.monotonic() - start, 3),
                "inputs": digests,
            },
        )
    journal(folder, name).unlink()
    return counts


@contextmanager
def _unfinished(folder: Path, name: str) -> Iterator[Path]:
    """Yield where the record goes; till it is written the folder says that it is unfinished.

    Where an input or option is refused before anything is written there, the folder is what it was.
    """
    unfinished, record = journal(folder, name), folder / f"{name}.json"
    was_unfinished = unfinished.exists()
    before = record.read_text(encoding="utf-8") if record.exists() else None
    with whole.locked(unfinished, f"Another `pipeline {name}` is at work in {folder}"):
        record.unlink(missing_ok=True)
        untouched = folder.stat().st_mtime_ns
        try:
            yield record
        except (OptionError, InputMissing, InputInvalid, WeightsMissing):
            if not was_unfinished and folder.stat().st_mtime_ns == untouched:
                unfinished.unlink()
                if before is not None:
                    whole.write_text(record, before)
            raise


def refuse_unfinished(folder: Path, *, but: str) -> None:
    """Raise InputInvalid if a stage, other than `but`, that writes to `folder` has not ended.

    The folder may be one of several that a stage makes (dataset/fold_0).
    """
    for place, name in itertools.product((folder, folder.parent), STAGES):
        if name != but and name not in ONE_FILE:
            refuse_unfinished_stage(place, name)


def refuse_unfinished_stage(folder: Path, name: str) -> None:
    """Raise InputInvalid if this stage, which writes to `folder`, has not ended."""
    if journal(folder, name).exists():
        raise InputInvalid(
            f"`pipeline {name}` into {folder} was interrupted, or is running now: "
            f"run `pipeline {name}` again (it goes on where it stopped), then this."
        )


def _who_writes(path: Path) -> str:
    outputs = {"cct.json": "download", "crops.csv": "crop", "dataset.csv": "split"}
    outputs |= {"splits.json": "split", "label_index.json": "split", "model.json": "train"}
    outputs |= {"detections.json": "detect"}
    stage = outputs.get(path.name)
    return f"`pipeline {stage}` writes it." if stage else "Check the path."
