import csv
import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageFile, ImageOps, ImageStat
from shop import Done
from small_export import put, write_export
from world import World

from animl_pipeline.running import perform
from animl_pipeline.stages import download

Pipeline = Callable[..., Done]
Annotation = dict[str, Any]


@pytest.fixture(scope="session")
def downloaded(world: World, endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of the world, as `download` puts them."""
    folder = tmp_path_factory.mktemp("downloaded") / "images"
    options = download.Options(
        coco_file=world.coco_file, output_dir=folder, endpoint_url=endpoint, tolerate=1.0
    )
    perform.perform("download", options)
    return folder


@pytest.fixture
def in_world(here: Path, downloaded: Path) -> Path:
    """The current folder, with the world's pictures in images/."""
    shutil.copytree(downloaded, here / "images")
    return here


def rows(name: str = "crops.csv", folder: str = "crops") -> list[dict[str, str]]:
    with Path(folder, name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cut_files(folder: str = "crops") -> dict[str, tuple[bytes, int]]:
    """Every picture below the folder: its bytes, and when it was written."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in Path(folder).rglob("*.jpg")
    }


def fox(annotation_id: str, image_id: str = "1", **changes: Any) -> Annotation:
    box = {"id": annotation_id, "image_id": image_id, "category_id": 1, "bbox": [16, 12, 20, 16]}
    return box | changes


def place(
    annotations: list[Annotation],
    names: tuple[str, ...] = ("1.jpg", "2.jpg"),
    size_px: tuple[int, int] = (64, 48),
    **changes: Any,
) -> None:
    """Makes images/ with noise under these names, and the export of images "1", "2", ..."""
    images = []
    for number, name in enumerate(names, start=1):
        path = Path("images", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = random.Random(number).randbytes(size_px[0] * size_px[1] * 3)
        path.unlink(missing_ok=True)
        Image.frombytes("RGB", size_px, noise).save(path, "JPEG")
        record = {"id": str(number), "file_name": name, "width": size_px[0], "height": size_px[1]}
        images.append(record | {"location": "pier"} | changes)
    write_export(Path("images/cct.json"), images, annotations)


# The world's own expectations


def test_every_row_of_the_world_becomes_what_is_expected_of_it(
    in_world: Path, world: World, pipeline: Pipeline
) -> None:
    pipeline("crop")
    cut = {row["annotation_id"] for row in rows()}
    refused = {(row["image"], row["annotation_id"]) for row in rows("failures.csv")}
    for row in world.rows:
        assert (row.annotation_id in cut) == (row.expected == "crop"), row
        # The picture of an unsafe or unknown name is not found by it.
        assert ((row.file_name, row.annotation_id) in refused) == (row.expected != "crop"), row


def test_crops_and_failures_together_are_the_rows_of_the_export(
    in_world: Path, world: World, pipeline: Pipeline
) -> None:
    pipeline("crop")
    assert len(rows()) == world.crops
    assert len(rows()) + len(rows("failures.csv")) == len(world.rows)


def test_each_crop_of_the_table_is_a_file_and_there_is_no_other(
    in_world: Path, pipeline: Pipeline
) -> None:
    pipeline("crop")
    assert {row["crop"] for row in rows()} == set(cut_files())


def test_every_crop_of_the_world_is_a_square_rgb_jpeg(in_world: Path, pipeline: Pipeline) -> None:
    pipeline("crop")
    for name in cut_files():
        with Image.open(Path("crops", name)) as image:
            image.load()
            assert (image.format, image.mode, image.width) == ("JPEG", "RGB", image.height)


def test_a_box_is_applied_to_the_picture_as_it_is_seen(
    in_world: Path, world: World, pipeline: Pipeline
) -> None:
    pipeline("crop")
    [odd] = [row for row in world.odd_rows if "EXIF orientation 6" in row.note]
    [row] = [row for row in rows() if row["annotation_id"] == odd.annotation_id]
    with Image.open(Path("images", row["image"])) as stored:
        assert stored.width > stored.height
        seen = ImageOps.exif_transpose(stored).convert("RGB")
    x, y, w, h = (float(row[side]) for side in ("x", "y", "width", "height"))
    left, right, top, bottom = x * 240, (x + w) * 240, y * 320, (y + h) * 320
    with Image.open(Path("crops", row["crop"])) as cut:
        side = cut.width
        assert side == pytest.approx(max(right - left, bottom - top), abs=2)
        x0 = min(max((left + right - side) / 2, 0), 240 - side)
        y0 = min(max((top + bottom - side) / 2, 0), 320 - side)
        assert least_difference(cut, seen, x0, y0) < 4


def least_difference(cut: Image.Image, whole: Image.Image, x0: float, y0: float) -> float:
    """Returns the mean difference at the best place within two pixels."""
    return min(
        max(ImageStat.Stat(ImageChops.difference(cut, moved(cut, whole, x0 + i, y0 + j))).mean)
        for i in range(-2, 3)
        for j in range(-2, 3)
    )


def moved(cut: Image.Image, whole: Image.Image, x: float, y: float) -> Image.Image:
    left, top = round(x), round(y)
    return whole.crop((left, top, left + cut.width, top + cut.height))


def test_the_boxes_used_are_valid_megadetector_results(
    in_world: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline("crop")
    # megadetector sets this for the whole process when it is imported; it is put back afterwards.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    from megadetector.postprocessing import validate_batch_results

    options = validate_batch_results.ValidateBatchResultsOptions()
    options.raise_errors = True
    options.return_data = True
    found = validate_batch_results.validate_batch_results("crops/detections.json", options)
    assert found["validation_results"]["errors"] == []
    boxes = sum(len(image["detections"] or []) for image in found["images"])
    failed = sum(bool(image.get("failure")) for image in found["images"])
    assert boxes == len(rows())
    assert failed == 3  # missing, half a JPEG, no bytes


# Running it again


def test_a_second_run_cuts_nothing_and_writes_the_same_tables(
    in_world: Path, pipeline: Pipeline
) -> None:
    pipeline("crop")
    names = ("crops.csv", "failures.csv", "warnings.csv", "detections.json")
    tables, pictures = [Path("crops", name).read_bytes() for name in names], cut_files()
    done = pipeline("crop")
    assert "(0 cut now)" in done.out
    assert [Path("crops", name).read_bytes() for name in names] == tables
    assert cut_files() == pictures


def test_a_removed_or_damaged_crop_is_cut_again(in_world: Path, pipeline: Pipeline) -> None:
    pipeline("crop")
    before = cut_files()
    gone, half, empty = sorted(before)[:3]
    Path("crops", gone).unlink()
    Path("crops", half).write_bytes(before[half][0][:-50])
    Path("crops", empty).write_bytes(b"")
    done = pipeline("crop")
    assert "(3 cut now)" in done.out
    assert {name: data for name, (data, _) in cut_files().items()} == {
        name: data for name, (data, _) in before.items()
    }


def test_only_a_changed_box_is_cut_again(here: Path, pipeline: Pipeline) -> None:
    place([fox("aa"), fox("bb", bbox=[0, 0, 10, 10]), fox("cc", "2")])
    pipeline("crop")
    before = cut_files()
    place_boxes([fox("aa", bbox=[18, 12, 20, 16]), fox("bb", bbox=[0, 0, 10, 10]), fox("cc", "2")])
    done = pipeline("crop")
    assert "(1 cut now)" in done.out
    changed = {name for name, value in cut_files().items() if before[name] != value}
    assert changed == {"island/1.jpg___aa.jpg"}


def place_boxes(annotations: list[Annotation]) -> None:
    """Puts other annotations into the export."""
    path = Path("images/cct.json")
    write_export(path, json.loads(path.read_bytes())["images"], annotations)


def test_a_changed_picture_is_cut_again(here: Path, pipeline: Pipeline) -> None:
    place([fox("aa"), fox("bb", "2")])
    pipeline("crop")
    before = cut_files()
    Image.new("RGB", (64, 48), "red").save("images/1.jpg")
    later = Path("crops/island/1.jpg___aa.jpg").stat().st_mtime_ns + 1_000_000
    os.utime("images/1.jpg", ns=(later, later))
    done = pipeline("crop")
    assert "(1 cut now)" in done.out
    with Image.open("crops/island/1.jpg___aa.jpg") as image:
        red, green, _ = image.getpixel((5, 5))
        assert red > 200 > 50 > green
    assert cut_files()["island/2.jpg___bb.jpg"] == before["island/2.jpg___bb.jpg"]


@pytest.mark.parametrize(
    "option", [("--quality", 80), ("--margin", 0.1), ("--no-square-crops",)], ids=str
)
def test_another_way_of_cutting_cuts_all_again(
    here: Path, pipeline: Pipeline, option: tuple[object, ...]
) -> None:
    place([fox("aa"), fox("bb", "2")])
    pipeline("crop")
    before = cut_files()
    done = pipeline("crop", *option)
    assert "(2 cut now)" in done.out
    assert all(cut_files()[name][0] != data for name, (data, _) in before.items())
    assert "(2 cut now)" in pipeline("crop").out


def test_a_removed_annotation_takes_its_crop_along_and_no_other(
    here: Path, pipeline: Pipeline
) -> None:
    place([fox("aa"), fox("bb", bbox=[0, 0, 10, 10]), fox("cc", "2")])
    pipeline("crop")
    before = cut_files()
    place_boxes([fox("bb", bbox=[0, 0, 10, 10]), fox("cc", "2")])
    pipeline("crop")
    del before["island/1.jpg___aa.jpg"]
    assert cut_files() == before
    assert {row["annotation_id"] for row in rows()} == {"bb", "cc"}


def test_a_category_that_changes_keeps_the_crop_and_changes_its_row(
    here: Path, pipeline: Pipeline
) -> None:
    place([fox("aa")])
    pipeline("crop")
    before = cut_files()
    place_boxes([fox("aa", category_id=2)])
    pipeline("crop")
    assert cut_files() == before
    assert [row["category"] for row in rows()] == ["bird"]


def test_a_picture_that_goes_missing_takes_its_crop_along(here: Path, pipeline: Pipeline) -> None:
    place([fox("aa"), fox("bb", "2")])
    pipeline("crop")
    Path("images/1.jpg").unlink()
    done = pipeline("crop")
    assert done.code == 3
    assert set(cut_files()) == {"island/2.jpg___bb.jpg"}
    assert rows("failures.csv")[0]["reason"] == "image is missing"


def test_two_datasets_live_in_one_folder(here: Path, pipeline: Pipeline) -> None:
    place([fox("aa"), fox("bb", "2")])
    pipeline("crop", "--dataset", "north")
    north = cut_files()
    place_boxes([fox("cc")])
    pipeline("crop", "--dataset", "south")
    assert {row["crop"] for row in rows()} == {*north, "south/1.jpg___cc.jpg"}
    assert north.items() <= cut_files().items()
    place_boxes([fox("aa")])
    pipeline("crop", "--dataset", "north")
    assert {row["crop"] for row in rows()} == {"north/1.jpg___aa.jpg", "south/1.jpg___cc.jpg"}
    assert set(cut_files()) == {"north/1.jpg___aa.jpg", "south/1.jpg___cc.jpg"}


def test_the_order_in_which_datasets_are_cropped_does_not_matter(
    here: Path, pipeline: Pipeline
) -> None:
    place([fox("aa"), fox("bb", "2")])
    for name in ("north", "south", "north"):
        pipeline("crop", "--dataset", name)
    for name in ("south", "north"):
        pipeline("crop", "--dataset", name, "--output-dir", "other")
    assert Path("crops/crops.csv").read_bytes() == Path("other/crops.csv").read_bytes()


def test_a_file_of_someone_else_in_the_folder_stays(here: Path, pipeline: Pipeline) -> None:
    place([fox("aa")])
    pipeline("crop")
    for name in ("notes.txt", "island/notes.txt", "island/mine.jpg"):
        Path("crops", name).write_text("mine")
    pipeline("crop")
    for name in ("notes.txt", "island/notes.txt", "island/mine.jpg"):
        assert Path("crops", name).read_text() == "mine"


# Which boxes


def test_a_box_that_no_person_validated_is_cut_only_when_asked_for(
    here: Path, pipeline: Pipeline
) -> None:
    place([fox("aa", validated=False, confidence=0.7), fox("bb", validated=True, confidence=0.6)])
    pipeline("crop")
    assert [row["annotation_id"] for row in rows()] == ["bb"]
    assert rows("failures.csv")[0]["reason"] == "not validated by a person"
    pipeline("crop", "--include-unvalidated")
    assert {row["annotation_id"]: row["confidence"] for row in rows()} == {
        "aa": "0.7", "bb": "1.0",
    }  # fmt: skip


def test_the_unvalidated_row_of_the_world_is_cut_when_asked_for(
    in_world: Path, world: World, pipeline: Pipeline
) -> None:
    pipeline("crop", "--include-unvalidated")
    [odd] = [row for row in world.rows if row.expected == "unvalidated"]
    assert len(rows()) == world.crops + 1
    assert odd.annotation_id in {row["annotation_id"] for row in rows()}


def test_people_vehicles_and_empties_are_no_crops_whatever_their_case(
    here: Path, pipeline: Pipeline
) -> None:
    place([fox("aa", category_id=0), fox("bb", category_id=1), fox("cc", category_id=2)])
    path = Path("images/cct.json")
    categories = (" Empty", "PERSON", "Vehicle")
    images = json.loads(path.read_bytes())
    write_export(path, images["images"], images["annotations"], categories)
    pipeline("crop")
    assert rows() == []
    refused = [row["reason"] for row in rows("failures.csv") if row["annotation_id"]]
    assert len(refused) == 3
    assert all("is not an animal" in reason for reason in refused)


def megadetector_results(**detections: list[tuple[str, float, list[float]]]) -> None:
    content = {
        "info": {"format_version": "1.5", "detector": "md_v5a"},
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "images": [
            {"file": name + ".jpg", "detections": [
                {"category": category, "conf": conf, "bbox": box} for category, conf, box in found
            ]}
            for name, found in detections.items()
        ],
    }  # fmt: skip
    Path("md.json").write_text(json.dumps(content))


BOX = [0.1, 0.2, 0.4, 0.5]


def without_box(annotation_id: str, image_id: str = "1", **changes: Any) -> Annotation:
    annotation = fox(annotation_id, image_id, **changes)
    del annotation["bbox"]
    return annotation


def test_a_label_without_a_box_gives_no_crop_without_detections(
    here: Path, pipeline: Pipeline
) -> None:
    place([without_box("aa")])
    pipeline("crop")
    assert rows() == []
    failures = rows("failures.csv")
    assert failures[0]["reason"] == "no box: a label of the whole image"


def test_a_label_without_a_box_takes_the_boxes_of_the_detector(
    here: Path, pipeline: Pipeline
) -> None:
    place([without_box("aa"), fox("bb", "2")])
    other = [0.6, 0.6, 0.2, 0.2]
    found = [("1", 0.9, BOX), ("1", 0.3, other), ("1", 0.1, other), ("2", 0.99, BOX)]
    megadetector_results(
        **{"1": found, "2": [("1", 0.95, [0.25, 0.25, 0.3, 0.3]), ("1", 0.8, [0, 0, 0.1, 0.1])]}
    )
    done = pipeline("crop", "--detections", "md.json")
    cut = [(row["image"], row["category"], row["confidence"], row["annotation_id"])
           for row in rows()]  # fmt: skip
    assert sorted(cut) == [
        ("1.jpg", "fox", "0.3", ""),
        ("1.jpg", "fox", "0.9", ""),
        ("2.jpg", "fox", "0.8", ""),
        ("2.jpg", "fox", "1.0", "bb"),
    ]
    assert re.findall(r"of 6 detections|\d  cut|\d  overlaps a box of the COCO file", done.out) == [
        "of 6 detections", "3  cut", "1  overlaps a box of the COCO file",
    ]  # fmt: skip


def test_the_crop_of_a_detection_keeps_its_name_when_other_detections_come(
    here: Path, pipeline: Pipeline
) -> None:
    place([without_box("aa")])
    megadetector_results(**{"1": [("1", 0.9, BOX)]})
    pipeline("crop", "--detections", "md.json")
    [first] = [row["crop"] for row in rows()]
    megadetector_results(**{"1": [("1", 0.8, [0.6, 0.6, 0.2, 0.2]), ("1", 0.9, BOX)]})
    pipeline("crop", "--detections", "md.json")
    assert first in {row["crop"] for row in rows()}
    assert len(rows()) == 2


def test_the_same_detection_twice_is_one_crop_and_said(here: Path, pipeline: Pipeline) -> None:
    place([without_box("aa")])
    megadetector_results(**{"1": [("1", 0.9, BOX), ("1", 0.8, BOX)]})
    done = pipeline("crop", "--detections", "md.json")
    assert done.code == 0, done.err
    assert len(rows()) == 1


def test_the_same_box_twice_without_annotation_ids_does_not_end_the_command(
    here: Path, pipeline: Pipeline
) -> None:
    place([fox(""), fox("")], names=("1.jpg",))
    done = pipeline("crop")
    assert done.code == 0, done.err
    assert (len(rows()), len(rows("failures.csv"))) == (1, 1)


@pytest.mark.parametrize("threshold", [0.2, 0.90001])
def test_detections_below_the_threshold_are_not_cut(
    here: Path, pipeline: Pipeline, threshold: float
) -> None:
    place([without_box("aa")])
    megadetector_results(**{"1": [("1", 0.2, BOX), ("1", 0.19, [0, 0, 0.5, 0.5])]})
    pipeline("crop", "--detections", "md.json", "--threshold", threshold)
    assert len(rows()) == (threshold == 0.2)
    if threshold > 0.2:
        assert "no animal detected at 0.90001 or more" in rows("failures.csv")[0]["reason"]


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ([without_box("aa"), without_box("bb", category_id=2)], "several categories (bird, fox)"),
        ([without_box("aa", sequence_level_annotation=True)], "a sequence's label"),
        ([without_box("aa", "2")], "the detector's results do not hold it"),
    ],
    ids=["two categories", "of the sequence", "not looked at"],
)
def test_what_the_detector_cannot_settle_is_not_guessed(
    here: Path, pipeline: Pipeline, annotations: list[Annotation], reason: str
) -> None:
    place(annotations)
    megadetector_results(**{"1": [("1", 0.9, BOX)]})
    pipeline("crop", "--detections", "md.json")
    assert rows() == []
    failures = [row for row in rows("failures.csv") if row["annotation_id"]]
    assert len(failures) == len(annotations)
    assert all(reason in row["reason"] for row in failures)


def test_detections_that_are_no_results_are_a_message(here: Path, pipeline: Pipeline) -> None:
    place([fox("aa")])
    Path("md.json").write_text('{"images": [{"file": "1.jpg", "detections": [{"bbox": [1]}]}]}')
    done = pipeline("crop", "--detections", "md.json")
    assert done.code == 1
    assert "md.json: images[0]" in done.err


def test_a_coco_file_as_detections_is_called_what_it_is(here: Path, pipeline: Pipeline) -> None:
    place([fox("aa")])
    done = pipeline("crop", "--detections", "images/cct.json")
    assert done.code == 1
    assert "images/cct.json is a COCO file" in done.err


# Names and places


def test_a_crop_of_a_name_too_long_for_a_file_has_a_short_one(
    here: Path, pipeline: Pipeline
) -> None:
    long, twin = "é" * 110 + ".jpg", "é" * 109 + "e.jpg"
    place([fox("a" * 40), fox("b" * 40, "2")], names=(long, twin))
    done = pipeline("crop")
    assert done.code == 0, done.err
    assert len({row["crop"] for row in rows()}) == len(cut_files()) == 2
    assert [row["image"] for row in rows()] != [row["crop"] for row in rows()]
    assert "(0 cut now)" in pipeline("crop").out


@pytest.mark.parametrize(
    "name", ["../outside.jpg", "a/../../outside.jpg", "/tmp/outside.jpg", "x" * 256 + ".jpg"]
)
def test_a_picture_outside_the_folder_is_not_opened_and_nothing_is_written_there(
    here: Path, pipeline: Pipeline, name: str
) -> None:
    place([fox("aa"), fox("bb", "2")])
    path = Path("images/cct.json")
    content = json.loads(path.read_bytes())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))
    Image.new("RGB", (64, 48)).save("outside.jpg")
    before = {path for path in here.parent.rglob("*") if "crops" not in path.parts}
    pipeline("crop")
    assert [row["annotation_id"] for row in rows()] == ["bb"]
    assert rows("failures.csv")[0]["reason"].startswith("file_name ")
    assert {path for path in here.parent.rglob("*") if "crops" not in path.parts} == before


@pytest.mark.parametrize("annotation_id", ["../../outside", "a/b", "é" * 90, "a b", "", "x" * 300])
def test_an_annotation_id_that_is_no_file_name_is_not_used_as_one(
    here: Path, pipeline: Pipeline, annotation_id: str
) -> None:
    place([fox(annotation_id)])
    assert pipeline("crop").code == 0
    [row] = rows()
    assert row["annotation_id"] == annotation_id
    assert row["crop"].startswith("island/1.jpg___box-")
    assert list(cut_files()) == [row["crop"]]


@pytest.mark.parametrize("dataset", ["..", "../x", "a/b", "/tmp/x", "", ".", "a\nb"])
def test_a_dataset_that_is_no_folder_s_name_is_wrong_usage(
    here: Path, pipeline: Pipeline, dataset: str
) -> None:
    place([fox("aa")])
    done = pipeline("crop", "--dataset", dataset)
    # An empty name is none: the export's own.
    assert done.code == (0 if dataset == "" else 2)


@pytest.mark.parametrize("dataset", ["crops.csv", "detections.json", "crop.json", "failures.csv"])
def test_a_dataset_named_as_a_file_of_ours_is_a_message(
    here: Path, pipeline: Pipeline, dataset: str
) -> None:
    place([fox("aa")])
    done = pipeline("crop", "--dataset", dataset)
    assert done.code == 2, done.err
    assert "--dataset" in done.err


@pytest.mark.parametrize(
    "text",
    ["007", "NA", "null", "nan", "Smuggler's Cove", 'a "b", c', " x ", "a\nb", "a\r\nb", "é日本",
     "=1+1", "\t"],
    ids=repr,
)  # fmt: skip
def test_a_location_is_kept_to_the_letter(here: Path, pipeline: Pipeline, text: str) -> None:
    from animl_pipeline.artifacts import table_io
    from animl_pipeline.artifacts import tables as artifacts

    place([fox("aa"), fox("bb", "2")], location=text)
    assert pipeline("crop").code == 0
    table = table_io.read(artifacts.CROPS, Path("crops/crops.csv"))
    assert table["location"].tolist() == [text, text]


def test_a_bare_carriage_return_in_a_location_does_not_break_the_table(
    here: Path, pipeline: Pipeline
) -> None:
    from animl_pipeline.artifacts import table_io
    from animl_pipeline.artifacts import tables as artifacts

    place([fox("aa"), fox("bb", "2")], location="a\rb")
    assert pipeline("crop").code == 0
    table = table_io.read(artifacts.CROPS, Path("crops/crops.csv"))
    assert table["annotation_id"].tolist() == ["aa", "bb"]
    assert table["location"].nunique() == 1


def test_a_record_without_size_takes_that_of_the_picture(here: Path, pipeline: Pipeline) -> None:
    place([fox("aa")], width=None, height=None)
    pipeline("crop")
    assert [(row["x"], row["y"]) for row in rows()] == [("0.25", "0.25")]


def test_an_unreadable_picture_is_a_row_and_the_others_are_cut(
    here: Path, pipeline: Pipeline
) -> None:
    place([fox("aa"), fox("bb", "2")])
    Path("images/1.jpg").write_bytes(b"no picture at all")
    done = pipeline("crop", "--tolerate", 0.5)
    assert done.code == 0
    assert [row["annotation_id"] for row in rows()] == ["bb"]
    assert rows("failures.csv")[0]["reason"] == "file is not an image"


def test_half_a_picture_fails_whatever_another_library_told_pillow(
    in_world: Path, world: World, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as importing megadetector does
    pipeline("crop")
    [half] = [row for row in world.odd_rows if row.note.startswith("half a JPEG")]
    assert half.annotation_id in {row["annotation_id"] for row in rows("failures.csv")}


@pytest.mark.parametrize(("tolerate", "code"), [(0.49, 3), (0.5, 0)])
def test_tolerate_is_the_fraction_of_boxes_that_may_fail(
    here: Path, pipeline: Pipeline, tolerate: float, code: int
) -> None:
    place([fox("aa"), fox("bb", "2")])
    Path("images/1.jpg").unlink()
    assert pipeline("crop", "--tolerate", tolerate).code == code


def test_a_table_of_crops_that_was_damaged_is_not_overwritten(
    here: Path, pipeline: Pipeline
) -> None:
    place([fox("aa")])
    pipeline("crop")
    Path("crops/crops.csv").write_text("half a table\n")
    done = pipeline("crop")
    assert done.code == 1
    assert "crops.csv" in done.err
    assert Path("crops/crops.csv").read_text() == "half a table\n"


def test_without_pictures_the_message_says_what_makes_them(pipeline: Pipeline) -> None:
    done = pipeline("crop")
    assert done.code == 1
    assert "`pipeline download` writes it" in done.err


def test_sixteen_bit_pictures_keep_their_shades(here: Path, pipeline: Pipeline) -> None:
    place([fox("aa", bbox=[0, 0, 64, 48])], names=("1.png",))
    deep = Image.new("I;16", (64, 48))
    deep.putdata([column * 1000 for _ in range(48) for column in range(64)])
    deep.save("images/1.png")
    pipeline("crop", "--no-square-crops")
    with Image.open("crops/island/1.png___aa.jpg") as cut:
        shades = [cut.getpixel((column, 24))[0] for column in (2, 32, 61)]
    assert shades[0] < 40 < 90 < shades[1] < 170 < 210 < shades[2]


def test_pictures_fetched_by_another_key_field_are_found(
    here: Path, pipeline: Pipeline, endpoint: str
) -> None:
    place([fox("aa")], names=("1.jpg",))
    data = Path("images/1.jpg").read_bytes()
    content = json.loads(Path("images/cct.json").read_bytes())
    content["images"][0] |= {
        "serving_bucket_key": "no/1.jpg",
        "original_relative_path": "cam/1.jpg",
    }
    shutil.rmtree("images")
    Path("both.json").write_text(json.dumps(content))
    put(endpoint, "both-keys", {"cam/1.jpg": data})
    where = ("--bucket", "both-keys", "--endpoint-url", endpoint)
    key = ("--key-field", "original_relative_path")
    assert pipeline("download", "--coco-file", "both.json", *where, *key).code == 0
    assert pipeline("crop").code == 0
    assert len(rows()) == 1


# What a newcomer needs to be told


def test_labels_without_a_box_are_sent_to_the_detector(here: Path, pipeline: Pipeline) -> None:
    place([without_box("aa"), without_box("bb", "2")])
    done = pipeline("crop")
    assert done.code == 0
    assert "There is no crop, so nothing to train on." in done.out
    assert "Labels without a box: 2." in done.out
    assert "run `pipeline detect`, then `pipeline crop --detections" in done.out


@pytest.mark.parametrize("folder", ["empty", "not there"])
def test_a_folder_without_the_images_is_refused_and_no_crop_is_removed(
    here: Path, pipeline: Pipeline, folder: str
) -> None:
    place([fox("aa"), fox("bb", "2")])
    Path("empty").mkdir()
    pipeline("crop")
    before = {path: path.read_bytes() for path in Path("crops").rglob("*") if path.is_file()}
    done = pipeline("crop", "--images-dir", folder)
    assert done.code == 1
    assert f"{folder} " in done.err
    assert "Check --images-dir" in done.err
    after = {path: path.read_bytes() for path in Path("crops").rglob("*") if path.is_file()}
    assert after == before


def test_what_is_refused_leaves_the_folder_as_it_was(here: Path, pipeline: Pipeline) -> None:
    place([fox("aa")])
    pipeline("crop")
    before = {path: path.read_bytes() for path in Path("crops").rglob("*") if path.is_file()}
    Path("md.json").write_text("{}")
    assert pipeline("crop", "--detections", "md.json").code == 1
    after = {path: path.read_bytes() for path in Path("crops").rglob("*") if path.is_file()}
    assert after == before
