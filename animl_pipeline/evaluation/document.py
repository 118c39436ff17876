"""The content of metrics.json: the metrics of each split, and all that is told beside them."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from animl_pipeline.artifacts.splits import SEEN_TEST, TEST
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation import breakdown, label_errors, metrics, operating
from animl_pipeline.evaluation.settings import Metric

FORMAT_VERSION = "1"
EXAMPLES = 24  # pictures in a gallery
PER_LOCATION = 6  # one burst would fill a gallery


@dataclass(frozen=True, kw_only=True)
class Document:
    """The content of metrics.json, key by key."""

    format_version: str = FORMAT_VERSION
    labels: list[str]
    splits: dict[str, dict[str, Any]]  # by name, as `describe_split` returns them
    seen_against_new: dict[str, Any] | None
    comparison: dict[str, Any] | None
    warnings: list[str]
    unreadable: dict[str, dict[str, Any]]  # by split
    trained_on: dict[str, Any]
    temperature_fitted: bool  # on this val, else it was kept from another
    model: dict[str, Any]  # the card, with the temperature
    training: dict[str, Any] | None
    commands: list[str]
    versions: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the content in its order."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


@dataclass(frozen=True)
class Judging:
    """By what a split is judged: thresholds of `val`, if there is one.

    Probabilities are calibrated by the temperature, if there is one. `wanted` holds the precision
    and the recall that thresholds are to reach.
    """

    val: Predictions | None
    temperature: float | None
    wanted: dict[Metric, float]
    empty_label: str


def describe_split(split: Predictions, judging: Judging) -> dict[str, Any]:
    """Return what metrics.json holds of a split of at least one row.

    A split is not judged by itself: of val `judging.val` is None.
    """
    val, empty_label = judging.val, judging.empty_label
    chosen_on = operating.judge_images(val) if val else None
    suspects = list_label_errors(split)
    empty = split.labels.index(empty_label) if empty_label in split.labels else None
    return metrics.measure_split(split) | {
        "guessing": guess(split),
        "by_location": breakdown.measure_locations(split),
        "groups": breakdown.measure_groups(split),
        "sequences": breakdown.measure_sequences(split),
        "calibration": calibrate(split, judging.temperature),
        "operating_points": operating.check_thresholds(val, split, judging.wanted) if val else None,
        "review": operating.measure_review(chosen_on, operating.judge_images(split)),
        "empties": None if empty is None else operating.measure_skipped_empties(val, split, empty),
        "mistakes": list_mistakes(split),
        "label_errors": {"n": len(suspects), "examples": choose_examples(suspects)},
    }


def compare_seen_and_new(splits: dict[str, Predictions]) -> dict[str, Any] | None:
    """Return both sides and the gap, where crops at the locations of train were held out."""
    if not {SEEN_TEST, TEST} <= splits.keys():
        return None
    return breakdown.compare_seen_and_new(splits[SEEN_TEST], splits[TEST])


def guess(split: Predictions) -> float:
    """Return the macro average precision of guessing: the mean share of the labels seen."""
    counts = np.bincount(split.truth)
    return float(1 / np.count_nonzero(counts))


def calibrate(split: Predictions, temperature: float | None) -> dict[str, Any] | None:
    """Return log loss, expected calibration error and reliability before and after.

    The split's probabilities are those after.
    """
    if temperature is None:
        return None
    before = split.calibrate(1.0)
    return {
        "temperature": temperature,
        "before": metrics.measure_calibration(before),
        "after": metrics.measure_calibration(split),
        "change": metrics.compare_log_loss(before, split),
    }


def list_mistakes(split: Predictions) -> dict[str, Any]:
    """Return how many crops are taken for another label, and the surest of those mistakes."""
    wrong = np.flatnonzero(~split.right)
    columns = ["crop", "image", "image_id", "dataset", "location", "label"]
    table = split.rows.loc[wrong, columns].assign(
        predicted=[split.labels[i] for i in split.predicted[wrong]],
        probability=split.probabilities[wrong, split.predicted[wrong]],
    )
    # By name where probabilities are equal, so that the order of the rows does not matter.
    table = table.sort_values(["probability", "crop"], ascending=[False, True])
    return {"n": len(wrong), "examples": choose_examples(table)}


def list_label_errors(split: Predictions) -> pd.DataFrame:
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


def choose_examples(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the first rows, but not more than a few of one location."""
    few = table[table.groupby(["dataset", "location"]).cumcount() < PER_LOCATION].head(EXAMPLES)
    return [{str(key): value for key, value in row.items()} for row in few.to_dict("records")]
