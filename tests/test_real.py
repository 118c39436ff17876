"""The five commands on real photographs, through an S3 server."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from killable import Runner
from s3_server import serve
from sklearn.metrics import average_precision_score

REPOSITORY = Path(__file__).parents[1]
DATA = REPOSITORY.parent / "shared/data/missouri"
LABELS = ("great_tinamou", "red_deer", "white_tailed_deer")  # each at four or five locations
OF_EACH = 6  # images of a label at a location
TRAIN = (
    "--no-pretrained --model-name test_efficientnet --image-size 64 --epochs 1 --batch-size 32 "
    "--precision 32-true --num-workers 0"
)
pytestmark = pytest.mark.skipif(
    not DATA.exists(), reason=f"{DATA} is not there: no real photographs"
)


def choose_some(bucket_dir: Path) -> dict[str, Any]:
    """Copies some of the photographs, and returns the export of these alone."""
    whole: dict[str, Any] = json.loads((DATA / "cct.json").read_bytes())
    names = {row["id"]: row["name"] for row in whole["categories"]}
    places = {image["id"]: image["location"] for image in whole["images"]}
    chosen: dict[str, tuple[str, str]] = {}
    for row in whole["annotations"]:
        group = names[row["category_id"]], places[row["image_id"]]
        if group[0] in LABELS and Counter(chosen.values())[group] < OF_EACH:
            chosen[row["image_id"]] = group
    images = [image for image in whole["images"] if image["id"] in chosen]
    for image in images:
        target = bucket_dir / image["file_name"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DATA / image["file_name"], target)
    rows = [row for row in whole["annotations"] if row["image_id"] in chosen]
    return whole | {"images": images, "annotations": rows}


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_some_real_photographs_go_through_the_five_commands(
    commands: Runner, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    export = choose_some(tmp_path / "bucket")
    (work / "cct.json").write_text(json.dumps(export))
    (work / "labels.json").write_text(json.dumps({label: [label] for label in LABELS}))
    with serve(tmp_path / "bucket", "missouri") as url:
        for words in (
            f"download --coco-file cct.json --bucket missouri --endpoint-url {url}",
            "crop --dataset missouri",
            "split --label-spec labels.json",
            f"train {TRAIN}",
            "evaluate",
        ):
            ended = commands.run(work, words.split())
            assert ended.code == 0, ended.said

    with_box = [row for row in export["annotations"] if row.get("bbox")]
    assert len(with_box) > 50
    crops = read(work / "crops/crops.csv")
    assert len(read(work / "images/download.csv")) == len(export["images"])
    assert Counter(crops["annotation_id"]) == Counter(row["id"] for row in with_box)
    assert all((work / "crops" / crop).is_file() for crop in crops["crop"])
    assert len(read(work / "crops/failures.csv")) == len(export["annotations"]) - len(with_box)

    dataset = read(work / "dataset/dataset.csv")
    assert (dataset.groupby("location")["split"].nunique() == 1).all()
    assert dataset.groupby("label")["split"].nunique().to_dict() == dict.fromkeys(LABELS, 3)

    evaluation = work / "runs/latest/evaluation"
    figures = json.loads((evaluation / "metrics.json").read_bytes())["splits"]["test"]["per_label"]
    predicted = read(evaluation / "predictions_test.csv")
    for label in LABELS:
        scores = predicted[f"prob_{label}"].astype(float)
        expected = average_precision_score(predicted["label"] == label, scores)
        assert figures[label]["average_precision"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_real_photographs_go_through_the_five_commands(tmp_path: Path) -> None:
    done = subprocess.run(
        [REPOSITORY / "scripts/real", DATA, tmp_path],
        env={**os.environ, "VENV": sys.prefix},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "crops: 1,104, as expected" in done.stdout
