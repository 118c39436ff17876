"""All that metrics.json says of a split, from the predictions of its crops and of val."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from animl_pipeline.artifacts import tables
from animl_pipeline.artifacts.splits import SEEN_TEST, TEST
from animl_pipeline.evaluation import breakdown, calibration, label_errors, metrics, operating
from animl_pipeline.evaluation.predicting import Predicted
from animl_pipeline.evaluation.scored import Scored

EXAMPLES = 24  # pictures in a gallery
PER_LOCATION = 6  # one burst would fill a gallery


@dataclass(frozen=True)
class Split:
    """The crops of a split that could be read: scores, and the same rows of the dataset."""

    scored: Scored
    predicted: Predicted

    @property
    def rows(self) -> pd.DataFrame:
        """Return the rows of the dataset, in the order of `scored`."""
        return self.predicted.rows

    @property
    def sequences(self) -> list[str]:
        """Return the sequence of each row; an image without one is a sequence by itself."""
        named = self.rows["sequence"]
        return list(named.where(named != "", self.rows["image_id"]))

    @property
    def images(self) -> list[tuple[str, str]]:
        """Return the (dataset, image) of each row."""
        return list(zip(self.rows["dataset"], self.rows["image"], strict=True))


def split_of(predicted: Predicted, labels: list[str]) -> Split:
    """Return the predictions as scores; every label of the rows is one of `labels`."""
    table = predicted.table
    scored = Scored(
        labels,
        table[[tables.PROBABILITY + label for label in labels]].to_numpy(dtype=np.float64),
        np.array([labels.index(label) for label in table["label"]], dtype=np.int64),
        list(zip(table["dataset"], table["location"], strict=True)),
    )
    return Split(scored, predicted)


def figures(
    split: Split,
    val: Split | None,
    temperature: float | None,
    wanted: dict[str, float],
    empty_label: str,
) -> dict[str, Any]:
    """Return what metrics.json holds of a split.

    Thresholds and temperature are of `val`; None where there is none, or where val is the split
    itself. `wanted` holds the precision and the recall that operating points are to reach.
    """
    scored = split.scored
    width, height = (split.rows[side].to_numpy(dtype=np.float64) for side in ("width", "height"))
    chosen_on = operating.image_sureness(val.scored, val.images) if val else None
    sureness = operating.image_sureness(scored, split.images)
    suspects = label_error_table(split)
    empty = scored.labels.index(empty_label) if empty_label in scored.labels else None
    return metrics.evaluate(scored) | {
        "guessing": guessing(scored),
        "by_location": breakdown.by_location(scored),
        "groups": breakdown.groups(scored, split.predicted.grey, width * height),
        "sequences": breakdown.sequences(scored, split.sequences),
        "calibration": calibrated(scored, temperature),
        "operating_points": operating.points(val.scored, scored, wanted) if val else None,
        "review": operating.review(chosen_on, sureness),
        "empties": None
        if empty is None
        else operating.skipped_empties(val.scored if val else None, scored, empty),
        "mistakes": mistakes(split),
        "label_errors": {"n": len(suspects), "examples": examples(suspects)},
    }


def seen_against_new(splits: dict[str, Split]) -> dict[str, Any] | None:
    """Return both sides and the gap, where crops at the locations of train were held out."""
    if not {SEEN_TEST, TEST} <= splits.keys():
        return None
    return breakdown.gap(splits[SEEN_TEST].scored, splits[TEST].scored)


def guessing(scored: Scored) -> float:
    """Return the macro average precision of guessing: the mean share of the labels seen."""
    counts = np.bincount(scored.truth)
    return float(1 / np.count_nonzero(counts))


def calibrated(scored: Scored, temperature: float | None) -> dict[str, Any] | None:
    """Return log loss, expected calibration error and reliability before and after."""
    if temperature is None:
        return None
    soft = calibration.soften(scored.probabilities, temperature)
    after = Scored(scored.labels, soft, scored.truth, scored.places)
    return {
        "temperature": temperature,
        "before": metrics.calibration_figures(scored),
        "after": metrics.calibration_figures(after),
        "change": metrics.log_loss_change(scored, after),
    }


def mistakes(split: Split) -> dict[str, Any]:
    """Return how many crops are taken for another label, and the surest of those mistakes."""
    scored = split.scored
    wrong = np.flatnonzero(~scored.right)
    columns = ["crop", "image", "image_id", "dataset", "location", "label"]
    table = split.rows.loc[wrong, columns].assign(
        predicted=[scored.labels[i] for i in scored.predicted[wrong]],
        probability=scored.probabilities[wrong, scored.predicted[wrong]],
    )
    # By name where probabilities are equal, so that the order of the rows does not matter.
    table = table.sort_values(["probability", "crop"], ascending=[False, True])
    return {"n": len(wrong), "examples": examples(table)}


def label_error_table(split: Split) -> pd.DataFrame:
    """Return the rows of tables.LABEL_ERRORS, the likeliest error first."""
    scored = split.scored
    order, margin, suggested = label_errors.ranked(scored)
    columns = ["image", "image_id", "annotation_id", "crop", "dataset", "location", "label"]
    return (
        split.rows.loc[order, columns]
        .assign(
            suggested=[scored.labels[i] for i in suggested],
            probability=scored.probabilities[order, suggested],
            margin=np.round(margin, 9),
        )
        .sort_values(["margin", "crop"], ascending=[False, True])
        .reset_index(drop=True)
    )


def examples(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the first rows, but not more than a few of one location."""
    few = table[table.groupby(["dataset", "location"]).cumcount() < PER_LOCATION].head(EXAMPLES)
    return [{str(key): value for key, value in row.items()} for row in few.to_dict("records")]
