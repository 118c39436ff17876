"""Our square beside that of MegaDetector's crop_detections, box by box on real boxes.

Every pixel of the frame has a colour of its own, so a crop says where it was cut.
"""

import json
import sys
import types
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from animl_pipeline import boxes
from animl_pipeline.boxes import Box, Rectangle

MISSOURI = Path(__file__).parents[2] / "shared/data/missouri/boxes_as_md.json"
Cutter = Callable[[Box, bool], np.ndarray]
SIDE_PX = 640


@pytest.fixture
def old_cropper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cutter:
    """What crop_detections makes of a box: per pixel x + 1 and y + 1 of the frame, or 0, 0."""
    # It imports the client of Azure's storage, which nothing here needs.
    azure = types.ModuleType("azure.storage.blob")
    azure.ContainerClient = None  # type: ignore[attr-defined]
    for name, module in (
        ("azure", types.ModuleType("azure")),
        ("azure.storage", types.ModuleType("azure.storage")),
        ("azure.storage.blob", azure),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    # megadetector sets this for the whole process when it is imported; it is put back afterwards.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    from megadetector.classification import crop_detections

    frame = Image.fromarray(coloured(SIDE_PX))

    def cut(box: Box, square: bool) -> np.ndarray:
        path = tmp_path / "crop.bmp"  # without loss
        assert crop_detections.save_crop(frame, box, square, str(path))
        with Image.open(path) as image:
            return places(np.asarray(image))

    return cut


def coloured(side_px: int) -> np.ndarray:
    across, down = np.meshgrid(np.arange(1, side_px + 1), np.arange(1, side_px + 1))
    channels = [across % 256, down % 256, across // 256 * 16 + down // 256]
    return np.stack(channels, axis=2).astype(np.uint8)


def places(pixels: np.ndarray) -> np.ndarray:
    red, green, blue = pixels.astype(int).transpose(2, 0, 1)
    return np.stack([red + 256 * (blue // 16), green + 256 * (blue % 16)], axis=2)


def rectangle(found: np.ndarray) -> Rectangle:
    """Where the crop was cut, by its first pixel; black beyond the right and bottom included."""
    left, top = found[0, 0] - 1
    return int(left), int(top), int(left) + found.shape[1], int(top) + found.shape[0]


SAME = "the same to within a pixel of rounding"
CUT_OFF = "they round corner and size down, and cut off the last pixels of the box"
BLACK = "they shift by the side of the box, and leave the frame"


def why(box: Box, ours: Rectangle, theirs: Rectangle) -> str:
    """Why the squares differ; "?" for no known reason."""
    differ_px = max(abs(one - other) for one, other in zip(ours, theirs, strict=True))
    if differ_px <= 1:
        return SAME
    if max(theirs[2:]) > SIDE_PX >= max(ours[2:]):
        return BLACK
    held = boxes.to_pixels(box, SIDE_PX, SIDE_PX)
    if differ_px == 2 and (held[2] > theirs[2] or held[3] > theirs[3]):
        return CUT_OFF
    return "?"


@pytest.mark.skipif(not MISSOURI.exists(), reason=f"{MISSOURI} is not there: no real boxes")
def test_each_real_box_is_cut_as_the_old_tool_cuts_it_or_for_a_known_reason_better(
    old_cropper: Cutter,
) -> None:
    found: Counter[str] = Counter()
    content = json.loads(MISSOURI.read_bytes())
    for image in content["images"]:
        for detection in image["detections"]:
            box = tuple(detection["bbox"])
            ours = boxes.compute_crop(box, SIDE_PX, SIDE_PX, square=True, margin=0)
            reason = why(box, ours, rectangle(old_cropper(box, True)))
            assert reason != "?", (image["file"], box, ours, rectangle(old_cropper(box, True)))
            found[reason] += 1
    assert found == {SAME: 513, CUT_OFF: 412, BLACK: 179}


@pytest.mark.parametrize(
    ("box_px", "black"), [((590, 60, 50, 140), 45), ((10, 600, 90, 40), 25), ((0, 0, 9, 99), 0)]
)
def test_the_old_tool_leaves_black_where_ours_has_the_picture(
    old_cropper: Cutter, box_px: tuple[int, int, int, int], black: int
) -> None:
    box = tuple(side / SIDE_PX for side in box_px)
    theirs = old_cropper(box, True)
    empty = (theirs == 0).all(axis=2)
    assert max(empty.all(axis=0).sum(), empty.all(axis=1).sum()) == pytest.approx(black, abs=1)
    left, top, right, bottom = boxes.compute_crop(box, SIDE_PX, SIDE_PX, square=True, margin=0)
    assert 0 <= left < right <= SIDE_PX
    assert 0 <= top < bottom <= SIDE_PX
