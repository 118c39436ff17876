import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from animl_pipeline.classifier import cache, card
from animl_pipeline.classifier.cache import Records, make_key, open_records
from animl_pipeline.classifier.crops import Crops, make_loader, share_cache
from animl_pipeline.classifier.preprocessing import make_transform

SHAPE = (3, 4, 4)
SIZE = 4 + 48  # a checksum and so many bytes
SIDE = 32
CARD = card.Card("efficientnet-b0", ["fox"], SIDE, {}, {}, {}, "", 0)


def record(seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.random.default_rng(seed).integers(0, 255, SHAPE, dtype=np.uint8)


def records(folder: Path, key: str = "a", count: int = 5, gigabytes: float = 1.0) -> Records:
    found = open_records(folder, key, count, SHAPE, gigabytes=gigabytes)
    assert found is not None
    return found


def files_of(folder: Path) -> list[Path]:
    return sorted((folder / cache.FOLDER).iterdir())


# The records


def test_what_was_put_is_got_again_by_another_process(tmp_path: Path) -> None:
    records(tmp_path).put(3, record(3))
    again = pickle.loads(pickle.dumps(records(tmp_path)))  # noqa: S301 - our own
    np.testing.assert_array_equal(again.get(3), record(3))
    assert again.get(2) is None


def test_a_record_that_is_changed_afterwards_stays_as_it_was_kept(tmp_path: Path) -> None:
    records(tmp_path).put(0, record(0))
    found = records(tmp_path).get(0)
    assert found is not None
    found[:] = 0
    np.testing.assert_array_equal(records(tmp_path).get(0), record(0))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, SIZE - 1), st.integers(1, 255))
def test_a_record_of_which_any_byte_is_wrong_is_none(
    tmp_path_factory: pytest.TempPathFactory, where: int, change: int
) -> None:
    folder = tmp_path_factory.mktemp("crops")
    for number in range(2):
        records(folder).put(number, record(number))
    (path,) = files_of(folder)
    content = bytearray(path.read_bytes())
    content[SIZE + where] ^= change
    path.write_bytes(content)
    np.testing.assert_array_equal(records(folder).get(0), record(0))
    assert records(folder).get(1) is None


@pytest.mark.parametrize("size", [0, 1, SIZE, 3 * SIZE - 1])
def test_a_file_that_was_left_too_short_is_filled_up(tmp_path: Path, size: int) -> None:
    records(tmp_path).put(0, record(0))
    os.truncate(files_of(tmp_path)[0], size)
    found = records(tmp_path)
    assert (found.get(0) is None) == (size < SIZE)
    found.put(4, record(4))
    np.testing.assert_array_equal(found.get(4), record(4))


def put_all(at: Path) -> None:
    for number in range(200):
        records(at, count=200).put(number, record(number))


def test_several_processes_fill_one_file(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(put_all, [tmp_path, tmp_path]))
    for number in range(200):
        np.testing.assert_array_equal(records(tmp_path, count=200).get(number), record(number))


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from animl_pipeline.classifier.cache import open_records
found = open_records(Path(sys.argv[1]), "a", 5, (3, 4, 4), gigabytes=1)
found.put(0, np.full((3, 4, 4), 7, np.uint8))
found._mapped[1]["content"] = 8  # as far as a record gets before its checksum
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_had_put_is_there_and_what_it_was_writing_is_not(
    tmp_path: Path,
) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    found = records(tmp_path)
    assert found.get(0) is not None
    assert found.get(1) is None


# The room they take


def test_no_more_is_kept_than_there_is_to_be_room_for_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = records(tmp_path, count=100, gigabytes=10 * SIZE / 1e9)
    for number in range(100):
        found.put(number, record(number))
    assert files_of(tmp_path)[0].stat().st_size == 10 * SIZE
    assert found.get(9) is not None
    assert found.get(10) is None
    assert "room for 10 of 100 crops" in caplog.text


def test_nothing_is_kept_in_no_room(tmp_path: Path) -> None:
    assert open_records(tmp_path, "a", 5, SHAPE, gigabytes=0) is None
    assert open_records(tmp_path, "a", 0, SHAPE, gigabytes=1) is None


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    room = 15 * SIZE / 1e9
    for number, key in enumerate("abc"):
        records(tmp_path, key, gigabytes=room)
        os.utime(tmp_path / cache.FOLDER / f"{key}{cache.SUFFIX}", (number, number))
    records(tmp_path, "a", gigabytes=room)  # used again
    records(tmp_path, "d", gigabytes=room)
    assert {path.stem for path in files_of(tmp_path)} == {"a", "c", "d"}


def test_a_folder_that_cannot_be_written_is_said_and_nothing_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / cache.FOLDER).write_text("a file where the folder would be")
    assert open_records(tmp_path, "a", 5, SHAPE, gigabytes=1) is None
    assert "nothing of the crops is kept" in caplog.text


# Crops through it


@pytest.fixture
def crops_dir(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 255, (50, 40 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return tmp_path


def parts(folder: Path, *, gigabytes: float = 1.0) -> tuple[Crops, Crops]:
    transform = make_transform(CARD)
    names = [f"{number}.png" for number in range(6)]
    train = Crops(folder, names[:4], [0] * 4, transform, replace=True)
    val = Crops(folder, names[4:], [0] * 2, transform)
    share_cache([train, val], CARD, gigabytes=gigabytes)
    return train, val


@pytest.mark.parametrize("readers", [0, 2])
def test_pictures_are_the_same_with_the_cache_and_without(crops_dir: Path, readers: int) -> None:
    plain = [crop[0] for part in parts(crops_dir, gigabytes=0) for crop in part]  # type: ignore[attr-defined]
    for _ in range(2):  # filled, then read
        for number, part in enumerate(parts(crops_dir)):
            (batch,) = make_loader(part, batch_size=4, workers=readers)
            expected = torch.stack(plain[:4] if number == 0 else plain[4:])
            assert torch.equal(batch[0], expected)


def test_the_second_time_no_crop_is_opened(crops_dir: Path) -> None:
    first = [crop[0] for part in parts(crops_dir) for crop in part]  # type: ignore[attr-defined]
    train, val = parts(crops_dir)
    for number in range(6):
        (crops_dir / f"{number}.png").unlink()
    again = [train[number][0] for number in range(4)] + [val[number][0] for number in range(2)]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: Image.new("RGB", (40, 50), "red").save(folder / "2.png"),
        lambda folder: os.utime(folder / "2.png", (1, 1)),
        lambda folder: (folder / "2.png").unlink(),
    ],
)
def test_a_crop_that_changed_has_another_key(
    crops_dir: Path, change: Callable[[Path], None]
) -> None:
    names = [f"{number}.png" for number in range(6)]
    before = make_key(crops_dir, names, 32)
    assert before == make_key(crops_dir, names, 32)
    assert before != make_key(crops_dir, names, 64)
    assert before != make_key(crops_dir, names[::-1], 32)
    change(crops_dir)
    assert before != make_key(crops_dir, names, 32)


def test_a_crop_that_cannot_be_read_is_not_kept(crops_dir: Path) -> None:
    (crops_dir / "1.png").write_bytes(b"no picture")
    for _ in range(2):
        train, _ = parts(crops_dir)
        assert [int(train[number][2]) for number in range(4)] == [0, 1, 0, 0]
        assert torch.equal(train[1][0], train[2][0])
