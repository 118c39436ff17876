import contextlib
import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from killable import Runner
from safetensors import safe_open
from shop import Done
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score
from small_dataset import TINY, make_dataset

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.classifier import card as classifier
from animl_pipeline.errors import InputInvalid, InputMissing, OptionError
from animl_pipeline.files.whole import digest
from animl_pipeline.running import perform
from animl_pipeline.runs import policy
from animl_pipeline.stages import evaluate, train

Pipeline = Callable[..., Done]
OUT = Path("runs/first/evaluation")
SPLIT_KEYS = {
    "n", "accuracy", "balanced_accuracy", "macro_average_precision", "weighted_average_precision",
    "micro_average_precision", "macro_precision", "macro_recall", "macro_f1", "log_loss", "ece",
    "per_label", "confusion_matrix", "by_location", "intervals", "labels_without_examples",
    "guessing", "top_3_accuracy", "top_5_accuracy", "groups", "sequences", "calibration",
    "operating_points", "review", "empties", "mistakes", "label_errors",
}  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was evaluated on all three parts; not to be changed."""
    folder = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(trained, folder, symlinks=True, dirs_exist_ok=True)
    with contextlib.chdir(folder):
        perform.perform("evaluate", evaluate.Options(splits="train,val,test"))
    return folder / OUT


@pytest.fixture(scope="module")
def evaluated_once(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was evaluated without an option; not to be changed."""
    folder = tmp_path_factory.mktemp("evaluated_once")
    shutil.copytree(trained, folder, symlinks=True, dirs_exist_ok=True)
    with contextlib.chdir(folder):
        perform.perform("evaluate", evaluate.Options())
    return folder


@pytest.fixture
def in_evaluated(here: Path, evaluated_once: Path) -> Path:
    """The current folder: a copy of crops, dataset and the run that was evaluated."""
    shutil.copytree(evaluated_once, here, symlinks=True, dirs_exist_ok=True)
    return here


def predictions(folder: Path, split: str = "test") -> pd.DataFrame:
    return pd.read_csv(folder / f"predictions_{split}.csv", keep_default_na=False)


def metrics(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_bytes())
    return content


def test_the_files_of_the_contract_are_there(evaluated: Path) -> None:
    assert {path.name for path in evaluated.iterdir()} == {
        "predictions_train.csv", "predictions_val.csv", "predictions_test.csv", "metrics.json",
        "label_errors_train.csv", "label_errors_val.csv", "label_errors_test.csv",
        "report.html", "evaluate.json",
    }  # fmt: skip


def test_the_table_of_predictions_has_a_probability_per_label_in_order(evaluated: Path) -> None:
    with (evaluated / "predictions_test.csv").open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    assert header == [
        "crop", "image", "dataset", "location", "label", "predicted",
        "prob_bird", "prob_fox", "prob_lizard",
    ]  # fmt: skip


def test_the_predicted_label_is_the_most_probable_and_probabilities_sum_to_1(
    evaluated: Path,
) -> None:
    table = predictions(evaluated)
    probabilities = table[["prob_bird", "prob_fox", "prob_lizard"]]
    assert probabilities.sum(axis=1).to_numpy() == pytest.approx(np.ones(len(table)), abs=1e-6)
    best = probabilities.idxmax(axis=1).str.removeprefix("prob_")
    assert best.tolist() == table["predicted"].tolist()


def test_each_crop_of_a_split_is_predicted_once(evaluated: Path, trained: Path) -> None:
    dataset = table_io.read(tables.DATASET, trained / "dataset/dataset.csv")
    for split in ("train", "val", "test"):
        expected = dataset[dataset["split"] == split]["crop"].tolist()
        assert predictions(evaluated, split)["crop"].tolist() == expected


def test_metrics_have_the_keys_of_the_contract(evaluated: Path) -> None:
    content = metrics(evaluated)
    assert (content["format_version"], content["labels"]) == ("1", ["bird", "fox", "lizard"])
    assert set(content["splits"]) == {"train", "val", "test"}
    for figures in content["splits"].values():
        assert set(figures) == SPLIT_KEYS
        assert set(figures["per_label"]) == {"bird", "fox", "lizard"}
        for of_label in figures["per_label"].values():
            assert set(of_label) == {"n", "average_precision", "precision", "recall", "f1"}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_average_precisions_are_scikit_learn_s_on_the_written_predictions(
    evaluated: Path, split: str
) -> None:
    table, figures = predictions(evaluated, split), metrics(evaluated)["splits"][split]
    aps = {
        label: average_precision_score(table["label"] == label, table[f"prob_{label}"])
        for label in ("bird", "fox", "lizard")
    }
    for label, ap in aps.items():
        assert figures["per_label"][label]["average_precision"] == pytest.approx(ap, abs=1e-12)
    assert figures["macro_average_precision"] == pytest.approx(np.mean(list(aps.values())))


def test_accuracies_are_scikit_learn_s_on_the_written_predictions(evaluated: Path) -> None:
    table, figures = predictions(evaluated), metrics(evaluated)["splits"]["test"]
    truth, predicted = table["label"], table["predicted"]
    assert figures["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert figures["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted))


def test_the_confusion_matrix_has_true_labels_as_rows(evaluated: Path) -> None:
    table, content = predictions(evaluated), metrics(evaluated)
    matrix = content["splits"]["test"]["confusion_matrix"]
    for row, true in enumerate(content["labels"]):
        for column, chosen in enumerate(content["labels"]):
            count = ((table["label"] == true) & (table["predicted"] == chosen)).sum()
            assert matrix[row][column] == count


def test_the_places_sum_up_to_the_split(evaluated: Path) -> None:
    figures = metrics(evaluated)["splits"]["test"]
    assert {place["location"] for place in figures["by_location"]} == {"test0", "test1"}
    assert sum(place["n"] for place in figures["by_location"]) == figures["n"] == 6


def test_only_test_is_scored_unless_more_is_asked_for(in_evaluated: Path) -> None:
    assert set(metrics(OUT)["splits"]) == {"test"}
    assert not (OUT / "predictions_train.csv").exists()
    assert not (OUT / "label_errors_val.csv").exists()


def test_val_is_predicted_too_for_thresholds_and_temperature(in_evaluated: Path) -> None:
    assert (OUT / "predictions_val.csv").exists()
    figures = metrics(OUT)["splits"]["test"]
    assert set(figures["operating_points"]) == {"precision", "recall"}
    assert figures["calibration"]["temperature"] > 0


def test_what_val_chose_is_kept_beside_the_run_whose_own_files_stay(in_trained: Path) -> None:
    run = Path("runs/first")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    perform.perform("evaluate", evaluate.Options(precision_target=0.8))
    after = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    kept = json.loads(after.pop("policy.json"))
    learned = after.pop("reference.safetensors")
    assert after == before
    assert kept["reference"] == hashlib.sha256(learned).hexdigest()
    figures = metrics(OUT)["splits"]["test"]
    val = predictions(OUT, "val")
    on = kept["temperature"]["measured_on"]
    assert (on["split"], on["n"], on["locations"]) == ("val", len(val), val["location"].nunique())
    assert on["dataset_fingerprint"] == digest(Path("dataset/dataset.csv"), "sha256")
    assert kept["temperature"]["value"] == figures["calibration"]["temperature"]
    assert kept["thresholds"]["precision"]["wanted"] == 0.8
    for metric, points in figures["operating_points"].items():
        shown = {label: row["threshold"] for label, row in points["per_label"].items()}
        assert kept["thresholds"][metric]["per_label"] == shown


def test_the_card_in_the_weights_is_that_beside_them(in_evaluated: Path) -> None:
    with safe_open("runs/first/model.safetensors", "pt") as weights:
        inside = json.loads(weights.metadata()["card"])
    assert inside == json.loads(Path("runs/first/model.json").read_bytes())


def test_two_evaluations_of_one_run_at_once_leave_its_policy_whole(
    in_trained: Path, commands: Runner
) -> None:
    words = (["evaluate", "--output-dir", name] for name in ("one", "two"))
    both = commands.run_at_once(in_trained, *words)
    assert [ended.code for ended in both] == [0, 0], both
    for name in ("one", "two"):
        temperature = metrics(Path(name))["splits"]["test"]["calibration"]["temperature"]
        kept = json.loads(Path("runs/first/policy.json").read_bytes())
        assert kept["temperature"]["value"] == temperature


def as_evaluated_by_an_older_version(run: Path, temperature: float) -> None:
    """Put the temperature into model.json, as `evaluate` did before there was a policy.json."""
    card = json.loads((run / "model.json").read_bytes()) | {"temperature": temperature}
    (run / "model.json").write_text(json.dumps(card))


def write_other_season() -> Path:
    """A dataset whose val lacks a location of that which the run was trained on."""
    shutil.copytree("dataset", "new season")
    path = Path("new season/dataset.csv")
    table = table_io.read(tables.DATASET, path)
    table_io.write(tables.DATASET, path, table[table["location"] != "val0"])
    return path.parent


def test_a_run_that_an_older_version_evaluated_keeps_its_temperature(in_trained: Path) -> None:
    run = Path("runs/first")
    as_evaluated_by_an_older_version(run, 1.75)
    card = (run / "model.json").read_bytes()
    season = write_other_season()
    perform.perform("evaluate", evaluate.Options(dataset_dir=season))
    assert metrics(OUT)["splits"]["test"]["calibration"]["temperature"] == 1.75
    assert not (run / "policy.json").exists()
    perform.perform("evaluate", evaluate.Options())
    fitted = metrics(OUT)["splits"]["test"]["calibration"]["temperature"]
    perform.perform("evaluate", evaluate.Options(dataset_dir=season))
    assert metrics(OUT)["splits"]["test"]["calibration"]["temperature"] == fitted
    assert (run / "model.json").read_bytes() == card


def test_the_policy_of_other_weights_is_not_the_runs(in_evaluated: Path) -> None:
    path = Path("runs/first/policy.json")
    content = json.loads(path.read_bytes())
    content["temperature"]["value"] = 3.0
    path.write_text(json.dumps(content))
    season = write_other_season()
    perform.perform("evaluate", evaluate.Options(dataset_dir=season))
    assert metrics(OUT)["splits"]["test"]["calibration"]["temperature"] == 3.0
    path.write_text(json.dumps(content | {"weights": "of another network"}))
    perform.perform("evaluate", evaluate.Options(dataset_dir=season))
    assert metrics(OUT)["splits"]["test"]["calibration"] is None


def test_a_broken_policy_stops_who_applies_it_and_not_who_writes_it_anew(
    in_evaluated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path("runs/first/policy.json")
    whole = path.read_bytes()
    content, season = json.loads(whole), write_other_season()
    broken = {
        "temperature.value": content | {"temperature": content["temperature"] | {"value": "warm"}},
        "greater than 0": content | {"temperature": content["temperature"] | {"value": 0}},
        "thresholds": content | {"thresholds": ["precision"]},
        "not a policy of format 2": content | {"format_version": "0"},
        "weights": {"format_version": "1"},
        "of format 2": [],
    }
    texts = {part: json.dumps(wrong) for part, wrong in broken.items()} | {
        "cannot be read": "{half"
    }
    for part, text in texts.items():
        path.write_text(text)
        with pytest.raises(InputInvalid, match=rf"policy\.json.*{part}"):
            evaluate.prepare(evaluate.Options(dataset_dir=season))
        caplog.clear()
        evaluate.prepare(evaluate.Options())
        assert "writes it anew" in caplog.text
    perform.perform("evaluate", evaluate.Options())
    assert path.read_bytes() == whole


def test_a_run_that_cannot_be_written_to_is_evaluated_all_the_same(
    in_trained: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("Permission denied: policy.json")

    monkeypatch.setattr(policy, "write_policy", refuse)  # as root, no folder refuses
    perform.perform("evaluate", evaluate.Options(output_dir=Path("elsewhere")))
    assert "in metrics.json alone" in caplog.text
    assert Path("elsewhere/metrics.json").exists()


@pytest.mark.parametrize("temperature", [0, -1, "warm", True, float("inf")])
def test_a_temperature_that_is_none_is_a_message(in_trained: Path, temperature: object) -> None:
    path = Path("runs/first/model.json")
    card = json.loads(path.read_bytes()) | {"temperature": temperature}
    path.write_text(json.dumps(card))
    with pytest.raises(InputInvalid, match="temperature"):
        perform.perform("evaluate", evaluate.Options())


def test_without_val_there_are_figures_but_no_thresholds_and_no_temperature(
    in_trained: Path,
) -> None:
    path = Path("dataset/dataset.csv")
    table = table_io.read(tables.DATASET, path)
    table_io.write(tables.DATASET, path, table[table["split"] != "val"])
    perform.perform("evaluate", evaluate.Options())
    figures = metrics(OUT)["splits"]["test"]
    assert figures["operating_points"] is None
    assert figures["calibration"] is None
    assert figures["review"]["wanted"][0]["checked"] is None
    assert not Path("runs/first/policy.json").exists()


def test_another_dataset_is_judged_with_the_temperature_kept_and_leaves_it(
    in_evaluated: Path,
) -> None:
    before = Path("runs/first/policy.json").read_bytes()
    kept = json.loads(before)["temperature"]["value"]
    shutil.copytree("dataset", "new season")
    path = Path("new season/dataset.csv")
    table = table_io.read(tables.DATASET, path)
    for rows in (table[table["split"] == "test"], table[table["location"] != "val0"]):
        table_io.write(tables.DATASET, path, rows)
        perform.perform("evaluate", evaluate.Options(dataset_dir=path.parent))
        assert metrics(OUT)["splits"]["test"]["calibration"]["temperature"] == kept
        assert Path("runs/first/policy.json").read_bytes() == before


def exchange_train_and_test() -> None:
    path = Path("dataset/dataset.csv")
    table = table_io.read(tables.DATASET, path)
    other = {"train": "test", "test": "train", "val": "val"}
    table_io.write(tables.DATASET, path, table.assign(split=table["split"].map(other)))


def test_crops_that_were_trained_on_are_found_in_a_dataset_split_again(
    in_trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exchange_train_and_test()
    perform.perform("evaluate", evaluate.Options())
    content, page = metrics(OUT), (OUT / "report.html").read_text()
    known = {"train": 12, "val": 0, "locations": 0, "whole": True}
    assert content["trained_on"]["overlap"]["test"] == known
    [warning] = content["warnings"]
    assert warning.startswith("12 of 12 crops of test were used to train first")
    assert "--dataset-dir" in warning
    assert warning in caplog.text
    assert warning in unescape(page)
    assert "No crop of this split was used" not in page
    assert not Path("runs/first/policy.json").exists()


def test_crops_of_images_trained_on_are_known_whatever_their_name(in_trained: Path) -> None:
    path = Path("dataset/dataset.csv")
    table = table_io.read(tables.DATASET, path)
    rows = [table.index[table["split"] == split][0] for split in ("test", "train")]
    table.loc[rows[0], "image_id"] = table.loc[rows[1], "image_id"]
    table_io.write(tables.DATASET, path, table)
    perform.perform("evaluate", evaluate.Options())
    assert metrics(OUT)["trained_on"]["overlap"]["test"]["train"] == 1


def test_a_copy_of_the_dataset_is_the_one_trained_on(in_trained: Path) -> None:
    shutil.copytree("dataset", "copied")
    perform.perform("evaluate", evaluate.Options(dataset_dir=Path("copied")))
    content = metrics(OUT)
    assert content["warnings"] == []
    assert content["temperature_fitted"]
    assert (
        "No crop of this split was used in training, nor any" in (OUT / "report.html").read_text()
    )


def test_a_run_that_kept_no_table_is_known_by_the_digest_of_its_dataset(in_evaluated: Path) -> None:
    known = metrics(OUT)
    Path("runs/first/trained_on.csv").unlink()
    perform.perform("evaluate", evaluate.Options())
    assert metrics(OUT) == known


@pytest.mark.parametrize("lost", ["dataset.csv", "train.json"])
def test_where_nobody_knows_what_was_trained_on_that_is_said(
    in_trained: Path, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    Path("runs/first/trained_on.csv").unlink()
    if lost == "train.json":
        Path("runs/first/train.json").unlink()
    else:
        exchange_train_and_test()
    perform.perform("evaluate", evaluate.Options())
    content = metrics(OUT)
    assert content["trained_on"] == {"overlap": {"test": None, "val": None}, "labels": None}
    [warning] = content["warnings"]
    assert "Crops of test, val may have been trained on: first does not say" in warning
    assert warning in caplog.text
    assert "Nobody knows which crops of this split" in (OUT / "report.html").read_text()
    assert not Path("runs/first/policy.json").exists()


def test_what_the_weights_it_started_from_were_trained_on_counts(in_trained: Path) -> None:
    exchange_train_and_test()
    second = {**TINY, "epochs": 1, "run_name": "second", "cache_embeddings": True}
    perform.perform("train", train.Options(**second, weights=Path("runs/first")))
    rows = table_io.read(tables.TRAINED_ON, Path("runs/second/trained_on.csv"))
    assert rows["split"].value_counts().to_dict() == {"before": 18, "train": 6, "val": 6}
    perform.perform("evaluate", evaluate.Options(output_dir=Path("out")))
    assert metrics(Path("out"))["trained_on"]["overlap"]["test"]["train"] == 12
    Path("runs/second/trained_on.csv").write_text(
        "".join(
            line
            for line in Path("runs/second/trained_on.csv").read_text().splitlines(keepends=True)
            if not line.endswith(",before\n")
        )
    )
    perform.perform("evaluate", evaluate.Options(output_dir=Path("out")))
    assert not metrics(Path("out"))["trained_on"]["overlap"]["test"]["whole"]
    [warning] = metrics(Path("out"))["warnings"]
    assert "second started from runs/first, and no trained_on.csv beside it says" in warning


def test_labels_come_with_the_crops_and_locations_trained_on(in_evaluated: Path) -> None:
    expected = {
        "train": {"crops": 4, "locations": 2},
        "val": {"crops": 2, "locations": 2},
        "test": {"crops": 2, "locations": 2},
    }
    assert metrics(OUT)["trained_on"]["labels"] == dict.fromkeys(
        ("bird", "fox", "lizard"), expected
    )


def test_a_compared_run_that_was_trained_on_the_crops_is_told(in_trained: Path) -> None:
    shutil.copytree("runs/first", "runs/second")
    path = Path("runs/second/trained_on.csv")
    table = table_io.read(tables.DATASET, Path("dataset/dataset.csv"))
    seen = table.loc[table["split"] == "test", tables.TRAINED_ON.names]
    table_io.write(tables.TRAINED_ON, path, seen.assign(split="train"))
    perform.perform("evaluate", evaluate.Options(compare=Path("runs/second")))
    content = metrics(OUT)
    assert content["comparison"]["overlap"]["test"]["train"] == 6
    assert content["warnings"][0].startswith("6 of 6 crops of test were used to train second")
    path.unlink()
    Path("runs/second/train.json").unlink()
    perform.perform("evaluate", evaluate.Options(compare=Path("runs/second")))
    assert "Crops of test may have been trained on: second" in metrics(OUT)["warnings"][0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_a_message(in_trained: Path, value: float) -> None:
    path = Path("runs/first/model.safetensors")
    network, card = classifier.load(path.parent)
    with torch.no_grad():
        next(network.parameters()).fill_(value)
    classifier.save(path.parent, network, card)
    with pytest.raises(InputInvalid, match=r"model\.safetensors holds weights that are no numbers"):
        perform.perform("evaluate", evaluate.Options())


def test_crops_held_out_at_the_locations_of_train_show_the_gap(in_trained: Path) -> None:
    path = Path("dataset/dataset.csv")
    table = table_io.read(tables.DATASET, path)
    of_train = table.index[table["split"] == "train"]
    table.loc[of_train[::3], "split"] = "seen_test"
    table_io.write(tables.DATASET, path, table)
    perform.perform("evaluate", evaluate.Options())
    content = metrics(OUT)
    assert list(content["splits"]) == ["test", "seen_test"]
    both = content["seen_against_new"]
    assert len(predictions(OUT, "seen_test")) == len(of_train[::3])
    for side, n in {"seen": len(of_train[::3]), "new": 6}.items():
        assert both[side]["n"] + sum(both["left_out"][side].values()) == n
        assert both[side]["labels"] == len(both["labels"])
    gap = both["seen"]["accuracy"] - both["new"]["accuracy"]
    assert both["gap"]["accuracy"]["gap"] == pytest.approx(gap)


def test_labels_to_look_at_again_name_image_and_annotation(evaluated: Path, trained: Path) -> None:
    table = table_io.read(tables.LABEL_ERRORS, evaluated / "label_errors_train.csv")
    dataset = table_io.read(tables.DATASET, trained / "dataset/dataset.csv").set_index("crop")
    said = predictions(evaluated, "train").set_index("crop")["predicted"]
    wrong = said[said != dataset["label"].reindex(said.index)]
    assert set(table["crop"]) == set(wrong.index)
    assert table["margin"].is_monotonic_decreasing
    for _, row in table.iterrows():
        assert row["image_id"] == dataset.loc[row["crop"], "image_id"]
        assert row["label"] == dataset.loc[row["crop"], "label"] != row["suggested"]


def test_a_run_compared_with_itself_cannot_be_told_apart(in_trained: Path) -> None:
    shutil.copytree("runs/first", "runs/second")
    perform.perform("evaluate", evaluate.Options(compare=Path("runs/second")))
    found = metrics(OUT)["comparison"]
    assert (found["other"], found["verdict"], found["n"]) == ("second", "cannot tell", 6)
    for row in found["figures"].values():
        assert row["this"] == row["other"]
    record = json.loads((OUT / "evaluate.json").read_bytes())
    assert "runs/second/model.safetensors" in record["inputs"]


def test_a_run_of_other_labels_is_compared_on_those_that_both_have(
    in_trained: Path, pipeline: Pipeline
) -> None:
    shutil.copytree("runs/first", "runs/second")
    path = Path("runs/second/model.json")
    card = json.loads(path.read_bytes())
    assert card["labels"] == ["bird", "fox", "lizard"]
    path.write_text(json.dumps(card | {"labels": ["bird", "fox", "wolf"]}))
    done = pipeline("evaluate", "--compare", "runs/second")
    assert done.code == 0, done.err
    assert "beside second: One cannot tell which is better" in done.out
    found = metrics(OUT)["comparison"]
    assert (found["labels"], found["labels_unknown_to_it"]) == (["bird", "fox"], ["lizard"])
    assert found["its_other_classes"] == {"n": 1, "examples": ["wolf"]}
    table = predictions(OUT)
    common = table[table["label"] != "lizard"]
    assert (found["n"], found["of_labels_unknown_to_it"]) == (len(common), len(table) - len(common))
    aps = [
        average_precision_score(common["label"] == label, common[f"prob_{label}"].astype(float))
        for label in ("bird", "fox")
    ]
    accuracy = (common["label"] == common["predicted"]).mean()
    for name, value in (("macro_average_precision", np.mean(aps)), ("accuracy", accuracy)):
        assert found["figures"][name]["this"] == pytest.approx(value)
        assert found["figures"][name]["other"] == pytest.approx(value)
    page = (OUT / "report.html").read_text()
    assert "it has no such label (lizard)" in page


def test_a_mapping_without_the_other_is_wrong_usage(in_trained: Path) -> None:
    Path("map.json").write_text('{"fox": ["fox"]}')
    with pytest.raises(OptionError, match="--compare-mapping goes with --compare"):
        perform.perform("evaluate", evaluate.Options(compare_mapping=Path("map.json")))


@pytest.mark.parametrize(
    ("given", "words"),
    [({"foxx": ["Fox"]}, "'foxx' is no label here"), ({"fox": ["Foxx"]}, "'Foxx', which")],
)
def test_a_name_in_the_mapping_that_neither_has_is_a_message(
    in_trained: Path, given: dict[str, Any], words: str
) -> None:
    Path("map.json").write_text(json.dumps(given))
    options = evaluate.Options(compare=results(Path(), []), compare_mapping=Path("map.json"))
    with pytest.raises(InputInvalid, match=words):
        perform.perform("evaluate", options)


def results(folder: Path, images: list[dict[str, Any]]) -> Path:
    path = folder / "results.json"
    classes = {"1": "Fox", "2": "bird", "3": "wolf"}
    content = {
        "info": {"format_version": "1.4"},
        "detection_categories": {"1": "animal"},
        "classification_categories": classes,
        "images": images,
    }
    path.write_text(json.dumps(content))
    return path


def test_results_of_another_tool_are_compared_on_the_crops_they_hold(in_trained: Path) -> None:
    table = table_io.read(tables.DATASET, Path("dataset/dataset.csv"))
    test = table[table["split"] == "test"]
    images = [
        {
            "file": row["image"],
            "detections": [
                {
                    "category": "1",
                    "conf": 0.9,
                    "bbox": [0.12, 0.1, 0.5, 0.5],
                    "classifications": [["1" if row["label"] == "fox" else "2", 0.9], ["3", 0.1]],
                }
            ],
        }
        for _, row in test.iterrows()
    ][1:]
    perform.perform("evaluate", evaluate.Options(compare=results(Path(), images)))
    found = metrics(OUT)["comparison"]
    assert found["labels"] == ["bird", "fox"]
    assert found["n"] + found["of_labels_unknown_to_it"] == 5
    assert found["left_out"] == {"its results do not hold the image": 1}
    assert found["figures"]["accuracy"]["other"] == 1
    assert (found["partial"], found["verdict_by"]) == (found["n"], "accuracy")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([["9", 0.5]], "not an id of classification_categories"),
        ([["1", 1.5]], "probability is 1.5"),
        ([["1"]], "not an id"),
        ("fox", "not an id"),
    ],
)
def test_a_classification_that_is_none_is_a_message(
    in_trained: Path, said: Any, words: str
) -> None:
    found = [{"category": "1", "conf": 0.9, "bbox": [0, 0, 1, 1], "classifications": said}]
    path = results(Path(), [{"file": "a.jpg", "detections": found}])
    with pytest.raises(InputInvalid, match=words):
        perform.perform("evaluate", evaluate.Options(compare=path))


def test_what_is_not_there_to_compare_with_is_a_message(in_trained: Path) -> None:
    with pytest.raises(InputMissing, match="nowhere"):
        perform.perform("evaluate", evaluate.Options(compare=Path("nowhere")))


def test_a_dataset_of_other_labels_is_evaluated_by_a_mapping(in_trained: Path) -> None:
    path = Path("dataset/dataset.csv")
    path.write_text(
        path.read_text().replace(",fox,test", ",mammal,test").replace(",lizard,test", ",other,test")
    )
    path.write_text(
        path.read_text().replace(",fox,val", ",mammal,val").replace(",lizard,val", ",other,val")
    )
    mapping = {"bird": ["bird"], "mammal": ["fox"], "other": ["lizard"]}
    Path("map.json").write_text(json.dumps(mapping))
    with pytest.raises(InputInvalid, match="--target-mapping"):
        perform.perform("evaluate", evaluate.Options())
    perform.perform("evaluate", evaluate.Options(target_mapping=Path("map.json"), grad_cam=True))
    assert metrics(OUT)["labels"] == ["bird", "mammal", "other"]
    assert list(predictions(OUT).columns[6:]) == ["prob_bird", "prob_mammal", "prob_other"]
    assert not Path("runs/first/policy.json").exists()


def test_megadetectors_files_are_written_on_request(in_trained: Path) -> None:
    perform.perform("evaluate", evaluate.Options(splits="test,val", md_files=True))
    names = {
        "outputs_test.csv.gz", "outputs_val.csv.gz", "overall_metrics.csv", "label_stats.csv",
        "confusion_matrices.npz",
    }  # fmt: skip
    assert names <= {path.name for path in OUT.iterdir()}
    matrices = np.load(OUT / "confusion_matrices.npz")
    assert matrices["test"].tolist() == metrics(OUT)["splits"]["test"]["confusion_matrix"]


def test_the_page_has_the_commands_that_made_it(in_trained: Path) -> None:
    perform.perform("evaluate", evaluate.Options(splits="test,val", precision_target=0.8))
    train, this = metrics(OUT)["commands"]
    assert train.startswith("pipeline train --run-name first")
    assert "--no-pretrained" in train
    assert this == "pipeline evaluate --splits test,val --precision-target 0.8"


def test_evaluating_again_gives_the_same_bytes(in_evaluated: Path) -> None:
    names = ("metrics.json", "predictions_test.csv", "report.html")
    before = [(OUT / name).read_bytes() for name in names]
    perform.perform("evaluate", evaluate.Options())
    assert [(OUT / name).read_bytes() for name in names] == before


def test_the_output_folder_may_be_another(in_trained: Path) -> None:
    perform.perform("evaluate", evaluate.Options(output_dir=Path("elsewhere")))
    assert Path("elsewhere/metrics.json").exists()
    assert not OUT.exists()


@pytest.mark.parametrize("labels", [("bird", "fox"), ("bird",)], ids=["two labels", "one label"])
def test_few_labels_are_enough(here: Path, labels: tuple[str, ...]) -> None:
    make_dataset(here, labels)
    perform.perform("train", train.Options(epochs=1, run_name="first", **TINY))
    perform.perform("evaluate", evaluate.Options())
    figures = metrics(OUT)["splits"]["test"]
    assert set(figures["per_label"]) == set(labels)
    assert np.shape(figures["confusion_matrix"]) == (len(labels), len(labels))


def test_a_label_without_crops_in_test_has_no_average_precision(in_trained: Path) -> None:
    remove_from_test("fox")
    perform.perform("evaluate", evaluate.Options())
    figures = metrics(OUT)["splits"]["test"]
    assert figures["per_label"]["fox"]["average_precision"] is None
    others = [figures["per_label"][label]["average_precision"] for label in ("bird", "lizard")]
    assert figures["macro_average_precision"] == pytest.approx(np.mean(others))


def remove_from_test(label: str, *, but: int = 0) -> None:
    path = Path("dataset/dataset.csv")
    table = table_io.read(tables.DATASET, path)
    of_label = table[(table["label"] == label) & (table["split"] == "test")]
    table_io.write(tables.DATASET, path, table.drop(of_label.index[but:]))


def test_an_unreadable_crop_is_left_out_and_said(
    in_trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = "isle/test0/fox0.jpg___foxtest0.jpg"
    Path("crops", broken).write_bytes(b"no picture")
    counts = perform.perform("evaluate", evaluate.Options())
    assert broken in caplog.text
    assert counts.items == {"crops": 5, "unreadable": 1}
    content = metrics(OUT)
    assert content["unreadable"] == {"test": {"n": 1, "of": 6, "crops": [broken]}}
    assert content["warnings"][0].startswith("1 of 6 crops of test cannot be read")
    assert "unreadable crops</dt><dd>1 of 6" in (OUT / "report.html").read_text()
    assert broken not in set(predictions(OUT)["crop"])
    table = predictions(OUT)
    right = (table["label"] == table["predicted"]).mean()
    assert metrics(OUT)["splits"]["test"]["accuracy"] == pytest.approx(right)


def test_more_unreadable_crops_than_tolerated_end_with_3_once_all_is_written(
    in_trained: Path, pipeline: Pipeline
) -> None:
    Path("crops/isle/val0/fox0.jpg___foxval0.jpg").unlink()  # val decides thresholds
    done = pipeline("evaluate")
    assert done.code == 3, done.err
    assert "1 of 12 failed, more than --tolerate 0.01" in done.err
    assert metrics(OUT)["unreadable"]["val"]["n"] == 1
    assert pipeline("evaluate", "--tolerate", 0.1).code == 0


def test_a_missing_crop_is_left_out_and_said(
    in_trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = "isle/test1/bird1.jpg___birdtest1.jpg"
    Path("crops", gone).unlink()
    perform.perform("evaluate", evaluate.Options())
    assert gone in caplog.text
    assert gone not in set(predictions(OUT)["crop"])


def test_the_only_crop_of_a_label_may_be_unreadable(
    in_trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remove_from_test("fox", but=1)
    broken = "isle/test0/fox0.jpg___foxtest0.jpg"
    Path("crops", broken).write_bytes(b"no picture")
    perform.perform("evaluate", evaluate.Options())
    assert broken in caplog.text
    assert metrics(OUT)["splits"]["test"]["n"] == 4


def test_a_folder_of_crops_that_is_not_there_is_a_short_message(
    in_trained: Path, pipeline: Pipeline
) -> None:
    shutil.rmtree("crops")
    done = pipeline("evaluate")
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "crops" in done.err
    assert len(done.err.splitlines()) <= 10


def test_a_label_the_classifier_does_not_know_is_a_message(in_trained: Path) -> None:
    path = Path("dataset/dataset.csv")
    path.write_text(path.read_text().replace(",fox,test", ",wolf,test"))
    with pytest.raises(InputInvalid, match="wolf"):
        perform.perform("evaluate", evaluate.Options())


@pytest.mark.parametrize("splits", ["holdout", "", "test,all", ","])
def test_a_split_that_there_is_not_is_wrong_usage(in_trained: Path, splits: str) -> None:
    with pytest.raises(OptionError, match="--splits"):
        perform.perform("evaluate", evaluate.Options(splits=splits))


def test_a_split_without_crops_is_a_message(in_trained: Path) -> None:
    for label in ("bird", "fox", "lizard"):
        remove_from_test(label)
    with pytest.raises(InputInvalid, match="nothing to evaluate"):
        perform.perform("evaluate", evaluate.Options())


def test_without_a_run_the_message_says_what_makes_one(pipeline: Pipeline) -> None:
    done = pipeline("evaluate")
    assert done.code == 1
    assert "`pipeline train` writes it" in done.err


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_run_without_its_model_is_a_message(in_trained: Path, name: str) -> None:
    Path("runs/first", name).unlink()
    with pytest.raises(InputMissing, match=name):
        perform.perform("evaluate", evaluate.Options())


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b'{"format_version": "9"}'])
def test_a_card_that_is_none_is_a_message(in_trained: Path, content: bytes) -> None:
    Path("runs/first/model.json").write_bytes(content)
    with pytest.raises(InputInvalid, match=r"model\.json"):
        perform.perform("evaluate", evaluate.Options())


def test_an_interrupted_training_is_refused(in_trained: Path) -> None:
    Path("runs/first/.train.unfinished").touch()
    with pytest.raises(InputInvalid, match="run `pipeline train` again"):
        perform.perform("evaluate", evaluate.Options())


def test_a_classifier_trained_on_a_gpu_is_evaluated_without_one(in_trained: Path) -> None:
    path = Path("runs/first/model.json")
    card = json.loads(path.read_bytes())
    card["options"] |= {"device": "cuda", "precision": "16-mixed"}
    path.write_text(json.dumps(card))
    perform.perform("evaluate", evaluate.Options())
    assert metrics(OUT)["splits"]["test"]["n"] == 6


def test_the_summary_says_average_precision_by_label(in_trained: Path, pipeline: Pipeline) -> None:
    done = pipeline("evaluate", "--run-dir", "runs/first")
    assert done.code == 0, done.err
    for word in ("macro average precision", "bird", "fox", "lizard", "report.html"):
        assert word in done.out
