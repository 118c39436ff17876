"""COCO Camera Traps of every generation of Animl, with every record accounted for."""

import contextlib
import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from coco_file import ANIML, BASE, SHARED, Content, annotation, export, image, mutate, shared
from hypothesis import given, settings
from hypothesis import strategies as st

from animl_pipeline.catalogue.records import Catalogue
from animl_pipeline.errors import InputInvalid, InputMissing, PipelineError
from animl_pipeline.formats import coco


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Catalogue]:
    """Reads content as an export: an object, text or bytes."""

    def read(content: Any, **options: Any) -> Catalogue:
        path = tmp_path / "export.json"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            path.write_text(text, encoding="utf-8")
        return coco.read(path, **options)

    return read


Read = Callable[..., Catalogue]


def first_box(found: Catalogue) -> tuple[Any, str, str]:
    row = found.annotations[0]
    return row.box, row.reason, row.warning


# --- the files there are ---------------------------------------------------------------------


def test_the_fixture_of_today_is_read_with_every_broken_row_named() -> None:
    found = coco.read(shared(ANIML / "cct.json"))
    assert (found.dataset, found.key_field) == ("sci_biosecurity", "serving_bucket_key")
    assert (len(found.images), found.refused_images) == (20, [])
    assert len(found.annotations) == 23
    [(file_name, annotation_id, reason)] = found.refused_annotations
    assert (file_name, len(annotation_id)) == ("", 24)
    assert f"image sci_biosecurity:{'0' * 32} is not in the COCO file" in reason
    reasons = sorted(row.reason for row in found.annotations if row.reason)
    assert reasons == [
        "box has no area",
        "box is null",
        "category id 99 is not in the COCO file's categories",
    ]
    assert [row.warning for row in found.annotations if row.warning] == [
        "box leaves the frame: clipped"
    ]


def test_the_fixtures_burst_is_one_sequence_and_no_datetime_is_none() -> None:
    found = coco.read(shared(ANIML / "cct.json"))
    assert found.images[0].sequence == found.images[1].sequence == found.images[0].image_id
    assert (found.images[19].datetime, found.images[19].sequence) == ("", "")
    assert len({row.sequence for row in found.images}) == 19


def test_the_clean_fixture_has_no_problem() -> None:
    found = coco.read(shared(ANIML / "cct_clean.json"))
    assert (len(found.images), len(found.annotations)) == (12, 15)
    assert found.refused_images == found.refused_annotations == []
    assert not any(row.reason or row.warning for row in found.annotations)
    assert not any(row.unsafe for row in found.images)


def test_the_fixture_of_2023_takes_names_and_keys_from_the_relative_path() -> None:
    found = coco.read(shared(ANIML / "cct_2023.json"))
    assert found.key_field == "original_relative_path"
    assert found.images[0].file_name == found.images[0].key
    assert found.images[0].file_name == "X8114541/IMG_0001_a8a63b4d63a08aed720d0f5f249e07d9.jpg"
    assert (len(found.images), found.refused_images) == (20, [])


def test_the_truncated_fixture_is_explained_with_its_remedy() -> None:
    with pytest.raises(InputInvalid, match=r"cut off at line \d+.*18,000 images.*Export in parts"):
        coco.read(shared(ANIML / "cct_truncated.json"))


def test_the_caltech_set_is_read_whole() -> None:
    path = shared(SHARED / "data" / "cct20_cis_val_annotations.json")
    found = coco.read(path)
    raw = json.loads(path.read_text(encoding="utf-8"))
    assert (found.dataset, found.key_field) == (path.stem, "file_name")
    assert (len(found.images), found.refused_images) == (len(raw["images"]), [])
    assert len(found.annotations) == len(raw["annotations"])
    assert found.refused_annotations == []
    assert {row.location for row in found.images} == {str(r["location"]) for r in raw["images"]}
    assert found.images[0].datetime == raw["images"][0]["date_captured"]
    assert found.images[0].sequence == raw["images"][0]["seq_id"]
    boxed = [row for row in found.annotations if row.box]
    assert len(boxed) == sum("bbox" in record for record in raw["annotations"])
    assert all(min(row.box) >= 0 and max(row.box) <= 1 for row in boxed if row.box)


# --- generations and sets ---------------------------------------------------------------------


def test_a_key_of_today_goes_with_the_exports_file_name(read: Read) -> None:
    found = read(export([image(serving_bucket_key="original/a-original.jpg")]))
    assert (found.images[0].key, found.images[0].file_name) == ("original/a-original.jpg", "a.jpg")


def test_the_newest_generations_key_wins_and_an_image_without_it_has_none(read: Read) -> None:
    old = image("b", original_relative_path="x/b.jpg")
    found = read(export([image(serving_bucket_key="k"), old]))
    assert found.key_field == "serving_bucket_key"
    assert [row.key for row in found.images] == ["k", ""]


def test_a_key_field_that_is_given_is_used(read: Read) -> None:
    found = read(export([image(serving_bucket_key="k", mine="m")]), key_field="mine")
    assert (found.key_field, found.images[0].key) == ("mine", "m")


def test_a_camera_name_that_is_not_unique_is_no_matter_in_2023(read: Read) -> None:
    records = [
        image(name, file_name="IMG_0001.JPG", original_relative_path=f"cam/IMG_0001_{name}.jpg")
        for name in "ab"
    ]
    found = read(export(records))
    assert [row.file_name for row in found.images] == ["cam/IMG_0001_a.jpg", "cam/IMG_0001_b.jpg"]
    assert not any(row.unsafe for row in found.images)


def test_a_box_as_an_object_of_2022_is_a_box(read: Read) -> None:
    box = {"left": 64, "top": 48, "width": 320, "height": 240}
    assert first_box(read(export(annotations=[annotation(bbox=box)]))) == (
        (0.1, 0.1, 0.5, 0.5),
        "",
        "",
    )


def test_a_relative_box_is_a_box_and_needs_no_size(read: Read) -> None:
    record = annotation(bbox_relative=[0.1, 0.2, 0.3, 0.4])
    del record["bbox"]
    bare = {"id": "a", "file_name": "a.jpg"}
    asked: list[str] = []
    found = read(export([bare], [record]), read_size=lambda name: asked.append(name))
    assert first_box(found)[:2] == ((0.1, 0.2, 0.3, 0.4), "")
    assert asked == []


def test_a_relative_box_that_leaves_the_frame_is_clipped_and_said_even_without_a_size(
    read: Read,
) -> None:
    bare = {"id": "a", "file_name": "a.jpg"}
    record = annotation(bbox=None, bbox_relative=[0.5, 0.5, 0.9, 0.9])
    assert first_box(read(export([bare], [record]))) == (
        (0.5, 0.5, 0.5, 0.5),
        "",
        "box leaves the frame: clipped",
    )


def test_a_lila_record_has_its_location_date_and_sequence(read: Read) -> None:
    record = {"id": "a", "file_name": "a.jpg", "location": 33, "seq_id": "s1"}
    record |= {"date_captured": "2012-05-08 19:23:36"}
    row = read(export([record])).images[0]
    assert (row.location, row.datetime, row.sequence) == ("33", "2012-05-08 19:23:36", "s1")


@pytest.mark.parametrize("location", ["NA", "null", "007", "nan", "None", " x ", "Käfer", "a,b"])
def test_a_location_is_text_whatever_it_looks_like(read: Read, location: str) -> None:
    assert read(export([image(location=location)])).images[0].location == location


@pytest.mark.parametrize("location", [None, True, ["x"], {"x": 1}])
def test_a_location_that_is_no_text_is_none(read: Read, location: Any) -> None:
    assert read(export([image(location=location)])).images[0].location == ""


@pytest.mark.parametrize(
    ("description", "name"),
    [
        ("Image data exported from Animl project 'sci_bio'. Export ID: 1", "sci_bio"),
        ("Caltech Camera Traps", "export"),
        ("Animl project '../..'.", "export"),
        ("Animl project 'a/b'.", "export"),
        ("Animl project '\x00'.", "\ufffd"),
        (None, "export"),
        (["Animl project 'x'"], "export"),
    ],
)
def test_the_dataset_is_the_animl_project_or_else_the_files_name(
    read: Read, description: Any, name: str
) -> None:
    assert read(export() | {"info": {"description": description}}).dataset == name


def test_without_info_the_dataset_is_the_prefix_of_an_animl_id(read: Read) -> None:
    image_id = f"my_project:{'0' * 32}"
    content = export([image(image_id)], [annotation(image_id=image_id)])
    assert read(content).dataset == "my_project"
    assert read(content | {"info": "?"}).dataset == "my_project"


# --- sizes and boxes ----------------------------------------------------------------------------


def test_a_box_of_a_record_without_size_has_the_pictures(read: Read) -> None:
    bare = {"id": "a", "file_name": "x/a.jpg"}
    found = read(export([bare]), read_size={"x/a.jpg": (640, 480)}.get)
    assert first_box(found) == ((0.1, 0.1, 0.5, 0.5), "", "")
    assert (found.images[0].width_px, found.images[0].height_px) == (0, 0)


@pytest.mark.parametrize("read_size", [None, lambda _: None])
def test_a_box_without_any_size_has_the_reason(read: Read, read_size: Any) -> None:
    found = read(export([{"id": "a", "file_name": "a.jpg"}]), read_size=read_size)
    assert first_box(found)[0] is None
    assert "no width and height" in first_box(found)[1]


def test_a_picture_with_an_unsafe_name_is_never_opened(read: Read) -> None:
    asked: list[str] = []
    bare = {"id": "a", "file_name": "../secret.jpg"}
    read(export([bare]), read_size=lambda name: asked.append(name))
    assert asked == []


def test_a_picture_is_asked_for_its_size_only_where_a_box_needs_it(read: Read) -> None:
    asked: list[str] = []
    images = [{"id": name, "file_name": name} for name in "bcd"]
    rows = [
        annotation("2", image_id="b", bbox=[None] * 4),
        annotation("3", image_id="c", bbox=None),
        annotation("4", image_id="d"),
        annotation("5", image_id="d"),
        annotation("6"),
    ]

    def read_size(name: str) -> tuple[int, int]:
        asked.append(name)
        return 640, 480

    read(export([image(), *images], rows), read_size=read_size)
    assert asked == ["d"]


@pytest.mark.parametrize(
    "size", [(0, 480), (640, None), (-1, 480), (True, True), ("640", "480"), (1e300, 1e300)]
)
def test_a_size_that_is_none_is_no_size(read: Read, size: tuple[Any, Any]) -> None:
    row = read(export([image(width=size[0], height=size[1])])).images[0]
    assert (row.width_px, row.height_px) == (0, 0)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([None] * 4, "box is null"),
        ([1, 2, None, 4], "box is null"),
        ([], "box is not four finite numbers"),
        ([1, 2, 3], "box is not four finite numbers"),
        ([1, 2, 3, 4, 5], "box is not four finite numbers"),
        (["1", "2", "3", "4"], "box is not four finite numbers"),
        ([True, 2, 3, 4], "box is not four finite numbers"),
        ([1, 2, [3], 4], "box is not four finite numbers"),
        ("1 2 3 4", "box is not four finite numbers"),
        (7, "box is not four finite numbers"),
        ({}, "box is not four finite numbers"),
        ([float("nan"), 0, 1, 1], "box is not four finite numbers"),
        ([0, 0, float("inf"), 1], "box is not four finite numbers"),
        ([0, 0, 1e300, 1], "box is not four finite numbers"),
        ([0, 0, 10**400, 1], "box is not four finite numbers"),
        ([300, 200, 0, 0], "box has no area"),
        ([300, 200, 10, 0], "box has no area"),
        ([300, 200, -10, 10], "box has no area"),
        ([640, 0, 10, 10], "box lies outside the frame"),
        ([-20, 0, 20, 10], "box lies outside the frame"),
        ([0, 999_999_999, 10, 10], "box lies outside the frame"),
        (None, "no box: a label of the whole image"),
    ],
)
def test_a_box_that_cannot_be_used_has_the_reason(read: Read, box: Any, reason: str) -> None:
    assert first_box(read(export(annotations=[annotation(bbox=box)]))) == (None, reason, "")


def test_a_label_of_a_whole_sequence_is_called_so(read: Read) -> None:
    record = annotation(bbox=None, sequence_level_annotation=True)
    row = read(export(annotations=[record])).annotations[0]
    assert (row.sequence_level, row.reason) == (True, "no box: a label of the whole sequence")


@pytest.mark.parametrize(
    ("box", "expected", "warned"),
    [
        ([600, 440, 120, 90], (0.9375, 440 / 480, 0.0625, 40 / 480), True),
        ([-64, -48, 128, 96], (0, 0, 0.1, 0.1), True),
        ([-1000, -1000, 5000, 5000], (0, 0, 1, 1), True),
        ([601, 400, 40, 80], (601 / 640, 400 / 480, 39 / 640, 80 / 480), False),  # Animl rounds
    ],
)
def test_a_box_that_leaves_the_frame_is_clipped_and_by_more_than_rounding_said(
    read: Read, box: list[int], expected: tuple[float, ...], warned: bool
) -> None:
    found, reason, warning = first_box(read(export(annotations=[annotation(bbox=box)])))
    assert found == pytest.approx(expected)
    assert reason == ""
    assert bool(warning) == warned


NUMBER = st.floats() | st.integers() | st.floats(-100, 800) | st.integers(-10, 700)


@settings(deadline=None, max_examples=200)
@given(st.lists(NUMBER | st.none() | st.booleans(), min_size=3, max_size=5), st.booleans())
def test_any_box_is_inside_the_frame_or_has_a_reason(box: list[Any], relative: bool) -> None:
    record = {"bbox_relative" if relative else "bbox": box}
    found, reason, _ = coco.coco_box.read(record, (640, 480))
    assert (found is None) == bool(reason)
    if found:
        x, y, width, height = found
        assert min(x, y) >= 0
        assert min(width, height) > 0
        assert max(x + width, y + height) <= 1


# --- records ------------------------------------------------------------------------------------


def test_an_annotation_of_an_unknown_category_keeps_its_reason(read: Read) -> None:
    row = read(export(annotations=[annotation(category_id=99)])).annotations[0]
    assert (row.category, row.reason) == ("", "category id 99 is not in the COCO file's categories")


@pytest.mark.parametrize("category_id", [None, [5], {"a": 1}, 5.5, "fox", 10**1000])
def test_a_category_id_that_is_none_is_unknown(read: Read, category_id: Any) -> None:
    row = read(export(annotations=[annotation(category_id=category_id)])).annotations[0]
    assert row.category == ""
    assert "category id" in row.reason


def test_an_orphan_annotation_is_a_problem_with_its_place(read: Read) -> None:
    found = read(export(annotations=[annotation(), annotation("2", image_id="gone")]))
    assert found.refused_annotations == [
        ("", "2", "annotations[1]: image gone is not in the COCO file")
    ]


@pytest.mark.parametrize("image_id", [None, "", ["a"], {"a": 1}, 1.5])
def test_an_annotation_without_an_image_id_is_a_problem(read: Read, image_id: Any) -> None:
    found = read(export(annotations=[annotation(image_id=image_id)]))
    assert found.annotations == []
    assert "(no id) is not in the COCO file" in found.refused_annotations[0][2]


def test_an_image_id_that_is_there_twice_is_a_problem_and_the_first_stays(read: Read) -> None:
    found = read(export([image(), image(file_name="other.jpg")]))
    assert [row.file_name for row in found.images] == ["a.jpg"]
    assert found.refused_images == [
        ("other.jpg", "", "images[1]: image id a is there twice"),
    ]


def test_an_annotation_id_that_is_there_twice_is_a_problem(read: Read) -> None:
    found = read(export(annotations=[annotation("1"), annotation("1", category_id=0)]))
    assert [row.category for row in found.annotations] == ["fox"]
    assert found.refused_annotations == [
        ("a.jpg", "1", "annotations[1]: annotation id 1 is there twice")
    ]


def test_annotations_without_an_id_are_all_kept(read: Read) -> None:
    found = read(export(annotations=[annotation(None), annotation(None, bbox=[1, 1, 9, 9])]))
    assert [row.annotation_id for row in found.annotations] == ["", ""]


def test_integer_ids_join(read: Read) -> None:
    found = read(export([image(7)], [annotation(1, image_id=7)]))
    assert (found.images[0].image_id, found.annotations[0].annotation_id) == ("7", "1")


@pytest.mark.parametrize(
    "names",
    [
        ("a/b.jpg", "a/b.jpg"),
        ("a/B.jpg", "A/b.JPG"),
        ("straße.jpg", "STRASSE.jpg"),
        ("a/b.jpg", "a//b.jpg"),
        ("a/b.jpg", "./a/b.jpg"),
        ("a/b.jpg", "a/./b.jpg"),
        ("K\u00e4fer.jpg", "Ka\u0308fer.jpg"),
    ],
)
def test_two_names_of_one_file_are_told_apart_from_two_files(
    read: Read, names: tuple[str, str]
) -> None:
    records = [image(str(number), file_name=name) for number, name in enumerate(names)]
    found = read(export(records, [annotation(image_id="0")]))
    assert [row.unsafe for row in found.images] == ["", "has the same name as image 0"]


@pytest.mark.parametrize(
    "name",
    [
        "cct.json",
        "CCT.JSON",
        "download.csv",
        "download.json",
        ".download.unfinished",
        "./cct.json",
        ".//download.csv",
        "cct.json/a.jpg",
        "cct.json.part",
    ],
)
def test_a_picture_cannot_take_the_place_of_our_own_files(read: Read, name: str) -> None:
    assert read(export([image(file_name=name)])).images[0].unsafe


@pytest.mark.parametrize("names", [("x/1.jpg", "x/1.jpg/2.jpg"), ("x/1.jpg/2.jpg", "X/1.JPG")])
def test_a_picture_cannot_have_the_name_of_anothers_folder(
    read: Read, names: tuple[str, str]
) -> None:
    found = read(export([image(str(key), file_name=name) for key, name in enumerate(names)]))
    assert not found.images[0].unsafe
    assert found.images[1].unsafe


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "a\x00.jpg", "", "\ud800.jpg"])
def test_an_unsafe_name_keeps_its_image_with_the_reason(read: Read, name: str) -> None:
    row = read(export([image(file_name=name)])).images[0]
    assert row.unsafe
    row.file_name.encode()


@pytest.mark.parametrize("image_id", [None, "", [], {}, 1.5, True])
def test_an_image_without_an_id_is_a_problem(read: Read, image_id: Any) -> None:
    found = read(export([image(), image(image_id, file_name="b.jpg")]))
    assert found.refused_images == [("b.jpg", "", "images[1] has no id")]


@pytest.mark.parametrize("name", [None, 5, ["a.jpg"]])
def test_an_image_without_a_name_is_a_problem(read: Read, name: Any) -> None:
    found = read(export([image(), image("b", file_name=name)]))
    assert found.refused_images[0][2] == "images[1] has no file_name"


@pytest.mark.parametrize("junk", [None, 5, "a", [], [1], True])
def test_a_record_that_is_no_object_is_a_problem_with_its_place(read: Read, junk: Any) -> None:
    found = read(export([image(), junk], [annotation(), junk]))
    assert found.refused_images == [("", "", "images[1] is not a record")]
    assert found.refused_annotations == [("", "", "annotations[1] is not a record")]


def test_text_no_file_can_hold_is_replaced(read: Read) -> None:
    record = image("a\ud800", location="x\x00y\udfff")
    found = read(export([record], [annotation(image_id="a\ud800")]))
    row = found.images[0]
    assert (row.image_id, row.location) == ("a?", "x\ufffdy?")
    assert found.annotations[0].image_id == row.image_id


def test_machine_labels_keep_their_confidence_and_state(read: Read) -> None:
    records = [
        annotation("1", confidence=0.75, validated=False),
        annotation("2", confidence=None, validated=True),
        annotation("3"),
        annotation("4", confidence=7),
        annotation("5", confidence="0.5"),
        annotation("6", confidence=float("nan")),
    ]
    found = read(export(annotations=records)).annotations
    assert [row.confidence for row in found] == [0.75, 1, 1, 1, 1, 1]
    assert [row.validated for row in found] == [False, True, True, True, True, True]


def test_two_categories_with_one_id_and_two_names_are_refused(read: Read) -> None:
    categories = [{"id": 5, "name": "fox"}, {"id": 5, "name": "bird"}]
    with pytest.raises(InputInvalid, match=r"category id 5 is both 'fox' and 'bird'"):
        read(export(categories=categories))


def test_a_category_that_is_there_twice_alike_is_one(read: Read) -> None:
    categories = [{"id": 5, "name": "fox"}] * 2
    assert read(export(categories=categories)).annotations[0].category == "fox"


@pytest.mark.parametrize("junk", [None, "fox", {"id": 1}, {"name": "fox"}, {"id": 1, "name": ""}])
def test_a_category_without_id_and_name_is_refused_with_its_place(read: Read, junk: Any) -> None:
    with pytest.raises(InputInvalid, match=r"categories\[1\] has no id and name"):
        read(export(categories=[{"id": 5, "name": "fox"}, junk]))


# --- files that are none --------------------------------------------------------------------------


def test_a_missing_export_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"gone\.json is not there: give a COCO Camera Traps"):
        coco.read(tmp_path / "gone.json")


def test_a_folder_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="cannot be read"):
        coco.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("image_id,file_name\n1,a.jpg\n", "is not JSON"),
        ("<html>Access denied</html>", "is not JSON"),
        ("[]", "it has no list 'images'"),
        ("null", "it has no list 'images'"),
        ("5", "it has no list 'images'"),
        ("{}", "it has no list 'images'"),
        ('{"images": {}, "annotations": [], "categories": []}', "it has no list 'images'"),
        ('{"images": [1], "annotations": null, "categories": []}', "no list 'annotations'"),
        ('{"images": [1], "annotations": []}', "it has no list 'categories'"),
        ('{"images": [], "annotations": [], "categories": []}', "holds no images: widen"),
        ('{"images": [5, {}], "annotations": [], "categories": []}', "none of 2 images can be"),
        ("[" * 100_000, "cannot be read|is not JSON"),
        ('{"images": ' + "[" * 100_000 + "]" * 100_000 + "}", "cannot be read"),
        ('{"images": [' + "9" * 5000 + "]}", "cannot be read"),
        ('{"images": [1], "annotations": [], "categories": []} x', "is not valid JSON"),
        (b"\xff\xfe{\x00}\x00", "is not UTF-8 text"),
        ('{"images": [], "location": "Käfer"}'.encode("latin-1"), "is not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8 text"),
        (b"\0" * 100, "is not JSON"),
    ],
)
def test_a_file_that_is_no_export_says_what_it_is(
    read: Read, content: str | bytes, message: str
) -> None:
    with pytest.raises(InputInvalid, match=message):
        read(content)


def test_a_byte_order_mark_is_no_matter(read: Read) -> None:
    assert len(read(json.dumps(export()).encode("utf-8-sig")).images) == 1


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.7])
def test_an_export_that_is_cut_off_says_so(read: Read, kept: float) -> None:
    text = json.dumps(export([image(str(number)) for number in range(50)]))
    with pytest.raises(InputInvalid, match=r"is cut off at line 1: its end is missing"):
        read(text[: int(len(text) * kept)])


def test_an_export_that_is_whole_but_for_a_comma_is_not_called_cut_off(read: Read) -> None:
    content = export(annotations=[annotation(str(number)) for number in range(50)])
    ordered = {key: content[key] for key in ("categories", "images", "annotations")}  # LILA's
    broken = json.dumps(ordered).replace('"image_id": "a"', '"image_id": "a",', 1)
    with pytest.raises(InputInvalid, match="is not valid JSON"):
        read(broken)


# --- anything -------------------------------------------------------------------------------------


def account(path: Path) -> bool:
    """Whether it is an export at all; if so, every record of it has to be accounted for."""
    try:
        found = coco.read(path, read_size=lambda _: (640, 480))
    except PipelineError:
        return False
    raw = json.loads(path.read_text(encoding="utf-8-sig"))
    assert len(found.images) + len(found.refused_images) == len(raw["images"])
    assert len(found.annotations) + len(found.refused_annotations) == len(raw["annotations"])
    ids = {row.image_id for row in found.images}
    for row in found.annotations:
        assert row.image_id in ids
        assert (row.box is None or not row.category) == bool(row.reason)
        assert 0 <= row.confidence <= 1
    for record in [*found.images, *found.annotations, *found.refused_images]:
        for value in record:
            assert not isinstance(value, str) or "\0" not in value.encode().decode()
    return True


def test_an_export_with_its_structure_mutated_is_accounted_for_or_refused(tmp_path: Path) -> None:
    rng = random.Random(0)
    path = tmp_path / "export.json"
    exports = 0
    for _ in range(600):
        content = copy.deepcopy(BASE)
        for _ in range(rng.choice([1, 2, 5, 20])):
            mutate(content, rng)
        path.write_text(json.dumps(content), encoding="utf-8")
        exports += account(path)
    assert exports > 200  # else it tests little but refusals


def test_an_export_with_its_text_mutated_is_accounted_for_or_refused(tmp_path: Path) -> None:
    rng = random.Random(1)
    text = json.dumps(BASE, indent=1).encode()
    path = tmp_path / "export.json"
    for _ in range(600):
        changed = bytearray(text)
        for _ in range(rng.choice([1, 2, 8])):
            start = rng.randrange(len(changed))
            action = rng.randrange(4)
            if action == 0:
                changed[start] = rng.randrange(256)
            elif action == 1:
                changed[start] = rng.choice(b'{}[]",:0-e\\ ')
            elif action == 2:
                del changed[start : start + rng.randrange(20)]
            else:
                changed[start:start] = changed[start : start + rng.randrange(40)]
        path.write_bytes(changed)
        account(path)


def test_the_fixture_mutated_is_accounted_for_or_refused(tmp_path: Path) -> None:
    base = json.loads(shared(ANIML / "cct.json").read_text(encoding="utf-8"))
    rng = random.Random(2)
    path = tmp_path / "export.json"
    for _ in range(150):
        content = copy.deepcopy(base)
        for _ in range(rng.choice([1, 5, 50])):
            mutate(content, rng)
        path.write_text(json.dumps(content), encoding="utf-8")
        account(path)


@pytest.mark.parametrize("field", ["images", "annotations", "categories"])
def test_a_value_nested_as_deep_as_json_allows_is_no_traceback(tmp_path: Path, field: str) -> None:
    path = tmp_path / "export.json"
    for depth in range(700, 1000, 3):
        deep = "[" * depth + "]" * depth
        for key in BASE[field][0]:
            content = copy.deepcopy(BASE)
            content[field][0][key] = "DEEP"
            path.write_text(json.dumps(content).replace('"DEEP"', deep))
            with contextlib.suppress(PipelineError):
                coco.read(path)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "file_name", "name", "image_id", "category_id", "bbox"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(
    st.fixed_dictionaries(
        {
            "images": st.lists(ANYTHING, max_size=4),
            "annotations": st.lists(ANYTHING, max_size=4),
            "categories": st.just(BASE["categories"]) | st.lists(ANYTHING, max_size=2),
        }
    )
)
def test_anything_at_all_is_accounted_for_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: Content
) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    account(path)
