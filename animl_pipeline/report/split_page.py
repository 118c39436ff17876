"""One self-contained page about a split: balance, locations, what was left out, the audit."""

from typing import Any

import pandas as pd

from animl_pipeline.artifacts.splits import SEEN_TEST, SPLITS, TEST, TRAIN, VAL
from animl_pipeline.report.rendering import load_template

LOCATIONS_SHOWN = 500  # of one split


def render(report: dict[str, Any], dataset: pd.DataFrame) -> str:
    """Return the page as HTML that needs no other file and no network.

    `report` is the content of split_report.json, `dataset` the rows of dataset.csv.
    """
    labels = [_make_row(name, of, report["targets"]) for name, of in report["counts"].items()]
    located = dataset[dataset["location"] != ""].drop_duplicates(["dataset", "location"])
    has_seen_test = (dataset["split"] == SEEN_TEST).any()
    return load_template("split_report.html.j2").render(
        report=report,
        splits=[*SPLITS, *([SEEN_TEST] if has_seen_test else [])],
        totals=dataset.groupby("split").size().to_dict(),
        labels=labels,
        judged=sum(row["test_locations"] > 1 for row in labels),
        location_count=len(located),
        has_leak=any(report["audit"]["in_two_parts"].values()),
        locations=_list_locations(dataset),
        shown=LOCATIONS_SHOWN,
    )


def _make_row(
    name: str, counts: dict[str, dict[str, int]], targets: dict[str, float]
) -> dict[str, Any]:
    """Return a label's row: counts, and the bars of the shares of crops and locations."""
    bars = []
    for what in ("crops", "locations"):
        total = sum(counts[split][what] for split in SPLITS)
        bars.append([counts[split][what] / total if total else 0.0 for split in SPLITS])
    return {
        "name": name,
        "counts": counts,
        "test_locations": counts[TEST]["locations"],
        "bars": bars,
        "wanted": [targets[TRAIN], targets[TRAIN] + targets[VAL]],
    }


def _list_locations(dataset: pd.DataFrame) -> dict[str, list[dict[Any, Any]]]:
    """Return the locations of each split with their crops and labels, the largest first."""
    keys = ["split", "dataset", "location"]
    rows = dataset.groupby(keys).agg(crops=("crop", "size"), labels=("label", "nunique"))
    rows = rows.reset_index().sort_values(
        ["crops", "dataset", "location"], ascending=[False, True, True]
    )
    return {str(split): of_split.to_dict("records") for split, of_split in rows.groupby("split")}
