"""What `crop` says at its end: how many crops, why not more, and what to do about it."""

from animl_pipeline.artifacts import tables
from animl_pipeline.catalogue import reasons
from animl_pipeline.crops.cutting import Job, Outcome
from animl_pipeline.crops.selection import Selection
from animl_pipeline.crops.tables import Rows


def summarize(
    outcomes: list[Outcome], rows: Rows, selection: Selection, job: Job, *, has_detector: bool
) -> str:
    """Return the lines for the terminal; `has_detector`: a detector's results were given."""
    cut_now = sum(outcome.cut_now for outcome in outcomes)
    lines = (
        f"dataset {job.dataset!r}: {len(rows.crops):,} crops ({cut_now:,} cut now), "
        f"{len(rows.warnings):,} with a warning -> {job.output_dir / tables.CROPS.name}; "
        f"{len(rows.failures):,} rows of the COCO file gave no crop"
    )
    lines += reasons.list_kinds(row.reason for row in rows.failures)
    hints = _list_hints(outcomes, rows, selection, job, has_detector=has_detector)
    lines += "".join(f"\n{hint}" for hint in hints)
    if rows.failures:
        lines += f"\n  each of them is in {job.output_dir / tables.REASONS.name}"
    if any(outcome.failure for outcome in outcomes):
        lines += "; `pipeline download` fetches missing and damaged images again"
    if detections := selection.detections:
        lines += (
            f"\nof {detections.total():,} detections{reasons.list_kinds(detections.elements())}"
        )
    return lines


def _list_hints(
    outcomes: list[Outcome], rows: Rows, selection: Selection, job: Job, *, has_detector: bool
) -> list[str]:
    hints = []
    if not rows.crops:
        hints.append("There is no crop, so nothing to train on.")
    if outcomes and not any((job.images_dir / done.image.file_name).exists() for done in outcomes):
        hints.append(
            f"No image with a box is in {job.images_dir}: check --images-dir, or run "
            "`pipeline download`."
        )
    if selection.unboxed and not has_detector:
        hints.append(
            f"Labels without a box: {selection.unboxed:,}. To cut the animals they label, run "
            "`pipeline detect`, then `pipeline crop --detections detections.json`."
        )
    return hints
