"""Say what is wrong or odd in a COCO file, before any work; the images are not needed.

Reads   --coco-file             the COCO file
Writes  export_report.json      counts, findings with their first rows, a table of the categories
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from animl_pipeline.catalogue import checking
from animl_pipeline.files import whole
from animl_pipeline.formats import readers
from animl_pipeline.running.markers import require_inputs
from animl_pipeline.running.options import option, settings
from animl_pipeline.running.stage import Counts
from animl_pipeline.running.stage import Plan as StagePlan

CATEGORIES_MAX = 40  # on the terminal; the file has them all
CLOCKS = timedelta(days=1)  # a camera without an offset is east of us, at most


@settings
class Options:
    """The options of `pipeline check`."""

    coco_file: Annotated[Path, option("The COCO file.", positional=True)]
    output_file: Annotated[Path, option("The report.")] = Path("export_report.json")


@dataclass(frozen=True, kw_only=True)
class Plan(StagePlan):
    """What there is to say."""

    options: Options
    report: dict[str, Any]


def prepare(options: Options) -> Plan:
    """Read the COCO file and look for what is odd."""
    inputs = require_inputs("check", [options.coco_file])
    report = checking.make_report(readers.read(options.coco_file), datetime.now(UTC) + CLOCKS)
    folder = options.output_file.parent
    return Plan(folder=folder, inputs=inputs, options=options, report=report)


def run(plan: Plan) -> Counts:
    """Write the report: a finding is no failure of the command."""
    report, options = plan.report, plan.options
    whole.write_json(options.output_file, report)
    findings = sum(finding["count"] for finding in report["findings"])
    items = {"images": report["images"], "annotations": report["annotations"]}
    return Counts(
        items=items | {"findings": findings},
        summary=f"dataset {report['dataset']!r}: {report['images']:,} images at "
        f"{report['locations']:,} locations, {report['annotations']:,} annotations of "
        f"{len(report['categories']):,} categories -> {options.output_file}\n"
        + "\n".join([*_list_categories(report), *_list_findings(report), *_list_hints(plan)]),
    )


def _list_categories(report: dict[str, Any]) -> list[str]:
    columns = ("annotations", "boxes", "validated", "images", "locations")
    lines = [" ".join(f"{name:>11}" for name in columns) + "  category"]
    lines += [
        " ".join(f"{row[name]:>11,}" for name in columns) + f"  {row['category']}"
        for row in report["categories"][:CATEGORIES_MAX]
    ]
    further = len(report["categories"]) - CATEGORIES_MAX
    return lines + ([f"and {further:,} more categories"] if further > 0 else [])


def _list_findings(report: dict[str, Any]) -> list[str]:
    """Return each finding with an example, and what to do about it."""
    if not report["findings"]:
        return ["nothing is wrong or odd"]
    lines = [""]
    for finding in report["findings"]:
        lines.append(f"{finding['count']:>11,}  {finding['what']}: {finding['examples'][0]}")
        advice = checking.ADVICE.get(finding["what"])
        lines += [f"{'':>11}  {advice}"] if advice else []
    return lines


def _list_hints(plan: Plan) -> list[str]:
    report, name = plan.report, plan.report["dataset"]
    hints = []
    if not any(row["boxes"] for row in report["categories"]):
        hints.append(
            "There is no box. To cut the animals, run `pipeline detect`, then `pipeline crop "
            "--detections detections.json`."
        )
    if name == plan.options.coco_file.stem != "cct":
        hints.append(
            f"The dataset is called {name!r} as its file is. `download` keeps it as cct.json, "
            f"which `crop` calls 'cct': use that name in a label spec, or `crop --dataset {name}`."
        )
    return hints
