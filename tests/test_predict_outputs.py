"""What `predict` writes: results that other tools open, and tables, from whatever was answered."""

import json
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from megadetector_validator import errors_of_megadetector

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.catalogue.records import Detection, Facts
from animl_pipeline.catalogue.sequences import find_sequences, parse_datetime
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation.against.matching import match_predictions, match_results
from animl_pipeline.formats import megadetector
from animl_pipeline.prediction.answers import BoxAnswer, ImageAnswer
from animl_pipeline.prediction.decisions import Decision, Frame, Rules, decide_frame
from animl_pipeline.prediction.outputs import OutputCounts, Writing, write_outputs
from animl_pipeline.prediction.store import Store

LABELS = ["zorro", "bird", "empty", "rat"]
START = datetime(2024, 3, 2, 6, 0, 0)
NO_TRAITS = np.zeros(0, dtype=np.float32)
RULES = Rules(
    LABELS,
    temperature=1.5,
    thresholds={"zorro": 0.5, "bird": None, "empty": 0.5, "rat": 0.9},
    wanted=0.9,
    alarms={"rat": 0.6},
    empty_label="empty",
)
INFO = {"classifier": "first", "classifier_metadata": {"typical_classification_threshold": 0.5}}
OURS = ("results.json", "predictions.csv", "images.csv", "sequences.csv", "failures.csv")


def box(rng: np.random.Generator, category: str = "animal") -> BoxAnswer:
    x, y, width, height = (float(value) for value in rng.uniform(0, 0.5, 4))
    logits = rng.normal(0, 3, len(LABELS)).astype(np.float32) if category == "animal" else None
    unknown = float(rng.uniform(0, 5)) if category == "animal" else nan
    detection = Detection(category, float(rng.uniform(0.2, 1)), (x, y, width, height))
    return BoxAnswer(detection, logits, unknown, NO_TRAITS)


def answers(count: int = 40, *, fails: bool = True, seed: int = 0) -> list[ImageAnswer]:
    """Images of two cameras, some seconds apart: some empty, with people, or that fail."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        folder = ("pier", "cove")[number % 2]
        categories = rng.choice(["animal", "animal", "person", "vehicle"], rng.integers(0, 4))
        failed = fails and number % 7 == 3
        time = START + timedelta(seconds=int(number * 25 + (number // 8) * 90))
        known = "" if failed or number % 11 == 5 else str(time)
        made.append(
            ImageAnswer(
                f"{folder}/{number:05}.jpg",
                number,
                number,
                [] if failed else [box(rng, str(category)) for category in categories],
                "image is truncated: too short" if failed else "",
                Facts(location=folder, datetime=known, width_px=640, height_px=480),
            )
        )
    return made


def write(
    folder: Path,
    images: Iterable[ImageAnswer],
    *watchers: Any,
    rules: Rules = RULES,
    gap: float = 60,
) -> OutputCounts:
    images = list(images)
    known = {image.file_name: image.facts for image in images}
    writing = Writing(folder=folder, rules=rules, gap_seconds=gap, detector="MDV5A", info=INFO)
    folder.mkdir(parents=True, exist_ok=True)
    with Store(folder / "answers", {}) as store:
        store.add(images)
        store.place(lambda name, _: known[name])
        return write_outputs(store, writing, *watchers)


def read(folder: Path, table: tables.Table) -> pd.DataFrame:
    return table_io.read(table, folder / table.name)


def results_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    write(folder, answers())
    return folder


# --- results.json


@pytest.mark.parametrize("images", [answers(), answers(fails=False), answers(1, fails=False), []])
def test_results_pass_megadetectors_own_validator(
    tmp_path: Path, images: list[ImageAnswer]
) -> None:
    write(tmp_path, images)
    assert errors_of_megadetector(tmp_path / "results.json") == []


def test_results_name_all_labels_in_the_models_order(written: Path) -> None:
    content = results_of(written)
    assert content["classification_categories"] == {
        "0": "zorro",
        "1": "bird",
        "2": "empty",
        "3": "rat",
    }
    assert content["info"] == {"format_version": "1.6", "detector": "MDV5A", **INFO}


def test_classifications_are_of_every_label_the_likeliest_first(written: Path) -> None:
    boxes = [
        found for image in results_of(written)["images"] for found in image["detections"] or ()
    ]
    assert any(found["category"] == "2" for found in boxes)
    for found in boxes:
        pairs = found.get("classifications", [])
        values = [value for _, value in pairs]
        assert values == sorted(values, reverse=True)
        assert all(isinstance(value, float) for value in [*values, found["conf"]])
        assert len({number for number, _ in pairs}) == (4 if found["category"] == "1" else 0)


def test_an_image_that_cannot_be_read_has_no_list_of_detections(written: Path) -> None:
    images = {image["file"]: image for image in results_of(written)["images"]}
    failed = [answer for answer in answers() if answer.failure]
    assert failed
    for answer in failed:
        assert images[answer.file_name]["detections"] is None
        assert images[answer.file_name]["failure"] == answer.failure
    assert sum("failure" in image for image in images.values()) == len(failed)


def test_results_are_read_as_detections_by_crop(written: Path) -> None:
    results = megadetector.read(written / "results.json")
    for answer in answers():
        expected = [replace(one.detection, classifications=()) for one in answer.boxes]
        detections = results.detections[answer.file_name]
        assert [replace(one, classifications=()) for one in detections] == expected
        assert results.failures.get(answer.file_name, "") == answer.failure
        assert results.facts[answer.file_name].location == answer.facts.location


def test_a_detection_of_another_category_is_an_animal_in_them(tmp_path: Path) -> None:
    odd = box(np.random.default_rng(0))
    odd = replace(
        odd, detection=replace(odd.detection, category="fox", classifications=(("fox", 1),))
    )
    write(tmp_path, [ImageAnswer("a.jpg", 0, 0, [odd])])
    (detection,) = megadetector.read(tmp_path / "results.json").detections["a.jpg"]
    assert detection.category == "animal"
    assert errors_of_megadetector(tmp_path / "results.json") == []


def test_a_comparison_with_results_is_one_with_the_run_itself(tmp_path: Path) -> None:
    images = [image for image in answers(60, fails=False) if image.boxes]
    write(tmp_path, images)
    classified = [
        (image.file_name, one.detection.box, decided.probabilities)
        for image in images
        for one, decided in zip(image.boxes, decide_frame(image, RULES).boxes, strict=True)
        if one.logits is not None
    ]
    names, boxes, probabilities = zip(*classified, strict=True)
    rows = pd.DataFrame(boxes, columns=["x", "y", "width", "height"]).assign(
        image=names, crop=[str(number) for number in range(len(names))], label="rat"
    )
    grey = np.zeros(len(rows), dtype=bool)
    theirs = Predictions(rows, LABELS, np.stack(probabilities), grey, [])
    ours = replace(theirs, labels=["rat", "bird"], probabilities=theirs.probabilities[:, [3, 1]])
    results = megadetector.read(tmp_path / "results.json")
    by_file = match_results("first", results, ours, None)
    by_run = match_predictions("first", theirs, ours, None)
    assert np.array_equal(by_file.probabilities, by_run.probabilities)
    assert np.array_equal(by_file.predicted, by_run.predicted)
    assert np.array_equal(by_file.known, by_run.known)
    assert np.array_equal(by_file.partial, by_run.partial)
    assert by_file.unmatched == by_run.unmatched


# --- tables


def test_every_box_has_a_row_with_what_was_decided(written: Path) -> None:
    table = read(written, tables.PREDICTED_BOXES)
    assert list(table.columns) == [
        *("image", "location", "datetime", "sequence", "x", "y", "width", "height", "confidence"),
        *("label", "probability", "unknown", "decision", "reason"),
        *(f"prob_{label}" for label in LABELS),
    ]
    frames = [decide_frame(answer, RULES) for answer in answers()]
    expected = {
        (frame.answer.file_name, *one.detection.box, decided.label, decided.decision)
        for frame in frames
        for one, decided in zip(frame.answer.boxes, frame.boxes, strict=True)
    }
    columns = ["image", "x", "y", "width", "height", "label", "decision"]
    assert set(table[columns].itertuples(index=False, name=None)) == expected
    classified = table[table["prob_rat"].notna()]
    assert classified.filter(like="prob_").sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-8)
    assert table[table["label"] == "person"].filter(like="prob_").isna().all(axis=None)
    plain = classified[classified["decision"] != "alarm"]
    assert (plain["probability"] == plain.filter(like="prob_").max(axis=1)).all()


def test_every_image_has_a_row_in_the_order_of_the_names(written: Path) -> None:
    table = read(written, tables.PREDICTED_IMAGES)
    assert list(table["image"]) == sorted(answer.file_name for answer in answers())
    frames = {answer.file_name: decide_frame(answer, RULES) for answer in answers()}
    for row in table.itertuples():
        decision = frames[str(row.image)].decision
        assert (row.labels, row.count, row.decision, row.reason) == (
            ";".join(decision.labels), decision.count, decision.decision, decision.reason,
        )  # fmt: skip


def test_what_could_not_be_read_is_in_the_failures_with_its_reason(written: Path) -> None:
    table = read(written, tables.UNREADABLE_IMAGES)
    failed = [(answer.file_name, answer.failure) for answer in answers() if answer.failure]
    assert list(table.itertuples(index=False, name=None)) == sorted(failed)


def test_sequences_hold_every_image_once(written: Path) -> None:
    images, table = (
        read(written, tables.PREDICTED_IMAGES),
        read(written, tables.PREDICTED_SEQUENCES),
    )
    assert dict(zip(table["sequence"], table["images"], strict=True)) == Counter(images["sequence"])
    assert table["images"].max() > 1
    of = images[images["datetime"] != ""].groupby("sequence")["datetime"]
    timed = table[table["start"] != ""].set_index("sequence")
    assert timed["start"].to_dict() == of.min().to_dict()
    assert timed["end"].to_dict() == of.max().to_dict()
    for row in table.itertuples():
        members = images[images["sequence"] == row.sequence]
        if (members["decision"] == "alarm").any():
            assert row.decision == "alarm"
        assert row.count == members["count"].max()


class Shot(NamedTuple):
    image_id: str
    file_name: str
    location: str
    datetime: str
    sequence: str


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from(["x", "y", ""]),
            st.integers(0, 300),
            st.sampled_from(["", "", "-08:00", "Z"]),
            st.sampled_from(["", "", "", "burst 1", "burst 2"]),
            st.booleans(),
        ),
        max_size=12,
    ),
    st.sampled_from([0.0, 5.0, 60.0]),
)
def test_sequences_are_those_of_every_other_command(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, int, str, str, bool]],
    gap: float,
) -> None:
    folder = tmp_path_factory.mktemp("sequences")
    images = [
        ImageAnswer(
            f"{camera}/{number}.jpg", 0, 0, [], "",
            Facts(
                location=location,
                datetime=f"{START + timedelta(seconds=seconds)}{offset}" if timed else "",
                sequence=sequence,
            ),
        )
        for number, (camera, location, seconds, offset, sequence, timed) in enumerate(rows)
    ]  # fmt: skip
    write(folder, images, gap=gap)
    table = read(folder, tables.PREDICTED_IMAGES)
    shots = [Shot(i.file_name, i.file_name, *i.facts[1:4]) for i in images]
    expected = {name: of or name for name, of in find_sequences(shots, gap).items()}
    assert dict(zip(table["image"], table["sequence"], strict=True)) == expected


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
        max_size=6,
        unique=True,
    )
)
def test_whatever_a_file_is_called_it_is_read_back_so(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("names")
    rng = np.random.default_rng(0)
    images = [ImageAnswer(name, 0, 0, [box(rng)], "", Facts(location=name)) for name in names]
    images += [
        ImageAnswer(f"{name}=", 0, 0, [], f"no: {name}")
        for name in names
        if f"{name}=" not in names
    ]
    write(folder, images)
    every = {image.file_name for image in images}
    assert set(read(folder, tables.PREDICTED_IMAGES)["image"]) == every
    assert set(read(folder, tables.PREDICTED_SEQUENCES)["sequence"]) == every
    boxes = read(folder, tables.PREDICTED_BOXES)
    assert set(boxes["image"]) == set(boxes["location"]) == set(names)
    assert set(megadetector.read(folder / "results.json").detections) == every
    failures = read(folder, tables.UNREADABLE_IMAGES)
    assert dict(failures.itertuples(index=False, name=None)) == {
        image.file_name: image.failure for image in images if image.failure
    }


# --- all of them


def test_the_same_answers_are_the_same_bytes_in_whatever_order_they_came(tmp_path: Path) -> None:
    write(tmp_path / "one", answers())
    write(tmp_path / "other", reversed(answers()))
    for name in OURS:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


class Watch:
    """Keeps what it sees, and may fail at an image."""

    def __init__(self, fails_at: str = "") -> None:
        self.fails_at = fails_at
        self.frames: list[Frame] = []
        self.sequences: list[tuple[str, str, Decision]] = []

    def add(self, frame: Frame) -> None:
        if frame.answer.file_name == self.fails_at:
            raise OSError("no space left")
        self.frames.append(frame)

    def add_sequence(self, location: str, start: str, decision: Decision) -> None:
        self.sequences.append((location, start, decision))


def test_who_watches_sees_every_image_and_every_sequence(tmp_path: Path) -> None:
    watch = Watch()
    counts = write(tmp_path, answers(), watch)
    assert [frame.answer.file_name for frame in watch.frames] == sorted(
        answer.file_name for answer in answers()
    )
    assert Counter(frame.decision.decision for frame in watch.frames) == counts.images
    assert Counter(decision.decision for *_, decision in watch.sequences) == counts.sequences
    assert counts.images.total() == len(answers())
    assert counts.failed == sum(bool(answer.failure) for answer in answers())
    assert counts.boxes.total() == sum(len(answer.boxes) for answer in answers())


def test_an_error_on_the_way_leaves_the_earlier_files_as_they_were(tmp_path: Path) -> None:
    write(tmp_path, answers(10))
    before = {name: (tmp_path / name).read_bytes() for name in OURS}
    with pytest.raises(OSError, match="no space left"):
        write(tmp_path, answers(30), Watch(fails_at="pier/00020.jpg"))
    assert {name: (tmp_path / name).read_bytes() for name in OURS} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*OURS, "answers"])


def test_ten_times_as_many_images_take_no_more_memory(tmp_path: Path) -> None:
    def measure(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        writing = Writing(folder=folder, rules=RULES, gap_seconds=60, detector="x")
        with Store(folder / "answers", {}) as store:
            store.add(answers(count))
            tracemalloc.start()
            write_outputs(store, writing)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak

    measure(100)  # what is loaded once
    assert measure(5_000) < measure(500) + 300_000


def test_an_unset_policy_leaves_every_animal_to_a_person(tmp_path: Path) -> None:
    write(tmp_path, answers(), rules=Rules(LABELS))
    table = read(tmp_path, tables.PREDICTED_BOXES)
    animals = table[table["prob_rat"].notna()]
    assert set(animals["decision"]) == {"review"}
    assert all("pipeline evaluate" in reason for reason in animals["reason"])


def test_offsets_of_a_camera_are_kept_in_the_tables(tmp_path: Path) -> None:
    text = "2024-03-02 06:00:00-08:00"
    assert parse_datetime(text)
    write(tmp_path, [ImageAnswer("a.jpg", 0, 0, [], "", Facts(datetime=text))])
    assert list(read(tmp_path, tables.PREDICTED_IMAGES)["datetime"]) == [text]
