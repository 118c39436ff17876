"""Every row of the fixture's README, by the number in original_file_name."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from megadetector_validator import errors_of_megadetector
from PIL import Image, ImageChops, ImageStat
from shop import Done

from animl_pipeline.catalogue import conversion
from animl_pipeline.formats import coco, megadetector
from animl_pipeline.running import perform
from animl_pipeline.stages import crop

FIXTURES = Path(__file__).parents[2] / "shared/fixtures/animl"
pytestmark = pytest.mark.skipif(
    not FIXTURES.exists(), reason=f"{FIXTURES} is not there: no fixture of the Animl formats"
)
Rectangle = tuple[int, int, int, int]

# image number, category, what is cut of the upright picture (left, top, right, bottom)
CUT: list[tuple[int, str, Rectangle]] = [
    (1, "fox", (210, 160, 360, 310)),
    (2, "fox", (180, 158, 328, 306)),
    (3, "bird", (500, 60, 640, 200)),
    (4, "skunk", (0, 270, 120, 390)),
    (5, "rodent", (300, 390, 390, 480)),
    (5, "fox", (60, 135, 220, 295)),
    (6, "lizard", (402, 325, 439, 362)),
    (7, "bird", (100, 100, 180, 180)),
    (7, "bird", (290, 120, 380, 210)),
    (8, "rodent", (500, 395, 540, 435)),
    (10, "fox", (20, 370, 110, 460)),
    (11, "scrub jay", (320, 200, 380, 260)),
    (12, "lizard", (10, 420, 70, 480)),
    (15, "skunk", (600, 440, 640, 480)),
    (19, "lizard", (100, 95, 130, 125)),
    (20, "rodent", (100, 100, 150, 150)),
]
WARNED = {
    6: ["small: 37x21 px"],
    15: ["box leaves the frame: clipped"],
    19: [
        "the record says 1280x960, the image is 640x480: placed by fractions",
        "small: 30x20 px",
    ],
}
# image number, annotation id, how the reason begins
NOT_CUT = [
    (1, "8d5e710e62aa9ccfcc231bbd", "category id 99 is not in the COCO file's categories"),
    (9, "5a2ff02f69a95b89a59b5273", "category empty is not an animal"),
    (10, "3c7db669cc99b435b8b1c2f8", "category person is not an animal"),
    (13, "3591b87c053f45d42fd67c57", "box is null"),
    (14, "7ff9339a086fc324a4f0ea3f", "box has no area"),
    (16, "", "no annotation"),
    (17, "a58421925d418c3bb0d2387a", "image is missing"),
    (18, "7ac11f6a37a73429acd71746", "image is truncated"),
]
ORPHAN = "320364aaa4ca3530b38cc8c0"


@dataclass(frozen=True)
class Cropped:
    """What `crop` made of an export."""

    folder: Path
    rows: list[dict[str, str]]
    failures: list[dict[str, str]]
    warnings: list[dict[str, str]]
    file_names: dict[int, str]  # by image number


def crop_fixture(coco_file: str, images: str, folder: Path, **options: Any) -> Cropped:
    number_of = json.loads((FIXTURES / "cct.json").read_bytes())["images"]
    numbers = {image["id"].split(":")[-1]: image["original_file_name"] for image in number_of}
    records = json.loads((FIXTURES / coco_file).read_bytes())["images"]
    name_field = "original_relative_path" if coco_file == "cct_2023.json" else "file_name"
    names = {
        int(numbers[record["id"].split(":")[-1]][4:8]): record[name_field] for record in records
    }
    perform.perform(
        "crop",
        crop.Options(
            coco_file=FIXTURES / coco_file,
            images_dir=FIXTURES / images,
            output_dir=folder,
            **options,
        ),
    )
    tables = (table(folder / name) for name in ("crops.csv", "failures.csv", "warnings.csv"))
    return Cropped(folder, *tables, file_names=names)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cropped(tmp_path_factory: pytest.TempPathFactory) -> Cropped:
    return crop_fixture("cct.json", "images", tmp_path_factory.mktemp("fixture") / "crops")


@pytest.fixture(scope="module")
def of_2023(tmp_path_factory: pytest.TempPathFactory) -> Cropped:
    return crop_fixture(
        "cct_2023.json", "images_2023", tmp_path_factory.mktemp("fixture_2023") / "crops"
    )


def shows(crop_file: Path, picture: Path, rectangle: Rectangle) -> bool:
    """Whether the crop is that part of the picture, but for what JPEG changes."""
    with Image.open(crop_file) as cut, Image.open(picture) as whole:
        expected = whole.convert("RGB").crop(rectangle)
        if cut.size != expected.size or cut.mode != "RGB" or cut.format != "JPEG":
            return False
        return max(ImageStat.Stat(ImageChops.difference(cut, expected)).mean) < 3


def rows_of(cropped: Cropped, number: int, category: str) -> list[dict[str, str]]:
    name = cropped.file_names[number]
    return [row for row in cropped.rows if (row["image"], row["category"]) == (name, category)]


def cut_elsewhere(cropped: Cropped, images: Path) -> list[tuple[int, str, Rectangle]]:
    """The good boxes of which there is not one crop, cut there."""
    return [
        (number, category, rectangle)
        for number, category, rectangle in CUT
        if sum(
            shows(cropped.folder / row["crop"], images / cropped.file_names[number], rectangle)
            for row in rows_of(cropped, number, category)
        )
        != 1
    ]


def test_a_good_box_is_cut_where_it_should_be(cropped: Cropped) -> None:
    assert cut_elsewhere(cropped, FIXTURES / "images") == []


def test_a_good_box_of_2023_is_cut_at_the_same_place(of_2023: Cropped) -> None:
    assert cut_elsewhere(of_2023, FIXTURES / "images_2023") == []


def test_no_other_box_is_cut(cropped: Cropped, of_2023: Cropped) -> None:
    assert len(cropped.rows) == len(of_2023.rows) == len(CUT)


def test_a_row_without_a_crop_has_its_reason(cropped: Cropped) -> None:
    reasons = [((row["image"], row["annotation_id"]), row["reason"]) for row in cropped.failures]
    for number, annotation_id, expected in NOT_CUT:
        of_row = [
            said for key, said in reasons if key == (cropped.file_names[number], annotation_id)
        ]
        assert [said.startswith(expected) for said in of_row] == [True], (of_row, expected)


def test_the_annotation_of_an_unknown_image_has_its_reason(cropped: Cropped) -> None:
    found = [row for row in cropped.failures if row["annotation_id"] == ORPHAN]
    assert len(found) == 1
    assert found[0]["image"] == ""
    assert "is not in the COCO file" in found[0]["reason"]


def test_no_other_row_is_among_the_failures(cropped: Cropped) -> None:
    assert len(cropped.failures) == len(NOT_CUT) + 1


def test_what_is_odd_about_a_crop_is_said_and_nothing_else(cropped: Cropped) -> None:
    said: dict[str, list[str]] = {}
    for row in cropped.warnings:
        said.setdefault(row["image"], []).append(row["reason"])
    numbers = {number for number, _, _ in CUT}
    assert said == {cropped.file_names[n]: WARNED[n] for n in numbers if WARNED.get(n)}


def test_the_two_pictures_of_a_burst_are_one_sequence(cropped: Cropped) -> None:
    sequences = {rows_of(cropped, number, "fox")[0]["sequence"] for number in (1, 2)}
    assert len(sequences) == 1
    assert sequences != {""}
    assert sum(row["sequence"] in sequences for row in cropped.rows) == 2


def test_a_picture_without_datetime_is_in_no_sequence(cropped: Cropped) -> None:
    [row] = rows_of(cropped, 20, "rodent")
    assert (row["datetime"], row["sequence"]) == ("", "")
    assert row["crop"].endswith(".png___6372393708d30bd27790f679.jpg")


def test_a_label_that_a_person_confirmed_has_confidence_1(cropped: Cropped) -> None:
    assert {row["confidence"] for row in cropped.rows} == {"1.0"}


def test_the_clean_part_of_the_export_gives_the_same_crops(
    cropped: Cropped, tmp_path: Path
) -> None:
    clean = crop_fixture("cct_clean.json", "images", tmp_path / "crops")
    whole = {row["crop"]: row for row in cropped.rows}
    assert {row["crop"]: row for row in clean.rows}.items() <= whole.items()
    assert len(clean.rows) == sum(number <= 12 for number, _, _ in CUT)


def test_every_annotation_and_every_image_without_one_is_accounted_for(cropped: Cropped) -> None:
    content = json.loads((FIXTURES / "cct.json").read_bytes())
    annotated = {annotation["image_id"] for annotation in content["annotations"]}
    rows = len(content["annotations"])
    rows += sum(image["id"] not in annotated for image in content["images"])
    assert len(cropped.rows) + len(cropped.failures) == rows


def test_the_boxes_that_were_used_are_valid_results_with_their_annotations(
    cropped: Cropped,
) -> None:
    path = cropped.folder / "detections.json"
    assert errors_of_megadetector(path) == []
    found = megadetector.read(path)
    used = {one.annotation_id: one for boxes in found.detections.values() for one in boxes}
    assert used.keys() == {row["annotation_id"] for row in cropped.rows}
    for row in cropped.rows:
        [(category, probability)] = used[row["annotation_id"]].classifications
        assert (category, probability) == (row["category"], 1.0)
    assert set(found.failures) == {cropped.file_names[17], cropped.file_names[18]}


@pytest.mark.parametrize("name", ["cct.json", "cct_2023.json"])
def test_a_detectors_boxes_over_those_of_people_change_nothing(tmp_path: Path, name: str) -> None:
    folder = "images" if name == "cct.json" else "images_2023"
    results = tmp_path / "md.json"
    images, _ = conversion.convert_to_results(coco.read(FIXTURES / name))
    seen = [one._replace(detections=[replace(box, confidence=0.9) for box in one.detections])
            for one in images]  # fmt: skip
    megadetector.write(results, seen, detector="as people drew them")
    without = crop_fixture(name, folder, tmp_path / "without")
    with_them = crop_fixture(name, folder, tmp_path / "with", detections=results)
    assert with_them.rows == without.rows
    rows = [(row["image"], row["annotation_id"]) for row in with_them.failures]
    assert rows == [(row["image"], row["annotation_id"]) for row in without.failures]


@pytest.mark.parametrize(
    "words",
    [
        ("check", "--coco-file"),
        ("convert", "--output-file", "out.json", "--input-file"),
        ("crop", "--coco-file"),
        ("download", "--source", ".", "--coco-file"),
    ],
)
def test_the_truncated_export_is_explained_by_every_command_that_reads_one(
    pipeline: Callable[..., Done], words: tuple[str, ...]
) -> None:
    done = pipeline(*words, FIXTURES / "cct_truncated.json")
    assert (done.code, done.out) == (1, "")
    assert re.search(r"cut off at line \d+.*18,000 images.*Export in parts", done.err)


def test_too_many_failures_end_with_exit_code_3(pipeline: Callable[..., object]) -> None:
    done = pipeline(
        "crop", "--coco-file", FIXTURES / "cct.json", "--images-dir", FIXTURES / "images"
    )
    assert done.code == 3  # type: ignore[attr-defined]
    assert "2 of 18 failed" in done.err  # type: ignore[attr-defined]
