"""A few crops of plain colours with their dataset, as `crop` and `split` hand them to `train`."""

import json
import random
from pathlib import Path

import pandas as pd
from PIL import Image

from animl_pipeline.artifacts import table_io, tables

COLOURS = {"bird": (200, 60, 40), "fox": (40, 180, 70), "lizard": (50, 70, 210)}
GREY = (128, 128, 128)  # of any other label
TINY = {
    "model_name": "test_efficientnet",  # of timm; the default takes twice as long
    "pretrained": False,
    "image_size": 64,
    "batch_size": 8,
    "precision": "32-true",
    "num_workers": 0,
    "lr": 1e-3,
}
PARTS = {"train": 4, "val": 2, "test": 2}  # crops of each label


def make_dataset(
    folder: Path, labels: tuple[str, ...] = ("bird", "fox", "lizard"), **parts: int
) -> None:
    """Writes crops/ and dataset/: so many crops of each label in each part, two locations each."""
    rng = random.Random(0)
    rows = []
    for label in labels:
        for part, count in (PARTS | parts).items():
            for number in range(count):
                image = f"{part}{number % 2}/{label}{number}.jpg"
                crop = f"isle/{image}___{label}{part}{number}.jpg"
                draw(folder / "crops" / crop, label, rng)
                rows.append({
                    "crop": crop, "image": image, "image_id": f"{label}{part}{number}",
                    "annotation_id": "", "dataset": "isle", "location": f"{part}{number % 2}",
                    "datetime": "", "sequence": "", "category": label, "confidence": 1.0,
                    "x": 0.1, "y": 0.1, "width": 0.5, "height": 0.5,
                    "label": label, "split": part,
                })  # fmt: skip
    table = pd.DataFrame(rows, columns=tables.DATASET.names).sort_values("crop")
    (folder / "dataset").mkdir(exist_ok=True)
    table_io.write(tables.DATASET, folder / "dataset/dataset.csv", table)
    index = {str(number): label for number, label in enumerate(labels)}
    (folder / "dataset/label_index.json").write_text(json.dumps(index), encoding="utf-8")


def draw(path: Path, label: str, rng: random.Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noisy = tuple(min(255, max(0, c + rng.randint(-60, 60))) for c in COLOURS.get(label, GREY))
    Image.new("RGB", (48, 48), noisy).save(path, "JPEG")
