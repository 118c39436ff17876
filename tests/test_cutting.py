"""What is cut of an image whichever way it is stored, and which pictures are not trusted."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from shop import Done
from small_export import write_export

from animl_pipeline import boxes
from animl_pipeline.boxes import Box
from animl_pipeline.crops.rule import read_crop_rule
from animl_pipeline.images import opening

Pipeline = Callable[..., Done]
ORIENTATION = 0x0112
MISSOURI = Path(__file__).parents[2] / "shared/data/missouri/images"
# How the picture that is stored is seen: mirrored across, mirrored down, then turned over.
SEEN = {1: "", 2: "x", 3: "xy", 4: "y", 5: "t", 6: "tx", 7: "txy", 8: "ty"}


def seen(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What is stored, as EXIF 2.3 says that it is seen."""
    for turn in SEEN[orientation]:
        pixels = {"x": pixels[:, ::-1], "y": pixels[::-1], "t": pixels.swapaxes(0, 1)}[turn]
    return pixels


def seen_box(box: Box, orientation: int) -> Box:
    x, y, width, height = box
    for turn in SEEN[orientation]:
        if turn == "x":
            x = 1 - x - width
        elif turn == "y":
            y = 1 - y - height
        else:
            x, y, width, height = y, x, height, width
    return x, y, width, height


def square(path: Path, box: Box, margin: float = 0.0) -> np.ndarray:
    with opening.opened(path) as picture:
        where = boxes.compute_crop(box, *picture.size_px, square=True, margin=margin)
        return np.asarray(opening.cut(picture, [where])[0])


BOXES = st.tuples(*[st.floats(0, 0.7)] * 2, *[st.floats(0.01, 0.3)] * 2)
IN_THE_MIDDLE = st.tuples(st.floats(0, 0.49), st.floats(0, 0.49)).map(
    lambda at: (*at, 1 - 2 * at[0], 1 - 2 * at[1])
)
SIDES = st.integers(1, 60).map(lambda half: 2 * half)


@settings(deadline=None, max_examples=150)
@given(
    box=BOXES | IN_THE_MIDDLE,
    size_px=st.tuples(SIDES, SIDES),
    margin=st.sampled_from([0, 0.2]),
    orientation=st.integers(2, 8),
)
def test_a_mirrored_or_turned_picture_gives_the_mirrored_or_turned_crop(
    tmp_path_factory: pytest.TempPathFactory,
    box: Box,
    size_px: tuple[int, int],
    margin: float,
    orientation: int,
) -> None:
    folder = tmp_path_factory.getbasetemp()
    pixels = np.random.default_rng(0).integers(1, 255, (*size_px[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "as it was.png", compress_level=0)
    other = np.ascontiguousarray(seen(pixels, orientation))
    Image.fromarray(other).save(folder / "mirrored.png", compress_level=0)
    crop = square(folder / "as it was.png", box, margin)
    mirrored = square(folder / "mirrored.png", seen_box(box, orientation), margin)
    assert np.array_equal(mirrored, seen(crop, orientation))


@pytest.mark.skipif(not MISSOURI.exists(), reason=f"{MISSOURI} is not there: no photographs")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_stored_in_any_orientation_gives_the_same_crop(
    tmp_path: Path, orientation: int
) -> None:
    for number, path in enumerate(sorted(MISSOURI.rglob("*.JPG"))[::250]):
        data = path.read_bytes()
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        block = b"Exif\0\0" + exif.tobytes()
        header = b"\xff\xd8\xff\xe1" + (len(block) + 2).to_bytes(2) + block
        (tmp_path / "turned.jpg").write_bytes(header + data[2:])
        draw = np.random.default_rng(number)
        box: Any = (*draw.uniform(0, 0.6, 2), *draw.uniform(0.02, 0.4, 2))
        crop = square(path, box)
        turned = square(tmp_path / "turned.jpg", seen_box(box, orientation))
        assert np.array_equal(turned, seen(crop, orientation))


# By the command


def place(here: Path, size_px: tuple[int, int] = (640, 480)) -> None:
    """Makes two pictures, each with a fox."""
    (here / "images").mkdir()
    draw, records, annotations = np.random.default_rng(0), [], []
    for name in ("1.jpg", "2.jpg"):
        pixels = draw.integers(0, 255, (*size_px[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(here / "images" / name)
        records.append({"id": f"island:{name}", "file_name": name, "location": "pier"})
        records[-1] |= {"width": size_px[0], "height": size_px[1]}
        annotations.append(
            {"id": f"fox{name[0]}", "image_id": f"island:{name}", "category_id": 1,
             "bbox": [100, 100, 300, 200]}
        )  # fmt: skip
    write_export(here / "images/cct.json", records, annotations)


def rows(name: str) -> list[dict[str, str]]:
    with Path("crops", name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ledger(*states: str) -> None:
    """Writes download.csv with a state for each picture."""
    lines = ["image_id,file_name,key,state,bytes,md5,reason"]
    for number, state in enumerate(states, start=1):
        lines.append(f"island:{number}.jpg,{number}.jpg,{number}.jpg,{state},,,four tries")
    Path("images/download.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("state", ["corrupt", "failed", "missing", "denied", "unsafe"])
def test_a_picture_that_the_download_does_not_vouch_for_is_not_cut(
    here: Path, pipeline: Pipeline, state: str
) -> None:
    place(here)
    pipeline("crop")
    ledger(state, "downloaded")
    done = pipeline("crop")
    assert done.code == 3
    assert [row["image"] for row in rows("crops.csv")] == ["2.jpg"]
    assert [path.name for path in Path("crops").rglob("*.jpg")] == ["2.jpg___fox2.jpg"]
    [row] = rows("failures.csv")
    assert (row["image"], row["annotation_id"]) == ("1.jpg", "fox1")
    assert row["reason"] == (f"image is not the right one: download.csv says {state} (four tries)")


def test_a_picture_that_is_gone_is_missing_whatever_the_download_said(
    here: Path, pipeline: Pipeline
) -> None:
    place(here)
    Path("images/1.jpg").unlink()
    ledger("denied", "present")
    pipeline("crop")
    assert [row["reason"] for row in rows("failures.csv")] == ["image is missing"]


def test_a_damaged_ledger_is_a_message(here: Path, pipeline: Pipeline) -> None:
    place(here)
    Path("images/download.csv").write_text("half,a,table\n1,2\n")
    done = pipeline("crop")
    assert done.code == 1
    assert "download.csv" in done.err


def test_a_failed_picture_s_last_line_says_what_to_do(here: Path, pipeline: Pipeline) -> None:
    place(here)
    Path("images/1.jpg").unlink()
    last = pipeline("crop").out.splitlines()[-1]
    assert "crops/failures.csv" in last
    assert "`pipeline download`" in last


@pytest.mark.parametrize(("max_side", "stored"), [(100, 100), (300, 300), (4000, 300)])
def test_max_side_bounds_what_is_stored(
    here: Path, pipeline: Pipeline, max_side: int, stored: int
) -> None:
    place(here)
    assert pipeline("crop", "--max-side", max_side).code == 0
    for path in Path("crops").rglob("*.jpg"):
        with Image.open(path) as image:
            assert image.size == (stored, stored)


def test_another_max_side_cuts_again_what_it_changes_and_nothing_else(
    here: Path, pipeline: Pipeline
) -> None:
    place(here)
    pipeline("crop")
    assert "(0 cut now)" in pipeline("crop", "--max-side", 300).out
    assert "(2 cut now)" in pipeline("crop", "--max-side", 299).out
    assert "(2 cut now)" in pipeline("crop").out


def test_max_side_is_part_of_the_crop_rule(here: Path, pipeline: Pipeline) -> None:
    place(here)
    pipeline("crop", "--max-side", 200)
    assert read_crop_rule(Path("crops"))["max_side"] == 200


def test_a_picture_too_long_for_a_square_is_a_row(here: Path, pipeline: Pipeline) -> None:
    place(here, (13_000, 401))
    content = Path("images/cct.json").read_text().replace("300,", "12900,")
    Path("images/cct.json").write_text(content)
    assert pipeline("crop").code == 3
    reasons = {row["reason"].split(":")[0] for row in rows("failures.csv")}
    assert reasons == {"image is too large"}


def test_broken_exif_is_no_noise_on_the_terminal(
    here: Path, pipeline: Pipeline, recwarn: pytest.WarningsRecorder
) -> None:
    place(here)
    data = Path("images/1.jpg").read_bytes()
    block = b"Exif\0\0" + b"II*\0" + b"\xff" * 30
    header = b"\xff\xd8\xff\xe1" + (len(block) + 2).to_bytes(2) + block
    Path("images/1.jpg").write_bytes(header + data[2:])
    done = pipeline("crop")
    assert (done.code, done.err, len(recwarn)) == (0, "", 0)
