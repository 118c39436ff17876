import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier.crops import Crops
from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.training import preview
from animl_pipeline.training.augmentation import (
    STRENGTHS,
    Window,
    make_training_transform,
    make_window,
)
from animl_pipeline.training.settings import Augmentation

SIDE = 64
CARD = classifier.Card("efficientnet-b0", ["bird", "fox"], SIDE, {}, {}, {}, "", 0)
CHANGING = [strength for strength in Augmentation if strength is not Augmentation.NONE]
chances = st.lists(st.floats(0, 1), min_size=6, max_size=6)


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (3, SIDE, SIDE), generator=torch.Generator().manual_seed(seed)).to(
        torch.uint8
    )


def corners(theta: torch.Tensor) -> torch.Tensor:
    """Where in the picture the corners of what is shown are, (4, 2), -1 to 1."""
    ends = torch.tensor([[x, y, 1.0] for x in (-1, 1) for y in (-1, 1)])
    return ends @ theta.T


@settings(max_examples=200)
@given(chances, st.floats(0.2, 1))
def test_a_window_that_is_not_turned_lies_in_the_picture_and_is_large_enough(
    drawn: list[float], area_min: float
) -> None:
    theta = make_window(drawn, area_min, 0)
    assert corners(theta).abs().max() <= 1 + 1e-6
    area = abs(float(torch.linalg.det(theta[:, :2])))
    assert area >= area_min * 0.79  # less only where a stretched side ends at the frame


@settings(max_examples=100)
@given(chances, st.floats(0.2, 1), st.floats(0, 0.5))
def test_a_turn_changes_neither_size_nor_middle(
    drawn: list[float], area_min: float, radians: float
) -> None:
    plain, turned = make_window(drawn, area_min, 0), make_window(drawn, area_min, radians)
    assert torch.allclose(plain[:, 2], turned[:, 2])
    assert torch.linalg.det(plain[:, :2]) == pytest.approx(
        float(torch.linalg.det(turned[:, :2])), rel=1e-4
    )


@pytest.mark.parametrize("degrees", [0, 20, 90])
def test_no_pixel_is_other_than_the_picture_has(degrees: float) -> None:
    """No black corner: a white picture stays white, however it is turned."""
    torch.manual_seed(0)
    for _ in range(20):
        found = Window(0.3, degrees)(torch.ones(3, SIDE, SIDE))
        assert found.min() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("flip", [0.2, 0.8])
def test_the_whole_picture_unturned_is_the_picture_or_its_mirror_image(flip: float) -> None:
    picture = noise() / 255
    theta = make_window([1, 0.5, 0.5, 0.5, 0.5, flip], 1, 0)
    grid = torch.nn.functional.affine_grid(theta[None], [1, 3, SIDE, SIDE], align_corners=False)
    found = torch.nn.functional.grid_sample(picture[None], grid, align_corners=False)[0]
    expected = picture.flip(2) if flip < 0.5 else picture
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("strength", CHANGING)
def test_training_sees_a_crop_otherwise_each_time_and_the_same_for_the_same_seed(
    strength: Augmentation,
) -> None:
    finish = make_training_transform(CARD, strength).finish
    torch.manual_seed(1)
    one, other = finish(noise()), finish(noise())
    torch.manual_seed(1)
    assert torch.equal(finish(noise()), one)
    assert not torch.equal(one, other)
    assert one.shape == (3, SIDE, SIDE)
    assert one.dtype == torch.float32


@pytest.mark.parametrize("strength", Augmentation)
def test_what_is_kept_of_a_crop_is_not_changed(strength: Augmentation) -> None:
    picture = noise()
    for seed in range(10):
        torch.manual_seed(seed)
        make_training_transform(CARD, strength).finish(picture)
    assert torch.equal(picture, noise())


def test_without_augmentation_training_sees_what_is_predicted() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8))
    plain = make_training_transform(CARD, Augmentation.NONE)(image)
    assert torch.equal(plain, make_transform(CARD)(image))


def test_the_mean_and_spread_of_the_card_are_those_of_training() -> None:
    grey = torch.full((3, SIDE, SIDE), 128, dtype=torch.uint8)
    card = classifier.Card("test_vit", ["a"], SIDE, {}, {}, {}, "", 0, [0.5] * 3, [0.5] * 3)
    torch.manual_seed(3)
    found = make_training_transform(card, Augmentation.LIGHT).finish(grey)
    assert found.abs().max() < 0.4  # near the middle, as light changes a little


def test_more_strength_changes_more() -> None:
    areas = [STRENGTHS[strength].area_min for strength in CHANGING]
    turns = [STRENGTHS[strength].degrees_max for strength in CHANGING]
    assert areas == sorted(areas, reverse=True)
    assert turns == sorted(turns)
    assert all(math.isfinite(value) for value in areas + turns)


# The preview


@pytest.fixture
def crops(tmp_path: Path) -> Crops:
    for number, colour in enumerate(["green", "green", "red", "red"]):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{number}.png")
    names = [f"{number}.png" for number in range(4)]
    return Crops(tmp_path, names, [0, 0, 1, 1], make_training_transform(CARD, Augmentation.LIGHT))


def test_the_sheet_has_a_row_of_crops_for_each_label(crops: Crops, tmp_path: Path) -> None:
    preview.write(tmp_path / "sheet.jpg", crops, CARD, seed=0)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        step, row = preview.SIDE_PX + preview.GAP_PX, preview.SIDE_PX + preview.GAP_PX
        row += preview.LINE_PX
        assert sheet.size == ((preview.VIEWS + 1) * step, 2 * row)
        for number, channel in ((0, 1), (1, 0)):
            for column in range(preview.VIEWS + 1):
                middle = (column * step + step // 2, number * row + row // 2)
                pixel = sheet.getpixel(middle)
                assert isinstance(pixel, tuple)
                assert pixel[channel] == max(pixel)


def test_the_same_seed_draws_the_same_sheet_and_leaves_chance_alone(
    crops: Crops, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        preview.write(tmp_path / name, crops, CARD, seed=seed)
    assert torch.equal(torch.rand(3), expected)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_a_label_without_a_readable_crop_has_no_row(crops: Crops, tmp_path: Path) -> None:
    for number in (2, 3):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    preview.write(tmp_path / "sheet.jpg", crops, CARD, seed=0)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.height == preview.SIDE_PX + preview.GAP_PX + preview.LINE_PX
