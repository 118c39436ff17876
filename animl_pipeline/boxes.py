"""Pure geometry: boxes are [x, y, width, height] as fractions of the upright image.

The crop rule, as a formula (all in pixels of the upright image, W x H):

    box      left = floor(x W), right = ceil((x + width) W); top, bottom alike: it holds the animal
    side     s = ceil(max(right - left, bottom - top) * (1 + 2 margin)); one more where only that
             is in the middle: of a box in the very middle of the frame, or of a padded frame
    place    centred on the box, rounded once, a tie towards the middle of the frame
    inside   shifted so that 0 <= left and left + s <= W, on all four sides alike
    padding  only where s > W (or H): then the frame lies centred in the square

So the mirrored image gives the mirrored square. The one exception no square can avoid: of W and H
one is odd and one even, and the box is in the very middle, or padded, both across and down.
"""

import math

Box = tuple[float, float, float, float]
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right, bottom excluded

CROP_RULE_VERSION = 2
SMALL_SIDE_PX = 40  # a square this small holds little that a classifier could learn
NOISE_PX = 1e-6  # 590 / 640 * 640 is not always 590: less than this past a pixel's edge is noise


def pixels(box: Box, width_px: int, height_px: int) -> Rectangle:
    """Return the smallest rectangle of whole pixels that holds the box, inside the frame.

    >>> pixels((0.25, 0.5, 0.5, 0.25), 640, 480)
    (160, 240, 480, 360)
    """
    x, y, width, height = box
    left, right = _span(x, x + width, width_px)
    top, bottom = _span(y, y + height, height_px)
    return left, top, right, bottom


def crop_rectangle(
    box: Box, width_px: int, height_px: int, *, square: bool, margin: float
) -> Rectangle:
    """Return what to cut for a box; it leaves the frame only where the square is larger than it.

    >>> crop_rectangle((590 / 640, 60 / 480, 50 / 640, 140 / 480), 640, 480, square=True, margin=0)
    (500, 60, 640, 200)
    """
    left, top, right, bottom = pixels(box, width_px, height_px)
    wide, high = right - left, bottom - top
    if not square:
        grow_x, grow_y = math.ceil(wide * margin - NOISE_PX), math.ceil(high * margin - NOISE_PX)
        left, right = max(0, left - grow_x), min(width_px, right + grow_x)
        top, bottom = max(0, top - grow_y), min(height_px, bottom + grow_y)
        return left, top, right, bottom
    side = math.ceil(max(wide, high) * (1 + 2 * margin) - NOISE_PX)
    across, down = (left + right, width_px), (top + bottom, height_px)
    one_more = not all(_mirrors(side, *axis) for axis in (across, down))
    if one_more and all(_mirrors(side + 1, *axis) for axis in (across, down)):
        side += 1
    left, top = _place(side, *across), _place(side, *down)
    return left, top, left + side, top + side


def _span(start: float, end: float, side_px: int) -> tuple[int, int]:
    """Return the whole pixels from floor to ceil, at least one, inside 0..side_px."""
    low = min(max(math.floor(start * side_px + NOISE_PX), 0), side_px - 1)
    high = min(max(math.ceil(end * side_px - NOISE_PX), low + 1), side_px)
    return low, high


def _mirrors(side: int, twice_centre: int, frame: int) -> bool:
    """Return whether a span lies as its mirror image does where the box is its own mirror image."""
    own_mirror_image = side > frame or twice_centre == frame
    return not own_mirror_image or (side - frame) % 2 == 0


def _place(side: int, twice_centre: int, frame: int) -> int:
    """Return the start of a span of `side` about a centre, inside the frame if it fits."""
    if side > frame:
        return -((side - frame) // 2)
    twice_start = twice_centre - side
    start, tie = divmod(twice_start, 2)
    if tie and twice_start < frame - side:
        start += 1
    return min(max(start, 0), frame - side)


def size(rectangle: Rectangle) -> tuple[int, int]:
    """Return (width, height) of a rectangle."""
    left, top, right, bottom = rectangle
    return right - left, bottom - top


def overlap(one: Box, other: Box) -> float:
    """Return the area two boxes share over the area they cover together, 0 to 1.

    >>> overlap((0, 0, 0.5, 1), (0.25, 0, 0.5, 1))
    0.3333333333333333
    """
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    both = one[2] * one[3] + other[2] * other[3] - shared
    return shared / both if both > 0 else 0.0
