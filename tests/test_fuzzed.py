"""Exports and results mutated at random give rows and messages: no traceback, no hang.

FUZZED_FILES=10000 takes more of each.
"""

import contextlib
import copy
import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from coco_file import ANIML, BASE, mutate
from megadetector_validator import errors_of_megadetector
from shop import Done

from animl_pipeline.formats import coco

FILES = int(os.environ.get("FUZZED_FILES", "200"))
CROPPED = 20  # of so many one is cropped, too, which takes longer
HANGS_S = 30
Pipeline = Callable[..., Done]
pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")

RESULTS = {
    "info": {"format_version": "1.6", "detector": "md_v5a.0.1.pt"},
    "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
    "classification_categories": {"0": "fox", "1": "bird"},
    "images": [
        {"file": "a.jpg", "location": 7, "width": 64, "height": 48, "detections": [
            {"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.2, 0.2],
             "classifications": [["0", 0.8], ["1", 0.1]], "id": "x", "validated": True},
            {"category": 2, "conf": 1, "bbox": [0, 0, 1, 1]},
        ]},
        {"file": "b.jpg", "failure": "image access failure", "detections": None},
        {"file": "c.jpg", "max_detection_conf": 0.0, "detections": []},
    ],
}  # fmt: skip


def bases() -> list[Any]:
    """Exports to mutate: a small one with all fields, and the fixture's where it is."""
    paths = [ANIML / name for name in ("cct.json", "cct_2023.json")]
    return [BASE, *(json.loads(path.read_bytes()) for path in paths if path.exists())]


def mutant(base: Any, rng: random.Random) -> bytes:
    """Returns a file with some places changed: of its values, or of its text."""
    content = copy.deepcopy(base)
    for _ in range(rng.choice([0, 1, 1, 2, 5, 20])):
        mutate(content, rng)
    data = json.dumps(content, ensure_ascii=rng.random() < 0.8).encode("utf-8", "surrogatepass")
    for _ in range(rng.choice([0, 0, 0, 1, 3])):
        data = spoiled(data, rng)
    return data


def spoiled(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    to = at + rng.randrange(40)
    junk = [b"", b"\xff\xfe", b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b'"\\ud800"', b"\x00"]
    junk += [b"[" * 3000, b'{"a":' * 3000, data[at:to], bytes([rng.randrange(256)]), b'"', b","]
    return rng.choice(
        [
            data[:at],  # cut off
            b"\xef\xbb\xbf" + data,  # a byte order mark, or two
            data[:at] + data[to:],
            data[:at] + rng.choice(junk) + data[at:],
            data[:at] + rng.choice(junk) + data[to:],
        ]
    )


@pytest.fixture
def watchdog() -> Iterator[Callable[[], Any]]:
    """A limit of time for what is done in its block."""

    def hangs(*_: Any) -> NoReturn:
        raise TimeoutError(f"still at work after {HANGS_S} s")

    @contextlib.contextmanager
    def limit() -> Iterator[None]:
        signal.setitimer(signal.ITIMER_REAL, HANGS_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    before = signal.signal(signal.SIGALRM, hangs)
    yield limit
    signal.signal(signal.SIGALRM, before)


def assert_told(done: Done) -> None:
    """A command ends well, or with a message; anything else would have been raised here."""
    assert done.code in (0, 1, 3), done.err
    assert (done.code == 0) == (not done.err)
    assert done.err.startswith("Error: ") or not done.err


def test_a_mutated_export_gives_rows_and_messages(
    here: Path, pipeline: Pipeline, watchdog: Callable[[], Any]
) -> None:
    rng, sources, accepted = random.Random(0), bases(), 0
    for number in range(FILES):
        data = mutant(rng.choice(sources), rng)
        (here / "export.json").write_bytes(data)
        with watchdog():
            done = pipeline("check", "--coco-file", "export.json")
            assert_told(done)
            words = ("--input-file", "export.json", "--output-file", "results.json")
            converted = pipeline("convert", *words)
            assert_told(converted)
            assert converted.code == done.code
            if number % CROPPED == 0:
                assert_told(cropped(pipeline, ANIML / "images", here))
        if not converted.code:
            accepted += 1
            assert errors_of_megadetector(here / "results.json") == []
    assert FILES / 4 < accepted < FILES  # else it tests little


def cropped(pipeline: Pipeline, images: Path, here: Path, *more: str) -> Done:
    """Crops with every row accounted for."""
    words = ("--coco-file", "export.json", "--images-dir", images, "--dataset", "d", *more)
    done = pipeline("crop", *words, "--output-dir", here / "crops", "--include-unvalidated")
    if not done.code:
        export = coco.read(here / "export.json")
        rows = sum(
            map(len, (export.annotations, export.refused_annotations, export.refused_images))
        )
        labelled = {row.image_id for row in export.annotations}
        rows += sum(one.image_id not in labelled for one in export.images)
        record = json.loads((here / "crops" / "crop.json").read_bytes())["counts"]
        assert record["crops"] + record["rows without a crop"] == rows or more
    return done


def test_mutated_results_give_rows_and_messages(
    here: Path, pipeline: Pipeline, watchdog: Callable[[], Any]
) -> None:
    rng, accepted = random.Random(1), 0
    (here / "export.json").write_text(json.dumps(BASE))
    for number in range(FILES):
        (here / "results.json").write_bytes(mutant(RESULTS, rng))
        with watchdog():
            words = ("--input-file", "results.json", "--output-file", "back.json", "--to", "coco")
            done = pipeline("convert", *words)
            assert_told(done)
            if number % CROPPED == 0:
                assert_told(cropped(pipeline, here, here, "--detections", "results.json"))
        if not done.code and json.loads((here / "back.json").read_bytes())["images"]:
            accepted += 1
            coco.read(here / "back.json")
    assert FILES / 8 < accepted < FILES
