from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.report import tensorboard

LABELS = ["fox", "bird", "cat"]


def predictions(*rows: tuple[int, list[float]]) -> Predictions:
    truth = np.array([truth for truth, _ in rows])
    soft = np.array([soft for _, soft in rows])
    return Predictions.from_arrays(LABELS[: soft.shape[1]], soft, truth, [("", "")] * len(rows))


SIX = predictions(
    (0, [0.6, 0.4, 0.0]),  # right, lead 0.2
    (0, [0.9, 0.05, 0.05]),  # right, lead 0.85
    (0, [0.1, 0.7, 0.2]),  # fox taken for bird, lead 0.6
    (0, [0.3, 0.4, 0.3]),  # fox taken for bird, lead 0.1
    (1, [0.8, 0.1, 0.1]),  # bird taken for fox, lead 0.7
    (2, [0.5, 0.1, 0.4]),  # cat taken for fox, lead 0.1
)


@pytest.mark.parametrize(
    ("label", "kind", "rows"),
    [
        (0, "true positive", [1, 0]),
        (0, "false positive", [4, 5]),
        (0, "false negative", [2, 3]),
        (1, "true positive", []),
        (1, "false positive", [2, 3]),
        (1, "false negative", [4]),
        (2, "false positive", []),
        (2, "false negative", [5]),
    ],
)
def test_the_most_confident_of_each_kind_come_first(label: int, kind: str, rows: list[int]) -> None:
    assert tensorboard.find_most_extreme(SIX, label, kind, 9).tolist() == rows
    assert tensorboard.find_most_extreme(SIX, label, kind, 1).tolist() == rows[:1]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_every_crop_is_right_once_or_wrong_under_two_labels(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    soft = rng.dirichlet([1, 1, 1], n)
    found = Predictions.from_arrays(LABELS, soft, rng.integers(3, size=n), [("", "")] * n)
    rows = {
        kind: np.concatenate([tensorboard.find_most_extreme(found, i, kind, n) for i in range(3)])
        for kind in tensorboard.KINDS
    }
    wrong = sorted(np.flatnonzero(soft.argmax(axis=1) != found.truth))
    assert sorted(rows["false positive"]) == sorted(rows["false negative"]) == wrong
    assert sorted([*rows["true positive"], *wrong]) == list(range(n))


def test_one_label_alone_has_true_positives() -> None:
    found = predictions((0, [1.0]), (0, [1.0]))
    assert tensorboard.find_most_extreme(found, 0, "true positive", 5).tolist() == [0, 1]


def test_a_crop_that_cannot_be_read_any_more_is_black(tmp_path: Path) -> None:
    (tmp_path / "rotten.png").write_bytes(b"\0" * 100)
    for name in ("rotten.png", "gone.png"):
        assert not tensorboard._read_picture(tmp_path / name).any()


def test_the_pictures_are_of_the_crops_that_were_read(tmp_path: Path) -> None:
    colours = ["red", "lime", "blue"]
    for colour in colours:
        Image.new("RGB", (20, 10), colour).save(tmp_path / f"{colour}.png")
    found = predictions((0, [0.9, 0.1]), (1, [0.2, 0.8]))
    found.rows["crop"] = ["red.png", "blue.png"]
    with SummaryWriter(tmp_path / "events") as writer:
        tensorboard.log_extremes(writer, found, tmp_path, count=3, epoch=4)
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert sorted(events.Tags()["images"]) == ["bird/true positive", "fox/true positive"]
    (image,) = events.Images("bird/true positive")
    assert (image.step, image.width, image.height) == (4, tensorboard.SIDE_PX, tensorboard.SIDE_PX)
    (tmp_path / "seen.png").write_bytes(image.encoded_image_string)
    with Image.open(tmp_path / "seen.png") as seen:
        assert seen.getpixel((56, 56)) == (0, 0, 255)
        assert seen.getpixel((56, 2)) == (0, 0, 0)
