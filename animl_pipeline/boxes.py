"""Geometry of boxes, which are [x, y, width, height] as fractions of the upright image.

The crop rule, as a formula (all in pixels of the upright image, W x H):

    box      left = floor(x W), right = ceil((x + width) W); top and bottom alike, so that the
             whole pixels hold the animal
    side     s = ceil(max(right - left, bottom - top) * (1 + 2 margin)). It grows by one pixel where
             only an even, or only an odd, square can lie in the middle of the frame: for a box in
             the very middle, or a square larger than the frame
    centre   that of the box, rounded once; half a pixel goes towards the middle of the frame
    inside   shifted so that 0 <= left and left + s <= W, on all four sides alike
    padding  only where s > W (or H): then the frame lies centred in the square

So the mirrored image gives the mirrored square. No square can do that in one case: one of W and H
is odd and the other even, and the box is in the very middle, or padded, both across and down.
"""

import math
from typing import NamedTuple

Box = tuple[float, float, float, float]
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right, bottom excluded

CROP_RULE_VERSION = 2
SMALL_SIDE_PX = 40  # a square this small holds little that a classifier could learn
NOISE_PX = 1e-6  # 590 / 640 * 640 is not always 590: less than this past a pixel's edge is noise
ROUNDING = 1e-3  # of a side of the frame: fractions are often rounded to three decimals


class Clipped(NamedTuple):
    """The part of a box inside the frame, or None and the reason; a warning where much is gone."""

    box: Box | None
    reason: str = ""
    warning: str = ""


def clip_box(
    box: Box, tolerance: float = ROUNDING, *, frame: tuple[float, float] = (1.0, 1.0)
) -> Clipped:
    """Return the part of a box that lies inside the frame.

    There is a warning where the box leaves the frame by more than the tolerance. It has the unit of
    `frame`, (width, height): pixels if they are pixels, fractions if both are 1.

    >>> clip_box((0.5, 0.5, 0.75, 0.25))
    Clipped(box=(0.5, 0.5, 0.5, 0.25), reason='', warning='box leaves the frame: clipped')
    """
    x, y, width, height = box
    if width <= 0 or height <= 0:
        return Clipped(None, "box has no area")
    left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + width, 1.0), min(y + height, 1.0)
    if left >= right or top >= bottom:
        return Clipped(None, "box lies outside the frame")
    outside_x, outside_y = max(left - x, x + width - right), max(top - y, y + height - bottom)
    if outside_x == 0 and outside_y == 0:
        return Clipped(box)
    leaves = max(outside_x * frame[0], outside_y * frame[1]) > tolerance
    warning = "box leaves the frame: clipped" if leaves else ""
    return Clipped((left, top, right - left, bottom - top), warning=warning)


def to_pixels(box: Box, width_px: int, height_px: int) -> Rectangle:
    """Return the smallest rectangle of whole pixels that holds the box, inside the frame.

    >>> to_pixels((0.25, 0.5, 0.5, 0.25), 640, 480)
    (160, 240, 480, 360)
    """
    x, y, width, height = box
    left, right = _round_outwards(x, x + width, width_px)
    top, bottom = _round_outwards(y, y + height, height_px)
    return left, top, right, bottom


def compute_crop(
    box: Box, width_px: int, height_px: int, *, square: bool, margin: float
) -> Rectangle:
    """Return what to cut for a box; it leaves the frame only where the square is larger than it.

    The margin, on each side, is a fraction of the square's side, or of the box's sides.

    >>> compute_crop((590 / 640, 60 / 480, 50 / 640, 140 / 480), 640, 480, square=True, margin=0)
    (500, 60, 640, 200)
    """
    left, top, right, bottom = to_pixels(box, width_px, height_px)
    wide, high = right - left, bottom - top
    if not square:
        grow_x, grow_y = math.ceil(wide * margin - NOISE_PX), math.ceil(high * margin - NOISE_PX)
        left, right = max(0, left - grow_x), min(width_px, right + grow_x)
        top, bottom = max(0, top - grow_y), min(height_px, bottom + grow_y)
        return left, top, right, bottom
    side = math.ceil(max(wide, high) * (1 + 2 * margin) - NOISE_PX)
    across, down = (left + right, width_px), (top + bottom, height_px)
    can_centre = all(_has_mirror(side, *axis) for axis in (across, down))
    if not can_centre and all(_has_mirror(side + 1, *axis) for axis in (across, down)):
        side += 1
    left, top = _place(side, *across), _place(side, *down)
    return left, top, left + side, top + side


def _round_outwards(start: float, end: float, side_px: int) -> tuple[int, int]:
    """Return the whole pixels from floor to ceil, at least one, inside 0..side_px."""
    low = min(max(math.floor(start * side_px + NOISE_PX), 0), side_px - 1)
    high = min(max(math.ceil(end * side_px - NOISE_PX), low + 1), side_px)
    return low, high


def _has_mirror(side: int, twice_centre: int, frame: int) -> bool:
    """Return whether the span of a mirrored box can be the mirrored span.

    Only a box that is its own mirror image, or a span larger than the frame, can ask too much.
    """
    own_mirror_image = side > frame or twice_centre == frame
    return not own_mirror_image or (side - frame) % 2 == 0


def _place(side: int, twice_centre: int, frame: int) -> int:
    """Return the start of a span of `side` about a centre, inside the frame if it fits."""
    if side > frame:
        return -((side - frame) // 2)
    twice_start = twice_centre - side
    start, is_half_pixel = divmod(twice_start, 2)
    if is_half_pixel and twice_start < frame - side:
        start += 1
    return min(max(start, 0), frame - side)


def measure(rectangle: Rectangle) -> tuple[int, int]:
    """Return (width, height) of a rectangle in pixels."""
    left, top, right, bottom = rectangle
    return right - left, bottom - top


def compute_iou(first: Box, second: Box) -> float:
    """Return the area two boxes share over the area they cover together, 0 to 1.

    >>> compute_iou((0, 0, 0.5, 1), (0.25, 0, 0.5, 1))
    0.3333333333333333
    """
    wide = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    high = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    together = first[2] * first[3] + second[2] * second[3] - shared
    return shared / together if together > 0 else 0.0
