import base64
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    precision_recall_fscore_support,
)

from animl_pipeline.report import render

LABELS = ["bird", "fox", "lizard", "rodent", "skunk"]
OVERALL = [
    "accuracy",
    "balanced_accuracy",
    "macro_average_precision",
    "weighted_average_precision",
    "micro_average_precision",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "log_loss",
    "ece",
]


def made_predictions(
    *, labels: list[str], seen: list[str], n: int = 300, places: int = 12, seed: int = 0
) -> pd.DataFrame:
    """Crops at `places` locations, each easier or harder than the next; only `seen` labels."""
    rng = np.random.default_rng(seed)
    true = rng.choice(len(seen), n, p=np.arange(len(seen), 0, -1) / sum(range(len(seen) + 1)))
    truth = np.array(seen, dtype=object)[true]
    place = np.sort(rng.integers(places, size=n))
    hard = rng.uniform(0.6, 2.2, places)[place]
    logits = rng.normal(size=(n, len(labels))) * hard[:, None]
    logits[np.arange(n), [labels.index(label) for label in truth]] += 2.2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    images = [f"island/camera-{where:02}/IMG_{row:04}.jpg" for row, where in enumerate(place)]
    table = pd.DataFrame(
        {
            "crop": [f"{image}___{row:06x}.jpg" for row, image in enumerate(images)],
            "image": images,
            "dataset": "island",
            "location": [f"{where:03}" for where in place],
            "label": truth,
            "predicted": np.array(labels, dtype=object)[probabilities.argmax(axis=1)],
        }
    ).astype(str)
    columns = {f"prob_{label}": probabilities[:, index] for index, label in enumerate(labels)}
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def figures_of(predictions: pd.DataFrame, labels: list[str]) -> dict[str, Any]:
    """The figures of one split of metrics.json, by scikit-learn."""
    truth, predicted = predictions["label"], predictions["predicted"]
    counts = {label: int((truth == label).sum()) for label in labels}
    scores = precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    per_label: dict[str, Any] = {}
    for index, (label, n) in enumerate(counts.items()):
        values = [float(score[index]) if n else None for score in scores[:3]]
        average = (
            float(average_precision_score(truth == label, predictions[f"prob_{label}"]))
            if n
            else None
        )
        per_label[label] = {"n": n, "average_precision": average}
        per_label[label] |= dict(zip(("precision", "recall", "f1"), values, strict=True))
    known = [row["average_precision"] for row in per_label.values() if row["n"]]
    macro = float(np.mean(known))
    by_location = [
        {
            "dataset": dataset,
            "location": location,
            "n": len(rows),
            "accuracy": float((rows["label"] == rows["predicted"]).mean()),
            "macro_average_precision": None if rows["label"].nunique() < 2 else macro,
        }
        for (dataset, location), rows in predictions.groupby(["dataset", "location"])
    ]
    rng = np.random.default_rng(1)
    overall = {key: float(rng.uniform(0.3, 0.95)) for key in OVERALL}
    overall |= {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_average_precision": macro,
    }
    intervals: dict[str, Any] = {
        "macro_average_precision": [max(macro - 0.11, 0), min(macro + 0.06, 1)]
    }
    for label, row in per_label.items():
        value = row["average_precision"]
        intervals[f"average_precision/{label}"] = (
            None if value is None else [max(value - 0.12, 0), min(value + 0.08, 1)]
        )
    matrix = pd.crosstab(truth, predicted).reindex(index=labels, columns=labels, fill_value=0)
    return {
        "n": len(predictions),
        **overall,
        "per_label": per_label,
        "labels_without_examples": [label for label, n in counts.items() if not n],
        "confusion_matrix": matrix.to_numpy().tolist(),
        "by_location": by_location,
        "intervals": intervals,
    }


def made_history(epochs: int = 20) -> pd.DataFrame:
    epoch = np.arange(epochs)
    val = 1 - 0.7 * np.exp(-epoch / 5)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "lr": 3e-5,
            "train_loss": 1.6 * np.exp(-epoch / 6) + 0.1,
            "val_loss": 1.6 * np.exp(-epoch / 5) + 0.3 + 0.01 * epoch,
            "val_balanced_accuracy": val * 0.8,
            "val_macro_average_precision": val * 0.85,
            "seconds": 61.0,
            "images_per_second": 212.0,
        }
    )


def evaluation(
    labels: list[str] = LABELS,
    unseen: tuple[str, ...] = (),
    splits: tuple[str, ...] = ("test",),
    **made: Any,
) -> dict[str, Any]:
    """What `render` takes, as `evaluate` would hand it over, without pictures."""
    seen = [label for label in labels if label not in unseen]
    tables = {
        split: made_predictions(labels=labels, seen=seen, seed=seed, **made)
        for seed, split in enumerate(splits)
    }
    figures = {split: figures_of(table, labels) for split, table in tables.items()}
    return {
        "model": {
            "format_version": "1",
            "model_name": "efficientnet-b3",
            "labels": labels,
            "image_size": 300,
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "interpolation": "bicubic",
            "crop_rule": {"square": True, "margin": 0.0},
            "options": {"epochs": 20, "lr": 3e-05, "label_weighted": True, "run_name": None},
            "versions": {"animl-pipeline": "0.1.0", "torch": "2.8.0"},
            "data_fingerprint": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "epoch": 12,
        },
        "metrics": {"format_version": "1", "labels": labels, "splits": figures},
        "predictions": tables,
        "history": made_history(),
        "crops_dir": None,
    }


def put_pictures(folder: Path, predictions: pd.DataFrame) -> None:
    """A picture for every mistake, so that the gallery finds what it looks for."""
    rng = np.random.default_rng(0)
    for crop in predictions.loc[predictions["label"] != predictions["predicted"], "crop"]:
        path = folder / crop
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (160, 160, 3), dtype=np.uint8)).save(path)


def words(page: str) -> str:
    """What a reader sees of the page, and nothing of its tags, style or pictures."""
    body = re.sub(r"(?s)<style>.*?</style>", " ", page)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", body))).replace("\xa0", " ")


def drawings(page: str) -> list[str]:
    """The SVG of each plot of the page."""
    found = re.findall(r"data:image/svg\+xml;base64,([^\"]*)", page)
    return [base64.b64decode(uri).decode() for uri in found]


def test_the_headline_gives_the_figure_its_interval_and_what_it_rests_on() -> None:
    inputs = evaluation()
    figures = inputs["metrics"]["splits"]["test"]
    figures["macro_average_precision"] = 0.831
    figures["intervals"]["macro_average_precision"] = [0.7149, 0.9]
    text = words(render(**inputs))
    assert "0.83 (95 % interval 0.71 to 0.90)" in text
    assert "crops 300 locations 12 guessing would give 0.20" in text


def test_every_label_and_figure_of_metrics_is_on_the_page() -> None:
    inputs = evaluation()
    text = words(render(**inputs))
    figures = inputs["metrics"]["splits"]["test"]
    for key in OVERALL:
        assert f" {figures[key]:.3f} " in text
    for label, row in figures["per_label"].items():
        low, high = figures["intervals"][f"average_precision/{label}"]
        shown = f"{label} {row['n']} {row['average_precision']:.2f} {low:.2f} to {high:.2f} "
        shown += f"{row['precision']:.2f} {row['recall']:.2f} {row['f1']:.2f}"
        assert shown in text
    for row in figures["by_location"]:
        assert f"island {row['location']} {row['n']} {row['accuracy']:.2f} " in text


def test_every_count_of_the_confusion_matrix_is_drawn() -> None:
    inputs = evaluation(n=3000)
    drawn = " ".join(drawings(render(**inputs)))
    for count in np.ravel(inputs["metrics"]["splits"]["test"]["confusion_matrix"]):
        assert count == 0 or f">{count}</text>" in drawn


def test_locations_come_worst_first() -> None:
    page = render(**evaluation())
    cells = re.findall(r"<td>island</td>.*?<td class=\"n\">([01]\.\d\d)</td>", page)
    assert len(cells) == 12
    assert cells == sorted(cells)


def test_labels_without_examples_are_named_and_not_counted_as_zero() -> None:
    inputs = evaluation(unseen=("lizard", "skunk"))
    text = words(render(**inputs))
    assert "Without a single crop in this split" in text
    assert "in no average: lizard , skunk ." in text
    assert "skunk 0 " not in text
    assert "guessing would give 0.33" in text


def test_what_could_not_be_computed_is_a_dash() -> None:
    inputs = evaluation()
    figures = inputs["metrics"]["splits"]["test"]
    figures["ece"] = None
    figures["per_label"]["fox"]["f1"] = None
    text = words(render(**inputs))
    assert "lower is better — — What is" in text
    assert re.search(r"fox \d+ 0\.\d\d 0\.\d\d to \d\.\d\d \d\.\d\d \d\.\d\d —", text)


def test_one_location_has_figures_but_no_intervals() -> None:
    inputs = evaluation(places=1)
    figures = inputs["metrics"]["splits"]["test"]
    figures["intervals"] = dict.fromkeys(figures["intervals"])
    text = words(render(**inputs))
    assert "(no 95 % interval could be computed)" in text
    assert "locations 1 " in text
    figures["intervals"] = {}
    assert words(render(**inputs)) == text


def test_one_label_only_makes_a_page() -> None:
    text = words(render(**evaluation(labels=["fox"])))
    assert "on 1 label " in text
    assert "guessing would give 1.00" in text
    assert "Every crop of this split got its true label." in text


def test_a_split_without_crops_says_so() -> None:
    inputs = evaluation()
    figures = inputs["metrics"]["splits"]["test"]
    figures |= dict.fromkeys(OVERALL)
    figures |= {"n": 0, "by_location": [], "intervals": {}, "labels_without_examples": LABELS}
    figures["confusion_matrix"] = np.zeros((5, 5), dtype=int).tolist()
    for row in figures["per_label"].values():
        row |= {"n": 0, "average_precision": None}
    inputs["predictions"]["test"] = inputs["predictions"]["test"].head(0)
    inputs["crops_dir"] = Path()
    assert "This split holds no crops" in words(render(**inputs))


def test_more_than_eight_labels_get_a_plot_each() -> None:
    labels = [f"species {number:02}" for number in range(11)]
    page = render(**evaluation(labels=labels, n=900))
    (curves,) = [svg for svg in drawings(page) if ">recall<" in svg]
    assert all(curves.count(f">{label}<") == 1 for label in labels)
    assert "The dotted line is guessing." in words(page)


def test_very_many_labels_are_cut_and_the_page_says_so() -> None:
    labels = [f"species {number:02}" for number in range(70)]
    text = words(render(**evaluation(labels=labels, n=4000)))
    assert "Shown are the 60 labels with the most mistakes of 70" in text
    assert re.search(r"Shown are the 48 labels of the lowest AP of (6\d|70)\.", text)


def test_very_many_locations_are_folded_but_all_there() -> None:
    inputs = evaluation(n=2000, places=90)
    page = render(**inputs)
    rows = inputs["metrics"]["splits"]["test"]["by_location"]
    assert page.count("<td>island</td>") == len(rows)
    assert f"The other {len(rows) - 40} locations" in words(page)


def test_the_test_split_comes_first() -> None:
    page = render(**evaluation(splits=("train", "val", "test")))
    assert re.findall(r"<h2>Macro average precision on (\w+)", page) == ["test", "train", "val"]


def test_a_location_named_like_markup_is_shown_as_text() -> None:
    inputs = evaluation()
    nasty = "<script>alert('x')</script>"
    inputs["metrics"]["splits"]["test"]["by_location"][0]["location"] = nasty
    page = render(**inputs)
    assert nasty in words(page.replace(nasty, "raw"))
    assert "<script" not in page
    assert not any("<script" in svg for svg in drawings(page))


@pytest.mark.parametrize(
    "name",
    ["$\\frac{", "a$_b$c", "_hidden", "back\\slash", "R&D <b>", "狐狸", "two\nlines", "\x07"],
)
def test_names_that_mean_something_to_a_plot_are_drawn_as_they_are(name: str) -> None:
    inputs = evaluation(labels=[name, "fox", "rodent"])
    inputs["metrics"]["splits"]["test"]["by_location"][0]["location"] = name
    plots = [unescape(svg) for svg in drawings(render(**inputs))]
    drawn = name.replace("\n", "�").replace("\x07", "�")
    assert sum(f"{drawn}</text>" in svg for svg in plots) == 3


def test_same_figures_give_the_same_page(tmp_path: Path) -> None:
    first, second = evaluation(), evaluation()
    put_pictures(tmp_path, first["predictions"]["test"])
    first["crops_dir"] = second["crops_dir"] = tmp_path
    assert render(**first) == render(**second)


def test_the_page_needs_no_network(tmp_path: Path) -> None:
    inputs = evaluation(splits=("test", "val"))
    put_pictures(tmp_path, inputs["predictions"]["test"])
    page = render(**inputs | {"crops_dir": tmp_path})
    targets = re.findall(r"(?:src|href|action|data)\s*=\s*[\"']?([^\"'\s>]*)", page)
    assert targets
    assert all(target.startswith(("data:image/", "#")) for target in targets)
    assert not re.search(r"url\(|@import|<script|<link", page)
    for svg in drawings(page):
        assert not re.search(r"(?:href|src)=\"(?!#|data:)", svg)


def test_the_page_leaves_matplotlib_as_it_was() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    render(**evaluation())
    assert dict(mpl.rcParams) == before


def test_the_gallery_shows_the_surest_mistakes_so_that_they_can_be_found(tmp_path: Path) -> None:
    inputs = evaluation(n=600)
    table = inputs["predictions"]["test"]
    put_pictures(tmp_path, table)
    page = render(**inputs | {"crops_dir": tmp_path})
    wrong = table[table["label"] != table["predicted"]].copy()
    wrong["sure"] = [row[f"prob_{row['predicted']}"] for _, row in wrong.iterrows()]
    wrong = wrong.sort_values("sure", ascending=False)
    expected = wrong[wrong.groupby(["dataset", "location"]).cumcount() < 6].head(24)
    assert page.count("data:image/jpeg;base64,") == 24
    assert re.findall(r"<small>(island/[^<]*)</small>", page) == expected["image"].tolist()
    top = expected.iloc[0]
    shown = f"labelled {top['label']} predicted {top['predicted']} {top['sure']:.2f}"
    assert f"{shown} at {top['location']} {top['image']}" in words(page)


def test_a_crop_that_cannot_be_opened_is_a_grey_tile(tmp_path: Path) -> None:
    inputs = evaluation()
    table = inputs["predictions"]["test"]
    put_pictures(tmp_path, table)
    wrong = table.loc[table["label"] != table["predicted"], "crop"].tolist()
    (tmp_path / wrong[0]).unlink()
    (tmp_path / wrong[1]).write_bytes(b"not a picture")
    (tmp_path / wrong[2]).write_bytes((tmp_path / wrong[2]).read_bytes()[:900])
    (tmp_path / wrong[3]).write_bytes(b"")
    right = ~table["crop"].isin(wrong[:5])
    table.loc[right, "predicted"] = table.loc[right, "label"]
    page = render(**inputs | {"crops_dir": tmp_path})
    assert words(page).count("not readable") == 4
    assert page.count("data:image/jpeg;base64,") == 1


def test_a_crop_outside_the_folder_of_crops_is_not_opened(tmp_path: Path) -> None:
    inputs = evaluation()
    table = inputs["predictions"]["test"]
    outside = tmp_path / "outside.png"
    Image.new("RGB", (8, 8)).save(outside)
    wrong = table["label"] != table["predicted"]
    (tmp_path / "crops").mkdir()
    for name in (str(outside), "../outside.png"):
        table.loc[wrong, "crop"] = name
        page = render(**inputs | {"crops_dir": tmp_path / "crops"})
        assert "data:image/jpeg" not in page
        assert "not readable" in page


def test_without_a_folder_of_crops_there_is_no_gallery() -> None:
    assert "Most confident mistakes" not in render(**evaluation())


def test_without_a_history_there_are_no_training_curves() -> None:
    assert "<h2>Training</h2>" in render(**evaluation())
    assert "<h2>Training</h2>" not in render(**evaluation() | {"history": None})
    assert "<h2>Training</h2>" not in render(**evaluation() | {"history": made_history(0)})


def test_a_history_without_validation_is_drawn_and_says_so() -> None:
    history = made_history(1)
    history[[column for column in history if column.startswith("val_")]] = float("nan")
    drawn = drawings(render(**evaluation() | {"history": history}))
    assert ">not measured</text>" in drawn[-1]


def test_what_made_the_model_is_on_the_page() -> None:
    inputs = evaluation()
    text = words(render(**inputs))
    model = inputs["model"]
    for shown in ("efficientnet-b3", "epoch kept 12", "300 px", model["data_fingerprint"]):
        assert shown in text
    assert "animl-pipeline 0.1.0, torch 2.8.0" in text
    assert "label_weighted yes run_name none" in text


def test_the_page_of_a_large_evaluation_stays_small(tmp_path: Path) -> None:
    labels = [f"species {number:02}" for number in range(60)]
    inputs = evaluation(labels=labels, n=20_000, places=300)
    put_pictures(tmp_path, inputs["predictions"]["test"].head(200))
    assert len(render(**inputs | {"crops_dir": tmp_path})) < 15_000_000


def test_metrics_as_read_from_json_are_enough() -> None:
    inputs = evaluation()
    again = inputs | {"metrics": json.loads(json.dumps(inputs["metrics"]))}
    assert render(**again) == render(**inputs)
