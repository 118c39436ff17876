import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from clustered import made
from megadetector.classification import evaluate_model

from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation import md_evaluator


class Batches(list[Any]):
    """What MegaDetector's evaluator takes for a loader."""

    def __init__(self, scored: Predictions) -> None:
        crops = list(scored.rows["crop"])
        weights = md_evaluator._weigh_labels(scored).astype(np.float32)
        logits = torch.tensor(scored.get_logits()).float()
        truth = torch.tensor(scored.truth)
        step = range(0, len(scored), 16)
        super().__init__(
            (
                logits[i : i + 16],
                truth[i : i + 16],
                crops[i : i + 16],
                torch.tensor(weights[i : i + 16]),
            )
            for i in step
        )
        self.dataset = range(len(scored))


def its_files(folder: Path, scored: dict[str, Predictions]) -> None:
    """As the end of its `main` writes them, from its own functions."""
    overall, stats, matrices = {}, {}, {}
    loss = torch.nn.CrossEntropyLoss(reduction="none")
    for split, of_split in scored.items():
        table, overall[split], matrices[split] = evaluate_model.test_epoch(
            torch.nn.Identity(), Batches(of_split), weighted=True,
            device=torch.device("cpu"), label_names=of_split.labels, loss_fn=loss,
        )  # fmt: skip
        table.to_csv(folder / f"outputs_{split}.csv.gz", index=False, compression="gzip")
        stats[split] = evaluate_model.calc_per_label_stats(matrices[split], of_split.labels)
    pd.concat(overall, names=["split"]).unstack(level=1).to_csv(folder / "overall_metrics.csv")
    np.savez_compressed(folder / "confusion_matrices.npz", **matrices)
    table = pd.concat(stats, names=["split", "label"]).reset_index()
    table.to_csv(folder / "label_stats.csv", index=False)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    ours, its = (tmp_path_factory.mktemp(name) for name in ("ours", "its"))
    whole = made(5, seed=1)
    # Not in the order of names, and one without examples of a label.
    scored = {"val": whole.select(whole.truth != 2), "test": made(4, seed=0)}
    for name, split in scored.items():
        split.rows["crop"] = [f"{name}/{i}.jpg" for i in range(len(split))]
    md_evaluator.write_md_files(ours, scored)
    with warnings.catch_warnings(action="ignore"):  # it calls pandas as of old
        its_files(its, scored)
    return ours, its


@pytest.mark.parametrize(
    "name",
    ["outputs_test.csv.gz", "outputs_val.csv.gz", "overall_metrics.csv", "label_stats.csv"],
)
def test_the_tables_are_those_of_megadetectors_evaluator(
    both: tuple[Path, Path], name: str
) -> None:
    ours, its = (pd.read_csv(folder / name) for folder in both)
    pd.testing.assert_frame_equal(ours, its, rtol=1e-5, atol=1e-7)


def test_the_matrices_are_those_of_megadetectors_evaluator(both: tuple[Path, Path]) -> None:
    ours, its = (np.load(folder / "confusion_matrices.npz") for folder in both)
    assert list(ours) == list(its)
    for split in ours:
        assert ours[split].dtype == its[split].dtype
        np.testing.assert_array_equal(ours[split], its[split])


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    scored = {"test": made(4, seed=0)}
    scored["test"].rows["crop"] = [str(i) for i in range(len(scored["test"]))]
    for folder in ("one", "two"):
        md_evaluator.write_md_files(tmp_path / folder, scored)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
