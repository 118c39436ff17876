"""The files of MegaDetector's classification evaluator, for the tools that read them.

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


def write(folder: Path, scored: dict[str, Predictions], crops: dict[str, list[str]]) -> None:
    """Write the four files of the splits; `crops` are the paths of the rows of each."""
    for split, of_split in scored.items():
        table = _outputs(of_split, crops[split])
        with whole.whole(folder / f"outputs_{split}.csv.gz") as part:
            # No time of writing in the header: the same rows are the same bytes.
            table.to_csv(part, index=False, compression={"method": "gzip", "mtime": 0})
    overall = {split: _overall(of_split) for split, of_split in scored.items()}
    table = pd.DataFrame.from_dict(overall, orient="index")
    _write_csv(folder / "overall_metrics.csv", table.rename_axis("split").reset_index())
    stats = [_label_stats(split, of_split) for split, of_split in scored.items()]
    _write_csv(folder / "label_stats.csv", pd.concat(stats))
    matrices: dict[str, Any] = {name: metrics.confusion_matrix(s) for name, s in scored.items()}
    with whole.whole(folder / "confusion_matrices.npz") as part, part.open("wb") as file:
        np.savez_compressed(file, **matrices)


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with whole.whole(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def _weights(scored: Predictions) -> Floats:
    """Return n / (c n_label) for each row (n,), c being the number of labels with rows."""
    counts = np.bincount(scored.truth)
    return np.asarray(len(scored) / (np.count_nonzero(counts) * counts[scored.truth]))


def _outputs(scored: Predictions, crops: list[str]) -> pd.DataFrame:
    table = pd.DataFrame({
        "path": crops,
        "label": [scored.labels[i] for i in scored.truth],
        "weight": _weights(scored).astype(np.float32),
    })  # fmt: skip
    soft = pd.DataFrame(scored.probabilities.astype(np.float32), columns=scored.labels)
    return pd.concat([table, soft], axis=1)


def _overall(scored: Predictions) -> dict[str, float]:
    own, weights = scored.probabilities[np.arange(len(scored)), scored.truth], _weights(scored)
    loss = metrics.surprise(scored)
    found = {"loss": float(loss.mean()), "loss_weighted": float((loss * weights).mean())}
    ahead = (scored.probabilities > own[:, None]).sum(axis=1)
    inside = {k: scored.right if k == 1 else ahead < k for k in TOP}
    found |= {f"acc_top{k}": 100 * float(rows.mean()) for k, rows in inside.items()}
    return found | {
        f"acc_weighted_top{k}": 100 * float((rows * weights).mean()) for k, rows in inside.items()
    }


def _label_stats(split: str, scored: Predictions) -> pd.DataFrame:
    """Return precision (0 for a label never predicted) and recall (NaN without examples)."""
    matrix = metrics.confusion_matrix(scored)
    hits, said, held = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1).astype(float)
    held[held == 0] = np.nan
    columns = {"label": scored.labels, "precision": hits / np.maximum(said, NOTHING)}
    return pd.DataFrame({"split": split, **columns, "recall": hits / held})
