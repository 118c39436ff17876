"""The top rows of a JPEG are those of the whole, and a JPEG without all its data is refused."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from animl_pipeline.errors import ImageUnusable
from animl_pipeline.images import jpeg, opening

SUBSAMPLINGS = ["4:4:4", "4:2:2", "4:2:0"]
Rectangle = tuple[int, int, int, int]


def noise(width_px: int, height_px: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Coarse noise, so that neighbours differ in colour and every block has data."""
    draw = np.random.default_rng(seed)
    small = draw.integers(0, 255, (height_px // 3 + 2, width_px // 3 + 2, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width_px, height_px), Image.Resampling.BICUBIC)
    return image.convert(mode)


def jpeg_of(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 85, **options})
    return file.getvalue()


def cut(path: Path, *rectangles: Rectangle) -> list[np.ndarray] | str:
    """The parts of a picture, or why there are none."""
    try:
        with opening.opened(path) as picture:
            return [np.asarray(part) for part in opening.cut(picture, rectangles)]
    except ImageUnusable as error:
        return str(error)


def pillow(data: bytes) -> np.ndarray:
    """What Pillow's full decoding gives."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@st.composite
def jpegs_and_parts(draw: st.DrawFn) -> tuple[bytes, Rectangle]:
    width_px, height_px = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    left, top = draw(st.integers(0, width_px - 1)), draw(st.integers(0, height_px - 1))
    right = draw(st.integers(left + 1, width_px))
    bottom = draw(st.integers(top + 1, height_px))
    options: dict[str, object] = {
        "quality": draw(st.sampled_from([30, 85, 100])),
        "progressive": draw(st.booleans()),
        "optimize": draw(st.booleans()),
    }
    mode = draw(st.sampled_from(["RGB", "L", "CMYK"]))
    if mode == "RGB":
        options["subsampling"] = draw(st.sampled_from(SUBSAMPLINGS))
    blocks = draw(st.sampled_from([0, 0, 1, 7]))
    if blocks:
        options["restart_marker_blocks"] = blocks
    data = jpeg_of(noise(width_px, height_px, mode), **options)
    return data, (left, top, right, bottom)


@settings(deadline=None, max_examples=400)
@given(case=jpegs_and_parts())
def test_a_part_has_the_pixels_of_full_decoding(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[bytes, Rectangle]
) -> None:
    data, (left, top, right, bottom) = case
    path = tmp_path_factory.getbasetemp() / "part.jpg"
    path.write_bytes(data)
    found = cut(path, (left, top, right, bottom))
    assert not isinstance(found, str), found
    assert (found[0] == pillow(data)[top:bottom, left:right]).all()


@pytest.mark.parametrize("sampling", ["411", "440"])
@pytest.mark.parametrize("bottom", [1, 8, 15, 16, 17, 33, 50])
def test_a_part_of_a_jpeg_as_pillow_does_not_write_it_has_the_pixels_of_full_decoding(
    tmp_path: Path, sampling: str, bottom: int
) -> None:
    factors = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factors]
    data = cv2.imencode(".jpg", np.asarray(noise(70, 90)), options)[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(data)
    found = cut(tmp_path / "a.jpg", (0, 0, 70, bottom))
    assert not isinstance(found, str), found
    assert (found[0] == pillow(data)[:bottom]).all()


def test_only_the_rows_that_are_needed_are_decoded() -> None:
    data = jpeg_of(noise(64, 640))
    header = jpeg.read_header(data)
    assert header
    assert jpeg.count_rows(header, 30) == 32
    top = jpeg.cut_top(data, header, 32)
    assert len(top) == len(data)
    assert (pillow(top)[:30] == pillow(data)[:30]).all()
    assert pillow(top).shape == (32, 64, 3)


def test_the_last_rows_need_the_whole_picture() -> None:
    data = jpeg_of(noise(64, 641))
    header = jpeg.read_header(data)
    assert header
    assert jpeg.count_rows(header, 641) == jpeg.count_rows(header, 639) == 641


def test_the_scans_of_a_progressive_jpeg_need_all_rows() -> None:
    header = jpeg.read_header(jpeg_of(noise(64, 640), progressive=True))
    assert header
    assert jpeg.count_rows(header, 30) == 640


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xc0", b"\xff\xd8\xff\xda\0\2", b"x" * 99,
     b"\xff\xd8\xff\xc0\0\x0b\x08\0\x10\0\x10\0\xff\xda\0\2", b"\xff\xd8\xff\xc0\0\2\xff\xda\0\2"],
    ids=repr,
)  # fmt: skip
def test_what_has_no_frame_has_no_header(data: bytes) -> None:
    assert jpeg.read_header(data) is None


def test_a_header_cut_anywhere_is_no_header_or_one() -> None:
    whole = jpeg_of(noise(16, 16))
    headers = {jpeg.read_header(whole[:cut_at]) for cut_at in range(len(whole))}
    assert headers == {None, jpeg.read_header(whole)}


# Half a file


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.999])
def test_a_truncated_jpeg_is_refused_even_where_the_part_would_be_there(
    tmp_path: Path, kept: float, progressive: bool
) -> None:
    data = jpeg_of(noise(320, 240), progressive=progressive)
    (tmp_path / "a.jpg").write_bytes(data[: int(kept * len(data))])
    for part in [(0, 0, 16, 16), (0, 0, 320, 240), (300, 230, 320, 240)]:
        assert str(cut(tmp_path / "a.jpg", part)).startswith("image is truncated")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restarts", [0, 5])
def test_half_a_jpeg_to_which_somebody_gave_an_end_is_no_half_grey_picture(
    tmp_path: Path, mode: str, progressive: bool, restarts: int
) -> None:
    data = jpeg_of(noise(320, 240, mode), progressive=progressive, restart_marker_blocks=restarts)
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    found = cut(tmp_path / "a.jpg", (0, 0, 320, 240))
    assert found == "image is truncated: its data end before its last row"
    assert "truncated" in str(cut(tmp_path / "a.jpg", (0, 200, 40, 240)))


def test_half_a_jpeg_with_another_in_its_midst_is_refused(tmp_path: Path) -> None:
    data = jpeg_of(noise(320, 240))
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2] + jpeg_of(noise(32, 24)))
    assert "truncated" in str(cut(tmp_path / "a.jpg", (0, 0, 320, 240)))


def test_half_a_jpeg_filled_with_zeros_is_refused(tmp_path: Path) -> None:
    data = jpeg_of(noise(320, 240))
    half = len(data) // 2
    (tmp_path / "a.jpg").write_bytes(data[:half] + bytes(len(data) - half))
    assert "truncated" in str(cut(tmp_path / "a.jpg", (0, 0, 16, 16)))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("restarts", [0, 3])
def test_a_grey_picture_is_a_picture(
    tmp_path: Path, mode: str, progressive: bool, restarts: int
) -> None:
    grey = Image.new(mode, (100, 80), (128, 128, 128) if mode == "RGB" else 128)
    data = jpeg_of(grey, progressive=progressive, restart_marker_blocks=restarts)
    (tmp_path / "a.jpg").write_bytes(data)
    found = cut(tmp_path / "a.jpg", (0, 0, 100, 80))
    assert not isinstance(found, str), found
    assert (found[0] == 128).all()


@pytest.mark.parametrize("behind", [b"\0" * 5000, b"\r\n", None])
def test_what_follows_the_end_of_a_jpeg_does_not_matter(
    tmp_path: Path, behind: bytes | None
) -> None:
    data = jpeg_of(noise(64, 48))
    more = jpeg_of(noise(32, 24)) if behind is None else behind  # a preview, as some cameras have
    (tmp_path / "a.jpg").write_bytes(data + more)
    found = cut(tmp_path / "a.jpg", (0, 0, 64, 48), (3, 4, 10, 11))
    assert not isinstance(found, str), found
    assert (found[0] == pillow(data)).all()


def test_several_pictures_in_one_jpeg_are_its_first(tmp_path: Path) -> None:
    first, second = noise(64, 48), noise(32, 24, seed=1)
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    found = cut(tmp_path / "a.jpg", (0, 0, 64, 48), (3, 4, 10, 11))
    assert not isinstance(found, str), found
    assert (found[0] == pillow((tmp_path / "a.jpg").read_bytes())).all()


def test_a_truncated_jpeg_is_refused_even_where_another_library_asked_for_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = jpeg_of(noise(320, 240))
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    # Importing megadetector does so, for the whole process.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert "truncated" in str(cut(tmp_path / "a.jpg", (0, 0, 16, 16)))
