"""Write all files of `predict`, unless they are there as they would be written."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from animl_pipeline.artifacts.names import OVERVIEW
from animl_pipeline.detection.walking import read_state
from animl_pipeline.images.opening import unwarned
from animl_pipeline.prediction.decisions import make_rules
from animl_pipeline.prediction.outputs import OutputCounts, Writing, write_outputs
from animl_pipeline.prediction.plan import OURS, PredictionPlan
from animl_pipeline.prediction.provenance import make_info, name_detector
from animl_pipeline.prediction.store import Store
from animl_pipeline.report.overview import Overview
from animl_pipeline.report.overview_context import make_context
from animl_pipeline.report.overview_page import write_overview

OUTPUTS = "outputs"  # the note of what was written


@dataclass(frozen=True)
class Written:
    """How many boxes, images and sequences there are of each decision, and locations unlike."""

    boxes: Mapping[str, int]
    images: Mapping[str, int]
    sequences: Mapping[str, int]
    unlike: list[str]  # in words, for a person
    is_new: bool = True


def write_all(answers: Store, plan: PredictionPlan) -> Written:
    """Write what follows from the answers; what is there and up to date stays as it is."""
    rules = make_rules(plan.card.labels, plan.policy, plan.label_thresholds)
    answers.place(plan.places.find_facts)
    context = make_context(plan, rules, plan.policy, [])
    writing = Writing(
        folder=plan.folder,
        rules=rules,
        gap_seconds=plan.options.sequence_gap,
        detector=name_detector(plan),
        info=make_info(plan, rules),
        cameras=plan.policy.cameras if plan.policy else None,
    )
    decides = (answers.changes, writing, context, version("animl-pipeline"))
    fingerprint = hashlib.sha256(repr(decides).encode("utf-8", "backslashreplace")).hexdigest()
    noted = answers.read_note(OUTPUTS)
    if noted and noted["fingerprint"] == fingerprint and noted["files"] == _list_files(plan.folder):
        return Written(**noted["counts"], is_new=False)
    overview = Overview()
    counts = write_outputs(answers, writing, overview)
    context = make_context(plan, rules, plan.policy, counts.cameras)
    with unwarned():
        write_overview(plan.folder / OVERVIEW.name, overview, context)
    kept = _summarise(counts)
    answers.note(
        OUTPUTS,
        {"fingerprint": fingerprint, "files": _list_files(plan.folder), "counts": kept},
    )
    return Written(**kept)


def _list_files(folder: Path) -> list[list[Any]]:
    return [[name, *read_state(folder / name)] for name in OURS]


def _summarise(counts: OutputCounts) -> dict[str, Any]:
    def in_order(tally: Counter[str]) -> dict[str, int]:
        return dict(sorted(tally.items()))

    return {
        "boxes": in_order(counts.boxes),
        "images": in_order(counts.images),
        "sequences": in_order(counts.sequences),
        "unlike": [
            f"{verdict.location}: {verdict.words}"
            for verdict in counts.cameras
            if verdict.is_unlike
        ],
    }
