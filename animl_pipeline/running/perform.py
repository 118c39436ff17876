"""Perform a stage: its record is written last, so that its being there means done."""

import time
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from animl_pipeline.errors import OptionError
from animl_pipeline.files import folders, whole
from animl_pipeline.running import processes
from animl_pipeline.running.markers import find_marker
from animl_pipeline.running.options import make_plain
from animl_pipeline.running.progress import mention
from animl_pipeline.running.stage import Counts, Plan, Stage, list_stages, load


def perform(name: str, options: Any) -> Counts:
    """Prepare a stage, run it, then write its record `<stage>.json`, last.

    What is refused is refused before anything is written. A dry run writes nothing, so it has no
    record. Of several processes the first one writes it.

    Raises:
        OptionError: the options are of another stage.
        PipelineError: what the stage refuses.
    """
    if processes.count() > 1 and not list_stages()[name].is_for_several:
        raise OptionError(f"`pipeline {name}` is one process: run it without torchrun.")
    stage = load(name)
    if not isinstance(options, stage.Options):
        raise OptionError(
            f"`{name}` takes {stage.Options.__module__}.Options, not "
            f"{type(options).__module__}.{type(options).__qualname__}."
        )
    asked_ns = time.time_ns()
    plan = stage.prepare(options)
    if not plan.writes:
        return stage.run(plan)
    plan.folder.mkdir(parents=True, exist_ok=True)
    if processes.get_rank():
        return stage.run(plan)
    counts = _record(name, options, plan, stage, asked_ns=asked_ns)
    return replace(counts, folder=plan.folder)


def _record(name: str, options: Any, plan: Plan, stage: Stage, *, asked_ns: int) -> Counts:
    """Run a stage and write its record; until then a marker says that the folder is unfinished."""
    marker, record = find_marker(plan.folder, name), plan.folder / f"{name}.json"
    digests = {path.as_posix(): whole.digest(path, "sha256") for path in plan.inputs}
    start = time.monotonic()
    mention(f"{name}: reads {', '.join(digests) or 'no table'}; writes to {plan.folder}")
    with folders.locked(marker, f"Another `pipeline {name}` is at work in {plan.folder}"):
        if record.exists() and record.stat().st_mtime_ns > asked_ns:
            # Another process ended here while this one prepared, so its plan is out of date: by it
            # `train` would begin a run again that is done.
            plan = stage.prepare(options)
        record.unlink(missing_ok=True)
        counts = stage.run(plan)
        whole.write_json(
            record,
            {
                "stage": name,
                "version": version("animl-pipeline"),
                "options": make_plain(options),
                "counts": counts.items,
                "seconds": round(time.monotonic() - start, 3),
                "inputs": digests,
            },
        )
        marker.unlink()  # while the lock is held: after it the marker may be another process's
    return counts
