"""COCO files of a test: records to put together, and what spoils them."""

import copy
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).parents[3] / "shared"
ANIML = SHARED / "fixtures" / "animl"
Content = dict[str, Any]


def shared(path: Path) -> Path:
    """A file that lies beside the repository; a test that needs it is skipped without it."""
    if not path.exists():
        pytest.skip(f"{path} is not there: this test runs where the project's shared folder is.")
    return path


def image(image_id: Any = "a", **more: Any) -> Content:
    record = {"id": image_id, "file_name": f"{image_id}.jpg", "location": "Harbor"}
    record |= {"datetime": "2023-03-02T06:41:10.000-08:00", "width": 640, "height": 480}
    return record | more


def annotation(annotation_id: Any = "1", **more: Any) -> Content:
    record = {"id": annotation_id, "image_id": "a", "category_id": 5, "bbox": [64, 48, 320, 240]}
    return record | more


def export(
    images: Iterable[Any] = (), annotations: Iterable[Any] = (), categories: Iterable[Any] = ()
) -> Content:
    return {
        "images": list(images) or [image()],
        "annotations": list(annotations) or [annotation()],
        "categories": list(categories) or [{"id": 0, "name": "empty"}, {"id": 5, "name": "fox"}],
    }


JUNK: list[Any] = [
    None, True, False, 0, -1, 5, 99, 10**30, 10**400, 1.5, float("nan"), float("inf"), -1e308,
    "", "a", "5", "../x", "/", "\x00", "\ud800", "NA", "x" * 400, "a.jpg", "CON",
    [], [1, 2, 3, 4], [None] * 4, [[[]]], {}, {"id": 1}, {"left": 1}, "9999-99-99", "0001-01-01",
]  # fmt: skip
BASE = {
    **export(
        [image("a"), image("b", seq_id="s", serving_bucket_key="k"), image("c", datetime=None)],
        [
            annotation("1"),
            annotation("2", image_id="b", confidence=0.5, validated=False),
            annotation("3", image_id="c", bbox=None, bbox_relative=[0.1, 0.1, 0.2, 0.2]),
        ],
    ),
    "info": {"description": "Animl project 'p'."},
}


def mutate(content: Any, rng: random.Random) -> None:
    """Change one place of a JSON value: put junk in, take it out, double it or move it."""
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = rng.choice(keys)
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.15:
            break
        place = place[key]
    action = rng.randrange(5)
    if action <= 1:
        place[key] = copy.deepcopy(rng.choice(JUNK))
    elif action == 2:
        del place[key]
    elif isinstance(place, list):
        place.insert(rng.randrange(len(place) + 1), copy.deepcopy(place[key]))
    else:
        place[rng.choice(["id", "file_name", "bbox", "width", "x"])] = copy.deepcopy(place[key])
