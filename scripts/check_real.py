"""Check a run on the Missouri photographs against what is known of them, and scikit-learn."""

import json
import sys
from pathlib import Path

import pandas as pd
from sklearn.metrics import average_precision_score

IMAGES, CROPS, WITHOUT_BOX = 1275, 1104, 333


def main(folder: Path) -> None:
    """Raise SystemExit with the first thing that is not as it should be."""
    read = {"dtype": str, "keep_default_na": False}
    ledger = pd.read_csv(folder / "images/download.csv", **read)
    crops = pd.read_csv(folder / "crops/crops.csv", **read)
    failures = pd.read_csv(folder / "crops/failures.csv", **read)
    held = ledger["state"].isin(["present", "downloaded"]).sum()
    expect("images in place", held, IMAGES)
    expect("crops", len(crops), CROPS)
    expect("crop files", sum((folder / "crops" / crop).is_file() for crop in crops["crop"]), CROPS)
    expect("rows without a box", len(failures), WITHOUT_BOX)

    splits = json.loads((folder / "dataset/splits.json").read_text())
    places = [tuple(place) for part in splits.values() for place in part]
    expect("locations in two parts", len(places) - len(set(places)), 0)
    dataset = pd.read_csv(folder / "dataset/dataset.csv", **read)
    covered = dataset.groupby("label")["split"].nunique()
    expect("labels", len(covered), 17)
    expect("labels that are not in all three parts", int((covered < 3).sum()), 0)

    run = folder / "runs/latest/evaluation"
    figures = json.loads((run / "metrics.json").read_text())["splits"]["test"]["per_label"]
    predictions = pd.read_csv(run / "predictions_test.csv", **read)
    for label, of_label in figures.items():
        ap = average_precision_score(
            predictions["label"] == label, predictions[f"prob_{label}"].astype(float)
        )
        if abs(ap - of_label["average_precision"]) > 1e-12:
            sys.exit(f"{label}: {of_label['average_precision']}, but scikit-learn says {ap}")
    expect("labels whose average precision is scikit-learn's", len(figures), 17)


def expect(what: str, found: int, wanted: int) -> None:
    """Print a finding; end if it is not the wanted one."""
    if found != wanted:
        sys.exit(f"{what}: {found:,}, expected {wanted:,}")
    print(f"{what}: {found:,}, as expected")


if __name__ == "__main__":
    main(Path(sys.argv[-1]))
