"""`pipeline detect` runs MegaDetector's own package, on networks drawn at random."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from killable import Ended, Runner, runner
from lively import enliven
from megadetector_validator import errors_of_megadetector
from PIL import Image
from shop import Done

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.detection import megadetector
from animl_pipeline.detection.settings import MODELS
from animl_pipeline.errors import InputMissing, WeightsMissing

TESTS = Path(__file__).parent
MISSOURI = TESTS.parents[1] / "shared/data/missouri"
WORDS = ["--image-size", "128", "--threshold", "0.002", "--device", "cpu", "--tolerate", "1"]
TURNED = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}  # what the tag undoes
SPOILED = {
    "half.jpg": "image is truncated",
    "empty.jpg": "image is empty (0 bytes)",
    "text.jpg": "file is not an image",
}
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing can be forked here")


@dataclass(frozen=True)
class Yolos:
    """Weights, what the package finds with them in the whole pictures, and what runs commands."""

    runner: Runner
    folder: Path

    def detect(self, work: Path, weights: str, *more: str, **moment: Any) -> Ended:
        words = ["detect", "--model", str(self.folder / weights), *WORDS, *more]
        return self.runner.run(work, words, **moment)

    def peer(self, weights: str) -> dict[str, Any]:
        path = (self.folder / weights).with_suffix(".json")
        content: dict[str, Any] = json.loads(path.read_bytes())
        return content


@pytest.fixture(scope="module")
def yolos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yolos]:
    folder = tmp_path_factory.mktemp("yolos")
    photographs(folder / "images")
    script = (sys.executable, TESTS / "support/yolos.py")
    subprocess.run([*script, folder, folder / "images"], check=True, capture_output=True)
    with runner("detect") as run:
        yield Yolos(run, folder)


def photographs(images: Path) -> None:
    """Six real photographs, each of a sequence of its own, in folders; drawn where there are none.

    What is drawn are blots, of which the networks make as much.
    """
    sources = sorted(MISSOURI.glob("images/*/*/*_IMG_0001.JPG"))[::12][:6]
    rng = np.random.default_rng(0)
    for number in range(6):
        target = images / f"camera {number % 2}" / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        if sources:
            shutil.copy(sources[number], target)
        else:
            blots = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(blots).resize((640, 480)).save(target)


@pytest.fixture(scope="module")
def pictures(yolos: Yolos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the photographs, spoiled ones and turned ones."""
    work = tmp_path_factory.mktemp("pictures")
    shutil.copytree(yolos.folder / "images", work / "images")
    first = work / "images" / "camera 0" / "0.jpg"
    data = first.read_bytes()
    (work / "images" / "half.jpg").write_bytes(data[: len(data) // 2])
    (work / "images" / "empty.jpg").write_bytes(b"")
    (work / "images" / "text.jpg").write_text("no picture")
    (work / "images" / "cct.json").write_text("{}")
    with Image.open(first) as image:
        upright = image.resize((640, 400))
    upright.save(work / "images" / "upright.png")
    for orientation, turn in TURNED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        upright.transpose(turn).save(work / "images" / f"turned_{orientation}.png", exif=exif)
    return work


@pytest.fixture(scope="module", params=["yolov5.pt", "yolo11.pt"])
def found(yolos: Yolos, pictures: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What each kind of weights finds, and what the peer does."""
    ended = yolos.detect(pictures, request.param, "--output-file", f"{request.param}.json")
    assert ended.code == 0, ended.said
    path = pictures / f"{request.param}.json"
    content: dict[str, Any] = json.loads(path.read_bytes())
    by_name = {one["file"]: one for one in content["images"]}
    return {"path": path, "images": by_name, "peer": yolos.peer(request.param)}


@pytest.fixture
def work(yolos: Yolos, tmp_path: Path) -> Path:
    """A folder with the photographs alone."""
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copytree(yolos.folder / "images", folder / "images")
    return folder


def boxes_of(record: dict[str, Any]) -> list[tuple[Any, ...]]:
    return sorted((one["category"], one["conf"], *one["bbox"]) for one in record["detections"])


def alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two results hold the same boxes, but for the last digit."""

    def holds(rows: list[tuple[Any, ...]], row: tuple[Any, ...]) -> bool:
        return any(r[0] == row[0] and r[1:] == pytest.approx(row[1:], abs=2e-3) for r in rows)

    mine, theirs = boxes_of(one), boxes_of(other)
    return len(mine) == len(theirs) > 0 and all(holds(theirs, row) for row in mine)


def test_what_is_found_is_what_megadetectors_own_batch_detector_finds(
    found: dict[str, Any],
) -> None:
    assert len(found["peer"]) == 6
    for name, record in found["peer"].items():
        assert alike(found["images"][name], record)


def test_no_two_pictures_have_the_same_boxes(found: dict[str, Any]) -> None:
    # So that a picture under another's name would show.
    one, *others = found["peer"].values()
    assert not any(alike(one, other) for other in others)


def test_the_results_pass_megadetectors_own_validator(found: dict[str, Any]) -> None:
    assert errors_of_megadetector(found["path"]) == []


def test_every_picture_and_nothing_else_is_in_the_results_in_order(found: dict[str, Any]) -> None:
    turned = [f"turned_{orientation}.png" for orientation in TURNED]
    expected = {*found["peer"], *SPOILED, *turned, "upright.png"}
    assert list(found["images"]) == sorted(expected)


@pytest.mark.parametrize(("name", "reason"), SPOILED.items())
def test_a_spoiled_picture_is_megadetectors_failure_with_the_reason(
    found: dict[str, Any], name: str, reason: str
) -> None:
    record = found["images"][name]
    assert record["detections"] is None
    assert record["failure"].startswith(f"image access failure: {reason}")


@pytest.mark.parametrize("orientation", TURNED)
def test_a_turned_picture_is_looked_at_upright(found: dict[str, Any], orientation: int) -> None:
    upright, turned = (
        found["images"][f"{name}.png"] for name in ("upright", f"turned_{orientation}")
    )
    assert boxes_of(upright)
    assert boxes_of(turned) == boxes_of(upright)
    assert (turned["width"], turned["height"]) == (640, 400)


def test_several_pictures_at_a_time_find_what_one_at_a_time_does(
    yolos: Yolos, work: Path, found: dict[str, Any]
) -> None:
    assert yolos.detect(work, found["path"].stem, "--batch-size", "4").code == 0
    content = json.loads((work / "detections.json").read_bytes())
    assert len(content["images"]) == 6
    for record in content["images"]:
        assert alike(record, found["images"][record["file"]])


def test_too_many_failures_end_with_exit_code_3(yolos: Yolos, pictures: Path) -> None:
    ended = yolos.detect(pictures, "yolov5.pt", "--tolerate", "0.1")
    assert ended.code == 3
    assert "3 of 12 failed" in ended.said


# --- again --------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_run_killed_and_run_again_ends_as_if_undisturbed(
    yolos: Yolos, work: Path, tmp_path: Path, share: float
) -> None:
    other = Path(shutil.copytree(work, tmp_path / "other"))  # keeps the times
    undisturbed = yolos.detect(work, "yolov5.pt", "--batch-size", "2")
    assert undisturbed.code == 0, undisturbed.said
    moment = max(1, round(share * undisturbed.changes))
    killed = yolos.detect(other, "yolov5.pt", "--batch-size", "2", at_change=moment)
    assert killed.code == -signal.SIGKILL
    assert not (other / "detect.json").exists()
    again = yolos.detect(other, "yolov5.pt", "--batch-size", "2")
    assert again.code == 0, again.said
    assert (other / "detections.json").read_bytes() == (work / "detections.json").read_bytes()
    assert {path.name for path in other.iterdir()} == {path.name for path in work.iterdir()}


def test_what_a_killed_run_had_found_is_not_looked_for_again(yolos: Yolos, work: Path) -> None:
    words = ("yolov5.pt", "--batch-size", "2")
    undisturbed = yolos.detect(work, *words, "--output-file", "other.json")
    killed = yolos.detect(work, *words, at_change=undisturbed.changes - 3)
    assert killed.code == -signal.SIGKILL
    unfinished = work / ".detections.json.unfinished"
    kept = len(unfinished.read_bytes().splitlines()) - 1
    assert kept >= 1
    with unfinished.open("ab") as file:
        file.write(b'[[1, "half a li')  # as a crash of the computer may leave it
    assert f"({6 - 2 * kept} looked at now)" in yolos.detect(work, *words).said
    assert not unfinished.exists()


def test_a_second_run_looks_only_at_what_is_new_changed_or_failed(yolos: Yolos, work: Path) -> None:
    assert "6 images (6 looked at now)" in yolos.detect(work, "yolov5.pt").said
    before = (work / "detections.json").read_bytes()
    assert "6 images (0 looked at now)" in yolos.detect(work, "yolov5.pt").said
    assert (work / "detections.json").read_bytes() == before
    (work / "images" / "bad.jpg").write_bytes(b"")
    assert "7 images (1 looked at now)" in yolos.detect(work, "yolov5.pt").said
    shutil.copyfile(work / "images/camera 1/1.jpg", work / "images/bad.jpg")
    shutil.copyfile(work / "images/camera 1/1.jpg", work / "images/camera 0/0.jpg")
    assert "7 images (2 looked at now)" in yolos.detect(work, "yolov5.pt").said
    records = {
        one["file"]: one for one in json.loads((work / "detections.json").read_bytes())["images"]
    }
    same = [boxes_of(records[name]) for name in ("bad.jpg", "camera 0/0.jpg", "camera 1/1.jpg")]
    assert same[0] == same[1] == same[2]


def test_with_other_settings_every_picture_is_looked_at_again(yolos: Yolos, work: Path) -> None:
    yolos.detect(work, "yolov5.pt")
    for words in (("yolov5.pt", "--threshold", "0.01"), ("yolo11.pt",)):
        assert "(6 looked at now)" in yolos.detect(work, *words).said


def test_results_that_others_wrote_are_not_replaced(yolos: Yolos, work: Path) -> None:
    theirs = json.dumps({"info": {"format_version": "1.4"}, "images": []})
    (work / "detections.json").write_text(theirs)
    ended = yolos.detect(work, "yolov5.pt")
    assert ended.code == 1
    assert "holds results that `pipeline detect` did not write" in ended.said
    assert (work / "detections.json").read_text() == theirs


def test_crop_reads_what_was_detected_but_not_while_it_is_unfinished(
    yolos: Yolos, work: Path
) -> None:
    names = sorted(path.relative_to(work / "images").as_posix() for path in work.rglob("*.jpg"))
    images = [{"id": name, "file_name": name, "location": "x"} for name in names]
    rows = [{"id": str(n), "image_id": name, "category_id": 1} for n, name in enumerate(names)]
    categories = [{"id": 1, "name": "fox"}]
    (work / "images" / "cct.json").write_text(
        json.dumps({"images": images, "annotations": rows, "categories": categories})
    )
    words = ["crop", "--detections", "detections.json", "--dataset", "d"]
    assert yolos.detect(work, "yolo11.pt").code == 0
    (work / ".detect.unfinished").touch()
    assert yolos.runner.run(work, words[:1] + words[3:]).code == 0  # it reads no detections
    refused = yolos.runner.run(work, words)
    assert (refused.code, "`pipeline detect` again" in refused.said) == (1, True)
    (work / ".detect.unfinished").unlink()
    ended = yolos.runner.run(work, words)
    assert ended.code == 0, ended.said
    crops = table_io.read(tables.CROPS, work / "crops" / "crops.csv")
    assert set(crops["category"]) == {"fox"}
    assert set(crops["image"]) <= set(names)
    assert crops["confidence"].min() >= 0.2


# --- weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("evil.pt", "would call posix.system when it is loaded"),
        ("dogs.pt", "finds 5 categories (dog, cat, cow, pig, hen); MegaDetector's are animal"),
        ("yolov5.json", "is no weights file of PyTorch's"),
    ],
)
def test_weights_that_are_none_of_megadetectors_are_refused(
    yolos: Yolos, work: Path, weights: str, message: str
) -> None:
    ended = yolos.detect(work, weights)
    assert ended.code == 1
    assert message in ended.said
    assert "Traceback" not in ended.said
    assert {path.name for path in work.iterdir()} == {"images"}


def test_weights_cut_off_are_refused(yolos: Yolos, work: Path) -> None:
    data = (yolos.folder / "yolov5.pt").read_bytes()
    (work / "cut.pt").write_bytes(data[: len(data) // 2])
    ended = yolos.detect(work, "yolov5.pt", "--model", "cut.pt")
    assert (ended.code, "Traceback" in ended.said) == (1, False)
    assert "is no weights file of PyTorch's" in ended.said


def test_an_unknown_model_is_refused_with_the_names_of_the_help() -> None:
    with pytest.raises(InputMissing) as refused:
        megadetector.find_weights("MDV6")
    assert str(refused.value) == (
        "--model MDV6 is neither a file nor the name of a model: MDV5A, MDV5B, redwood, spruce, "
        "larch, sorrel, cedar. Did you mean MDV5A?"
    )
    with pytest.raises(InputMissing, match=r"gone\.pt is neither .*, cedar\.$"):
        megadetector.find_weights("gone.pt")


@pytest.mark.parametrize("name", ["redwood", "sorrel"])
def test_a_model_that_cannot_be_fetched_is_named_with_where_it_is(
    name: str, tmp_path: Path
) -> None:
    code = f"from animl_pipeline.detection import megadetector\nmegadetector.find_weights({name!r})"
    nowhere = {"MD_MODEL_URL_BASE": "http://127.0.0.1:9/", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | nowhere, capture_output=True, text=True
    )
    *_, last = done.stderr.strip().splitlines()
    assert f"WeightsMissing: The weights of {name} cannot be fetched here" in last
    assert f"Fetch http://127.0.0.1:9/md_v1000.0.0-{name}.pt where the internet is (md5 " in last
    assert last.endswith(f"--model md_v1000.0.0-{name}.pt.")


@pytest.mark.parametrize("name", MODELS)
def test_every_name_the_help_gives_is_one_that_megadetector_has(name: str) -> None:
    assert megadetector.find_known_name(name)


def test_without_the_extra_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "megadetector.detection", None)
    with pytest.raises(WeightsMissing, match=r"pip install 'animl-pipeline\[detect\]'"):
        megadetector.find_weights("MDV5A")


@pytest.mark.parametrize("words", [["--device", "quantum"], ["--threshold", "2"]])
def test_an_option_that_makes_no_sense_is_wrong_usage(
    yolos: Yolos, work: Path, words: list[str]
) -> None:
    ended = yolos.detect(work, "yolov5.pt", *words)
    assert (ended.code, "Traceback" in ended.said) == (2, False)


@pytest.mark.parametrize("images", ["gone", "bare"])
def test_a_folder_without_pictures_says_so(
    pipeline: Callable[..., Done], here: Path, images: str
) -> None:
    (here / "bare").mkdir()
    done = pipeline("detect", "--images-dir", images)
    assert done.code == 1
    assert "no folder of images" in done.err or "holds no images" in done.err


def test_predict_detects_on_the_way_as_detect_does(yolos: Yolos, work: Path, trained: Path) -> None:
    shutil.copytree(trained / "runs/first", work / "runs/first")
    enliven(work / "runs/first")
    spoiled = work / "images/half.jpg"
    spoiled.write_bytes((work / "images/camera 0/0.jpg").read_bytes()[:9000])
    found = ["--threshold", "0.002", "--device", "cpu", "--tolerate", "1"]
    model = ["--model", str(yolos.folder / "yolo11.pt")]
    run = ["--run-dir", "runs/first", "--engine", "torch"]
    for words in (
        ["detect", *model, *found],
        ["predict", *model, *run, *found, "--output-dir", "on_the_way"],
        ["predict", "--detections", "detections.json", *run, *found, "--output-dir", "given"],
    ):
        ended = yolos.runner.run(work, words)
        assert ended.code == 0, ended.said
    boxes = table_io.read(tables.PREDICTED_BOXES, work / "on_the_way/predictions.csv")
    assert len(boxes) > 6
    assert boxes["prob_fox"].std() > 0.01
    given = table_io.read(tables.PREDICTED_BOXES, work / "given/predictions.csv")
    pd.testing.assert_frame_equal(boxes, given, check_exact=True)
    failures = table_io.read(tables.UNREADABLE_IMAGES, work / "on_the_way/failures.csv")
    assert list(failures["image"]) == ["half.jpg"]
    assert failures["reason"][0].startswith("image is truncated")
