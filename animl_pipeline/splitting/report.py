"""The content of split_report.json: what a split made of the crops, and the proof of it."""

from pathlib import Path
from typing import Any

from animl_pipeline.artifacts.splits import SPLITS
from animl_pipeline.splitting.audit import likeness
from animl_pipeline.splitting.audit.leaks import audit_split
from animl_pipeline.splitting.audit.likeness import Fingerprint
from animl_pipeline.splitting.division import Division, describe_gaps
from animl_pipeline.splitting.labels.labelling import account_for_categories
from animl_pipeline.splitting.plan import SplitPlan
from animl_pipeline.splitting.sizes import count_labels


def build_reports(plan: SplitPlan) -> dict[Path, dict[str, Any]]:
    """Return the report of each division, by its folder; the crops are read, if that is wished."""
    prints = None
    if plan.options.compare_pictures:
        prints = likeness.take_fingerprints(plan.options.crops_dir, list(plan.kept["crop"]))
    return {
        folder: _build_report(plan, division, prints) for folder, division in plan.divisions.items()
    }


def _build_report(
    plan: SplitPlan, division: Division, prints: dict[str, Fingerprint] | None
) -> dict[str, Any]:
    """Return the report of one division; without fingerprints no pictures are compared."""
    bound, dataset = division.bound, division.allocation.dataset
    return {
        "format_version": "1",
        "seed": plan.options.seed,
        "group_by": plan.options.group_by,
        "method": division.method,
        "objective": round(division.objective, 9),
        "bound": None if bound is None else round(bound, 9),
        "gap": None if bound is None else round(division.objective - bound, 9),
        "targets": {split: division.targets.get(split, 0.0) for split in SPLITS},
        "counts": count_labels(dataset),
        "not_covered": describe_gaps(division),
        "audit": audit_split(dataset, prints),
        "rare": plan.rare,
        "warnings": plan.warnings,
        "left_out": {
            "categories": plan.left_out,
            "labels": [record for record in plan.rare if record["handled"] == "left out"],
            "unmatched": plan.unmatched,
        },
        "test_locations_gone": plan.test_locations_gone,
        "categories": account_for_categories(
            plan.crops, plan.labelled, dataset, plan.left_out, plan.rare
        ),
    }
