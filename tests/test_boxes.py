"""Pure geometry: the crop contains the box, stays inside the frame and is the tightest square."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animl_pipeline import boxes
from animl_pipeline.boxes import Box, Rectangle

SIDES = st.integers(1, 700)


@st.composite
def boxes_in_frames(draw: st.DrawFn) -> tuple[Box, int, int]:
    """Any box as fractions, at least one pixel of it inside the frame."""
    x, y = draw(st.floats(0, 0.999)), draw(st.floats(0, 0.999))
    width, height = draw(st.floats(1e-4, 1 - x)), draw(st.floats(1e-4, 1 - y))
    return (x, y, width, height), draw(SIDES), draw(SIDES)


@st.composite
def whole_pixel_boxes(draw: st.DrawFn) -> tuple[Rectangle, int, int]:
    """A box on whole pixels, with its frame."""
    frame_width, frame_height = draw(SIDES), draw(SIDES)
    left, top = draw(st.integers(0, frame_width - 1)), draw(st.integers(0, frame_height - 1))
    right = draw(st.integers(left + 1, frame_width))
    bottom = draw(st.integers(top + 1, frame_height))
    return (left, top, right, bottom), frame_width, frame_height


def fractions(rectangle: Rectangle, width_px: int, height_px: int) -> Box:
    left, top, right, bottom = rectangle
    return (
        left / width_px,
        top / height_px,
        (right - left) / width_px,
        (bottom - top) / height_px,
    )


def square(rectangle: Rectangle, width_px: int, height_px: int, margin: float = 0) -> Rectangle:
    box = fractions(rectangle, width_px, height_px)
    return boxes.crop_rectangle(box, width_px, height_px, square=True, margin=margin)


def old_tool_square(rectangle: Rectangle, width_px: int, height_px: int) -> Rectangle:
    """The square of megadetector.classification.crop_detections, of a box on whole pixels.

    Its int() of x / W * W, which loses a pixel for some x, is left out.
    """
    xmin, ymin = rectangle[:2]
    wide, high = rectangle[2] - xmin, rectangle[3] - ymin
    side = max(wide, high)
    xmin = max(0, min(xmin - int((side - wide) / 2), width_px - wide))
    ymin = max(0, min(ymin - int((side - high) / 2), height_px - high))
    return xmin, ymin, xmin + min(width_px, side), ymin + min(height_px, side)


@settings(deadline=None, max_examples=300)
@given(boxes_in_frames())
def test_the_pixels_of_a_box_hold_it_and_no_more(case: tuple[Box, int, int]) -> None:
    (x, y, width, height), width_px, height_px = case
    left, top, right, bottom = boxes.pixels((x, y, width, height), width_px, height_px)
    for low, high, start, size, side_px in (
        (left, right, x, width, width_px),
        (top, bottom, y, height, height_px),
    ):
        assert 0 <= low < high <= side_px
        assert low - 1e-5 <= start * side_px < low + 1 + 1e-5
        assert high - 1 - 1e-5 <= max((start + size) * side_px, low) <= high + 1e-5


@settings(deadline=None, max_examples=300)
@given(whole_pixel_boxes())
def test_a_box_on_whole_pixels_keeps_every_one_of_them(
    case: tuple[Rectangle, int, int],
) -> None:
    rectangle, width_px, height_px = case
    assert boxes.pixels(fractions(rectangle, width_px, height_px), width_px, height_px) == rectangle


@pytest.mark.parametrize("side_px", [1920, 3264, 640])
def test_no_coordinate_of_a_picture_loses_a_pixel_to_rounding(side_px: int) -> None:
    for start in range(side_px):
        found = boxes.pixels((start / side_px, 0, 1 / side_px, 1), side_px, 1)
        assert found == (start, 0, start + 1, 1)


@settings(deadline=None, max_examples=300)
@given(boxes_in_frames(), st.sampled_from([0, 0.05, 0.5, 2.0]))
def test_a_square_holds_its_box_is_square_and_the_tightest(
    case: tuple[Box, int, int], margin: float
) -> None:
    box, width_px, height_px = case
    left, top, right, bottom = boxes.pixels(box, width_px, height_px)
    crop = boxes.crop_rectangle(box, width_px, height_px, square=True, margin=margin)
    assert crop[0] <= left
    assert crop[1] <= top
    assert crop[2] >= right
    assert crop[3] >= bottom
    side = crop[2] - crop[0]
    assert side == crop[3] - crop[1]
    assert side == math.ceil(max(right - left, bottom - top) * (1 + 2 * margin) - 1e-6)


@settings(deadline=None, max_examples=300)
@given(boxes_in_frames(), st.sampled_from([0, 0.05, 0.5, 2.0]))
def test_a_square_leaves_the_frame_only_where_it_is_larger_and_then_evenly(
    case: tuple[Box, int, int], margin: float
) -> None:
    box, width_px, height_px = case
    crop = boxes.crop_rectangle(box, width_px, height_px, square=True, margin=margin)
    for low, high, side_px in ((crop[0], crop[2], width_px), (crop[1], crop[3], height_px)):
        if high - low <= side_px:
            assert low >= 0
            assert high <= side_px
        else:
            before, after = -low, high - side_px
            assert min(before, after) >= 0
            assert abs(before - after) <= 1


@settings(deadline=None, max_examples=300)
@given(whole_pixel_boxes(), st.sampled_from([0, 0.1]))
def test_the_mirrored_box_gives_the_mirrored_square(
    case: tuple[Rectangle, int, int], margin: float
) -> None:
    (left, top, right, bottom), width_px, height_px = case
    crop = square((left, top, right, bottom), width_px, height_px, margin)
    mirrored = square(
        (width_px - right, height_px - bottom, width_px - left, height_px - top),
        width_px,
        height_px,
        margin,
    )
    for axis, side_px in ((0, width_px), (1, height_px)):
        expected = side_px - mirrored[axis + 2]
        low, high = crop[axis], crop[axis + 2]
        centre, of_box = low + high - side_px, ((left, top), (right, bottom))
        exactly_central = of_box[0][axis] + of_box[1][axis] == side_px
        odd = (high - low - side_px) % 2 == 1 and (exactly_central or high - low > side_px)
        assert abs(low - expected) <= (1 if odd else 0)
        assert not odd or abs(centre) <= 1


@settings(deadline=None, max_examples=300)
@given(whole_pixel_boxes())
def test_away_from_the_right_and_bottom_edges_the_square_is_the_old_tools_to_a_pixel(
    case: tuple[Rectangle, int, int],
) -> None:
    rectangle, width_px, height_px = case
    side = max(rectangle[2] - rectangle[0], rectangle[3] - rectangle[1])
    ours = square(rectangle, width_px, height_px)
    theirs = old_tool_square(rectangle, width_px, height_px)
    if theirs[0] + side < width_px - 1 and theirs[1] + side < height_px - 1:
        assert all(abs(a - b) <= 1 for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("box_px", "expected"),
    [
        ((590, 60, 50, 140), (500, 60, 640, 200)),  # image 3: the bird at the right edge
        ((0, 300, 120, 60), (0, 270, 120, 390)),  # image 4: the skunk at the left edge
        ((300, 420, 90, 60), (300, 390, 390, 480)),  # image 5: the rodent at the bottom
        ((210, 180, 150, 110), (210, 160, 360, 310)),  # image 1
        ((500, 400, 40, 30), (500, 395, 540, 435)),  # image 8
        ((10, 440, 60, 40), (10, 420, 70, 480)),  # image 12: the old tool made 10 black rows
    ],
)
def test_the_fixtures_boxes_are_shifted_inside_without_black(
    box_px: Rectangle, expected: Rectangle
) -> None:
    x, y, width, height = box_px
    assert square((x, y, x + width, y + height), 640, 480) == expected


def test_a_whole_frame_is_padded_above_and_below() -> None:
    assert square((0, 0, 640, 480), 640, 480) == (0, -80, 640, 560)


def test_a_tall_frame_is_padded_left_and_right() -> None:
    assert square((0, 0, 480, 640), 480, 640) == (-80, 0, 560, 640)


def test_a_margin_is_a_fraction_of_the_square_on_each_side() -> None:
    assert square((300, 200, 340, 220), 640, 480, margin=0.25) == (290, 180, 350, 240)


def test_a_margin_at_an_edge_shifts_the_square_inside() -> None:
    assert square((0, 0, 40, 40), 640, 480, margin=0.5) == (0, 0, 80, 80)


@settings(deadline=None, max_examples=200)
@given(whole_pixel_boxes())
def test_without_squares_the_crop_is_the_box(case: tuple[Rectangle, int, int]) -> None:
    rectangle, width_px, height_px = case
    box = fractions(rectangle, width_px, height_px)
    crop = boxes.crop_rectangle(box, width_px, height_px, square=False, margin=0)
    assert crop == rectangle


@settings(deadline=None, max_examples=200)
@given(boxes_in_frames(), st.floats(0, 2))
def test_without_squares_a_margin_stays_inside_the_frame(
    case: tuple[Box, int, int], margin: float
) -> None:
    box, width_px, height_px = case
    left, top, right, bottom = boxes.pixels(box, width_px, height_px)
    crop = boxes.crop_rectangle(box, width_px, height_px, square=False, margin=margin)
    assert 0 <= crop[0] <= left
    assert 0 <= crop[1] <= top
    assert right <= crop[2] <= width_px
    assert bottom <= crop[3] <= height_px


@settings(deadline=None, max_examples=200)
@given(st.tuples(*[st.floats(-2, 3)] * 4), SIDES, SIDES)
def test_even_a_box_outside_the_frame_gives_a_pixel_inside(
    box: Box, width_px: int, height_px: int
) -> None:
    left, top, right, bottom = boxes.pixels(box, width_px, height_px)
    assert 0 <= left < right <= width_px
    assert 0 <= top < bottom <= height_px
