"""A split in the words that the command ends with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from animl_pipeline.artifacts.splits import SEEN_TEST, SPLITS
from animl_pipeline.splitting.locations import PLACE

if TYPE_CHECKING:
    import pandas as pd


def parts(dataset: "pd.DataFrame") -> str:
    """Return the crops and locations of each part."""
    names = [*SPLITS, *([SEEN_TEST] if (dataset["split"] == SEEN_TEST).any() else [])]
    sizes = dataset.groupby("split").size()
    located = dataset[dataset["location"] != ""].drop_duplicates(["split", *PLACE])
    places = located.groupby("split").size()
    return ", ".join(
        f"{part} {sizes.get(part, 0):,} crops at {places.get(part, 0):,} locations"
        for part in names
    )


def summary(made: list[tuple[Path, "pd.DataFrame", dict[str, Any]]], lines: list[str]) -> str:
    """Return how good the splits are, where they went, and the lines about the rest."""
    _, _, report = made[0]
    bound = "" if report["bound"] is None else f", none below {report['bound']:.4f}"
    return "\n  ".join(
        [
            f"{len(report['counts'])} labels; objective {report['objective']:.4f}{bound}, "
            f"by {report['method']}",
            *[f"{parts(dataset)} -> {folder}" for folder, dataset, _ in made],
            *lines,
        ]
    )


def lines(reports: list[dict[str, Any]]) -> list[str]:
    """Return a line for each thing that was left out or is odd, each once."""
    return list(dict.fromkeys(line for report in reports for line in _lines(report)))


def _lines(report: dict[str, Any]) -> list[str]:
    """Return a line for each thing that was left out or is odd."""
    found = [f"label {r['label']!r} {r['handled']}: {r['reason']}" for r in report["rare"]]
    found += [
        f"category {r['category']!r} of {r['dataset']!r}: {r['crops']:,} crops left out: "
        f"{r['reason']}"
        for r in report["left_out"]["categories"]
    ]
    found += report["left_out"]["unmatched"] + report["not_covered"] + report["warnings"]
    found += [
        f"test location {location!r} of {dataset!r} has no crops now"
        for dataset, location in report["test_locations_gone"]
    ]
    nowhere = report["audit"]["crops_without_location"]
    if nowhere and report["group_by"] == "location":
        found.append(f"{nowhere:,} crops without a location are only for training")
    near = len(report["audit"]["near_duplicates"])
    return found + [f"pairs of crops in two parts that look nearly the same: {near}"] * bool(near)
