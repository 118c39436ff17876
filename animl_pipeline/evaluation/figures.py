"""All that metrics.json says of a split, from the predictions of its crops and of val."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from animl_pipeline.artifacts.splits import SEEN_TEST, TEST
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation import breakdown, calibration, label_errors, metrics, operating

EXAMPLES = 24  # pictures in a gallery
PER_LOCATION = 6  # one burst would fill a gallery


def figures(
    split: Predictions,
    val: Predictions | None,
    temperature: float | None,
    wanted: dict[str, float],
    empty_label: str,
) -> dict[str, Any]:
    """Return what metrics.json holds of a split.

    Thresholds and temperature are of `val`; None where there is none, or where val is the split
    itself. `wanted` holds the precision and the recall that operating points are to reach.
    """
    width, height = (split.rows[side].to_numpy(dtype=np.float64) for side in ("width", "height"))
    chosen_on = operating.image_sureness(val, val.images) if val else None
    sureness = operating.image_sureness(split, split.images)
    suspects = label_error_table(split)
    empty = split.labels.index(empty_label) if empty_label in split.labels else None
    return metrics.measure_split(split) | {
        "guessing": guessing(split),
        "by_location": breakdown.by_location(split),
        "groups": breakdown.groups(split, split.grey, width * height),
        "sequences": breakdown.sequences(split, split.sequences),
        "calibration": calibrated(split, temperature),
        "operating_points": operating.check_thresholds(val, split, wanted) if val else None,
        "review": operating.review(chosen_on, sureness),
        "empties": None
        if empty is None
        else operating.measure_skipped_empties(val if val else None, split, empty),
        "mistakes": mistakes(split),
        "label_errors": {"n": len(suspects), "examples": examples(suspects)},
    }


def seen_against_new(splits: dict[str, Predictions]) -> dict[str, Any] | None:
    """Return both sides and the gap, where crops at the locations of train were held out."""
    if not {SEEN_TEST, TEST} <= splits.keys():
        return None
    return breakdown.gap(splits[SEEN_TEST], splits[TEST])


def guessing(scored: Predictions) -> float:
    """Return the macro average precision of guessing: the mean share of the labels seen."""
    counts = np.bincount(scored.truth)
    return float(1 / np.count_nonzero(counts))


def calibrated(scored: Predictions, temperature: float | None) -> dict[str, Any] | None:
    """Return log loss, expected calibration error and reliability before and after."""
    if temperature is None:
        return None
    soft = calibration.soften(scored.probabilities, temperature)
    after = dataclasses.replace(scored, probabilities=soft)
    return {
        "temperature": temperature,
        "before": metrics.measure_calibration(scored),
        "after": metrics.measure_calibration(after),
        "change": metrics.compare_log_loss(scored, after),
    }


def mistakes(split: Predictions) -> dict[str, Any]:
    """Return how many crops are taken for another label, and the surest of those mistakes."""
    wrong = np.flatnonzero(~split.right)
    columns = ["crop", "image", "image_id", "dataset", "location", "label"]
    table = split.rows.loc[wrong, columns].assign(
        predicted=[split.labels[i] for i in split.predicted[wrong]],
        probability=split.probabilities[wrong, split.predicted[wrong]],
    )
    # By name where probabilities are equal, so that the order of the rows does not matter.
    table = table.sort_values(["probability", "crop"], ascending=[False, True])
    return {"n": len(wrong), "examples": examples(table)}


def label_error_table(split: Predictions) -> pd.DataFrame:
    """Return the rows of tables.LABEL_ERRORS, the likeliest error first."""
    order, margin, suggested = label_errors.rank_suspects(split)
    columns = ["image", "image_id", "annotation_id", "crop", "dataset", "location", "label"]
    return (
        split.rows.loc[order, columns]
        .assign(
            suggested=[split.labels[i] for i in suggested],
            probability=split.probabilities[order, suggested],
            margin=np.round(margin, 9),
        )
        .sort_values(["margin", "crop"], ascending=[False, True])
        .reset_index(drop=True)
    )


def examples(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the first rows, but not more than a few of one location."""
    few = table[table.groupby(["dataset", "location"]).cumcount() < PER_LOCATION].head(EXAMPLES)
    return [{str(key): value for key, value in row.items()} for row in few.to_dict("records")]
