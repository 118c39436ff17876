"""A split in the words that the command ends with."""

from pathlib import Path
from typing import Any

from animl_pipeline.artifacts.splits import SPLITS
from animl_pipeline.running.stage import Counts
from animl_pipeline.splitting.audit.leaks import REMEDY, describe_leaks
from animl_pipeline.splitting.labels.labelling import IN_NO_LABEL
from animl_pipeline.splitting.plan import SplitPlan
from animl_pipeline.splitting.sizes import describe_sizes


def count_splits(plan: SplitPlan, reports: dict[Path, dict[str, Any]]) -> Counts:
    """Return the size of each split, of the first fold, and what leaks."""
    leaks = [describe_leaks(report["audit"], plan.options) for report in reports.values()]
    problem = next(filter(None, leaks), "")
    division = next(iter(plan.divisions.values()))
    report = next(iter(reports.values()))
    remarks = list_remarks(list(reports.values()), plan.options.label_spec)
    sizes = {split: int((division.allocation.split == split).sum()) for split in SPLITS}
    return Counts(
        items={"labels": len(report["counts"]), **sizes, "left out": len(remarks)},
        summary=_summarise(plan, reports, remarks),
        problem=f"in two splits at once: {problem}. {REMEDY}" if problem else "",
    )


def _summarise(plan: SplitPlan, reports: dict[Path, dict[str, Any]], remarks: list[str]) -> str:
    """Return how good the splits are, where they went, the remarks, and the warnings last."""
    report = next(iter(reports.values()))
    bound = "" if report["bound"] is None else f"no split is below {report['bound']:.3g}; "
    balance = f"balance {report['objective']:.3g} ({bound}0 = perfect)"
    sizes = [
        f"{describe_sizes(division.allocation.dataset)} -> {folder}"
        for folder, division in plan.divisions.items()
    ]
    warnings = [f"Warning: {sentence}" for sentence in list_warnings(plan, len(report["counts"]))]
    return "\n  ".join([f"{len(report['counts'])} labels; {balance}", *sizes, *remarks, *warnings])


def list_remarks(reports: list[dict[str, Any]], label_spec: Path | None) -> list[str]:
    """Return a line for each thing that was left out or is odd, each once."""
    lines = [line for report in reports for line in _list_remarks(report, label_spec)]
    return list(dict.fromkeys(lines))


def _list_remarks(report: dict[str, Any], label_spec: Path | None) -> list[str]:
    where = f" of {label_spec}" if label_spec else ""
    remarks = [f"label {r['label']!r} {r['handled']}: {r['reason']}" for r in report["rare"]]
    remarks += [
        f"category {r['category']!r} of {r['dataset']!r} ({r['crops']:,} crops) left out: "
        f"{r['reason']}{where if r['reason'] == IN_NO_LABEL else ''}"
        for r in report["left_out"]["categories"]
    ]
    remarks += report["left_out"]["unmatched"] + report["not_covered"] + report["warnings"]
    remarks += [
        f"test location {location!r} of {dataset!r} has no crops now"
        for dataset, location in report["test_locations_gone"]
    ]
    nowhere = report["audit"]["crops_without_location"]
    if nowhere and report["group_by"] == "location":
        remarks.append(f"{nowhere:,} crops without a location are only for training")
    if near := len(report["audit"]["near_duplicates"]):
        remarks.append(f"pairs of crops in two splits that look nearly the same: {near}")
    return remarks


def list_warnings(plan: SplitPlan, labels: int) -> list[str]:
    """Return what makes the figures of a classifier mean something else than they seem to."""
    warnings = [
        f"{plan.options.label_spec} has the label {label!r}, and no crop is of it: nothing will "
        "be learned of it. Mend its categories, or take it out."
        for label in plan.absent
    ]
    if labels == 1:
        warnings.append(
            "there is one label only. A classifier of one label is always right, whatever it has "
            "learned."
        )
    return warnings
