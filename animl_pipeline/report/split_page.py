"""One self-contained page about a split: balance, locations, what was left out, the audit."""

from typing import TYPE_CHECKING, Any

from animl_pipeline.artifacts.splits import SEEN_TEST, SPLITS, TRAIN, VAL

if TYPE_CHECKING:
    import pandas as pd

LOCATIONS_SHOWN = 500  # of one part


def render(report: dict[str, Any], dataset: "pd.DataFrame") -> str:
    """Return the page as HTML that needs no other file and no network.

    `report` is the content of split_report.json, `dataset` the rows of dataset.csv.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("animl_pipeline.report"),
        autoescape=True,  # names are foreign text
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    seen = (dataset["split"] == SEEN_TEST).any()
    return environment.get_template("split_report.html.j2").render(
        report=report,
        parts=[*SPLITS, *([SEEN_TEST] if seen else [])],
        totals=dataset.groupby("split").size().to_dict(),
        labels=[_label(name, of, report["targets"]) for name, of in report["counts"].items()],
        locations=_locations(dataset),
        shown=LOCATIONS_SHOWN,
    )


def _label(
    name: str, of_part: dict[str, dict[str, int]], targets: dict[str, float]
) -> dict[str, Any]:
    """Return a row of the table: counts, and the bars of the shares of crops and locations."""
    bars = []
    for what in ("crops", "locations"):
        total = sum(of_part[part][what] for part in SPLITS)
        bars.append([of_part[part][what] / total if total else 0.0 for part in SPLITS])
    ends = [targets[TRAIN], targets[TRAIN] + targets[VAL]]
    return {"name": name, "counts": of_part, "bars": bars, "wanted": ends}


def _locations(dataset: "pd.DataFrame") -> dict[str, list[dict[Any, Any]]]:
    """Return the locations of each part with their crops and labels, the largest first."""
    keys = ["split", "dataset", "location"]
    rows = dataset.groupby(keys).agg(crops=("crop", "size"), labels=("label", "nunique"))
    rows = rows.reset_index().sort_values(
        ["crops", "dataset", "location"], ascending=[False, True, True]
    )
    return {str(part): of_part.to_dict("records") for part, of_part in rows.groupby("split")}
