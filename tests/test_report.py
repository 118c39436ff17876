import base64
import copy
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier import networks
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation import breakdown
from animl_pipeline.evaluation.against.comparison import Other, compare
from animl_pipeline.evaluation.document import Document, Judging, describe_split
from animl_pipeline.report import page as pages
from animl_pipeline.report.formatting import format_number, format_percent, format_threshold
from animl_pipeline.report.gallery import Pictures

LABELS = ["bird", "fox", "lizard", "rodent", "skunk"]
NEW = {"train": 0, "val": 0, "locations": 0, "whole": True}  # to the run
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


def as_split(table: pd.DataFrame, labels: list[str]) -> Predictions:
    """The predictions beside rows of a dataset: two crops an image, three a sequence, some grey."""
    rng, row = np.random.default_rng(1), np.arange(len(table))
    rows = table[["crop", "image", "dataset", "location", "label"]].assign(
        image_id=[f"id {number}" for number in row],
        annotation_id=[f"box {number}" for number in row],
        sequence=[f"burst {number // 3}" for number in row],
        width=rng.uniform(0.05, 0.3, len(table)),
        height=rng.uniform(0.05, 0.3, len(table)),
    )
    probabilities = table[[f"prob_{label}" for label in labels]].to_numpy()
    return Predictions(rows, labels, probabilities, rng.random(len(table)) < 0.4, [])


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


def evaluation_of(labels: Sequence[str] = LABELS, **made: Any) -> dict[str, Any]:
    """What `render` takes, as `evaluate` would hand it over, without pictures; to be changed."""
    return copy.deepcopy(describe_evaluation(tuple(labels), **made))


@cache
def describe_evaluation(
    names: tuple[str, ...],
    unseen: tuple[str, ...] = (),
    splits: tuple[str, ...] = ("test",),
    **made: Any,
) -> dict[str, Any]:
    labels = list(names)
    seen = [label for label in labels if label not in unseen]
    tables = {
        split: made_predictions(labels=labels, seen=seen, seed=seed, **made)
        for seed, split in enumerate([*splits, "held out"])
    }
    parts = {name: as_split(table, labels) for name, table in tables.items()}
    val, wanted = parts.pop("held out"), {"precision": 0.9, "recall": 0.8}
    figures = {
        name: describe_split(part, Judging(val, 1.25, wanted, "empty"))
        for name, part in parts.items()
    }
    card = classifier.Card(
        "efficientnet-b3",
        labels,
        300,
        {"square": True, "margin": 0.0},
        {"epochs": 20, "lr": 3e-05, "label_weighted": True, "run_name": None},
        {"animl-pipeline": "0.1.0", "torch": "2.8.0"},
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        12,
    )
    content = {
        "format_version": "1",
        "labels": labels,
        "splits": figures,
        "seen_against_new": None,
        "comparison": None,
        "warnings": [],
        "unreadable": {},
        "trained_on": {"overlap": dict.fromkeys(splits, NEW), "labels": None},
        "temperature_fitted": True,
        "model": dataclasses.asdict(card),
        "training": {"epochs": 20},
        "commands": ["pipeline train --epochs 20", "pipeline evaluate"],
        "versions": {"torch": "2.8.0"},
    }
    return {
        "metrics": content,
        "scored": parts,
        "history": made_history(),
        "pictures": None,
    }


def render(
    *, metrics: dict[str, Any], scored: dict[str, Predictions], history: Any, pictures: Any
) -> str:
    document = Document(**metrics)
    return pages.render(document, scored, run_name="first", history=history, pictures=pictures)


@cache
def plain_page() -> str:
    """The page of an evaluation in which nothing is changed."""
    return render(**evaluation_of())


def pictures(folder: Path, inputs: dict[str, Any], network: Any = None) -> dict[str, Any]:
    """The inputs with the pictures of a folder."""
    card = classifier.Card(**inputs["metrics"]["model"])
    return inputs | {"pictures": Pictures(folder, card, network)}


def shown(inputs: dict[str, Any], split: str = "test") -> list[str]:
    """The crops of the galleries of a split."""
    figures = inputs["metrics"]["splits"][split]
    rows = figures["mistakes"]["examples"] + figures["label_errors"]["examples"]
    return [row["crop"] for row in rows]


def put_pictures(folder: Path, crops: list[str]) -> None:
    rng = np.random.default_rng(0)
    for crop in crops:
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
    inputs = evaluation_of()
    figures = inputs["metrics"]["splits"]["test"]
    figures["macro_average_precision"] = 0.831
    figures["intervals"]["macro_average_precision"] = [0.7149, 0.9]
    text = words(render(**inputs))
    assert "0.83 (95 % interval 0.71 to 0.90)" in text
    mean_precision = f"{figures['macro_precision']:.2f}"
    assert (
        f"crops 300 locations 12 mean precision {mean_precision} guessing would give 0.20" in text
    )


def test_every_label_and_figure_of_metrics_is_on_the_page() -> None:
    inputs = evaluation_of()
    text = words(plain_page())
    figures = inputs["metrics"]["splits"]["test"]
    for key in (*OVERALL, "top_3_accuracy"):
        assert f" {figures[key]:.3f} " in text
    for label, row in figures["per_label"].items():
        low, high = figures["intervals"][f"average_precision/{label}"]
        shown = f"{label} {row['n']} {row['average_precision']:.2f} {low:.2f} to {high:.2f} "
        shown += f"{row['precision']:.2f} {row['recall']:.2f} {row['f1']:.2f}"
        assert shown in text
    for row in figures["by_location"]:
        assert f"island {row['location']} {row['n']} {row['accuracy']:.2f} " in text


def test_every_count_of_the_confusion_matrix_is_drawn() -> None:
    inputs = evaluation_of(n=3000)
    drawn = " ".join(drawings(render(**inputs)))
    for count in np.ravel(inputs["metrics"]["splits"]["test"]["confusion_matrix"]):
        assert count == 0 or f">{count}</text>" in drawn


def test_locations_come_worst_first() -> None:
    page = plain_page()
    cells = re.findall(r"<td>island</td>.*?<td class=\"n\">([01]\.\d\d)</td>", page)
    assert len(cells) == 12
    assert cells == sorted(cells)


def test_labels_without_examples_are_named_and_not_counted_as_zero() -> None:
    inputs = evaluation_of(unseen=("lizard", "skunk"))
    text = words(render(**inputs))
    assert "Without a single crop in this split" in text
    assert "in no average: lizard , skunk ." in text
    assert "skunk 0 " not in text
    assert "guessing would give 0.33" in text


def test_what_could_not_be_computed_is_a_dash() -> None:
    inputs = evaluation_of()
    figures = inputs["metrics"]["splits"]["test"]
    figures["ece"] = None
    figures["per_label"]["fox"]["f1"] = None
    text = words(render(**inputs))
    assert "it is right; lower is better — — What is" in text
    assert re.search(r"fox \d+ 0\.\d\d 0\.\d\d to \d\.\d\d \d\.\d\d \d\.\d\d —", text)


def test_one_location_has_figures_but_no_intervals() -> None:
    text = words(render(**evaluation_of(places=1)))
    assert "(no 95 % interval could be computed)" in text
    assert "locations 1 " in text


def test_one_label_only_makes_a_page() -> None:
    text = words(render(**evaluation_of(labels=["fox"])))
    assert ", 1 label " in text
    assert "guessing would give 1.00" in text
    assert "Every crop of this split got its true label." in text


def test_more_than_eight_labels_get_a_plot_each() -> None:
    labels = [f"species {number:02}" for number in range(11)]
    page = render(**evaluation_of(labels=labels, n=900))
    (curves,) = [svg for svg in drawings(page) if ">recall<" in svg]
    assert all(curves.count(f">{label}<") == 1 for label in labels)
    assert "The dotted line is guessing." in words(page)


def test_the_page_of_a_large_evaluation_stays_small_cut_to_few_labels_and_says_so(
    tmp_path: Path,
) -> None:
    labels = [f"species {number:02}" for number in range(70)]
    inputs = evaluation_of(labels=labels, n=8_000, places=300)
    put_pictures(tmp_path, shown(inputs))
    page = render(**pictures(tmp_path, inputs))
    assert len(page) < 5_000_000
    assert "Shown are the 60 labels with the most mistakes of 70" in words(page)
    assert re.search(r"Shown are the 48 labels of the lowest AP of (6\d|70)\.", words(page))


def test_very_many_locations_are_folded_but_all_there() -> None:
    inputs = evaluation_of(n=2000, places=90)
    page = render(**inputs)
    rows = inputs["metrics"]["splits"]["test"]["by_location"]
    assert page.count("<td>island</td>") == len(rows)
    assert f"The other {len(rows) - 40} locations" in words(page)


def test_splits_come_in_the_order_of_metrics() -> None:
    page = render(**evaluation_of(splits=("test", "val", "train")))
    assert re.findall(r"<h2>Macro average precision on (\w+)", page) == ["test", "val", "train"]


def test_a_location_named_like_markup_is_shown_as_text() -> None:
    inputs = evaluation_of()
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
    inputs = evaluation_of(labels=[name, "fox", "rodent"])
    inputs["metrics"]["splits"]["test"]["by_location"][0]["location"] = name
    plots = [unescape(svg) for svg in drawings(render(**inputs))]
    drawn = name.replace("\n", "�").replace("\x07", "�")
    assert sum(f"{drawn}</text>" in svg for svg in plots) == 3


def test_same_figures_give_the_same_page(tmp_path: Path) -> None:
    first, second = evaluation_of(), evaluation_of()
    put_pictures(tmp_path, shown(first))
    assert render(**pictures(tmp_path, first)) == render(**pictures(tmp_path, second))


def test_the_page_needs_no_network(tmp_path: Path) -> None:
    inputs = evaluation_of(splits=("test", "val"))
    put_pictures(tmp_path, shown(inputs))
    page = render(**pictures(tmp_path, inputs))
    targets = re.findall(r"(?:src|href|action|data)\s*=\s*[\"']?([^\"'\s>]*)", page)
    assert targets
    assert all(target.startswith(("data:image/", "#")) for target in targets)
    assert not re.search(r"url\(|@import|<script|<link", page)
    for svg in drawings(page):
        assert not re.search(r"(?:href|src)=\"(?!#|data:)", svg)


def numbers(content: Any) -> Iterator[float]:
    """Every number of metrics.json, at any depth, without its sign."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for item in content:
            yield from numbers(item)
    elif isinstance(content, int | float):
        yield abs(content)


def test_every_number_on_the_page_is_in_metrics() -> None:
    inputs = everything()
    found = set(numbers(inputs["metrics"]))
    known = {f"{value:.{digits}f}" for value in found for digits in range(4)}
    known |= {f"{100 * value:.0f}" for value in found} | {f"{value:,}" for value in found}
    known |= {f"{100 * value:.1f}" for value in found}
    known |= {np.format_float_positional(value, min_digits=3) for value in found}
    text = words(render(**inputs)).partition("What made it")[0]
    text = re.sub(
        r"95 %|>0.999|<1 %|>99 %|always be 1|0 to 1|Top-\d|1 is perfect|than 2 %|fewer than 20",
        " ",
        text,
    )
    text = re.sub(r"(burst|box|id|island|camera-|IMG_|label) ?\d+", " ", text)
    matrix = np.array(inputs["metrics"]["splits"]["test"]["confusion_matrix"])
    shares = matrix / matrix.sum(axis=1, keepdims=True)
    known |= {f"{100 * share:.0f}" for share in shares.ravel()} | set(map(str, matrix.sum(axis=1)))
    galleries = text.partition("Most confident mistakes")[0]
    assert [
        n for n in re.findall(r"(?<![\w.])\d[\d,.]*\d|(?<![\w.])\d", galleries) if n not in known
    ] == []


def everything() -> dict[str, Any]:
    """The inputs of a page with every section."""
    inputs = evaluation_of(labels=["empty", *LABELS])
    scored = inputs["scored"]["test"]
    content = inputs["metrics"]
    half = np.array([int(location) % 2 == 0 for _, location in scored.locations])
    content["seen_against_new"] = breakdown.compare_seen_and_new(
        scored.select(half), scored.select(~half)
    )
    other = Other(
        "rival",
        scored.probabilities[:, ::-1],
        len(scored.labels) - 1 - scored.predicted,
        np.array([True] * 5 + [False]),
        ["wolf", "bear"],
        np.zeros(len(scored), dtype=bool),
        ["its results do not hold the image"] * 7 + [""] * (len(scored) - 7),
    )
    content["comparison"] = compare(scored, other, seed=0)
    content["unreadable"] = {"test": {"n": 4321, "of": 5432, "crops": []}}
    content["trained_on"] = {
        "overlap": {"test": NEW | {"locations": 6543}},
        "labels": {"fox": {"train": {"crops": 7654, "locations": 8765}}},
    }
    return inputs


def test_a_page_with_everything_says_which_is_better_and_what_was_left_out() -> None:
    text = words(render(**everything()))
    assert "This model is better than rival in macro average precision." in text
    assert "7 left out: its results do not hold the image." in text
    assert "left out: it has no such label (skunk)." in text
    assert "Of its classes 2 are in none of the labels (wolf, bear)" in text
    assert "New against known locations" in text
    assert "Empty crops that can be skipped" in text
    assert "On the crops of the labels that both have (empty, bird, fox" in text


def test_labels_that_one_side_of_the_gap_lacks_are_named_with_their_crops() -> None:
    inputs = everything()
    both = inputs["metrics"]["seen_against_new"]
    both["left_out"] = {"seen": {"skunk": 12, "lynx": 1}, "new": {}}
    text = words(render(**inputs))
    said = "as the others lack the label: skunk (12 crops), lynx (1 crop)."
    assert f"Left out of known locations, {said}" in text
    assert "Left out of new" not in text
    both |= {"labels": [], "gap": {}}
    assert "Nothing can be compared: no label is in both." in words(render(**inputs))


def test_the_page_says_over_how_many_labels_a_mean_is() -> None:
    inputs = evaluation_of()
    figures = inputs["metrics"]["splits"]["test"]
    figures["groups"]["night"] |= {"labels": 43}
    figures["by_location"][0] |= {"labels": 1, "macro_average_precision": None, "accuracy": 0.25}
    text = words(render(**inputs))
    assert re.search(r"night \d+ 12 0\.\d\d 0\.\d\d to 0\.\d\d 43 0\.\d\d", text)
    assert f"island 000 {figures['by_location'][0]['n']} 0.25 1 — " in text


def test_empties_are_shown_with_hindsight_and_as_the_threshold_of_val_skips_them() -> None:
    inputs = everything()
    figures = inputs["metrics"]["splits"]["test"]
    checked = {"skipped": None, "loss": 0.004}
    row = {"loss": 0.01, "with_hindsight": 0.25, "threshold": 0.99999, "checked": checked}
    figures["empties"] = [row, row | {"checked": None}]
    assert "animals lost here 1 % 25 % 0.99999 — 0.4 % 1 % 25 % — — — Light" in words(
        render(**inputs)
    )


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 3))
def test_what_is_below_1_never_reads_1_and_what_is_above_0_never_100_or_0_percent(
    value: float, digits: int
) -> None:
    assert re.fullmatch(r"0\.\d{2,3}|>0\.999", format_number(value, max(digits, 2)))
    assert not format_percent(value, digits).startswith("100")
    assert value == 0 or float(format_percent(value, digits).strip("<> %")) > 0


@given(st.floats(0, 1))
def test_a_threshold_is_shown_with_all_its_digits(value: float) -> None:
    assert float(format_threshold(value)) == value


def compared(**changed: Any) -> str:
    """The words of a page beside a rival that says the same, but for what is changed."""
    inputs = evaluation_of()
    scored = inputs["scored"]["test"]
    same = Other(
        "rival",
        scored.probabilities,
        scored.predicted,
        np.ones(len(LABELS), dtype=bool),
        [],
        np.zeros(len(scored), dtype=bool),
        [""] * len(scored),
    )
    rival = dataclasses.replace(same, **changed)
    inputs["metrics"]["comparison"] = compare(scored, rival, seed=0)
    return words(render(**inputs)).partition("Beside rival")[2].partition("What made it")[0]


def test_a_page_says_when_the_other_is_better_or_nobody_knows() -> None:
    scored = evaluation_of()["scored"]["test"]
    assert "One cannot tell which is better in macro average precision" in compared()
    perfect = np.eye(len(LABELS))[scored.truth]
    said = compared(probabilities=perfect, predicted=scored.truth)
    assert "rival is better than this model in macro average precision" in said


def test_a_page_has_no_average_precision_of_partial_results() -> None:
    n = len(evaluation_of()["scored"]["test"])
    said = compared(partial=np.ones(n, dtype=bool))
    assert f"Of {n} crops rival does not give the probability of every label" in said
    assert "better in accuracy" in said
    assert "Macro average precision" not in said


def test_nothing_to_compare_is_said() -> None:
    said = compared(known=np.zeros(len(LABELS), dtype=bool), others=["wolf"])
    assert "Nothing can be compared: no label is in both. The classes of rival are wolf" in said
    assert "interval" not in said


def test_without_val_there_are_no_thresholds_and_no_calibration() -> None:
    inputs = evaluation_of()
    figures = inputs["metrics"]["splits"]["test"]
    figures |= {"calibration": None, "operating_points": None}
    for row in figures["review"]["wanted"]:
        row["checked"] = None
    text = words(render(**inputs))
    assert "What is left to a person" in text
    assert (
        "There are no thresholds here: they are chosen on val, and the dataset has no val" in text
    )
    assert "temperature" not in text


def test_val_itself_has_no_thresholds_and_a_temperature_that_was_fitted_on_it() -> None:
    inputs = evaluation_of(splits=("val",))
    inputs["metrics"]["splits"]["val"]["operating_points"] = None
    text = words(render(**inputs))
    assert "this split is val itself" in text
    assert "fitted on these very crops" in text
    inputs["metrics"]["temperature_fitted"] = False
    text = words(render(**inputs))
    assert "fitted before on another val" in text
    assert "fitted on these very crops" not in text


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (NEW, "No crop of this split was used in training, nor any other of its locations"),
        (NEW | {"locations": 40}, "but 40 are at locations of crops that were"),
        (NEW | {"train": 300}, "The model was trained on these very crops"),
        (NEW | {"val": 300}, "The epoch to keep was chosen by figures of this split"),
        (NEW | {"train": 85, "val": 2}, "85 crops of this split were used in training, and 2 to"),
        (NEW | {"whole": False}, "Nobody knows whether crops of this split were used for the weig"),
        (None, "Nobody knows which crops of this split were used in training."),
    ],
)
def test_the_page_says_what_the_crops_of_a_split_were_to_the_run(
    known: dict[str, Any] | None, said: str
) -> None:
    inputs = evaluation_of()
    inputs["metrics"]["trained_on"]["overlap"]["test"] = known
    text = words(render(**inputs))
    assert said in text
    assert ("No crop of this split was used" in text) == said.startswith(("No crop", "but"))


def test_what_was_trained_on_unreadable_crops_and_warnings_are_on_the_page() -> None:
    inputs = evaluation_of()
    of_fox = {"train": {"crops": 61, "locations": 7}, "test": {"crops": 36, "locations": 3}}
    inputs["metrics"]["trained_on"]["labels"] = {"fox": of_fox}
    inputs["metrics"]["unreadable"] = {"test": {"n": 85, "of": 121, "crops": []}}
    inputs["metrics"]["warnings"] = ["Crops of test may have been trained on."]
    text = words(render(**inputs))
    assert "label crops of train locations crops of test locations fox 61 7 36 3" in text
    assert "locations 12 unreadable crops 85 of 121" in text
    assert "Beware. Crops of test may have been trained on." in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"log_loss": -0.02, "interval": [-0.05, 0.01]}, "lowers the log loss here"),
        ({"log_loss": 0.02, "interval": [-0.01, 0.05]}, "does not lower the log loss here"),
        ({"log_loss": 0.02, "interval": None}, "does not lower the log loss here"),
    ],
)
def test_the_page_says_what_the_temperature_did(change: dict[str, Any], said: str) -> None:
    inputs = evaluation_of()
    inputs["metrics"]["splits"]["test"]["calibration"] |= {"temperature": 1.3, "change": change}
    text = words(render(**inputs))
    assert said in text
    assert ("interval -0.0" in text.split("Thresholds")[0]) == (change["interval"] is not None)


def test_the_page_says_where_the_temperature_stays_1() -> None:
    inputs = evaluation_of()
    inputs["metrics"]["splits"]["test"]["calibration"] |= {"temperature": 1.0}
    assert "no sure sign that the probabilities are off" in words(render(**inputs))


def test_the_page_names_the_run_and_the_dataset() -> None:
    page = plain_page()
    assert "<title>first, island: evaluation</title>" in page
    assert "Evaluation of run first (efficientnet-b3) on dataset island, 5 labels" in words(page)


def test_a_classifier_with_one_answer_for_all_has_not_learned() -> None:
    inputs = evaluation_of()
    split = inputs["scored"]["test"]
    said = "This classifier has not learned: all 300 crops were called fox."
    assert said not in words(plain_page())
    same = np.tile(np.eye(len(LABELS))[LABELS.index("fox")], (len(split), 1))
    inputs["scored"]["test"] = dataclasses.replace(split, probabilities=same)
    assert said in words(render(**inputs))


def test_all_of_the_page_is_in_a_landmark_and_what_scrolls_can_be_reached_by_keys() -> None:
    page = plain_page()
    body = page.partition("<body>")[2]
    assert re.match(r"(?s)\s*<header>.*?</header>\s*<main>.*</main>\s*</body>", body)
    for kind in ("box", "plot"):
        for tag in re.findall(rf'<div class="{kind}[^>]*>', page):
            assert 'tabindex="0"' in tag


def test_the_page_leaves_matplotlib_as_it_was() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    render(**evaluation_of())
    assert dict(mpl.rcParams) == before


def test_the_gallery_shows_the_surest_mistakes_so_that_they_can_be_found(tmp_path: Path) -> None:
    inputs = evaluation_of(n=600)
    scored, examples = inputs["scored"]["test"], inputs["metrics"]["splits"]["test"]["mistakes"]
    put_pictures(tmp_path, shown(inputs))
    page = render(**pictures(tmp_path, inputs))
    assert examples["n"] == (~scored.right).sum()
    sure = scored.probabilities.max(axis=1)[~scored.right]
    assert [row["probability"] for row in examples["examples"]] == sorted(
        (row["probability"] for row in examples["examples"]), reverse=True
    )
    assert examples["examples"][0]["probability"] == sure.max()
    assert page.count("data:image/jpeg;base64,") == 48
    top = examples["examples"][0]
    said = f"labelled {top['label']} predicted {top['predicted']} {top['probability']:.2f}"
    assert f"{said} at {top['location']} {top['image']} id {top['image_id']}" in words(page)


def test_a_gallery_shows_few_of_one_location() -> None:
    rows = evaluation_of(n=900, places=5)["metrics"]["splits"]["test"]["mistakes"]["examples"]
    counts = pd.Series([row["location"] for row in rows]).value_counts()
    assert len(rows) == 24
    assert counts.max() <= 6


def test_labels_to_look_at_again_come_with_what_they_may_be() -> None:
    inputs = evaluation_of(n=600)
    first = inputs["metrics"]["splits"]["test"]["label_errors"]["examples"][0]
    text = words(
        render(
            **inputs | {"pictures": Pictures(Path(), classifier.Card(**inputs["metrics"]["model"]))}
        )
    )
    part = text.partition("Labels to look at again")[2]
    assert f"labelled {first['label']} rather {first['suggested']}" in part


def test_a_crop_that_cannot_be_opened_is_a_grey_tile(tmp_path: Path) -> None:
    inputs = evaluation_of()
    inputs["metrics"]["splits"]["test"]["label_errors"]["examples"] = []
    crops = shown(inputs)
    put_pictures(tmp_path, crops)
    (tmp_path / crops[0]).unlink()
    (tmp_path / crops[1]).write_bytes(b"not a picture")
    (tmp_path / crops[2]).write_bytes((tmp_path / crops[2]).read_bytes()[:900])
    (tmp_path / crops[3]).write_bytes(b"")
    page = render(**pictures(tmp_path, inputs))
    assert words(page).count("not readable") == 4
    assert page.count("data:image/jpeg;base64,") == len(crops) - 4


def test_a_crop_outside_the_folder_of_crops_is_not_opened(tmp_path: Path) -> None:
    inputs = evaluation_of()
    outside = tmp_path / "outside.png"
    Image.new("RGB", (8, 8)).save(outside)
    (tmp_path / "crops").mkdir()
    figures = inputs["metrics"]["splits"]["test"]
    for name in (str(outside), "../outside.png"):
        for row in figures["mistakes"]["examples"] + figures["label_errors"]["examples"]:
            row["crop"] = name
        page = render(**pictures(tmp_path / "crops", inputs))
        assert "data:image/jpeg" not in page
        assert "not readable" in page


def test_on_request_a_second_picture_shows_where_the_network_looked(tmp_path: Path) -> None:
    import torch

    inputs = evaluation_of()
    inputs["metrics"]["model"] |= {"model_name": "efficientnet-b0", "image_size": 64}
    examples = inputs["metrics"]["splits"]["test"]["mistakes"]["examples"]
    del examples[2:]
    inputs["metrics"]["splits"]["test"]["label_errors"]["examples"] = []
    put_pictures(tmp_path, shown(inputs))
    torch.manual_seed(0)
    network = networks.build("efficientnet-b0", len(LABELS)).eval()
    page = render(**pictures(tmp_path, inputs, network))
    assert page.count("data:image/jpeg;base64,") == 4
    assert page.count("Where the network looked") == 2


def test_without_a_folder_of_crops_there_is_no_gallery() -> None:
    assert "Most confident mistakes" not in plain_page()


def test_without_a_history_there_are_no_training_curves() -> None:
    inputs = evaluation_of()
    assert "<h2>Training</h2>" in plain_page()
    assert "<h2>Training</h2>" not in render(**inputs | {"history": None})
    inputs["metrics"]["training"] = None
    assert "<h2>Training</h2>" not in render(**inputs)


def test_a_history_without_validation_is_drawn_and_says_so() -> None:
    history = made_history(1)
    history[[column for column in history if column.startswith("val_")]] = float("nan")
    drawn = drawings(render(**evaluation_of() | {"history": history}))
    assert ">not measured</text>" in drawn[-1]


def test_what_made_the_model_is_on_the_page() -> None:
    inputs = evaluation_of()
    text = words(plain_page())
    model = inputs["metrics"]["model"]
    for said in ("efficientnet-b3", "epoch kept 13", "300 px", model["data_fingerprint"]):
        assert said in text
    assert "pipeline train --epochs 20" in text
    assert "animl-pipeline 0.1.0, torch 2.8.0" in text
    assert "label_weighted yes run_name none" in text


def test_metrics_as_read_from_json_are_enough() -> None:
    inputs = evaluation_of()
    again = inputs | {"metrics": json.loads(json.dumps(inputs["metrics"]))}
    assert render(**again) == plain_page()
