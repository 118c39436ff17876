"""What a stage is.

A stage is a module of `animl_pipeline.stages`, named in STAGES there, with

* a docstring: one sentence (the help), then what it Reads and Writes;
* `Options`: what it can be told;
* `prepare(options) -> Plan`: reads, checks and refuses, and writes nothing at all. It begins with
  `require_inputs`, and gives a Plan of its own with all that `run` needs;
* `run(plan) -> Counts`: writes. It may be killed, and may not refuse.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast


@dataclass(frozen=True)
class Entry:
    """What is to be known of a stage without loading it."""

    help: str  # one sentence
    panel: str = "In the order of work"  # the heading it stands under among the commands
    examples: tuple[str, ...] = ()
    is_one_file: bool = False  # it writes one file, whole or not there, into any folder
    is_for_several: bool = False  # several processes, started by torchrun, may share it


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a stage did: items by what became of them, and how many of how many failed."""

    items: dict[str, int]
    summary: str
    failed: int = 0
    total: int = 0
    tolerate: float = 1.0
    problem: str = ""  # what is wrong with what was made, so that nothing should go on with it
    folder: Path = Path()  # where it was made; `perform` says so

    @property
    def too_many_failed(self) -> bool:
        """More items failed than the stage's `--tolerate` allows."""
        return self.failed > round(self.tolerate * self.total, 6)  # 0.29 of 100 is 29


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `prepare` of a stage decided; a stage adds what its `run` needs."""

    folder: Path  # where the files go, and the record
    inputs: tuple[Path, ...] = ()  # the files whose sha256 the record keeps
    writes: bool = True  # a dry run writes nothing, and so has no record


class Stage(Protocol):
    """A stage's module."""

    Options: type[Any]

    def prepare(self, options: Any) -> Plan:
        """Read, check and refuse; write nothing."""

    def run(self, plan: Any) -> Counts:
        """Write; it may be killed, and may not refuse."""


def list_stages() -> dict[str, Entry]:
    """Return every stage by its name, in the order of work."""
    entries: dict[str, Entry] = importlib.import_module("animl_pipeline.stages").STAGES
    return entries


def load(name: str) -> Stage:
    """Return the module of a stage."""
    return cast(Stage, importlib.import_module(f"animl_pipeline.stages.{name}"))
