"""What a stage is.

A stage is a module of `animl_pipeline.stages`, named in STAGES there, with

* a docstring: one sentence (the help), then what it Reads and Writes;
* `Options`: what it can be told; `folder` is where its files and its record go, `inputs` the files
  whose sha256 the record keeps;
* `run(options) -> Counts`.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

STAGES = ("check", "convert", "download", "detect", "crop", "split", "train", "evaluate")
# These write one file, whole or not there, into a folder that is not their own.
ONE_FILE = {"check", "convert", "detect"}
BY_SEVERAL = {"train"}  # stages that several processes, started by torchrun, may share


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
