"""Predict the splits of a dataset: those that are asked for, and those beside them."""

from pathlib import Path
from typing import Any

import pandas as pd

from animl_pipeline.classifier import predicting
from animl_pipeline.classifier.predicting import Predictor
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.errors import InputInvalid
from animl_pipeline.evaluation.mapping import Mapping


def predicted(
    predictor: Predictor,
    dataset: pd.DataFrame,
    crops_dir: Path,
    *,
    wanted: list[str],
    asked: list[str],
    targets: Mapping | None,
) -> tuple[dict[str, Predictions], dict[str, dict[str, Any]]]:
    """Return the splits `wanted`, in that order, and of each with any what could not be read.

    One that is not `asked` for is left out where it has no crop, or none that can be read.

    Raises:
        InputInvalid: nothing is in a split that is asked for, or a label is not known.
    """
    labels = list(targets or predictor.card.labels)
    splits, unreadable = {}, {}
    for name in wanted:
        rows = dataset[dataset["split"] == name]
        if rows.empty and name not in asked:
            continue
        _check(rows, name, labels)
        found = predicting.predict_rows(predictor, rows, crops_dir, name)
        if lost := found.unreadable:
            unreadable[name] = {"n": len(lost), "of": len(rows), "crops": lost}
        if found.rows.empty and name not in asked:
            continue
        if found.rows.empty:
            raise InputInvalid(
                f"No crop of {name} in {crops_dir} can be read: run `pipeline crop`."
            )
        splits[name] = found.as_labels(targets) if targets else found
    return splits, unreadable


def _check(rows: pd.DataFrame, split: str, labels: list[str]) -> None:
    if rows.empty:
        raise InputInvalid(f"No crop of the dataset is in {split}: there is nothing to evaluate.")
    unknown = sorted(set(rows["label"]) - set(labels))
    if unknown:
        raise InputInvalid(
            f"The dataset has the label {unknown[0]!r} in {split}, which this classifier does not "
            f"know ({', '.join(labels)}). Give the dataset it was trained on with --dataset-dir, "
            "or say with --target-mapping which of its labels make up those of the dataset."
        )


def warnings(unreadable: dict[str, dict[str, Any]]) -> list[str]:
    """Return what to do about the crops that are in no figure, for each split with some."""
    return [
        f"{lost['n']:,} of {lost['of']:,} crops of {name} cannot be read and are in no figure: run "
        "`pipeline crop` again, or check --crops-dir. metrics.json names them."
        for name, lost in unreadable.items()
    ]
