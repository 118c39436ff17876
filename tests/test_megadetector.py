"""MegaDetector results: every version read, what is written passes MegaDetector's own validator."""

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from megadetector_validator import errors_of_megadetector

from animl_pipeline.catalogue.records import DetectedImage, Detection, Facts, Results
from animl_pipeline.errors import InputInvalid, InputMissing, PipelineError
from animl_pipeline.formats import megadetector

Content = dict[str, Any]
Read = Callable[..., Results]
FOX = {"category": "1", "conf": 0.93, "bbox": [0.1, 0.2, 0.3, 0.4]}


def results(*images: Any, **more: Any) -> Content:
    return {
        "info": {"format_version": "1.4", "detector": "md_v5a.0.0.pt"},
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "images": list(images),
    } | more


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads content as a results file: an object, text or bytes."""

    def read(content: Any) -> Results:
        path = tmp_path / "results.json"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return megadetector.read(path)

    return read


def test_a_minimal_file_of_the_first_version_is_read(read: Read) -> None:
    found = read({"images": [{"file": "a.jpg", "max_detection_conf": 0.93, "detections": [FOX]}]})
    assert found == Results({"a.jpg": [Detection("animal", 0.93, (0.1, 0.2, 0.3, 0.4))]}, {})


def test_a_file_of_the_newest_version_is_read_with_fields_we_do_not_know(read: Read) -> None:
    detection = FOX | {"classifications": [["7", 0.9]], "track_id": 3}
    record = {"file": "a.jpg", "detections": [detection], "exif_metadata": {"x": 1}}
    content = results(record, classification_categories={"7": "fox"}, anything=[1])
    assert read(content).detections["a.jpg"][0].category == "animal"


def test_a_failure_has_its_reason_and_no_detections(read: Read) -> None:
    found = read(results({"file": "a.jpg", "failure": "Failure image access", "detections": None}))
    assert found == Results({"a.jpg": []}, {"a.jpg": "Failure image access"})


@pytest.mark.parametrize("more", [{}, {"detections": None}, {"detections": []}, {"failure": None}])
def test_an_image_without_detections_is_held_and_has_none(read: Read, more: Content) -> None:
    assert read(results({"file": "a.jpg"} | more)) == Results({"a.jpg": []}, {})


@pytest.mark.parametrize(("conf", "expected"), [(1, 1.0), (0, 0.0)])
def test_a_whole_number_is_a_confidence(read: Read, conf: int, expected: float) -> None:
    found = read(results({"file": "a.jpg", "detections": [FOX | {"conf": conf}]}))
    assert found.detections["a.jpg"][0].confidence == expected
    assert isinstance(found.detections["a.jpg"][0].confidence, float)


def test_a_category_as_a_number_is_its_id(read: Read) -> None:
    found = read(results({"file": "a.jpg", "detections": [FOX | {"category": 2}]}))
    assert found.detections["a.jpg"][0].category == "person"


def test_categories_of_the_file_win_over_megadetectors_own(read: Read) -> None:
    content = results({"file": "a.jpg", "detections": [FOX]}, detection_categories={"1": "fox"})
    assert read(content).detections["a.jpg"][0].category == "fox"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"category": "9"}, "category '9' is not in detection_categories"),
        ({"category": None}, "category 'None' is not in"),
        ({"conf": None}, "conf is not a number from 0 to 1: None"),
        ({"conf": "0.9"}, "conf is not a number"),
        ({"conf": True}, "conf is not a number"),
        ({"conf": 1.5}, "conf is not a number from 0 to 1: 1.5"),
        ({"conf": -0.1}, "conf is not a number"),
        ({"conf": float("nan")}, "conf is not a number"),
        ({"conf": 10**400}, "conf is not a number"),
        ({"bbox": None}, "bbox is not four numbers: None"),
        ({"bbox": [0.1, 0.2, 0.3]}, "bbox is not four numbers"),
        ({"bbox": [0.1, 0.2, 0.3, "0.4"]}, "bbox is not four numbers"),
        ({"bbox": [0.1, 0.2, 0.3, None]}, "bbox is not four numbers"),
        ({"bbox": [0.1, 0.2, 0.3, float("inf")]}, "bbox is not four numbers"),
        ({"bbox": [0.1, 0.2, 0.3, 10**400]}, "bbox is not four numbers"),
        ({"bbox": {"x": 1}}, "bbox is not four numbers"),
    ],
)
def test_a_broken_detection_is_refused_with_its_row(
    read: Read, broken: Content, message: str
) -> None:
    content = results({"file": "a.jpg"}, {"file": "b.jpg", "detections": [FOX | broken]})
    with pytest.raises(InputInvalid, match=r"results\.json: images\[1\]: ") as caught:
        read(content)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (None, "has no file"),
        ("a.jpg", "has no file"),
        ({}, "has no file"),
        ({"file": 5}, "has no file"),
        ({"file": "b.jpg", "detections": {"a": 1}}, "detections is not a list"),
        ({"file": "b.jpg", "detections": [None]}, "bbox is not four numbers"),
        ({"file": "b.jpg", "detections": [5]}, "bbox is not four numbers"),
    ],
)
def test_a_broken_record_is_refused_with_its_row(read: Read, record: Any, message: str) -> None:
    with pytest.raises(InputInvalid, match=r"results\.json: images\[1\]") as caught:
        read(results({"file": "a.jpg"}, record))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("[]", "is JSON, but not a MegaDetector results file"),
        ('{"images": {}}', "it has no list 'images'"),
        ('{"images": [], "detection_categories": []}', "detection_categories is not an object"),
        (b"\xff\xfe", "is not UTF-8 text"),
        ("[" * 100_000, "results.json"),
    ],
)
def test_a_file_that_is_none_says_what_it_is(read: Read, content: Any, message: str) -> None:
    with pytest.raises(InputInvalid, match=message):
        read(content)


def test_a_missing_file_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"give a MegaDetector results file"):
        megadetector.read(tmp_path / "gone.json")


def test_a_file_that_is_there_twice_loses_no_detection_in_silence(read: Read) -> None:
    other = FOX | {"bbox": [0.5, 0.5, 0.1, 0.1]}
    content = results(
        {"file": "a.jpg", "detections": [FOX]}, {"file": "a.jpg", "detections": [other]}
    )
    try:
        found = read(content)
    except InputInvalid as error:
        said = str(error)
    else:
        said = "images[1]: a.jpg" if len(found.detections["a.jpg"]) == 2 else ""
    assert "a.jpg" in said


def test_a_reason_no_file_can_hold_is_replaced(read: Read) -> None:
    found = read(json.dumps(results({"file": "a.jpg", "failure": "bad \ud800 name"})))
    found.failures["a.jpg"].encode()


def test_a_results_file_mutated_is_read_or_refused(read: Read) -> None:
    rng = random.Random(0)
    junk: list[Any] = [None, True, -1, 10**400, 1.5, "", "\ud800", [], {}, [0, 0, 1, 1], [[]]]
    base = results(
        {"file": "a.jpg", "detections": [FOX, FOX | {"category": "2"}]},
        {"file": "b.jpg", "failure": "Failure image access", "detections": None},
    )
    read_whole = 0
    for _ in range(400):
        content = copy.deepcopy(base)
        places: list[tuple[Any, Any]] = []
        todo: list[Any] = [content]
        for place in todo:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            places += [(place, key) for key in keys]
            todo += [place[key] for key in keys if isinstance(place[key], dict | list)]
        for place, key in rng.sample(places, rng.choice([1, 1, 3])):
            place[key] = rng.choice(junk)
        try:
            read(content)
            read_whole += 1
        except PipelineError:
            continue
    assert read_whole > 50


# --- what is written ------------------------------------------------------------------------------

BOX = (0.1, 0.2, 0.3, 0.4)
WHOLE = (0.0, 0.0, 1.0, 1.0)
FACTS = Facts("p:1", "Harbor", "2023-03-02T06:41:10.000-08:00", "burst", 640, 480)
USED = [
    DetectedImage("p/a.jpg", [
        Detection("animal", 1.0, BOX, (("fox", 1.0),), "bc21", validated=True),
        Detection("animal", 0.5, WHOLE, (("scrub jay", 0.75), ("fox", 0.25))),
        Detection("person", 0.5, WHOLE),
    ], "", FACTS),
    DetectedImage("p/b.jpg", []),
    DetectedImage("p/c.jpg", [Detection("animal", 1.0, BOX)],
          "image is truncated: image file is truncated", Facts(location="NA")),
]  # fmt: skip


@pytest.mark.parametrize("images", [USED, [], USED[1:2]])
def test_what_is_written_passes_megadetectors_own_validator(
    tmp_path: Path, images: list[DetectedImage]
) -> None:
    megadetector.write(tmp_path / "d.json", images, detector="boxes of people")
    assert errors_of_megadetector(tmp_path / "d.json") == []


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    megadetector.write(tmp_path / "d.json", USED, detector="boxes of people")
    found = megadetector.read(tmp_path / "d.json")
    assert found.detections == {"p/a.jpg": USED[0].detections, "p/b.jpg": [], "p/c.jpg": []}
    assert found.classes == ("fox", "scrub jay")
    assert found.failures == {"p/c.jpg": "image is truncated: image file is truncated"}
    assert found.facts == {"p/a.jpg": FACTS, "p/c.jpg": Facts(location="NA")}


def test_what_is_written_is_in_the_newest_version_of_the_format(tmp_path: Path) -> None:
    megadetector.write(tmp_path / "d.json", USED, detector="people", info={"threshold": 0.1})
    content = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))
    batch = pytest.importorskip("megadetector.detection.run_detector_batch")
    assert content["info"] == {
        "format_version": batch.current_format_version,
        "detector": "people",
        "threshold": 0.1,
    }


def test_a_category_of_other_results_is_written_as_an_animal_of_that_name(tmp_path: Path) -> None:
    megadetector.write(tmp_path / "d.json", [DetectedImage("a.jpg", [Detection("fox", 0.5, BOX)])],
                       detector="x")  # fmt: skip
    [found] = megadetector.read(tmp_path / "d.json").detections["a.jpg"]
    assert found == Detection("animal", 0.5, BOX, (("fox", 1.0),))


def test_images_may_be_made_one_by_one(tmp_path: Path) -> None:
    megadetector.write(tmp_path / "d.json", iter(USED), detector="x")
    assert len(megadetector.read(tmp_path / "d.json").detections) == 3


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=8).filter(str.isprintable).filter(str.strip),
            st.floats(0, 1),
            st.tuples(*[st.floats(0, 1)] * 4),
        ),
        max_size=5,
    )
)
def test_any_boxes_are_valid_and_read_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    boxes: list[tuple[str, float, tuple[float, float, float, float]]],
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    found_boxes = [Detection("animal", conf, box, ((name, 1.0),)) for name, conf, box in boxes]
    megadetector.write(path, [DetectedImage("a.jpg", found_boxes)], detector="x")
    assert errors_of_megadetector(path) == []
    found = megadetector.read(path).detections["a.jpg"]
    assert [(d.confidence, d.box) for d in found] == [(conf, box) for _, conf, box in boxes]
