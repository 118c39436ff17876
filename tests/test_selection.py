"""Which boxes of an export become crops, and the reason for every row that does not."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animl_pipeline.boxes import Box
from animl_pipeline.catalogue.records import (
    Annotation,
    Catalogue,
    Detection,
    Image,
    Refused,
    Results,
)
from animl_pipeline.crops.selection import USED, Selection, name_box, select
from animl_pipeline.crops.settings import SelectionRules

BOX: Box = (0.1, 0.2, 0.3, 0.4)
NO_BOX = "no box: a label of the whole image"


def image(image_id: str = "a", unsafe: str = "") -> Image:
    return Image(image_id, f"{image_id}.jpg", "", "", "", "", 640, 480, unsafe)


def row(annotation_id: str = "1", **changed: Any) -> Annotation:
    found = Annotation(
        annotation_id=annotation_id,
        image_id="a",
        category="fox",
        validated=True,
        sequence_level=False,
        confidence=1.0,
        box=BOX,
        reason="",
        warning="",
    )
    return found._replace(**changed)


def label(annotation_id: str = "1", **changed: Any) -> Annotation:
    """A label of an image, without a box."""
    return row(annotation_id, **({"box": None, "reason": NO_BOX} | changed))


def detection(category: str = "animal", confidence: float = 0.9, box: Box = BOX) -> Detection:
    return Detection(category, confidence, box)


def chosen(
    *rows: Annotation,
    detections: list[Detection] | Results | None = None,
    images: list[Image] | None = None,
    include_unvalidated: bool = False,
    sequence_labels: bool = False,
) -> Selection:
    results = Results({"a.jpg": detections}, {}) if isinstance(detections, list) else detections
    export = Catalogue(images or [image()], list(rows), [], [], "d", "file_name")
    rules = SelectionRules(
        threshold=0.2,
        iou=0.5,
        include_unvalidated=include_unvalidated,
        sequence_labels=sequence_labels,
    )
    return select(export, results, rules)


def reasons(selection: Selection) -> list[str]:
    return [reason for _, _, reason in selection.refused]


def test_a_persons_box_becomes_a_crop_with_its_category() -> None:
    found = chosen(row("bc21"))
    [box] = found.boxes["a"]
    assert (box.box_id, box.annotation_id, box.category) == ("bc21", "bc21", "fox")
    assert (box.box, box.confidence, found.refused) == (BOX, 1.0, [])


def test_every_box_of_an_image_becomes_a_crop() -> None:
    found = chosen(row("1"), row("2", category="bird"), row("3"))
    assert [box.category for box in found.boxes["a"]] == ["fox", "bird", "fox"]


def test_a_warning_goes_with_its_box() -> None:
    found = chosen(row(warning="box leaves the frame: clipped"))
    assert found.boxes["a"][0].warning == "box leaves the frame: clipped"


def test_a_validated_box_is_certain_and_an_unvalidated_has_the_machines_confidence() -> None:
    found = chosen(
        row("1", confidence=0.6),
        row("2", confidence=0.6, validated=False),
        include_unvalidated=True,
    )
    assert [box.confidence for box in found.boxes["a"]] == [1.0, 0.6]


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (row(validated=False), "not validated by a person"),
        (row(category="empty"), "category empty is not an animal"),
        (row(category="Person"), "category Person is not an animal"),
        (row(category=" vehicle "), "category  vehicle  is not an animal"),
        (row(category="", reason="category id 99 is not in the COCO file's categories"),
         "category id 99 is not in the COCO file's categories"),
        (row(box=None, reason="box has no area"), "box has no area"),
        (label(), NO_BOX),
    ],
)  # fmt: skip
def test_a_row_that_gives_no_crop_has_its_reason(refused: Annotation, reason: str) -> None:
    found = chosen(refused)
    assert found.refused == [("a.jpg", "1", reason)]
    assert "a" not in found.boxes


def test_an_image_without_an_annotation_is_said() -> None:
    assert chosen().refused == [("a.jpg", "", "no annotation")]


def test_an_image_with_an_unsafe_name_is_said_for_each_annotation() -> None:
    found = chosen(row("1"), row("2"), images=[image(unsafe="is too long")])
    assert found.refused == [(f"{'a'}.jpg", id_, "file_name is too long") for id_ in "12"]
    assert not found.boxes
    assert chosen(images=[image(unsafe="is too long")]).refused == [
        ("a.jpg", "", "file_name is too long")
    ]


def test_the_problems_of_the_export_are_refused_rows() -> None:
    problems: list[Refused] = [("a.jpg", "", "images[1]: twice"), ("", "9", "annotations[2]: gone")]
    export = Catalogue([image()], [row()], problems[:1], problems[1:], "d", "file_name")
    rules = SelectionRules(threshold=0.2, iou=0.5, include_unvalidated=False, sequence_labels=False)
    assert select(export, None, rules).refused == problems


# --- a detector's boxes ---------------------------------------------------------------------------


def test_detections_take_the_images_one_label() -> None:
    found = chosen(label(), detections=[detection(), detection(box=(0.5, 0.5, 0.1, 0.1))])
    assert [box.category for box in found.boxes["a"]] == ["fox", "fox"]
    assert [box.annotation_id for box in found.boxes["a"]] == ["", ""]
    assert found.boxes["a"][0].confidence == 0.9
    assert found.refused == []


def test_two_rows_with_the_same_label_are_one_label() -> None:
    found = chosen(label("1"), label("2"), detections=[detection()])
    assert len(found.boxes["a"]) == 1


def test_several_labels_are_not_guessed_between() -> None:
    found = chosen(label("1"), label("2", category="bird"), detections=[detection()])
    assert not found.boxes
    assert (
        reasons(found)
        == [f"{NO_BOX}; several categories (bird, fox): which detection is which?"] * 2
    )


def test_a_sequences_label_is_not_used_for_one_images_detections() -> None:
    found = chosen(label(sequence_level=True), detections=[detection()])
    assert not found.boxes
    assert "a sequence's label says too little" in reasons(found)[0]


def test_a_label_of_a_sequence_is_used_where_that_is_asked_for() -> None:
    rows = label(sequence_level=True), label("2", category="person")
    found = chosen(*rows, detections=[detection()], sequence_labels=True)
    assert [box.category for box in found.boxes["a"]] == ["fox"]
    assert found.refused == [("a.jpg", "2", "category person is not an animal")]


def test_an_images_own_label_is_used_beside_one_of_its_sequence() -> None:
    rows = label("1"), label("2", category="bird", sequence_level=True)
    found = chosen(*rows, detections=[detection()])
    assert [box.category for box in found.boxes["a"]] == ["fox"]
    assert [id_ for _, id_, _ in found.refused] == ["2"]
    assert "a sequence's label says too little" in reasons(found)[0]


def test_a_persons_box_wins_over_a_detection_that_overlaps_it() -> None:
    over = detection(box=(0.1, 0.2, 0.3, 0.3))
    found = chosen(row("1"), detections=[over, detection(box=(0.6, 0.6, 0.2, 0.2))])
    assert [(box.annotation_id, box.box) for box in found.boxes["a"]] == [
        ("1", BOX),
        ("", (0.6, 0.6, 0.2, 0.2)),
    ]
    assert found.detections == {"overlaps a box of the COCO file, which wins": 1, USED: 1}


@pytest.mark.parametrize(
    "other", [{"category": "person"}, {"category": "vehicle"}, {"validated": False}]
)
def test_a_box_that_gives_no_crop_takes_the_detection_that_overlaps_it_along(
    other: dict[str, Any],
) -> None:
    found = chosen(label("1"), row("2", **other), detections=[detection()])
    assert not found.boxes
    assert len(found.refused) == 2


def test_a_frame_that_someone_called_empty_does_not_hide_what_is_in_it() -> None:
    whole = row("2", category="empty", box=(0.0, 0.0, 1.0, 1.0))
    found = chosen(label("1"), whole, detections=[detection(box=(0.0, 0.0, 0.9, 0.9))])
    assert len(found.boxes["a"]) == 1


def test_a_category_that_nobody_validated_is_reason_to_doubt_the_others() -> None:
    rows = label("1"), row("2", category="bird", box=(0.8, 0.8, 0.1, 0.1), validated=False)
    found = chosen(*rows, detections=[detection()])
    assert not found.boxes
    assert "several categories (bird, fox)" in reasons(found)[1]


def test_a_persons_boxes_of_two_categories_leave_other_detections_without_a_label() -> None:
    rows = row("1"), row("2", category="bird", box=(0.8, 0.8, 0.1, 0.1))
    found = chosen(*rows, detections=[detection(box=(0.5, 0.1, 0.2, 0.2))])
    assert [box.annotation_id for box in found.boxes["a"]] == ["1", "2"]
    assert sum(found.detections.values()) == 1
    assert "several categories" in next(iter(found.detections))


def test_every_detection_is_counted_by_what_became_of_it() -> None:
    results = Results(
        {
            "a.jpg": [
                detection(),
                detection(),
                detection("person"),
                detection(confidence=0.1),
                detection(box=(1.1, 0.0, 0.2, 0.2)),
            ],
            "b.jpg": [detection()],
            "gone.jpg": [detection(), detection()],
        },
        {},
    )
    found = chosen(label(), images=[image("a"), image("b")], detections=results)
    assert found.detections == {
        USED: 1,
        "the same box is there twice": 1,
        "category person": 1,
        "below the threshold 0.2": 1,
        "box lies outside the frame": 1,
        "its image has no label of an animal": 1,
        "not of an image of the COCO file that can be used": 2,
    }


@pytest.mark.parametrize("category", ["empty", "person", "vehicle"])
def test_an_image_of_no_animal_takes_no_detections(category: str) -> None:
    found = chosen(label(category=category), detections=[detection()])
    assert not found.boxes
    assert reasons(found) == [f"category {category} is not an animal"]


def test_a_person_beside_an_animal_is_no_second_label() -> None:
    found = chosen(label("1"), label("2", category="person"), detections=[detection()])
    assert [box.category for box in found.boxes["a"]] == ["fox"]
    assert found.refused == [("a.jpg", "2", "category person is not an animal")]


def test_a_label_no_person_validated_takes_no_detections() -> None:
    found = chosen(label(validated=False), detections=[detection()])
    assert not found.boxes
    assert reasons(found) == ["not validated by a person"]


@pytest.mark.parametrize(
    "detections",
    [
        [],
        [detection("person")],
        [detection(confidence=0.19)],
        [detection(box=(0.1, 0.1, 0.0, 0.2))],
        [detection(box=(1.2, 0.1, 0.1, 0.2))],
    ],
)
def test_an_image_without_a_detected_animal_says_so(detections: list[Detection]) -> None:
    found = chosen(label(), detections=detections)
    assert not found.boxes
    assert reasons(found) == [f"{NO_BOX}; no animal detected at 0.2 or more"]


def test_the_threshold_is_the_least_confidence_that_is_cut() -> None:
    found = chosen(label(), detections=[detection(confidence=0.2), detection(confidence=0.1)])
    assert [box.confidence for box in found.boxes["a"]] == [0.2]


def test_a_detection_is_clipped_to_the_frame() -> None:
    found = chosen(label(), detections=[detection(box=(-0.1, 0.8, 0.3, 0.4))])
    assert found.boxes["a"][0].box == pytest.approx((0.0, 0.8, 0.2, 0.2))


def test_an_image_the_detector_failed_on_says_so() -> None:
    found = chosen(label(), detections=Results({"a.jpg": []}, {"a.jpg": "Failure image open"}))
    assert reasons(found) == [f"{NO_BOX}; the detector failed on it: Failure image open"]


def test_an_image_the_detector_never_saw_says_so() -> None:
    found = chosen(label(), detections=Results({}, {}))
    assert reasons(found) == [f"{NO_BOX}; the detector's results do not hold it"]


# --- the id of a box ------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", ["bc21fd1feac35a4eaf62d07e", "1", "A-7", "x" * 64])
def test_an_id_that_can_be_a_file_name_is_the_boxs_id(plain: str) -> None:
    assert name_box(plain, "fox", BOX) == plain


@pytest.mark.parametrize("foreign", ["../../id", "a/b", "a b", "x" * 65, "a\n", "ä", "a___b", "."])
def test_a_foreign_id_is_hashed_into_a_plain_one(foreign: str) -> None:
    found = name_box(foreign, "fox", BOX)
    assert found.startswith("box-")
    assert found.replace("-", "").isalnum()
    assert found == name_box(foreign, "bird", (0.0, 0.0, 1.0, 1.0))
    assert found != name_box(foreign + "x", "fox", BOX)


def test_a_box_without_an_id_has_one_of_its_own_place_and_category() -> None:
    ids = {
        name_box("", "fox", BOX),
        name_box("", "bird", BOX),
        name_box("", "fox", (0.1, 0.2, 0.3, 0.5)),
    }
    assert len(ids) == 3


def test_an_id_stays_when_other_boxes_come_or_go() -> None:
    rows = [row("1"), row("", box=(0.5, 0.5, 0.2, 0.2)), row("x/y", box=(0.3, 0.3, 0.2, 0.2))]
    together = [box.box_id for box in chosen(*rows).boxes["a"]]
    alone = [chosen(one).boxes["a"][0].box_id for one in rows]
    assert together == alone


def test_detections_keep_their_ids_when_others_come_or_go() -> None:
    other = detection(box=(0.5, 0.5, 0.1, 0.1))
    both = {box.box_id for box in chosen(label(), detections=[detection(), other]).boxes["a"]}
    alone = {box.box_id for box in chosen(label(), detections=[other]).boxes["a"]}
    assert alone < both


def test_the_same_box_twice_without_an_id_is_one_crop_or_two_names() -> None:
    found = chosen(row(""), row(""))
    ids = [box.box_id for box in found.boxes["a"]]
    assert len(ids) == len(set(ids))
    assert len(ids) + len(found.refused) == 2  # the other one is accounted for


def test_the_same_detection_twice_is_one_crop_or_two_names() -> None:
    found = chosen(label(), detections=[detection(), detection()])
    ids = [box.box_id for box in found.boxes["a"]]
    assert ids
    assert len(ids) == len(set(ids))


ROWS = st.lists(
    st.builds(
        row,
        image_id=st.sampled_from("abcd"),
        category=st.sampled_from(["fox", "bird", "empty", "Person"]),
        validated=st.booleans(),
        sequence_level=st.booleans(),
        box=st.sampled_from([BOX, (0.5, 0.5, 0.1, 0.1), None]),
    ),
    max_size=8,
).map(
    lambda rows: [
        one._replace(annotation_id=f"{number}", reason="" if one.box else NO_BOX)
        for number, one in enumerate(rows)
    ]
)
DETECTIONS = st.lists(
    st.builds(
        detection,
        st.sampled_from(["animal", "person"]),
        st.sampled_from([0.1, 0.5]),
        st.tuples(*[st.floats(-0.5, 1.5)] * 4),
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=200)
@given(ROWS, DETECTIONS | st.none(), st.booleans())
def test_every_annotation_is_a_crop_or_refused_or_the_label_of_detections(
    rows: list[Annotation], found: list[Detection] | None, include_unvalidated: bool
) -> None:
    results = None if found is None else Results({"a.jpg": found, "b.jpg": []}, {})
    images = [image("a"), image("b"), image("c", unsafe="is too long"), image("d")]
    selection = chosen(
        *rows, detections=results, images=images, include_unvalidated=include_unvalidated
    )
    cut = {box.annotation_id for boxes in selection.boxes.values() for box in boxes}
    refused = [annotation_id for _, annotation_id, _ in selection.refused if annotation_id]
    assert len(refused) == len(set(refused))
    for one in rows:
        fates = [one.annotation_id in cut, one.annotation_id in refused]
        detected = one.box is None and "" in {box.annotation_id for box in
                                              selection.boxes.get(one.image_id, [])}  # fmt: skip
        assert sum(fates) == (0 if detected and not any(fates) else 1)
    without_rows = [said for said in selection.refused if not said[1]]
    assert len(without_rows) == len({one.image_id for one in images} - {r.image_id for r in rows})


@settings(deadline=None, max_examples=100)
@given(DETECTIONS)
def test_what_is_cut_of_detections_lies_in_the_frame_and_has_its_own_name(
    found: list[Detection],
) -> None:
    boxes = chosen(label(), detections=found).boxes.get("a", [])
    for box in boxes:
        x, y, width, height = box.box
        assert min(x, y) >= 0
        assert min(width, height) > 0
        assert max(x + width, y + height) <= 1 + 1e-12
    assert len({box.box_id for box in boxes}) == len(boxes)
