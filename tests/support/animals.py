"""The shapes of the animals, the person and the car of the small world, as coloured polygons."""

from collections.abc import Callable, Sequence

import numpy as np

Curve = Sequence[tuple[float, float]]
Colour = tuple[int, int, int]
# Name of a colour, and a polygon (n, 2): x forward, y up, the ground at 0, the whole about 1 long.
Part = tuple[str, np.ndarray]

# Coat, dark, light and accent. The brightness of the animals overlaps, so grey alone tells nothing.
PALETTES: dict[str, tuple[Colour, Colour, Colour, Colour]] = {
    "fox": ((156, 100, 66), (70, 58, 52), (204, 190, 170), (122, 104, 90)),
    "bird": ((112, 102, 94), (64, 58, 58), (188, 176, 158), (198, 152, 62)),
    "scrub jay": ((64, 104, 170), (42, 62, 112), (194, 190, 184), (58, 54, 54)),
    "skunk": ((40, 37, 38), (24, 22, 24), (226, 224, 216), (70, 64, 62)),
    "rodent": ((122, 102, 84), (84, 70, 58), (174, 156, 138), (176, 134, 124)),
    "lizard": ((124, 116, 80), (60, 54, 40), (176, 166, 122), (92, 84, 56)),
    "person": ((74, 92, 130), (56, 52, 58), (212, 166, 136), (142, 62, 56)),
    "vehicle": ((188, 190, 188), (38, 38, 42), (116, 138, 152), (200, 178, 120)),
}
PALETTES["island fox"] = ((138, 106, 82), (64, 58, 56), (204, 192, 176), (116, 108, 104))


def ellipse(x: float, y: float, rx: float, ry: float, turn_deg: float = 0) -> np.ndarray:
    angle, turn = np.linspace(0, 2 * np.pi, 30, endpoint=False), np.deg2rad(turn_deg)
    along, across = np.cos(angle) * rx, np.sin(angle) * ry
    return np.stack(
        [
            x + along * np.cos(turn) - across * np.sin(turn),
            y + along * np.sin(turn) + across * np.cos(turn),
        ],
        axis=1,
    )


def limb(path: Curve, widths: Sequence[float], start: float = 0, stop: float = 1) -> np.ndarray:
    """Returns a band of changing width round a smooth curve (Catmull-Rom) through the path."""
    knots = np.array([path[0], *path, path[-1]], dtype=float)
    position = np.linspace(start, stop, 26) * (len(path) - 1)
    i = np.minimum(position.astype(int), len(path) - 2)
    t = (position - i)[:, None]
    a, b, c, d = knots[i], knots[i + 1], knots[i + 2], knots[i + 3]
    curve = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    direction = np.gradient(curve, axis=0)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-9
    normal = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    half = np.interp(position, np.arange(len(path)), widths)[:, None] / 2
    return np.concatenate([curve + normal * half, (curve - normal * half)[::-1]])


def legs(colour: str, feet: Curve, top: float, width: float, gait: float) -> list[Part]:
    """Returns one leg for each (x of the hip, phase), which swings with the gait."""
    return [
        (
            colour,
            limb(
                [
                    (x, top),
                    (x + 0.03 * phase * gait - 0.01, top / 2),
                    (x + 0.11 * phase * gait, 0.015),
                    (x + 0.11 * phase * gait + width * 0.9, 0.01),
                ],
                [width * 1.7, width, width * 0.75, width * 0.6],
            ),
        )
        for x, phase in feet
    ]


def fox(gait: float, head: float, tail: float) -> list[Part]:
    x, y = 0.31, 0.44 + 0.07 * head
    brush: Curve = [(-0.24, 0.34), (-0.4, 0.24 + 0.1 * tail), (-0.56, 0.17 + 0.22 * tail)]
    brush = [*brush, (-0.7, 0.18 + 0.34 * tail)]
    fat = [0.06, 0.15, 0.18, 0.03]
    return [
        *legs("dark", [(-0.17, -1), (0.16, 1)], 0.28, 0.05, gait),
        ("coat", limb(brush, fat)),
        ("light", limb(brush, fat, start=0.78)),
        (
            "coat",
            limb([(-0.27, 0.32), (-0.08, 0.34), (0.13, 0.34), (x, y)], [0.2, 0.23, 0.2, 0.13]),
        ),
        ("accent", limb([(-0.25, 0.4), (0, 0.43), (0.18, 0.42)], [0.04, 0.06, 0.04])),
        ("light", limb([(0.2, 0.26), (0.27, 0.33), (x + 0.05, y - 0.05)], [0.06, 0.08, 0.05])),
        *legs("coat", [(-0.21, 1), (0.12, -1)], 0.28, 0.055, gait),
        *legs("dark", [(-0.21, 1), (0.12, -1)], 0.12, 0.04, gait),
        ("dark", np.array([(x - 0.05, y + 0.04), (x - 0.04, y + 0.2), (x + 0.04, y + 0.07)])),
        ("coat", np.array([(x - 0.01, y + 0.05), (x + 0.03, y + 0.19), (x + 0.08, y + 0.04)])),
        ("coat", ellipse(x + 0.03, y + 0.01, 0.1, 0.085)),
        (
            "coat",
            limb([(x + 0.06, y), (x + 0.13, y - 0.03), (x + 0.21, y - 0.05)], [0.13, 0.08, 0.03]),
        ),
        ("light", limb([(x + 0.05, y - 0.05), (x + 0.19, y - 0.06)], [0.05, 0.02])),
        ("dark", ellipse(x + 0.21, y - 0.045, 0.017, 0.015)),
        ("eye", ellipse(x + 0.08, y + 0.025, 0.014, 0.014)),
    ]


def bird(gait: float, head: float, tail: float) -> list[Part]:
    x, y = 0.27 + 0.02 * gait, 0.56 + 0.1 * head
    back = -0.46, 0.34 + 0.14 * tail
    shins: list[Part] = []
    for hip, phase in ((-0.03, -1), (0.06, 1)):
        foot = hip + 0.02 + 0.09 * phase * gait
        shins.append(("accent", limb([(hip, 0.28), (hip - 0.03, 0.14), (foot, 0.01)], [0.03] * 3)))
        shins.append(("accent", limb([(foot - 0.05, 0.01), (foot + 0.08, 0.01)], [0.025] * 2)))
    return [
        *shins,
        ("dark", limb([(-0.15, 0.42), (-0.3, 0.38 + 0.07 * tail), back], [0.16, 0.1, 0.09])),
        ("coat", ellipse(0, 0.41, 0.3, 0.19, 18)),
        ("light", ellipse(0.1, 0.36, 0.17, 0.13, 32)),
        ("coat", limb([(0.1, 0.48), (x - 0.03, y)], [0.24, 0.17])),
        ("dark", limb([(0.12, 0.48), (-0.05, 0.42), (-0.3, 0.34)], [0.12, 0.19, 0.02])),
        ("coat", limb([(0.1, 0.5), (-0.05, 0.45), (-0.24, 0.38)], [0.06, 0.07, 0.01])),
        ("coat", ellipse(x, y, 0.115, 0.105)),
        ("dark", np.array([(x + 0.08, y + 0.05), (x + 0.25, y - 0.01), (x + 0.08, y - 0.04)])),
        ("eye", ellipse(x + 0.04, y + 0.025, 0.02, 0.02)),
    ]


def skunk(gait: float, head: float, tail: float) -> list[Part]:
    x, y = 0.36, 0.18 + 0.06 * head
    plume: Curve = [(-0.24, 0.28), (-0.38, 0.36), (-0.5, 0.45 + 0.12 * tail)]
    plume = [*plume, (-0.6 + 0.16 * tail, 0.54 + 0.2 * tail)]
    back: Curve = [(0.32, 0.28 + 0.05 * head), (0.14, 0.35), (-0.1, 0.4), (-0.27, 0.33)]
    return [
        *legs("dark", [(-0.15, -1), (0.17, 1)], 0.16, 0.07, gait * 0.6),
        ("coat", limb(plume, [0.1, 0.21, 0.27, 0.13])),
        ("light", limb(plume, [0.05, 0.07, 0.12, 0.05])),
        (
            "coat",
            limb([(-0.3, 0.25), (-0.1, 0.26), (0.12, 0.24), (x, y)], [0.22, 0.31, 0.24, 0.15]),
        ),
        (
            "coat",
            limb([(x - 0.03, y), (x + 0.06, y - 0.02), (x + 0.15, y - 0.05)], [0.15, 0.11, 0.04]),
        ),
        *legs("coat", [(-0.2, 1), (0.13, -1)], 0.16, 0.075, gait * 0.6),
        ("light", limb(back, [0.03, 0.07, 0.08, 0.07])),
        ("light", limb([(x - 0.02, y + 0.07), (x + 0.1, y + 0.01)], [0.025, 0.02])),
        ("coat", ellipse(x - 0.05, y + 0.07, 0.03, 0.035)),
        ("eye", ellipse(x + 0.05, y + 0.005, 0.014, 0.014)),
    ]


def rodent(gait: float, head: float, tail: float) -> list[Part]:
    x, y = 0.27, 0.24 + 0.06 * head
    rope: Curve = [
        (-0.24, 0.1),
        (-0.42, 0.05),
        (-0.62, 0.08 + 0.1 * tail),
        (-0.82, 0.1 + 0.2 * tail),
    ]
    return [
        ("accent", limb(rope, [0.05, 0.035, 0.025, 0.012])),
        ("accent", limb([(-0.16, 0.03), (-0.02, 0.02)], [0.05, 0.04])),
        ("accent", limb([(0.16, 0.1), (0.22 + 0.04 * gait, 0.015)], [0.05, 0.03])),
        ("dark", ellipse(x - 0.1, y + 0.14, 0.075, 0.085, 20)),
        (
            "coat",
            limb([(-0.28, 0.13), (-0.12, 0.2), (0.08, 0.21), (x, y)], [0.16, 0.38, 0.3, 0.18]),
        ),
        ("light", limb([(-0.1, 0.06), (0.1, 0.09), (0.2, 0.14)], [0.05, 0.07, 0.04])),
        (
            "coat",
            limb([(x - 0.06, y), (x + 0.07, y - 0.03), (x + 0.18, y - 0.07)], [0.2, 0.14, 0.03]),
        ),
        ("coat", ellipse(x - 0.03, y + 0.12, 0.075, 0.085, 20)),
        ("accent", ellipse(x - 0.02, y + 0.12, 0.05, 0.06, 20)),
        ("coat", limb([(-0.18, 0.13), (-0.1, 0.03), (0.01, 0.02)], [0.15, 0.08, 0.04])),
        ("accent", ellipse(x + 0.18, y - 0.068, 0.016, 0.014)),
        ("eye", ellipse(x + 0.06, y + 0.015, 0.021, 0.023)),
    ]


def lizard(gait: float, head: float, tail: float) -> list[Part]:
    def sway(x: float) -> float:
        return 0.13 + 0.035 * gait * float(np.sin(x * 9))

    spine: Curve = [(x, sway(x)) for x in (-0.12, 0.02, 0.18, 0.3)]
    whip: Curve = [(-0.1, sway(-0.1)), (-0.3, sway(-0.3)), (-0.48, 0.12 + 0.08 * tail)]
    whip = [*whip, (-0.66, 0.12 + 0.2 * tail)]
    x, y = 0.36, sway(0.3) + 0.03 + 0.04 * head
    parts: list[Part] = []
    for hip, side, phase in ((0.2, -1, 1), (0.2, 1, -1), (-0.07, -1, -1), (-0.07, 1, 1)):
        knee = hip + 0.05 * phase * gait, 0.13 + side * 0.12
        foot = hip + (0.09 if hip > 0 else -0.08) + 0.08 * phase * gait, 0.13 + side * 0.17
        parts.append(("dark", limb([(hip, 0.13), knee, foot], [0.07, 0.055, 0.035])))
        parts.append(("dark", ellipse(*foot, 0.035, 0.015, 25 * side)))
    parts += [
        ("coat", limb(whip, [0.13, 0.09, 0.055, 0.012])),
        ("coat", limb(spine, [0.12, 0.2, 0.18, 0.1])),
        ("coat", limb([(x - 0.09, y - 0.02), (x, y), (x + 0.12, y)], [0.1, 0.15, 0.04])),
        (
            "light",
            limb([(-0.25, sway(-0.25) + 0.02), (0, 0.15), (0.26, 0.15)], [0.01, 0.025, 0.02]),
        ),
    ]
    parts += [("dark", ellipse(s, sway(s), 0.012, 0.05)) for s in np.linspace(-0.3, 0.24, 8)]
    return [*parts, ("eye", ellipse(x + 0.03, y + 0.025, 0.015, 0.013))]


def person(gait: float, head: float, tail: float) -> list[Part]:
    step = 0.1 + 0.06 * gait
    return [
        (
            "dark",
            limb(
                [(0, 0.5), (-step / 2, 0.26), (-step, 0.02), (-step + 0.06, 0.01)],
                [0.1, 0.08, 0.05, 0.04],
            ),
        ),
        (
            "dark",
            limb(
                [(0, 0.5), (step, 0.27), (step, 0.02), (step + 0.07, 0.01)],
                [0.11, 0.08, 0.05, 0.04],
            ),
        ),
        ("accent", limb([(-0.09, 0.56), (-0.1, 0.76)], [0.12, 0.1])),
        ("coat", limb([(0, 0.48), (0.01, 0.65), (0, 0.81)], [0.14, 0.16, 0.13])),
        (
            "coat",
            limb([(0, 0.79), (0.05 * tail, 0.64), (0.08 + 0.05 * tail, 0.5)], [0.06, 0.05, 0.04]),
        ),
        ("light", ellipse(0.08 + 0.05 * tail, 0.48, 0.022, 0.025)),
        ("light", ellipse(0.02, 0.91 + 0.01 * head, 0.05, 0.07)),
        ("dark", limb([(-0.04, 0.95), (0.02, 0.97), (0.1, 0.945)], [0.04, 0.06, 0.01])),
    ]


def vehicle(*_pose: float) -> list[Part]:
    parts: list[Part] = [
        ("coat", limb([(-0.5, 0.22), (0.48, 0.2)], [0.2, 0.18])),
        ("coat", np.array([(-0.15, 0.28), (-0.1, 0.46), (0.14, 0.46), (0.24, 0.28)])),
        ("light", np.array([(-0.11, 0.3), (-0.07, 0.43), (0.02, 0.43), (0.02, 0.3)])),
        ("light", np.array([(0.04, 0.3), (0.04, 0.43), (0.13, 0.43), (0.2, 0.3)])),
        ("accent", ellipse(0.46, 0.23, 0.03, 0.03)),
    ]
    for x in (-0.3, 0.28):
        parts += [("dark", ellipse(x, 0.1, 0.1, 0.1)), ("light", ellipse(x, 0.1, 0.045, 0.045))]
    return parts


SHAPES: dict[str, Callable[[float, float, float], list[Part]]] = {
    "fox": fox, "island fox": fox, "bird": bird, "scrub jay": bird, "skunk": skunk,
    "rodent": rodent, "lizard": lizard, "person": person, "vehicle": vehicle,
}  # fmt: skip
