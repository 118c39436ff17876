"""`pipeline predict`: each image opened once, answered once, and nothing lost whatever happens."""

import errno
import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from damaged import damaged_jpegs
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from killable import Runner, runner
from lively import enliven
from megadetector_validator import errors_of_megadetector
from PIL import Image
from shop import Pipeline
from world import make_world

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.artifacts.names import RESULTS
from animl_pipeline.catalogue.records import DetectedImage, Detection, Facts
from animl_pipeline.classifier.card import read_card
from animl_pipeline.classifier.engines import open_engine
from animl_pipeline.classifier.predicting import (
    GREY_SPREAD_MAX,
    measure_colour_spread,
    to_probabilities,
)
from animl_pipeline.detection.walking import FileState
from animl_pipeline.formats import megadetector
from animl_pipeline.prediction import looking
from animl_pipeline.prediction.answering import Network, answer_chunks
from animl_pipeline.prediction.answers import BoxAnswer, ImageAnswer
from animl_pipeline.prediction.plan import OURS
from animl_pipeline.prediction.store import NAME, Store

REASONS = (
    "file is not an image", "image is empty", "image is too large", "image is truncated",
    "image is unreadable",
)  # fmt: skip
RUN = ["--run-dir", "runs/first", "--engine", "torch", "--device", "cpu"]
BOX = Detection("animal", 0.9, (0.1, 0.2, 0.5, 0.4))
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing can be forked here")


def read_answers(folder: Path = Path("predictions")) -> dict[str, ImageAnswer]:
    """What the store holds, by file name."""
    with Store(folder / NAME, read_settings(folder)) as store:
        return {answer.file_name: answer for answer in store.iterate()}


def read_settings(folder: Path) -> dict[str, object]:
    import sqlite3

    with sqlite3.connect(folder / NAME) as file:
        value = file.execute("SELECT value FROM notes WHERE name = 'settings'").fetchone()[0]
    settings: dict[str, object] = json.loads(value)
    return settings


@pytest.fixture
def lively(in_trained: Path) -> Path:
    enliven(in_trained / "runs/first")
    return in_trained


def logits_of(answer: ImageAnswer) -> list[list[float] | None]:
    return [None if box.logits is None else box.logits.tolist() for box in answer.boxes]


def draw(path: Path, seed: int = 0, size_px: tuple[int, int] = (90, 60)) -> Image.Image:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize(size_px, Image.Resampling.BICUBIC)
    image.save(path)
    return image


def write_boxes(path: Path, boxes: dict[str, list[Detection]]) -> None:
    images = [DetectedImage(name, of_image) for name, of_image in boxes.items()]
    megadetector.write(path, images, detector="by hand")


# --- the same as evaluate says


@dataclass(frozen=True)
class Evaluated:
    """A folder with images, crops, a run and its evaluation of every split."""

    folder: Path
    runner: Runner


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluated]:
    folder = tmp_path_factory.mktemp("evaluated")
    made = make_world(folder, locations=5, sequences=12, size_px=(160, 120), seed=3)
    work = folder / "work"
    work.mkdir()
    shutil.copy(made.coco_file, work / "export.json")
    commands = (
        f"download --coco-file export.json --source {made.bucket_dir} --tolerate 1",
        "crop --margin 0.1 --quality 80 --max-side 60 --tolerate 1",
        "split --min-locs 2",
        # A shallow network: the deeper one is, the more of the last digits comes with the batch.
        "train --model-name test_resnet --no-pretrained --image-size 64 --epochs 2 --lr 1e-3 "
        "--batch-size 8 --precision 32-true --num-workers 0",
        "evaluate --splits train,val,test",
    )
    with runner() as run:
        for command in commands:
            if command.startswith("evaluate"):
                enliven(work / "runs/latest")
            ended = run.run(work, command.split())
            assert ended.code == 0, ended.said
        yield Evaluated(work, run)


@pytest.fixture
def work(evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a copy of it."""
    folder = tmp_path / "work"
    shutil.copytree(evaluated.folder, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


WITH_BOXES = ["predict", "--detections", "crops/detections.json", "--engine", "torch"]


@needs_fork
def test_the_probabilities_are_those_of_evaluate(evaluated: Evaluated, work: Path) -> None:
    ended = evaluated.runner.run(work, [*WITH_BOXES, "--tolerate", "1"])
    assert ended.code == 0, ended.said
    answers = read_answers()
    rows = pd.concat(
        [
            pd.read_csv(path, dtype={"crop": str})
            for path in Path("runs/latest").rglob("predictions_*")
        ]
    )
    rows = rows.merge(table_io.read(tables.CROPS, Path("crops/crops.csv"))[["crop", "x", "y"]])
    assert len(rows) > 30
    assert rows.filter(like="prob_").std().max() > 0.02
    for row in rows.to_dict("records"):
        (box,) = (
            box
            for box in answers[row["image"]].boxes
            if box.detection.box[:2] == pytest.approx((row["x"], row["y"]), abs=1e-9)
        )
        assert box.logits is not None
        said = to_probabilities(torch.from_numpy(box.logits.copy())[None])[0]
        expected = [value for name, value in row.items() if str(name).startswith("prob_")]
        assert said == pytest.approx(expected, abs=1e-6)


@needs_fork
@pytest.mark.parametrize("count", [4, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_ends_as_if_nothing_had_been(
    evaluated: Evaluated, work: Path, tmp_path: Path, count: int
) -> None:
    words = [*WITH_BOXES, "--tolerate", "1", "--batch-size", "4"]
    whole = tmp_path / "whole"
    shutil.copytree(work, whole, symlinks=True)
    undisturbed = evaluated.runner.run(whole, words)
    assert undisturbed.code == 0, undisturbed.said
    draws = random.Random(count)
    moments = [{"at_change": draws.randint(1, undisturbed.changes)} for _ in range(count // 2)]
    moments += [{"after_s": draws.uniform(0.2, undisturbed.seconds)} for _ in range(count // 2)]
    for moment in moments:
        shutil.rmtree(work / "predictions", ignore_errors=True)
        evaluated.runner.run(work, words, **moment)
        again = evaluated.runner.run(work, words)
        assert again.code == 0, (moment, again.said)
        assert contents(work / "predictions") == contents(whole / "predictions"), moment


def contents(folder: Path) -> dict[str, object]:
    """Its files, less the record; of the store what it holds."""
    files: dict[str, object] = {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name not in {NAME, "predict.json"}
    }
    return files | {
        name: (answer.facts, answer.failure, logits_of(answer))
        for name, answer in read_answers(folder).items()
    }


# --- images of all kinds


def test_the_eight_orientations_of_an_image_have_the_same_answer(
    pipeline: Pipeline, lively: Path
) -> None:
    upright = draw(lively / "images/1.png")
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    for orientation, how in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        upright.transpose(how).save(f"images/{orientation}.png", exif=exif)
    names = [f"{number}.png" for number in range(1, 9)]
    write_boxes(Path("d.json"), {name: [BOX] for name in names})
    done = pipeline("predict", "--detections", "d.json", *RUN)
    assert done.code == 0, done.err
    answers = read_answers()
    assert list(answers) == names
    expected = logits_of(answers["1.png"])
    assert all(logits_of(answer) == expected for answer in answers.values())
    assert {answer.facts[-2:] for answer in answers.values()} == {(90, 60)}


def judge_mutated(pipeline: Pipeline, count: int) -> None:
    for number, data in enumerate(damaged_jpegs(count)):
        path = Path(f"images/cam/{number:04}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for number in range(5):
        draw(Path(f"images/good/{number}.jpg"), number)
    done = pipeline("predict", "--whole-images", "--tolerate", 1, *RUN)
    assert done.code == 0, done.err
    answers = read_answers()
    assert len(answers) == count + 5
    for name, answer in answers.items():
        if answer.failure:
            assert answer.failure.startswith(REASONS), answer.failure
            assert not name.startswith("good/")
            assert not answer.boxes
        else:
            assert len(answer.boxes) == 1
    assert any(answer.failure for answer in answers.values())


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_mutated_jpeg_is_answered_or_has_a_reason(pipeline: Pipeline, lively: Path) -> None:
    judge_mutated(pipeline, 60)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_thousand_mutated_jpegs_have_reasons(pipeline: Pipeline, lively: Path) -> None:
    judge_mutated(pipeline, 1000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_and_a_link_to_nowhere_are_rows_with_reasons(
    pipeline: Pipeline, lively: Path
) -> None:
    draw(Path("images/good.jpg"))
    os.mkfifo("images/pipe.jpg")
    Path("images/link.jpg").symlink_to("nowhere.jpg")
    done = pipeline("predict", "--whole-images", *RUN)
    assert done.code == 3
    assert "2 of 3 failed" in done.err
    failures = {name: answer.failure for name, answer in read_answers().items() if answer.failure}
    assert failures == {
        "pipe.jpg": "file is not an image: it is a pipe or a device",
        "link.jpg": "image is missing",
    }


def test_videos_are_counted_and_other_files_are_no_error(pipeline: Pipeline, lively: Path) -> None:
    draw(Path("images/a/1.jpg"))
    for name in ("a/film.MP4", "b.avi", "notes.txt", "Thumbs.db", ".hidden.jpg"):
        Path("images", name).write_bytes(b"x")
    done = pipeline("predict", "--whole-images", *RUN)
    assert done.code == 0, done.err
    assert "videos: 2" in done.out
    assert list(read_answers()) == ["a/1.jpg"]
    record = json.loads(Path("predictions/predict.json").read_text())
    assert record["counts"]["videos not read"] == 2


def test_a_folder_linked_in_a_circle_is_walked_once(pipeline: Pipeline, lively: Path) -> None:
    draw(Path("images/a/1.jpg"))
    Path("images/a/round").symlink_to(Path("images").absolute(), target_is_directory=True)
    assert pipeline("predict", "--whole-images", *RUN).code == 0
    assert len(read_answers()) == 1


# --- boxes


def test_only_animals_at_the_threshold_are_classified(pipeline: Pipeline, lively: Path) -> None:
    draw(Path("images/1.jpg"))
    person = Detection("person", 0.8, (0.5, 0.5, 0.2, 0.3))
    low = Detection("animal", 0.19, (0.0, 0.0, 0.2, 0.2))
    second = Detection("animal", 0.2, (0.6, 0.1, 0.3, 0.3))
    outside = Detection("animal", 0.95, (1.2, 0.1, 0.3, 0.3))
    write_boxes(Path("d.json"), {"1.jpg": [low, second, person, BOX, BOX, outside]})
    assert pipeline("predict", "--detections", "d.json", *RUN).code == 0
    boxes = read_answers()["1.jpg"].boxes
    assert [box.detection for box in boxes] == [BOX, person, second]
    assert [box.logits is not None for box in boxes] == [True, False, True]


def test_an_image_that_the_results_lack_has_a_reason(
    pipeline: Pipeline, lively: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1.jpg", "2.jpg", "3.jpg", "4.jpg"):
        draw(Path("images", name))
    images = [
        DetectedImage("1.jpg", [BOX]),
        DetectedImage("2.jpg", [], "Failure inference: no memory"),
        DetectedImage("3.jpg", []),
        DetectedImage("gone.jpg", [BOX]),
    ]
    megadetector.write(Path("d.json"), images, detector="by hand")
    done = pipeline("predict", "--detections", "d.json", "--tolerate", 1, *RUN)
    assert done.code == 0
    assert "1 of 4 images of d.json are not in images, as gone.jpg" in caplog.text
    failures = [answer.failure for answer in read_answers().values()]
    assert failures == [
        "",
        "the detector failed on it: Failure inference: no memory",
        "",
        "the detector's results do not hold it",
    ]


# --- again


def test_a_second_run_looks_only_at_what_is_new_or_changed(
    pipeline: Pipeline, lively: Path
) -> None:
    for number in range(4):
        draw(Path(f"images/{number}.jpg"), number)
    words = ("predict", "--whole-images", *RUN)
    assert "4 images (4 looked at now)" in pipeline(*words).out
    before = read_answers()
    assert "4 images (0 looked at now)" in pipeline(*words).out
    draw(Path("images/1.jpg"), 7)
    os.utime("images/1.jpg", ns=(1, 1))
    Path("images/2.jpg").unlink()
    draw(Path("images/new.jpg"), 8)
    assert "4 images (2 looked at now)" in pipeline(*words).out
    after = read_answers()
    assert list(after) == ["0.jpg", "1.jpg", "3.jpg", "new.jpg"]
    assert logits_of(after["0.jpg"]) == logits_of(before["0.jpg"])
    assert logits_of(after["1.jpg"]) != logits_of(before["1.jpg"])


def test_other_settings_begin_anew_and_say_so(pipeline: Pipeline, lively: Path) -> None:
    draw(Path("images/1.jpg"))
    assert pipeline("predict", "--whole-images", *RUN).code == 0
    done = pipeline("predict", "--whole-images", "--threshold", 0.5, *RUN)
    assert "threshold changed: every image is looked at anew" in done.out
    assert "1 looked at now" in done.out


def test_a_store_that_is_damaged_is_begun_anew(pipeline: Pipeline, lively: Path) -> None:
    draw(Path("images/1.jpg"))
    assert pipeline("predict", "--whole-images", *RUN).code == 0
    Path("predictions", NAME).write_bytes(b"no database" * 1000)
    done = pipeline("predict", "--whole-images", *RUN)
    assert done.code == 0
    assert "the answers so far cannot be read: every image is looked at anew" in done.out


def test_an_answer_does_not_depend_on_the_order_of_opening(lively: Path) -> None:
    network = Network(open_engine(Path("runs/first"), wanted="torch", device="cpu"), None, 4)
    pictures = np.random.default_rng(0).integers(0, 255, (13, 3, 64, 64), dtype=np.uint8)
    seen = [
        looking.SeenImage(number // 7, f"{number:02}", boxes=[looking.SeenBox(BOX, picture)])
        for number, picture in enumerate(pictures)
    ]

    def answer() -> dict[str, list[list[float] | None]]:
        chunks = answer_chunks(seen, [7, 6], network)
        return {answer.file_name: logits_of(answer) for chunk in chunks for answer in chunk}

    expected = answer()
    assert len({str(logits) for logits in expected.values()}) == 13
    for draws in range(3):
        random.Random(draws).shuffle(seen)
        assert answer() == expected


# --- the store


def make_answer(name: str, *boxes: BoxAnswer, failure: str = "", taken: str = "") -> ImageAnswer:
    return ImageAnswer(name, 5, 6, list(boxes), failure, Facts(datetime=taken, width_px=9))


floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
box_answers = st.builds(
    BoxAnswer,
    st.builds(
        Detection,
        st.sampled_from(["animal", "person"]),
        st.floats(0, 1),
        st.tuples(*[st.floats(0, 1)] * 4),
    ),
    st.none() | arrays.arrays(np.float32, 3, elements=floats),
    st.floats(0, 1e9) | st.just(float("nan")),
    arrays.arrays(np.float32, st.integers(0, 4), elements=floats),
    st.booleans(),
)


@given(st.lists(box_answers, max_size=4))
def test_the_store_gives_back_what_was_put_in(boxes: list[BoxAnswer]) -> None:
    with Store(Path(":memory:"), {}) as store:
        store.add([make_answer("é/a.jpg", *boxes)])
        (answer,) = store.iterate()
        for before, after in zip(boxes, answer.boxes, strict=True):
            assert before.detection == after.detection
            assert before.is_grey is after.is_grey
            np.testing.assert_equal(before.unknown, after.unknown)
            np.testing.assert_equal(before.logits, after.logits)
            np.testing.assert_equal(before.traits, after.traits)


def test_the_store_tells_cameras_apart_in_the_order_of_time(tmp_path: Path) -> None:
    taken = {
        "b/2.jpg": "2024-01-01 10:00:00", "b/1.jpg": "2024-01-01 11:00:00", "a/3.jpg": "",
        "a/4.jpg": "2024-01-01T10:00:00+02:00", "a/5.jpg": "2024-01-01 09:00:00",
    }  # fmt: skip
    with Store(tmp_path / "store", {}) as store:
        store.add([make_answer(name, taken=when) for name, when in taken.items()])
        store.place(lambda name, when: Facts(location=name[0].upper(), datetime=when))
        assert [answer.file_name for answer in store.iterate()] == sorted(taken)
        by_camera = list(store.iterate_by_camera())
        assert [answer.file_name for answer in by_camera] == [
            "a/4.jpg", "a/5.jpg", "a/3.jpg", "b/2.jpg", "b/1.jpg",
        ]  # fmt: skip
        assert by_camera[0].facts == Facts("", "A", "2024-01-01T10:00:00+02:00", "", 9, 0)


def test_the_store_counts_only_what_is_a_change(tmp_path: Path) -> None:
    with Store(tmp_path / "store", {"a": 1}) as store:
        store.add([make_answer("a"), make_answer("b", failure="image is missing")])
        before = store.changes
        store.add([make_answer("a")])
        store.place(lambda *_: Facts())
        store.keep({"a": FileState(), "b": FileState()})
        assert store.changes == before
        assert dict(store.list_known()) == {"a": FileState(5, 6)}
        store.keep({"a": FileState()})
        assert store.changes > before
    with Store(tmp_path / "store", {"a": 1}) as store:
        assert store.count() == 1


def test_a_full_disk_is_said_and_costs_the_batch_at_hand_alone(tmp_path: Path) -> None:
    with Store(tmp_path / "store", {}) as store:
        store.add([make_answer("a")])
        store._connection.execute("PRAGMA max_page_count = 10")
        with pytest.raises(OSError, match="No space") as stopped:
            store.add([make_answer(f"{number:05}") for number in range(5000)])
        assert stopped.value.errno == errno.ENOSPC
        assert [answer.file_name for answer in store.iterate()] == ["a"]


# --- grey


@given(
    arrays.arrays(np.uint8, (3, 6, 5), elements=st.integers(0, 255))
    | st.just(np.zeros((3, 4, 4), np.uint8))
)
def test_grey_is_told_as_evaluate_tells_it(picture: np.ndarray) -> None:
    spread = float(measure_colour_spread(torch.from_numpy(picture).float() / 255))
    if abs(spread - GREY_SPREAD_MAX) > 1e-6:
        assert looking.is_grey(picture) == (spread <= GREY_SPREAD_MAX)


# --- refusals


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--whole-images", "--detections", "d.json"], 2, "give one"),
        (["--whole-images", "--label-threshold", "foz=0.5"], 2, "Did you mean fox?"),
        (["--whole-images", "--label-threshold", "fox=2"], 2, "no number from 0 to 1"),
        (["--whole-images", "--label-threshold", "fox"], 2, "LABEL=VALUE"),
        (["--whole-images", "--label-threshold=fox=0.5", "--label-threshold=fox=1"], 2, "twice"),
        (["--whole-images", "nothing"], 1, "no folder of images"),
        (["--whole-images", "crops.csv"], 1, "no folder of images"),
        (["--whole-images", "videos"], 1, "1 videos, which are not read"),
        (["--detections", "none.json"], 1, "none.json is not there"),
        (["--detections", "other.json"], 1, "holds none of the images"),
        (["--whole-images", "--run-dir", "runs/absent"], 1, "runs/absent is not there"),
        (["--whole-images", "--output-dir", "dataset.csv"], 1, "a file, not a folder"),
        (["--whole-images", "--output-dir", "crops"], 1, "did not write it"),
        (["--whole-images", "--engine", "tvm"], 2, "one of auto, onnx, torch"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    pipeline: Pipeline, lively: Path, words: list[str], code: int, message: str
) -> None:
    draw(Path("images/1.jpg"))
    Path("videos").mkdir()
    Path("videos/film.mp4").write_bytes(b"x")
    Path("dataset.csv").write_text("x")
    Path("crops", OURS[0]).write_text("{}")
    write_boxes(Path("other.json"), {"images/1.jpg": [BOX]})
    write_boxes(Path("d.json"), {"1.jpg": [BOX]})
    run = [] if "--run-dir" in words else ["--run-dir", "runs/first"]
    before = sorted(Path().rglob("*"))
    done = pipeline("predict", *words, *run)
    assert (done.code, message in done.err) == (code, True), done.err
    assert sorted(Path().rglob("*")) == before


def test_a_run_knows_the_images_that_it_was_trained_on(
    pipeline: Pipeline, lively: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draw(Path("images/train0/fox0.jpg"))
    draw(Path("images/elsewhere/fox0.jpg"))
    assert pipeline("predict", "--whole-images", *RUN).code == 0
    assert "1 of 2 images have the names of images that the run was trained on" in caplog.text


def test_the_run_in_use_is_taken_before_the_latest(pipeline: Pipeline, lively: Path) -> None:
    draw(Path("images/1.jpg"))
    shutil.copytree("runs/first", "runs/better")
    Path("runs/current").symlink_to("better", target_is_directory=True)
    assert pipeline("predict", "--whole-images", "--device", "cpu").code == 0
    inputs = json.loads(Path("predictions/predict.json").read_text())["inputs"]
    assert "runs/better/model.safetensors" in inputs


@needs_fork
def test_results_say_what_decided_and_pass_megadetectors_validator(
    evaluated: Evaluated, work: Path
) -> None:
    words = [*WITH_BOXES, "--tolerate", "1", "--label-threshold", "fox=0.4"]
    ended = evaluated.runner.run(work, words)
    assert ended.code == 0, ended.said
    path = work / "predictions" / RESULTS.name
    assert errors_of_megadetector(path) == []
    content = json.loads(path.read_text(encoding="utf-8"))
    card, made = read_card(work / "runs/latest"), content["info"]["custom_metadata"]
    assert list(content["classification_categories"].values()) == made["labels"] == card.labels
    assert (made["thresholds"]["fox"], made["thresholds_given"]) == (0.4, {"fox": 0.4})
    assert made["answered_with"]["crop rule"]["margin"] == 0.1
    assert made["trained_with"] == card.versions
