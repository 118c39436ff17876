"""An export as MegaDetector results and back: nothing that both can hold is lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from coco_file import ANIML, SHARED, annotation, export, image, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from megadetector_validator import errors_of_megadetector
from shop import Done

from animl_pipeline.catalogue import conversion
from animl_pipeline.catalogue.records import (
    Annotation,
    Catalogue,
    Detection,
    Facts,
    Image,
    Refused,
    Results,
)
from animl_pipeline.formats import coco, coco_write, megadetector

Pipeline = Callable[..., Done]
CCT20 = SHARED / "data" / "cct20_cis_val_annotations.json"
FILES = [
    *(ANIML / f"{name}.json" for name in ("cct", "cct_clean", "cct_2023")),
    CCT20,
    SHARED / "data" / "missouri" / "cct.json",
]


def there_and_back(export: Catalogue, folder: Path) -> tuple[Catalogue, list[Refused]]:
    """Through both files, with MegaDetector's own validator between them."""
    images, left_out = conversion.convert_to_results(export)
    megadetector.write(folder / "results.json", images, detector="people")
    assert errors_of_megadetector(folder / "results.json") == []
    results = megadetector.read(folder / "results.json")
    coco_write.write(folder / "back.json", conversion.convert_to_catalogue(results, export.dataset))
    return coco.read(folder / "back.json"), left_out


def held(export: Catalogue) -> tuple[list[Any], list[Any]]:
    """What both formats hold of an export."""
    images = [
        (one.image_id, one.file_name, one.location, one.datetime, one.sequence, one.width_px,
         one.height_px, one.corrupt)
        for one in export.images
        if not one.unsafe
    ]  # fmt: skip
    corrupt = {one.image_id for one in export.images if one.corrupt or one.unsafe}
    rows = sorted(
        (one.image_id, one.annotation_id, one.category, one.validated, one.confidence, one.box)
        for one in export.annotations
        if one.box and one.category and one.category.strip().lower() != "empty"
        if one.image_id not in corrupt
    )
    return images, rows


def assert_same(one: Catalogue, other: Catalogue) -> None:
    (images, rows), (other_images, other_rows) = held(one), held(other)
    assert other_images == images
    assert [row[:-1] for row in other_rows] == [row[:-1] for row in rows]
    for row, other_row in zip(rows, other_rows, strict=True):
        assert other_row[-1] == pytest.approx(row[-1], abs=1e-8)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_real_file_is_valid_as_results_and_comes_back(path: Path, tmp_path: Path) -> None:
    first = coco.read(shared(path))
    again, left_out = there_and_back(first, tmp_path)
    assert_same(first, again)
    rows = len(first.annotations) + len(first.refused_annotations) + len(first.refused_images)
    assert len(held(first)[1]) + len(left_out) == rows


def test_the_caltech_set_keeps_its_pixels(tmp_path: Path) -> None:
    path = shared(CCT20)
    found = coco.read(path)
    there_and_back(found, tmp_path)
    before, after = (
        {row["id"]: row.get("bbox") for row in json.loads(one.read_bytes())["annotations"]}
        for one in (path, tmp_path / "back.json")
    )
    whole = [row.annotation_id for row in found.annotations if row.box and not row.warning]
    assert len(whole) > 1700
    for annotation_id in whole:
        assert after[annotation_id] == pytest.approx(before[annotation_id], abs=2e-6)


NAMES = st.text(min_size=1, max_size=6).filter(str.strip).filter(lambda name: "\0" not in name)
TEXT = st.text(max_size=6).filter(lambda text: "\0" not in text)
FRACTION = st.floats(0, 1).map(lambda part: round(part, 6))


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    x, y = (draw(st.floats(0, 0.99)) for _ in "xy")
    width, height = (draw(st.floats(1e-4, 1)) for _ in "wh")
    return x, y, min(width, 1 - x), min(height, 1 - y)


@st.composite
def exports(draw: st.DrawFn) -> Catalogue:
    images = [
        Image(
            image_id=f"id {number}",
            file_name=f"folder/{number}.jpg",
            key="",
            location=draw(TEXT),
            datetime=draw(st.sampled_from(["", "2023-03-02T06:41:10.000-08:00"])),
            sequence=draw(st.just("s") | TEXT.filter(bool)),
            width_px=sides[0],
            height_px=sides[1],
            unsafe="",
            corrupt=draw(st.booleans()),
        )
        for number in range(draw(st.integers(1, 4)))
        for sides in [draw(st.sampled_from([(0, 0), (640, 480), (4032, 3024)]))]
    ]
    rows = [
        Annotation(
            annotation_id=f"row {number}",
            image_id=draw(st.sampled_from(images)).image_id,
            category=draw(st.sampled_from(["empty", "person", "Person", "animal", "fox"]) | NAMES),
            validated=draw(st.booleans()),
            sequence_level=False,
            confidence=draw(st.floats(0, 1)),
            box=box,
            reason="" if box else "no box",
            warning="",
        )
        for number in range(draw(st.integers(0, 6)))
        for box in [draw(boxes() | st.none())]
    ]
    return Catalogue(images, rows, [], [], "d", "")


@settings(deadline=None, max_examples=120)
@given(exports())
def test_any_export_comes_back_with_all_that_both_formats_hold(
    tmp_path_factory: pytest.TempPathFactory, first: Catalogue
) -> None:
    again, left_out = there_and_back(first, tmp_path_factory.getbasetemp())
    assert_same(first, again)
    assert len(held(first)[1]) + len(left_out) == len(first.annotations)


DETECTIONS = st.builds(
    Detection,
    category=st.sampled_from(["animal", "person", "vehicle"]),
    confidence=st.floats(0, 1),
    box=boxes(),
    classifications=st.just(()) | NAMES.map(lambda name: ((name, 1.0),)),
    validated=st.booleans(),
)
RESULTS = st.dictionaries(
    st.integers(0, 9).map("p/{}.jpg".format), st.lists(DETECTIONS, max_size=3), min_size=1
)


@settings(deadline=None, max_examples=80)
@given(RESULTS, st.sets(st.sampled_from(range(10))))
def test_any_results_come_back_but_for_more_than_one_classification(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, list[Detection]], failed: set[int]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    failures = {name: "x" for name in found if int(name[2]) in failed}
    found = {name: [] if name in failures else boxes for name, boxes in found.items()}
    coco_write.write(
        folder / "c.json", conversion.convert_to_catalogue(Results(found, failures), "d")
    )
    images, left_out = conversion.convert_to_results(coco.read(folder / "c.json"))
    # A name of another category than MegaDetector's takes the category's place.
    named = {
        name: sorted(
            (one.classifications or ((one.category, 1.0),), one.confidence, one.box, one.validated)
            for one in boxes
        )
        for name, boxes in found.items()
    }
    left = sum(
        one.strip().lower() == "empty" for boxes in named.values() for ((one, _),), *_ in boxes
    )
    assert len(left_out) == left
    assert {one.file_name for one in images if one.failure} == set(failures)
    for one in images:
        expected = [row for row in named[one.file_name] if row[0][0][0].strip().lower() != "empty"]
        assert expected == sorted(
            (box.classifications or ((box.category, 1.0),), box.confidence, box.box, box.validated)
            for box in one.detections
        )


# --- row by row -----------------------------------------------------------------------------------


def converted(tmp_path: Path, content: Any) -> conversion.Converted:
    (tmp_path / "export.json").write_text(json.dumps(content))
    return conversion.convert_to_results(coco.read(tmp_path / "export.json"))


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("fox", ("animal", (("fox", 1.0),))),
        ("animal", ("animal", ())),
        ("person", ("person", ())),
        ("Vehicle ", ("vehicle", (("Vehicle ", 1.0),))),
    ],
)
def test_a_category_is_megadetectors_or_a_classification(
    tmp_path: Path, category: str, expected: tuple[str, Any]
) -> None:
    found = converted(tmp_path, export(categories=[{"id": 5, "name": category}]))
    [box] = found.images[0].detections
    assert (box.category, box.classifications) == expected


def test_an_integer_location_and_a_corrupt_picture_of_lila_are_kept(tmp_path: Path) -> None:
    [one] = converted(tmp_path, export([image(location=33, corrupt=True)])).images
    assert (one.facts.location, one.failure) == ("33", conversion.CORRUPT)
    assert one.detections == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"category_id": 0, "bbox": [0, 0, 640, 480]}, "category empty"),
        ({"bbox": None}, "no box: a label of the whole image"),
        ({"bbox": [1, 1, 0, 5]}, "box has no area"),
        ({"image_id": "gone"}, "annotations[0]: image gone is not in the COCO file"),
    ],
)
def test_a_row_that_results_cannot_hold_has_its_reason(
    tmp_path: Path, row: Any, reason: str
) -> None:
    found = converted(tmp_path, export(annotations=[annotation(**row)]))
    assert found.left_out[0][2].startswith(reason)
    assert found.images[0].detections == []


def test_detectors_boxes_are_no_persons_in_an_export() -> None:
    results = Results({"a.jpg": [Detection("animal", 0.8, (0.1, 0.1, 0.2, 0.2))]}, {})
    [row] = conversion.convert_to_catalogue(results, "d").annotations
    assert (row.category, row.validated, row.confidence) == ("animal", False, 0.8)


def test_the_likeliest_classification_is_the_category() -> None:
    said = (("fox", 0.2), ("bird", 0.7), ("cat", 0.1))
    results = Results({"a.jpg": [Detection("animal", 0.8, (0.1, 0.1, 0.2, 0.2), said)]}, {})
    assert conversion.convert_to_catalogue(results, "d").annotations[0].category == "bird"


def test_boxes_without_an_id_get_one_that_stays_and_is_theirs_alone() -> None:
    box = Detection("animal", 0.8, (0.1, 0.1, 0.2, 0.2))
    found = conversion.convert_to_catalogue(Results({"a.jpg": [box, box], "b.jpg": [box]}, {}), "d")
    again = conversion.convert_to_catalogue(Results({"b.jpg": [box]}, {}), "d")
    ids = [row.annotation_id for row in found.annotations]
    assert len(set(ids)) == 3
    assert again.annotations[0].annotation_id == ids[2]


def test_what_an_export_cannot_hold_of_results_has_its_reason() -> None:
    results = Results(
        {
            "a.jpg": [
                Detection("animal", 0.8, (1.5, 0.1, 0.2, 0.2)),
                Detection(" ", 0.8, (0, 0, 1, 1)),
            ],
            "b.jpg": [],
        },
        {},
        facts={"a.jpg": Facts("one"), "b.jpg": Facts("one")},
    )
    found = conversion.convert_to_catalogue(results, "d")
    assert [one.image_id for one in found.images] == ["one"]
    assert found.refused_images == [("b.jpg", "", "its id one is another image's, too")]
    reasons = [reason for _, _, reason in found.refused_annotations]
    assert reasons == ["box lies outside the frame", "its category has no name"]


# --- the command ----------------------------------------------------------------------------------


def test_the_command_converts_there_and_back(here: Path, pipeline: Pipeline) -> None:
    (here / "export.json").write_text(
        json.dumps(export(annotations=[annotation("1"), annotation("2", bbox=None)]))
    )
    done = pipeline("convert", "--input-file", "export.json", "--output-file", "md/results.json")
    assert (done.code, done.err) == (0, "")
    assert "1 images with 1 boxes (0 clipped to the frame) -> md/results.json;" in done.out
    assert "1  no box" in done.out
    done = pipeline(
        "convert", "--input-file", "md/results.json", "--output-file", "back.json", "--to", "coco"
    )
    assert done.code == 0
    row = coco.read(here / "back.json").annotations[0]
    assert (row.annotation_id, row.category, row.validated) == ("1", "fox", True)
    assert (here / "convert.json").exists()


def test_the_command_does_not_write_over_what_it_reads(here: Path, pipeline: Pipeline) -> None:
    (here / "a.json").write_text(json.dumps(export()))
    done = pipeline("convert", "--input-file", "a.json", "--output-file", "./a.json")
    assert (done.code, "name another" in done.err) == (2, True)
    assert json.loads((here / "a.json").read_bytes()) == export()


def test_a_file_that_would_hold_json_under_another_suffix_is_refused(
    here: Path, pipeline: Pipeline
) -> None:
    (here / "a.json").write_text("{}")
    done = pipeline("convert", "--input-file", "a.json", "--output-file", "out.csv")
    assert done.code == 2
    assert "out.csv: JSON is written" in done.err
    assert sorted(path.name for path in here.iterdir()) == ["a.json"]
