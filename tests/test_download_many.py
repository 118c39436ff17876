"""Many pictures over a bad line: none lost, none wrong, none fetched twice.

DOWNLOAD_TEST_OBJECTS=10000 takes more of them.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flaky_proxy import PASSING, Proxy, flaky_proxy
from killable import Runner
from rclone_server import rclone
from shop import Done, agrees, ledger, pictures
from small_export import image, write_export

OBJECTS = int(os.environ.get("DOWNLOAD_TEST_OBJECTS", "900"))
BUCKET = "many"
Pipeline = Callable[..., Done]


@dataclass(frozen=True)
class Many:
    """Pictures behind a proxy, their bytes by file name, and the words of the command."""

    proxy: Proxy
    data: dict[str, bytes]
    export: Path

    def words(self, *more: object) -> list[str]:
        where = ("--bucket", BUCKET, "--endpoint-url", self.proxy.url, "--workers", 8)
        return ["download", "--coco-file", *map(str, (self.export, *where, *more))]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    """A third of the pictures have an id with their md5; of the others the server's has to do."""
    folder = tmp_path_factory.mktemp("many")
    records, data = [], {}
    for number in range(OBJECTS):
        record, content = image(number)
        if number % 3:
            record["id"] = f"picture {number}"
        target = folder / "buckets" / BUCKET / record["serving_bucket_key"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        records.append(record)
        data[record["file_name"]] = content
    export = write_export(folder / "export.json", records)
    with rclone(folder / "buckets") as url, flaky_proxy(url) as proxy:
        yield Many(proxy, data, export)


@pytest.fixture
def many(served: Many) -> Many:
    served.proxy.forget()
    return served


def test_over_a_line_with_every_fault_nothing_is_lost_and_nothing_wrong_is_kept(
    many: Many, pipeline: Pipeline, no_waiting: None
) -> None:
    many.proxy.rain(0.05, seed=1)
    words = many.words("--timeout", 0.5)
    done = pipeline(*words)
    assert many.proxy.spoiled.keys() >= set(PASSING)  # each kind of fault there is did happen
    assert done.code == 0, done.err
    assert Counter(row["state"] for row in ledger()) == {"downloaded": OBJECTS}
    assert pictures() == many.data
    assert agrees(ledger(), pictures())

    many.proxy.forget()
    assert pipeline(*words).code == 0
    assert many.proxy.requests == []
    assert Counter(row["state"] for row in ledger()) == {"present": OBJECTS}


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_any_moment_the_next_run_completes_it_and_fetches_nothing_twice(
    many: Many, commands: Runner, tmp_path: Path, kills: int
) -> None:
    draw = random.Random(kills)
    work = tmp_path / "undisturbed"
    work.mkdir()
    undisturbed = commands.run(work, many.words())
    assert undisturbed.code == 0, undisturbed.said
    for number in range(kills):
        many.proxy.forget()
        work = tmp_path / str(number)
        work.mkdir()
        images = work / "images"
        after_s = undisturbed.seconds * draw.uniform(0.1, 0.95)
        commands.run(work, many.words(), number=signal.SIGKILL, after_s=after_s)
        complete = {name for name, data in pictures(images).items() if many.data.get(name)}
        many.proxy.requests.clear()
        ended = commands.run(work, many.words())
        assert ended.code == 0, ended.said
        assert pictures(images) == many.data
        assert agrees(ledger(images), pictures(images))
        asked = {path for method, path in many.proxy.requests if method == "GET"}
        assert len(asked) == len(many.data) - len(complete)


def test_ctrl_c_stops_at_once_with_a_true_ledger_and_no_half_file(many: Many, here: Path) -> None:
    for key in ("/7.jpg", "/8.jpg", "/9.jpg", "/11.jpg"):
        many.proxy.spoil(key, "stall")
    command = [sys.executable, "-m", "animl_pipeline", *many.words("--timeout", 600)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while len(many.proxy.requests) < 100 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)  # a request that is silent would wait for longer
    assert process.returncode == 130
    assert "Run the same command again" in err
    assert len(many.proxy.requests) < OBJECTS  # it asked for no more pictures
    states = Counter(row["state"] for row in ledger())
    assert states.total() == OBJECTS
    assert states["downloaded"]
    assert {row["reason"] for row in ledger() if row["state"] == "failed"} == {
        "not reached: the run was stopped"
    }
    assert agrees(ledger(), pictures())
    assert not (here / "images" / "download.json").exists()


def test_what_ctrl_c_left_open_is_fetched_by_the_next_run(many: Many, pipeline: Pipeline) -> None:
    many.proxy.spoil("/401.jpg", "expired", times=2)
    assert pipeline(*many.words("--workers", 1)).code == 1
    before = pictures()
    assert 0 < len(before) < len(many.data)
    assert agrees(ledger(), before)
    many.proxy.forget()
    assert pipeline(*many.words()).code == 0
    assert many.proxy.fetched() == len(many.data) - len(before)
    assert pictures() == many.data
