"""The audit of a split that is there, ours or one of MegaDetector's tools."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from animl_pipeline.running.markers import refuse_unfinished
from animl_pipeline.running.stage import Counts, Plan
from animl_pipeline.splitting.audit import leaks, likeness
from animl_pipeline.splitting.settings import Settings
from animl_pipeline.splitting.sizes import describe_sizes


@dataclass(frozen=True, kw_only=True)
class AuditPlan(Plan):
    """A split that is there, and how many of its crops are in no split."""

    options: Settings
    dataset: pd.DataFrame
    unplaced: int


def read_existing(folder: Path, options: Settings) -> AuditPlan:
    """Return the split in a folder.

    Raises:
        InputMissing, InputInvalid: there is none, or `pipeline split` has not ended.
    """
    refuse_unfinished(folder, but="")
    dataset, unplaced = leaks.read_split(folder)
    return AuditPlan(
        folder=folder, writes=False, options=options, dataset=dataset, unplaced=unplaced
    )


def count_leaks(plan: AuditPlan) -> Counts:
    """Return what is in two splits at once."""
    prints = None
    if plan.options.compare_pictures:
        crops = sorted(set(plan.dataset["crop"]))
        prints = likeness.take_fingerprints(plan.options.crops_dir, crops)
    audit = leaks.audit_split(plan.dataset, prints)
    problem = leaks.describe_leaks(audit)
    lines = [
        f"audit of {plan.folder}: {'failed' if problem else 'passed'}; "
        f"{describe_sizes(plan.dataset)}",
        *[f"{name} in two splits: {n:,}" for name, n in audit["in_two_parts"].items()],
        audit["pictures"],
        *[f"nearly the same: {pair}" for pair in audit["near_duplicates"]],
    ]
    if plan.unplaced:
        lines.append(f"{plan.unplaced:,} crops are in no split")
    return Counts(
        items=audit["in_two_parts"],
        summary="\n  ".join(lines),
        problem=f"in two splits at once: {problem}. {leaks.REMEDY}" if problem else "",
    )
