"""Say what is wrong or odd in an export, before any work; the pictures are not needed.

Reads   --coco-file             the export
Writes  export_report.json      counts, findings with their first rows, a table of the categories
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from animl_pipeline.catalogue import checking
from animl_pipeline.files import whole
from animl_pipeline.formats import readers
from animl_pipeline.running import stage
from animl_pipeline.running.markers import require_inputs
from animl_pipeline.running.options import option, settings
from animl_pipeline.running.stage import Counts

TELLS_MAX = 40  # categories on the terminal; the file has them all
CLOCKS = timedelta(days=1)  # a camera without an offset is east of us, at most


@settings
class Options:
    """The knobs of `pipeline check`."""

    coco_file: Annotated[Path, option("The export.", positional=True)]
    output_file: Annotated[Path, option("The report.")] = Path("export_report.json")


@dataclass(frozen=True, kw_only=True)
class Plan(stage.Plan):
    """What is to be written."""

    output_file: Path
    report: dict[str, Any]


def prepare(options: Options) -> Plan:
    """Read the COCO file and look for what is wrong or odd: none of it is refused."""
    inputs = require_inputs("check", [options.coco_file])
    report = checking.report(readers.read(options.coco_file), datetime.now(UTC) + CLOCKS)
    return Plan(
        folder=options.output_file.parent,
        inputs=inputs,
        output_file=options.output_file,
        report=report,
    )


def run(plan: Plan) -> Counts:
    """Write the report."""
    report = plan.report
    whole.write_json(plan.output_file, report)
    findings = sum(finding["count"] for finding in report["findings"])
    return Counts(
        items={
            "images": report["images"],
            "annotations": report["annotations"],
            "findings": findings,
        },
        summary=f"dataset {report['dataset']!r}: {report['images']:,} images at "
        f"{report['locations']:,} locations, {report['annotations']:,} annotations of "
        f"{len(report['categories']):,} categories -> {plan.output_file}\n{_table(report)}",
    )


def _table(report: dict[str, Any]) -> str:
    """Return the categories and the findings as a person reads them."""
    columns = ("annotations", "boxes", "validated", "images", "locations")
    lines = [" ".join(f"{name:>11}" for name in columns) + "  category"]
    lines += [
        " ".join(f"{row[name]:>11,}" for name in columns) + f"  {row['category']}"
        for row in report["categories"][:TELLS_MAX]
    ]
    more = len(report["categories"]) - TELLS_MAX
    lines += [f"and {more:,} more categories"] if more > 0 else []
    lines += [""] if report["findings"] else ["nothing is wrong or odd"]
    lines += [
        f"{finding['count']:>11,}  {finding['what']}: {finding['examples'][0]}"
        for finding in report["findings"]
    ]
    return "\n".join(lines)
