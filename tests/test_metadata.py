"""When and where an image was taken: EXIF as cameras write it, folders, a CSV, a COCO file."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from animl_pipeline.catalogue.sequences import parse_datetime
from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.prediction.metadata import read_datetime
from animl_pipeline.prediction.places import read_places

EXIF, DATETIME, ORIGINAL, OFFSET_ORIGINAL = 0x8769, 0x0132, 0x9003, 0x9011
NAMES = ["pier/a/1.jpg", "pier/a/2.jpg", "pier/b/1.jpg", "cove/1.jpg", "1.jpg"]


def picture(
    original: Any = None, offset: Any = None, changed: Any = None, kind: str = "JPEG"
) -> Image.Image:
    image = Image.new("RGB", (8, 8))
    exif = image.getexif()
    inner = {ORIGINAL: original, OFFSET_ORIGINAL: offset}
    if changed is not None:
        exif[DATETIME] = changed
    exif.get_ifd(EXIF).update({tag: value for tag, value in inner.items() if value is not None})
    file = io.BytesIO()
    image.save(file, kind, exif=exif)
    return Image.open(file)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_original_datetime_is_read_as_the_files_write_it(kind: str) -> None:
    image = picture("2006:08:14 22:34:00", changed="2020:01:01 00:00:00", kind=kind)
    assert read_datetime(image) == "2006-08-14 22:34:00"


def test_an_offset_is_kept_behind_it() -> None:
    text = read_datetime(picture("2006:08:14 22:34:00", "-08:00"))
    assert text == "2006-08-14 22:34:00-08:00"
    moment = parse_datetime(text)
    assert moment is not None
    assert moment.isoformat() == "2006-08-15T06:34:00+00:00"


@pytest.mark.parametrize("offset", ["", "   :  ", "PST", "+99:99", "-08"])
def test_an_offset_that_is_none_is_left_out(offset: str) -> None:
    assert read_datetime(picture("2006:08:14 22:34:00", offset)) == "2006-08-14 22:34:00"


@pytest.mark.parametrize(
    "text",
    ["", "0000:00:00 00:00:00", "    :  :     :  :  ", "2006:02:30 10:00:00", "2006:08:14",
     "2006:08:14 24:00:00", "yesterday", "\x00\x00", "2006:08:14 22:34:0012"],
)  # fmt: skip
def test_what_is_no_datetime_gives_way_to_the_datetime_of_the_file(text: str) -> None:
    assert read_datetime(picture(text)) == ""
    assert read_datetime(picture(text, changed="2007:01:02 03:04:05")) == "2007-01-02 03:04:05"


def test_a_tiff_says_when_it_was_written() -> None:
    image = picture(changed="2020:01:01 00:00:00", kind="TIFF")
    assert read_datetime(image) == "2020-01-01 00:00:00"


def test_a_picture_without_exif_has_no_datetime() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "BMP")
    assert read_datetime(Image.open(file)) == ""


@given(st.binary(max_size=80), st.integers(0, 200))
def test_damaged_exif_is_no_datetime_and_no_error(noise: bytes, at: int) -> None:
    image = picture("2006:08:14 22:34:00", changed="2007:01:02 03:04:05")
    exif = image.info["exif"]
    at = 6 + at % len(exif)
    image.info["exif"] = exif[:at] + noise + exif[at + len(noise) :]
    image._exif = None  # type: ignore[attr-defined]
    text = read_datetime(image)
    assert text == "" or parse_datetime(text)


@given(st.text(max_size=25))
def test_whatever_is_written_there_can_be_read_as_a_datetime_or_is_none(text: str) -> None:
    written = read_datetime(picture(text.encode()))
    assert written == "" or parse_datetime(written)


@pytest.mark.parametrize(
    ("level", "locations"),
    [(0, {""}), (1, {"pier", "cove", ""}), (2, {"pier/a", "pier/b", "cove", ""})],
)
def test_the_first_folders_are_the_location(level: int, locations: set[str]) -> None:
    places = read_places(NAMES, level=level)
    assert {places.find_facts(name, "").location for name in NAMES} == locations


def csv_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "locations.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_names_locations_by_image(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "note,image,location\nx,pier/a/1.jpg,Pier 1\n,.\\cove\\1.jpg,Cove\n")
    places = read_places(NAMES, locations=path)
    locations = [places.find_facts(name, "").location for name in NAMES]
    assert locations == ["Pier 1", "pier", "pier", "Cove", ""]
    assert places.notes == ()


def test_the_nearest_folder_of_a_csv_is_the_location(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "folder,location\npier,P\npier/b/,B\n.,rest\n")
    places = read_places(NAMES, locations=path)
    locations = [places.find_facts(name, "").location for name in NAMES]
    assert locations == ["P", "P", "B", "rest", "rest"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("image,place\na,b\n", "no column location"),
        ("name,location\na,b\n", "no column folder"),
        ("image,location\npier/a/1.jpg,P\npier\\a\\1.jpg,Q\n", "row 3: image .* is there twice"),
        ("image,location\n,P\n", "row 2 names no image"),
        ("image,location\npier/a/1.jpg,\n", "row 2: pier/a/1.jpg has no location"),
        ("image,location\n", "has no rows"),
        ("image,location\nPIER/a/1.jpg,P\n", "names none of the images: it has PIER/a/1.jpg"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(InputInvalid, match=wrong):
        read_places(NAMES, locations=csv_of(tmp_path, text))


def test_a_csv_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        read_places(NAMES, locations=tmp_path / "none.csv")


def test_rows_that_name_nothing_are_counted_with_what_was_likely_meant(tmp_path: Path) -> None:
    text = "image,location\npier/a/1.jpg,P\npier/a/2.JPG,P\nfar/9.jpg,F\n"
    places = read_places(NAMES, locations=csv_of(tmp_path, text))
    (note,) = places.notes
    assert note.startswith("2 of 3 images of ")
    assert note.endswith("as pier/a/2.JPG; did you mean pier/a/2.jpg?")


def coco_of(tmp_path: Path, *images: dict[str, Any]) -> Path:
    content = {"images": list(images), "annotations": [], "categories": []}
    path = tmp_path / "cct.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_coco_file_gives_location_datetime_and_sequence(tmp_path: Path) -> None:
    known = {"id": "7", "file_name": "pier/a/1.jpg", "location": 33, "seq_id": "s",
             "datetime": "2012-05-08 19:23:36"}  # fmt: skip
    blank = {"id": "8", "file_name": "cove/1.jpg", "datetime": "0000-00-00 00:00:00"}
    places = read_places(NAMES, coco_file=coco_of(tmp_path, known, blank))
    facts = places.find_facts("pier/a/1.jpg", "2020-01-01 00:00:00")
    assert facts[:4] == ("7", "33", "2012-05-08 19:23:36", "s")
    assert places.find_facts("cove/1.jpg", "2020-01-01 00:00:00")[:4] == (
        "8", "cove", "2020-01-01 00:00:00", "",
    )  # fmt: skip
    (note,) = places.notes
    assert note.startswith("3 of 5 images are not in ")


def test_a_coco_file_of_other_images_is_refused(tmp_path: Path) -> None:
    path = coco_of(tmp_path, {"id": "7", "file_name": "images/pier/a/1.jpg"})
    with pytest.raises(InputInvalid, match=r"it has images/pier/a/1\.jpg"):
        read_places(NAMES, coco_file=path)


def test_the_csv_goes_before_the_coco_file(tmp_path: Path) -> None:
    coco = coco_of(tmp_path, {"id": "7", "file_name": "pier/a/1.jpg", "location": "33"})
    given_in = csv_of(tmp_path, "folder,location\npier,P\n")
    places = read_places(NAMES, locations=given_in, coco_file=coco)
    assert places.find_facts("pier/a/1.jpg", "").location == "P"
