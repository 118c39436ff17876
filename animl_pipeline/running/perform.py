"""What a stage is: Options and run, and the one place for what all stages share.

A stage is a module of this package, named in STAGES, with

* a docstring: one sentence (the help), then what it Reads and Writes;
* `Options`: a frozen dataclass whose fields are made by `option`; `folder` is where its files
  and its record go, `inputs` the files whose sha256 the record keeps;
* `run(options) -> Counts`.
"""

import dataclasses
import importlib
import itertools
import math
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, cast

from animl_pipeline.errors import InputInvalid, InputMissing, OptionError, WeightsMissing
from animl_pipeline.files import whole
from animl_pipeline.running import processes

STAGES = ("check", "convert", "download", "detect", "crop", "split", "train", "evaluate")
# These write one file, whole or not there, into a folder that is not their own.
ONE_FILE = {"check", "convert", "detect"}
BY_SEVERAL = {"train"}  # stages that several processes, started by torchrun, may share


def option(
    default: Any = MISSING,
    *,
    help: str,  # noqa: A002 - the word of every command line library
    min: float | None = None,  # noqa: A002
    max: float | None = None,  # noqa: A002
) -> Any:
    """Return a field of a stage's Options: the one place where a knob is written."""
    return dataclasses.field(default=default, metadata={"help": help, "min": min, "max": max})


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a stage did: items by what became of them, and how many of how many failed."""

    items: dict[str, int]
    summary: str
    failed: int = 0
    total: int = 0
    tolerate: float = 1.0
    problem: str = ""  # what is wrong with what was made, so that nothing should go on with it

    @property
    def too_many_failed(self) -> bool:
        """More items failed than the stage's `--tolerate` allows."""
        return self.failed > round(self.tolerate * self.total, 6)  # 0.29 of 100 is 29


class StageOptions(Protocol):
    """What `perform` needs to know of any stage's Options."""

    @property
    def folder(self) -> Path:
        """Where the stage writes, its record included."""

    @property
    def inputs(self) -> list[Path]:
        """The files whose sha256 the record keeps."""


class Stage(Protocol):
    """A stage's module."""

    Options: type[StageOptions]

    def run(self, options: Any) -> Counts:
        """Do the work."""


def load(name: str) -> Stage:
    """Return the module of a stage."""
    return cast(Stage, importlib.import_module(f"animl_pipeline.stages.{name}"))


def summary(name: str) -> str:
    """Return the first sentence of a stage's docstring."""
    return (importlib.import_module(f"animl_pipeline.stages.{name}").__doc__ or "").split("\n")[0]


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
    _refuse_out_of_limits(options)
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
                "options": record_of(options),
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


def _refuse_out_of_limits(options: StageOptions) -> None:
    for field in dataclasses.fields(options):  # type: ignore[arg-type]  # a Protocol here
        value, low, high = (
            getattr(options, field.name), field.metadata["min"], field.metadata["max"]
        )  # fmt: skip
        if isinstance(value, int | float) and (
            not math.isfinite(value)
            or (low is not None and not value >= low)
            or (high is not None and not value <= high)
        ):
            name = field.name.replace("_", "-")
            limits = f"it lies between {low} and {high}"
            if low is None or high is None:
                limits = f"it is {low} or more, and finite" if high is None else f"{high} at most"
            raise OptionError(f"--{name} is {value!r}; {limits}.")


def record_of(options: StageOptions) -> dict[str, Any]:
    """Return the options as plain values, in the order of their fields."""
    values = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)  # type: ignore[arg-type]  # a Protocol here
    }
    return {
        name: value.as_posix() if isinstance(value, Path) else value
        for name, value in values.items()
    }


def command_line(name: str, values: dict[str, Any]) -> str:
    """Return the command that has these options, without those that have their default."""
    words = ["pipeline", name]
    for field in dataclasses.fields(load(name).Options):  # type: ignore[arg-type]  # a Protocol here
        value = values.get(field.name, field.default)
        default = field.default.as_posix() if isinstance(field.default, Path) else field.default
        option_name = f"--{field.name.replace('_', '-')}"
        if value is None or value == default:
            continue
        if isinstance(value, bool):
            words.append(option_name if value else option_name.replace("--", "--no-", 1))
        else:
            words += [option_name, shlex.quote(str(value))]
    return " ".join(words)


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
