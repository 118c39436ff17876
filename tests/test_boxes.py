"""Pure geometry: the crop contains the box, stays inside the frame and is the tightest square."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from animl_pipeline import boxes
from animl_pipeline.boxes import Box, Rectangle

Flips = tuple[bool, bool, bool]
SIDES = st.integers(1, 700)
FLIPS = st.tuples(st.booleans(), st.booleans(), st.booleans())  # the eight of EXIF


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


def boxes_of_the_middle(width_px: int, height_px: int) -> st.SearchStrategy[Rectangle]:
    """Boxes whose centre is the frame's, where ties are."""
    return st.builds(
        lambda x, y: (x, y, width_px - x, height_px - y),
        st.integers(0, (width_px - 1) // 2),
        st.integers(0, (height_px - 1) // 2),
    )


frames_with_boxes = whole_pixel_boxes() | st.tuples(SIDES, SIDES).flatmap(
    lambda size: st.tuples(boxes_of_the_middle(*size), *map(st.just, size))
)


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
    return boxes.compute_crop(box, width_px, height_px, square=True, margin=margin)


def held_to_the_middle(crop: Rectangle, rectangle: Rectangle, size_px: tuple[int, int]) -> bool:
    """Whether no square mirrors: across and down alike the box is in the very middle, or the square
    as large as the frame, and of width and height one is odd and one even.
    """
    axes = zip(crop[:2], crop[2:], rectangle[:2], rectangle[2:], size_px, strict=True)
    held = [end - start >= side or low + high == side for start, end, low, high, side in axes]
    return all(held) and sum(size_px) % 2 == 1


def seen(rectangle: Rectangle, size_px: tuple[int, int], flips: Flips) -> Rectangle:
    """Where a rectangle is once the image is mirrored across, mirrored down, turned over."""
    (left, top, right, bottom), (width, height) = rectangle, size_px
    if flips[0]:
        left, right = width - right, width - left
    if flips[1]:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if flips[2] else (left, top, right, bottom)


@settings(deadline=None, max_examples=300)
@given(boxes_in_frames())
def test_the_pixels_of_a_box_hold_it_and_no_more(case: tuple[Box, int, int]) -> None:
    (x, y, width, height), width_px, height_px = case
    left, top, right, bottom = boxes.to_pixels((x, y, width, height), width_px, height_px)
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
    assert (
        boxes.to_pixels(fractions(rectangle, width_px, height_px), width_px, height_px) == rectangle
    )


@pytest.mark.parametrize("side_px", [1920, 3264, 640])
def test_no_coordinate_of_a_picture_loses_a_pixel_to_rounding(side_px: int) -> None:
    for start in range(side_px):
        found = boxes.to_pixels((start / side_px, 0, 1 / side_px, 1), side_px, 1)
        assert found == (start, 0, start + 1, 1)


@settings(deadline=None, max_examples=300)
@given(boxes_in_frames(), st.sampled_from([0, 0.05, 0.5, 2.0]))
def test_a_square_holds_its_box_is_square_and_the_tightest(
    case: tuple[Box, int, int], margin: float
) -> None:
    box, width_px, height_px = case
    left, top, right, bottom = boxes.to_pixels(box, width_px, height_px)
    crop = boxes.compute_crop(box, width_px, height_px, square=True, margin=margin)
    assert crop[0] <= left
    assert crop[1] <= top
    assert crop[2] >= right
    assert crop[3] >= bottom
    side, other = boxes.measure(crop)
    assert side == other
    tightest = math.ceil(max(right - left, bottom - top) * (1 + 2 * margin) - 1e-6)
    middle = left + right == width_px or top + bottom == height_px
    padded = side > min(width_px, height_px)
    assert side == tightest or (side == tightest + 1 and (middle or padded))


@settings(deadline=None, max_examples=300)
@given(boxes_in_frames(), st.sampled_from([0, 0.05, 0.5, 2.0]))
def test_a_square_leaves_the_frame_only_where_it_is_larger_and_then_evenly(
    case: tuple[Box, int, int], margin: float
) -> None:
    box, width_px, height_px = case
    crop = boxes.compute_crop(box, width_px, height_px, square=True, margin=margin)
    for low, high, side_px in ((crop[0], crop[2], width_px), (crop[1], crop[3], height_px)):
        if high - low <= side_px:
            assert low >= 0
            assert high <= side_px
        else:
            before, after = -low, high - side_px
            assert min(before, after) >= 0
            assert abs(before - after) <= (width_px + height_px) % 2


@settings(deadline=None, max_examples=1000)
@given(frames_with_boxes, st.sampled_from([0, 0.1, 0.5]), FLIPS)
def test_the_image_mirrored_or_turned_gives_the_square_mirrored_or_turned(
    case: tuple[Rectangle, int, int], margin: float, flips: Flips
) -> None:
    rectangle, width_px, height_px = case
    size_px = (width_px, height_px)
    crop = square(rectangle, *size_px, margin)
    of_seen = square(
        seen(rectangle, size_px, flips), *(size_px[::-1] if flips[2] else size_px), margin
    )
    if held_to_the_middle(crop, rectangle, size_px):
        pairs = zip(of_seen, seen(crop, size_px, flips), strict=True)
        assert all(abs(one - other) <= 1 for one, other in pairs)
    else:
        assert of_seen == seen(crop, size_px, flips)


@settings(deadline=None, max_examples=300)
@given(boxes_in_frames(), st.sampled_from([0, 0.05, 0.5]))
def test_the_mirrored_box_of_fractions_gives_the_mirrored_square(
    case: tuple[Box, int, int], margin: float
) -> None:
    (x, y, width, height), width_px, height_px = case
    assume(width_px % 2 == height_px % 2)
    size_px = (width_px, height_px)
    mirrored = (1 - x - width, 1 - y - height, width, height)
    crops = [
        boxes.compute_crop(box, *size_px, square=True, margin=margin)
        for box in ((x, y, width, height), mirrored)
    ]
    assert crops[1] == seen(crops[0], size_px, (True, True, False))


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
    crop = boxes.compute_crop(box, width_px, height_px, square=False, margin=0)
    assert crop == rectangle


@settings(deadline=None, max_examples=200)
@given(boxes_in_frames(), st.floats(0, 2))
def test_without_squares_a_margin_stays_inside_the_frame(
    case: tuple[Box, int, int], margin: float
) -> None:
    box, width_px, height_px = case
    left, top, right, bottom = boxes.to_pixels(box, width_px, height_px)
    crop = boxes.compute_crop(box, width_px, height_px, square=False, margin=margin)
    assert 0 <= crop[0] <= left
    assert 0 <= crop[1] <= top
    assert right <= crop[2] <= width_px
    assert bottom <= crop[3] <= height_px


@settings(deadline=None, max_examples=200)
@given(st.tuples(*[st.floats(-2, 3)] * 4), SIDES, SIDES)
def test_even_a_box_outside_the_frame_gives_a_pixel_inside(
    box: Box, width_px: int, height_px: int
) -> None:
    left, top, right, bottom = boxes.to_pixels(box, width_px, height_px)
    assert 0 <= left < right <= width_px
    assert 0 <= top < bottom <= height_px


@given(
    box=st.tuples(st.floats(-1, 2), st.floats(-1, 2), st.floats(-0.1, 2), st.floats(-0.1, 2)),
)
def test_a_clipped_box_lies_in_the_frame_or_there_is_a_reason_for_none(box: Box) -> None:
    clipped = boxes.clip_box(box)
    assert (clipped.box is None) == bool(clipped.reason)
    if clipped.box:
        x, y, width, height = clipped.box
        assert x >= 0
        assert y >= 0
        assert width > 0
        assert height > 0
        assert max(x + width, y + height) <= 1 + 1e-12


def test_a_box_is_clipped_with_a_warning_only_where_it_leaves_the_frame_by_more_than_rounding() -> (
    None
):
    assert boxes.clip_box((-0.0005, 0, 0.5, 1)) == ((0, 0, 0.4995, 1), "", "")
    assert boxes.clip_box((-0.002, 0, 0.5, 1)).warning == "box leaves the frame: clipped"
    assert boxes.clip_box((-1 / 640, 0, 0.5, 1), 1.0, frame=(640, 480)).warning == ""
    assert boxes.clip_box((-3 / 640, 0, 0.5, 1), 1.0, frame=(640, 480)).warning
