"""What to beware of where crops that are evaluated were known to the run."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from animl_pipeline.artifacts.splits import SEEN_TEST, TEST, TRAIN
from animl_pipeline.runs.overlap import count_overlap
from animl_pipeline.runs.trained_on import TABLE, TrainedOn

REMEDY = "Evaluate with the dataset it was trained on (--dataset-dir), or train again on this one."

Overlaps = dict[str, dict[str, Any] | None]  # by split, as `count_overlap` returns them


def check_overlaps(
    trained_on: TrainedOn, splits: dict[str, pd.DataFrame]
) -> tuple[Overlaps, list[str]]:
    """Return each split's overlap with what a run was trained on, and what to beware of."""
    overlaps = {split: count_overlap(trained_on, rows) for split, rows in splits.items()}
    return overlaps, list(_warn(trained_on, overlaps, splits))


def _warn(
    trained_on: TrainedOn, overlaps: Overlaps, splits: dict[str, pd.DataFrame]
) -> Iterator[str]:
    run, names = trained_on.run, ", ".join(overlaps)
    if trained_on.rows is None:
        yield (
            f"Crops of {names} may have been trained on: {run} does not say which were, and the "
            f"dataset is not the one that its record names. Figures may flatter it. {REMEDY}"
        )
    for split, overlap in overlaps.items():
        of_train = overlap["train"] if overlap and split != TRAIN else 0
        of_val = overlap["val"] if overlap and split in {TEST, SEEN_TEST} else 0
        if of_train or of_val:
            yield (
                f"{of_train + of_val:,} of {len(splits[split]):,} crops of {split} were used to "
                f"train {run}, or to choose its epoch: they flatter it. {REMEDY}"
            )
    if any(overlap and not overlap["whole"] for overlap in overlaps.values()):
        yield (
            f"Crops of {names} may have been trained on: {run} started from {trained_on.weights}, "
            f"and no {TABLE.name} beside it says what that was trained on. To know, start from "
            "the folder of a run that has one, or from ImageNet's weights."
        )
