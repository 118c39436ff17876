"""Pictures opened upright in RGB, or refused with a reason."""

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, JpegImagePlugin

from animl_pipeline.errors import ImageUnusable
from animl_pipeline.images import opening, writing

ORIENTATION = 0x0112
# Where each orientation puts the first row and column of what is stored (EXIF 2.3, 4.6.4 A).
STORED_FROM_UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def picture(width_px: int = 64, height_px: int = 48) -> Image.Image:
    """A smooth picture whose four corners differ."""
    across, down = np.meshgrid(np.linspace(0, 1, width_px), np.linspace(0, 1, height_px))
    channels = [220 * across, 200 * down, 120 * (1 - across) + 60 * down]
    return Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))


def jpeg(image: Image.Image, orientation: int | None = None) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
        exif[0x010F] = "RECONYX"
    image.save(file, "JPEG", quality=95, exif=exif, subsampling=0)
    return file.getvalue()


def png_header(width_px: int, height_px: int) -> bytes:
    """A PNG that says it is so large, and is a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def picture_or_reason(path: Path) -> Image.Image | str:
    try:
        return opening.open_upright(path)
    except ImageUnusable as error:
        return str(error)


def reason(path: Path) -> str:
    with pytest.raises(ImageUnusable) as caught:
        opening.open_upright(path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_every_exif_orientation_gives_the_same_upright_picture(tmp_path: Path, suffix: str) -> None:
    upright, wrong = np.asarray(picture()), []
    for orientation, store in STORED_FROM_UPRIGHT.items():
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        path = tmp_path / f"{orientation}.{suffix}"
        stored = Image.fromarray(np.ascontiguousarray(store(upright)))
        stored.save(path, exif=exif, **({"quality": 95} if suffix in {"jpg", "webp"} else {}))
        opened = np.asarray(opening.open_upright(path), dtype=int)
        same = opened.shape == upright.shape and np.abs(opened - upright).mean() < 4
        if not same or opening.read_size(path) != (64, 48):
            wrong.append(orientation)
    assert sorted(STORED_FROM_UPRIGHT) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert wrong == []


def test_an_orientation_that_does_not_exist_changes_nothing(tmp_path: Path) -> None:
    for orientation in (0, 9, 65535):
        (tmp_path / "a.jpg").write_bytes(jpeg(picture(), orientation))
        assert opening.open_upright(tmp_path / "a.jpg").size == (64, 48), orientation
        assert opening.read_size(tmp_path / "a.jpg") == (64, 48), orientation


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's word on broken EXIF
def test_a_picture_with_broken_exif_is_still_a_picture(tmp_path: Path) -> None:
    content = jpeg(picture(), 6)
    start = content.index(b"Exif\0\0") + 6
    broken = content[:start] + b"\xff" * 30 + content[start + 30 :]
    (tmp_path / "a.jpg").write_bytes(broken)
    assert opening.open_upright(tmp_path / "a.jpg").size == (64, 48)
    assert opening.read_size(tmp_path / "a.jpg") == (64, 48)


def test_a_missing_picture_says_so(tmp_path: Path) -> None:
    assert reason(tmp_path / "gone.jpg") == "image is missing"
    with pytest.raises(ImageUnusable, match="image is missing"):
        opening.read_size(tmp_path / "gone.jpg")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "image is empty (0 bytes)"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "file is not an image"),
        (b"\0" * 5000, "file is not an image"),
        (b"\xff\xd8", "file is not an image"),
    ],
)
def test_a_file_that_is_no_picture_says_so(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert reason(tmp_path / "a.jpg") == expected


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    assert "image is unreadable" in reason(tmp_path)


def test_a_name_below_a_file_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(picture()))
    assert "image is" in reason(tmp_path / "a.jpg" / "b.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP"])
def test_half_a_picture_is_refused_and_not_half_grey(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    content = file.getvalue()
    (tmp_path / "a").write_bytes(content[: len(content) // 2])
    assert "image is" in reason(tmp_path / "a")


def test_half_a_picture_is_refused_even_where_another_library_asked_for_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = jpeg(picture(640, 480))
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    # Importing megadetector does so, for the whole process.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert "image is truncated" in reason(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_half_a_picture_is_called_truncated(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    (tmp_path / "a").write_bytes(file.getvalue()[: len(file.getvalue()) // 2])
    assert reason(tmp_path / "a").startswith("image is truncated")


def test_a_decompression_bomb_is_too_large_and_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(60_000, 60_000))
    assert reason(tmp_path / "a.png").startswith("image is too large")
    with pytest.raises(ImageUnusable, match="too large"):
        opening.read_size(tmp_path / "a.png")


def test_a_picture_with_too_little_data_for_its_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(4000, 3000))
    assert "image is" in reason(tmp_path / "a.png")


def test_a_gif_is_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("P", (20, 10), colour) for colour in (0, 1)]
    for frame in frames:
        frame.putpalette([255, 0, 0, 0, 0, 255])
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert opening.open_upright(tmp_path / "a.gif").getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_16_bit_grey_picture_keeps_its_greys(tmp_path: Path, suffix: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)
    Image.fromarray(np.tile(ramp, (8, 1))).save(tmp_path / f"a.{suffix}")
    found = np.asarray(opening.open_upright(tmp_path / f"a.{suffix}"))
    assert np.abs(found[4, :, 0].astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize(
    ("mode", "suffix", "colour", "expected"),
    [
        ("L", "jpg", 128, (128, 128, 128)),
        ("1", "png", 1, (255, 255, 255)),
        ("LA", "png", (100, 255), (100, 100, 100)),
        ("RGBA", "png", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", "png", (10, 20, 30, 0), (10, 20, 30)),
        ("CMYK", "jpg", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", "jpg", (128, 128, 128), (128, 128, 128)),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path,
    mode: str,
    suffix: str,
    colour: int | tuple[int, ...],
    expected: tuple[int, int, int],
) -> None:
    Image.new(mode, (32, 24), colour).save(tmp_path / f"a.{suffix}")
    found = opening.open_upright(tmp_path / f"a.{suffix}")
    assert found.mode == "RGB"
    assert np.abs(np.array(found.getpixel((5, 5))) - expected).max() <= 4


def test_a_palette_with_transparency_becomes_rgb(tmp_path: Path) -> None:
    palette = Image.new("P", (32, 24), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.save(tmp_path / "a.png", transparency=bytes([0, 128]))
    found = opening.open_upright(tmp_path / "a.png")
    assert (found.mode, found.getpixel((5, 5))) == ("RGB", (200, 100, 50))


def test_an_opened_picture_leaves_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(picture(), 6))
    opening.read_size(tmp_path / "a.jpg")
    opening.open_upright(tmp_path / "a.jpg")  # a ResourceWarning would be an error
    (tmp_path / "a.jpg").unlink()


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's words on broken EXIF
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_jpeg_is_a_picture_or_unusable_and_nothing_else(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    whole = jpeg(picture(), 1 + rng.randrange(8))
    path = tmp_path / "a.jpg"
    for _ in range(50):
        damaged = bytearray(whole)
        for _ in range(rng.choice([0, 1, 1, 4, 20])):
            damaged[rng.randrange(rng.choice([200, len(damaged)]))] = rng.randrange(256)
        del damaged[rng.choice([len(damaged), rng.randrange(len(damaged))]) :]
        path.write_bytes(damaged)
        writing.read_comment(path)
        found = picture_or_reason(path)
        if isinstance(found, str):
            assert found.startswith(("image is ", "file is not an image"))
        else:
            assert found.mode == "RGB"
            assert opening.read_size(path) == found.size


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_damaged_png_is_a_picture_or_unusable_and_nothing_else(tmp_path: Path) -> None:
    rng = random.Random(0)
    file = io.BytesIO()
    picture(24, 18).save(file, "PNG")
    path = tmp_path / "a.png"
    for _ in range(200):
        damaged = bytearray(file.getvalue())
        for _ in range(rng.choice([1, 4])):
            damaged[rng.randrange(rng.choice([60, len(damaged)]))] = rng.randrange(256)
        path.write_bytes(damaged)
        found = picture_or_reason(path)
        if isinstance(found, str):
            assert found.startswith(("image is ", "file is not an image"))
        else:
            assert opening.read_size(path) == found.size


def cut(path: Path, *rectangles: tuple[int, int, int, int]) -> list[np.ndarray]:
    with opening.opened(path) as opened:
        return [np.asarray(part) for part in opening.cut(opened, rectangles)]


def test_what_is_cut_outside_the_frame_is_black(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10), "white").save(tmp_path / "a.png")
    [found] = cut(tmp_path / "a.png", (-5, 0, 15, 10))
    assert found.shape == (10, 20, 3)
    assert (found[:, 5:15] == 255).all()
    assert (found[:, :5] == 0).all()
    assert (found[:, 15:] == 0).all()


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "I;16"])
def test_what_is_cut_outside_the_frame_is_black_in_every_mode(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (10, 10), 0 if mode != "CMYK" else (0, 0, 0, 0)).save(tmp_path / "a.tif")
    [found] = cut(tmp_path / "a.tif", (-5, -5, 15, 15))
    assert (found[:5] == 0).all()
    assert (found[:, :5] == 0).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_part_is_that_part_of_the_upright_picture(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 131, 3), dtype=np.uint8)
    wrong = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        Image.fromarray(noise).save(tmp_path / "a", kind, exif=exif)
        whole = np.asarray(opening.open_upright(tmp_path / "a"))
        for part in [(3, 5, 40, 31), (0, 0, 1, 1), (60, 50, 90, 90)]:
            left, top, right, bottom = part
            [pixels] = cut(tmp_path / "a", part)
            if not np.array_equal(pixels, whole[top:bottom, left:right]):
                wrong.append((orientation, part))
    assert wrong == []


def test_a_longer_side_is_bounded_and_the_other_in_proportion() -> None:
    assert writing.bound(picture(640, 480), 100).size == (100, 75)
    assert writing.bound(picture(640, 480), 640).size == (640, 480)
    assert writing.bound(picture(640, 480), None).size == (640, 480)
    assert writing.bound(picture(640, 1), 16).size == (16, 1)


def test_a_bounded_picture_is_smooth_and_not_every_other_pixel() -> None:
    stripes = Image.fromarray(np.tile(np.array([[0, 255]], np.uint8), (64, 32)))
    found = np.asarray(writing.bound(stripes, 16), dtype=int)
    assert np.abs(found - 127).max() < 30


def test_pillow_keeps_memory_as_long_as_it_is_asked_to() -> None:
    before = Image.core.get_block_size(), Image.core.get_blocks_max()
    with opening.keep_memory(10 * 2**20):
        assert Image.core.get_block_size() * Image.core.get_blocks_max() == 40 * 2**20
    assert (Image.core.get_block_size(), Image.core.get_blocks_max()) == before


def test_a_long_picture_whose_square_would_fill_the_memory_is_too_large(tmp_path: Path) -> None:
    Image.new("L", (12_000, 1)).save(tmp_path / "a.png")
    with opening.opened(tmp_path / "a.png") as opened, pytest.raises(ImageUnusable) as caught:
        opening.cut(opened, [(0, -6000, 12_000, 6000)])
    assert str(caught.value).startswith("image is too large: a square of it")


def test_a_picture_of_too_many_pixels_is_too_large_whatever_another_library_told_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "a.png").write_bytes(png_header(10_000, 9_000))
    assert reason(tmp_path / "a.png").startswith("image is too large: 10000x9000")


def test_a_saved_jpeg_has_no_chroma_subsampling_and_its_comment(tmp_path: Path) -> None:
    writing.save_jpeg(picture(), tmp_path / "new" / "a.jpg", quality=95, comment="fingerprint 1")
    with Image.open(tmp_path / "new" / "a.jpg") as image:
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4
    assert writing.read_comment(tmp_path / "new" / "a.jpg") == "fingerprint 1"


def test_a_saved_jpeg_is_close_to_the_picture(tmp_path: Path) -> None:
    writing.save_jpeg(picture(), tmp_path / "a.jpg", quality=95, comment="")
    found = np.asarray(opening.open_upright(tmp_path / "a.jpg"), dtype=int)
    assert np.abs(found - np.asarray(picture())).max() <= 8


def test_the_same_picture_is_saved_as_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        writing.save_jpeg(picture(), tmp_path / name, quality=95, comment="x")
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_a_picture_that_cannot_be_saved_leaves_the_old_one(tmp_path: Path) -> None:
    writing.save_jpeg(picture(), tmp_path / "a.jpg", quality=95, comment="old")
    with pytest.raises(OSError, match="RGBA"):
        writing.save_jpeg(picture().convert("RGBA"), tmp_path / "a.jpg", quality=95, comment="new")
    assert writing.read_comment(tmp_path / "a.jpg") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


@pytest.mark.parametrize("kept", [0, 1, 2, 20, 0.5, 0.99])
def test_a_jpeg_that_is_not_whole_has_no_comment(tmp_path: Path, kept: float) -> None:
    writing.save_jpeg(picture(), tmp_path / "a.jpg", quality=95, comment="fingerprint")
    content = (tmp_path / "a.jpg").read_bytes()
    size = int(kept * len(content)) if 0 < kept < 1 else int(kept)
    (tmp_path / "a.jpg").write_bytes(content[:size])
    assert writing.read_comment(tmp_path / "a.jpg") == ""


def test_a_file_that_is_no_jpeg_or_not_there_has_no_comment(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("text")
    (tmp_path / "b.jpg").write_bytes(jpeg(picture()))
    assert [writing.read_comment(tmp_path / f"{name}.jpg") for name in "abc"] == ["", "", ""]


def test_a_decompression_bomb_in_the_place_of_a_crop_has_no_comment(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(png_header(60_000, 60_000))
    assert writing.read_comment(tmp_path / "a.jpg") == ""
