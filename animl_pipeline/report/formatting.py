"""Write numbers, shares, intervals and settings for a reader: the filters of the pages."""

import json
import math
from typing import Any

import numpy as np

DECIMALS_MAX = 3  # of what is nearly 1


def format_number(value: float | None, digits: int = 2) -> str:
    """Return `value` for a reader, or a dash where it could not be computed.

    What is below 1 does not read 1: it gets more digits, up to DECIMALS_MAX.

    >>> format_number(0.8312), format_number(0.8312, 3), format_number(None)
    ('0.83', '0.831', '—')
    >>> format_number(0.998), format_number(0.9998), format_number(1)
    ('0.998', '>0.999', '1.00')
    """
    if value is None or math.isnan(value):
        return "—"
    shown = (f"{value:.{more}f}" for more in range(digits, DECIMALS_MAX + 1))
    return next((text for text in shown if value >= 1 or float(text) < 1), ">0.999")


def format_count(n: int, one: str, many: str = "") -> str:
    """Return how many there are of a thing; `many` is its plural where it is not `one` and an s.

    >>> format_count(1, "image"), format_count(1200, "image"), format_count(2, "box", "boxes")
    ('1 image', '1,200 images', '2 boxes')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def format_threshold(value: float | None) -> str:
    """Return a threshold with all its digits, as what is typed has to be what was checked.

    >>> format_threshold(0.5), format_threshold(0.999998), format_threshold(None)
    ('0.500', '0.999998', '—')
    """
    return "—" if value is None else np.format_float_positional(value, min_digits=3)


def format_percent(value: float | None, digits: int = 0) -> str:
    """Return a share in percent, or a dash where it could not be computed.

    What is not none does not read 0, what is not all does not read 100.

    >>> format_percent(0.256), format_percent(None)
    ('26 %', '—')
    >>> format_percent(0.004), format_percent(0.004, 1), format_percent(0.996)
    ('<1 %', '0.4 %', '>99 %')
    """
    if value is None:
        return "—"
    shown, step = f"{100 * value:.{digits}f}", 10**-digits
    if value > 0 and float(shown) == 0:
        return f"<{step:.{digits}f} %"
    return f">{100 - step:.{digits}f} %" if value < 1 and float(shown) == 100 else f"{shown} %"


def format_interval(interval: tuple[float, float] | None, digits: int = 2) -> str:
    """Return an interval in words, or a dash where there is none.

    >>> format_interval((0.714, 0.9)), format_interval(None)
    ('0.71 to 0.90', '—')
    """
    return "—" if interval is None else " to ".join(format_number(end, digits) for end in interval)


def format_setting(value: Any) -> str:
    """Return an option's value as a person would write it.

    >>> format_setting(True), format_setting(None), format_setting("runs"), format_setting([1, 2])
    ('yes', 'none', 'runs', '[1, 2]')
    """
    words = {True: "yes", False: "no", None: "none"}
    if value is None or isinstance(value, bool):
        return words[value]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
