"""Say what is wrong or odd in an export, before any work; the pictures are not needed.

Reads   --coco-file             the export
Writes  export_report.json      counts, findings with their first rows, a table of the categories
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from animl_pipeline.catalogue import checking
from animl_pipeline.files import whole
from animl_pipeline.formats import readers
from animl_pipeline.running.options import option, settings
from animl_pipeline.running.stage import Counts

TELLS_MAX = 40  # categories on the terminal; the file has them all
CLOCKS = timedelta(days=1)  # a camera without an offset is east of us, at most


@settings
class Options:
    """The knobs of `pipeline check`."""

    coco_file: Annotated[Path, option("The export.", positional=True)]
    output_file: Annotated[Path, option("The report.")] = Path("export_report.json")

    @property
    def folder(self) -> Path:
        """Where the report goes, and the record beside it."""
        return self.output_file.parent

    @property
    def inputs(self) -> list[Path]:
        """The export."""
        return [self.coco_file]


def run(options: Options) -> Counts:
    """Report on an export: what is found is no failure of the command."""
    found = checking.report(readers.read(options.coco_file), datetime.now(UTC) + CLOCKS)
    whole.write_json(options.output_file, found)
    kinds = {one["what"]: one["count"] for one in found["findings"]}
    return Counts(
        items={"images": found["images"], "annotations": found["annotations"],
               "findings": sum(kinds.values())},
        summary=f"dataset {found['dataset']!r}: {found['images']:,} images at "
        f"{found['locations']:,} locations, {found['annotations']:,} annotations of "
        f"{len(found['categories']):,} categories -> {options.output_file}\n{_table(found)}",
    )  # fmt: skip


def _table(found: dict[str, Any]) -> str:
    """Return the categories and the findings as a person reads them."""
    columns = ("annotations", "boxes", "validated", "images", "locations")
    lines = [" ".join(f"{name:>11}" for name in columns) + "  category"]
    lines += [
        " ".join(f"{row[name]:>11,}" for name in columns) + f"  {row['category']}"
        for row in found["categories"][:TELLS_MAX]
    ]
    more = len(found["categories"]) - TELLS_MAX
    lines += [f"and {more:,} more categories"] if more > 0 else []
    lines += [""] if found["findings"] else ["nothing is wrong or odd"]
    lines += [
        f"{one['count']:>11,}  {one['what']}: {one['examples'][0]}" for one in found["findings"]
    ]
    return "\n".join(lines)
