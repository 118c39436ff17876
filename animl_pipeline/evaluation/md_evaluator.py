"""Write the files of MegaDetector's classification evaluator, for the tools that read them.

As `megadetector.classification.evaluate_model` writes them: outputs_<split>.csv.gz (path, label,
weight, a probability per label), overall_metrics.csv (loss and accuracy in percent, plain and
label-weighted), label_stats.csv (precision and recall), confusion_matrices.npz (true x predicted).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from animl_pipeline.classifier.predictions import Floats, Predictions
from animl_pipeline.evaluation import metrics
from animl_pipeline.files import whole

TOP = (1, 3)
NOTHING = 1e-8  # what it divides by for a label that is never predicted


def write_md_files(folder: Path, splits: dict[str, Predictions]) -> None:
    """Write the four files of the splits."""
    for split, of_split in splits.items():
        table = _make_outputs(of_split)
        with whole.whole(folder / f"outputs_{split}.csv.gz") as part:
            # No time of writing in the header: the same rows are the same bytes.
            table.to_csv(part, index=False, compression={"method": "gzip", "mtime": 0})
    overall = {split: _measure_overall(of_split) for split, of_split in splits.items()}
    table = pd.DataFrame.from_dict(overall, orient="index")
    _write_csv(folder / "overall_metrics.csv", table.rename_axis("split").reset_index())
    stats = [_make_label_stats(split, of_split) for split, of_split in splits.items()]
    _write_csv(folder / "label_stats.csv", pd.concat(stats))
    matrices: dict[str, Any] = {name: metrics.count_confusions(s) for name, s in splits.items()}
    with whole.whole(folder / "confusion_matrices.npz") as part, part.open("wb") as file:
        np.savez_compressed(file, **matrices)


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with whole.whole(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def _weigh_labels(predictions: Predictions) -> Floats:
    """Return n / (c n_label) for each row (n,), c being the number of labels with rows."""
    counts = np.bincount(predictions.truth)
    return np.asarray(len(predictions) / (np.count_nonzero(counts) * counts[predictions.truth]))


def _make_outputs(predictions: Predictions) -> pd.DataFrame:
    table = predictions.rows[["crop", "label"]].rename(columns={"crop": "path"})
    table["weight"] = _weigh_labels(predictions).astype(np.float32)
    soft = pd.DataFrame(predictions.probabilities.astype(np.float32), columns=predictions.labels)
    return pd.concat([table, soft], axis=1)


def _measure_overall(predictions: Predictions) -> dict[str, float]:
    own, weights = (
        predictions.probabilities[np.arange(len(predictions)), predictions.truth],
        _weigh_labels(predictions),
    )
    loss = metrics.compute_row_log_losses(predictions)
    overall = {"loss": float(loss.mean()), "loss_weighted": float((loss * weights).mean())}
    ahead = (predictions.probabilities > own[:, None]).sum(axis=1)
    inside = {k: predictions.right if k == 1 else ahead < k for k in TOP}
    overall |= {f"acc_top{k}": 100 * float(rows.mean()) for k, rows in inside.items()}
    return overall | {
        f"acc_weighted_top{k}": 100 * float((rows * weights).mean()) for k, rows in inside.items()
    }


def _make_label_stats(split: str, predictions: Predictions) -> pd.DataFrame:
    """Return precision (0 for a label never predicted) and recall (NaN without examples)."""
    matrix = metrics.count_confusions(predictions)
    hits, said, held = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1).astype(float)
    held[held == 0] = np.nan
    columns = {"label": predictions.labels, "precision": hits / np.maximum(said, NOTHING)}
    return pd.DataFrame({"split": split, **columns, "recall": hits / held})
