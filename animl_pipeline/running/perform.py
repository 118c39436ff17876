"""Perform a stage: its record is written last, so that its being there means done."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from animl_pipeline.errors import InputInvalid, InputMissing, OptionError, WeightsMissing
from animl_pipeline.files import folders, whole
from animl_pipeline.running import processes
from animl_pipeline.running.markers import marker_of, require_inputs
from animl_pipeline.running.options import plain_values
from animl_pipeline.running.progress import mention
from animl_pipeline.running.stage import Counts, Plan, StageOptions, load, registry


def perform(name: str, options: Any) -> Counts:
    """Prepare a stage, run it, then write its record `<stage>.json`, last.

    What is refused is refused before anything is written. A dry run writes nothing, so it has no
    record. Of several processes the first one writes it.
    """
    if processes.count() > 1 and not registry()[name].is_for_several:
        raise OptionError(f"`pipeline {name}` is one process: run it without torchrun.")
    stage = load(name)
    is_prepared = hasattr(stage, "prepare")
    plan = stage.prepare(options) if is_prepared else _plan_of(name, options)

    def run() -> Counts:
        return replace(stage.run(plan if is_prepared else options), folder=plan.folder)

    if not plan.writes:
        return run()
    plan.folder.mkdir(parents=True, exist_ok=True)
    if processes.get_rank():
        return run()
    with _restored_if_untouched(plan.folder, name) if not is_prepared else nullcontext():
        return _record(name, options, plan, run)


def _record(name: str, options: Any, plan: Plan, run: Callable[[], Counts]) -> Counts:
    """Run a stage and write its record; until then a marker says that the folder is unfinished."""
    marker, record = marker_of(plan.folder, name), plan.folder / f"{name}.json"
    digests = {path.as_posix(): whole.digest(path, "sha256") for path in plan.inputs}
    start = time.monotonic()
    mention(f"{name}: reads {', '.join(digests) or 'no table'}; writes to {plan.folder}")
    with folders.locked(marker, f"Another `pipeline {name}` is at work in {plan.folder}"):
        record.unlink(missing_ok=True)
        counts = run()
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
    marker.unlink()
    return counts


def _plan_of(name: str, options: StageOptions) -> Plan:
    """Return the plan of a stage that has no `prepare` yet."""
    writes = not getattr(options, "dry_run", False)
    inputs = require_inputs(name, options.inputs) if writes else ()
    return Plan(folder=options.folder, inputs=inputs, writes=writes)


@contextmanager
def _restored_if_untouched(folder: Path, name: str) -> Iterator[None]:
    """Leave the folder as it was if a stage without `prepare` refuses before it writes."""
    marker, record = marker_of(folder, name), folder / f"{name}.json"
    was_unfinished = marker.exists()
    before = record.read_text(encoding="utf-8") if record.exists() else None
    marker.touch()
    record.unlink(missing_ok=True)
    untouched = folder.stat().st_mtime_ns
    try:
        yield
    except (OptionError, InputMissing, InputInvalid, WeightsMissing):
        if not was_unfinished and folder.stat().st_mtime_ns == untouched:
            marker.unlink()
            if before is not None:
                whole.write_text(record, before)
        raise
