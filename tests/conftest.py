"""What every test gets: no AWS of the real world, a folder of its own, a served small world."""

import contextlib
import hashlib
import io
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flaky_proxy import flaky_proxy
from hypothesis import settings
from killable import Runner, runner
from s3_server import forget_aws, serve
from shop import Done, Shop
from small_export import image, put, write_export
from world import BUCKET, World, make_world

from animl_pipeline import cli
from animl_pipeline.sources import patience

# Before torch is loaded, and for every subprocess: with several threads a tiny network is slower,
# and many times so where the cores are shared with other work.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell without job control starts what it puts in the background deaf to Ctrl-C, and so would be
# every command that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time, so that a test that was green stays so; another look is
# HYPOTHESIS_PROFILE=default, which draws new ones.
settings.register_profile("same", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session", autouse=True)
def aws_of_nobody() -> Iterator[None]:
    """Keys that open nothing, and no way to the real AWS or through a proxy of this machine."""
    before = dict(os.environ)
    forget_aws()
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "*",
    }
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, aws_of_nobody: None) -> World:
    """A small world with every broken and strange row."""
    return make_world(
        tmp_path_factory.mktemp("world"), locations=6, sequences=24, size_px=(320, 240)
    )


@pytest.fixture(scope="session")
def endpoint(world: World) -> Iterator[str]:
    """The address of an S3 server that holds the world; a test may add buckets of its own."""
    with serve(world.bucket_dir, BUCKET) as url:
        yield url


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def pipeline(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """The command line in this process: `pipeline("crop", "--quality", 90)`."""

    def run(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["pipeline", *map(str, words)])
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
        return Done(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def commands(aws_of_nobody: None) -> Iterator[Runner]:
    """Runs commands in processes of their own, forked from one that has loaded the libraries."""
    if not hasattr(os, "fork"):
        pytest.skip("nothing can be forked here")
    with runner() as run:
        yield run


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off between attempts takes no time."""
    monkeypatch.setattr(patience, "BACKOFF_S", (0.001, 0.005))
    monkeypatch.setattr(patience, "RETRY_AFTER_S_MAX", 0.005)
    monkeypatch.setattr(patience, "START_S", 0.05)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No way out but a proxy that answers no one, and a cache of weights that is empty."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch/hub/checkpoints"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with crops, dataset and a run of two epochs; not to be changed."""
    from small_dataset import TINY, make_dataset

    from animl_pipeline.running import perform
    from animl_pipeline.stages import train

    folder = tmp_path_factory.mktemp("trained")
    make_dataset(folder)
    with contextlib.chdir(folder):
        perform.perform("train", train.Options(epochs=2, run_name="first", **TINY))
    return folder


@pytest.fixture
def in_trained(here: Path, trained: Path) -> Path:
    """The current folder: a copy of crops, dataset and run."""
    shutil.copytree(trained, here, symlinks=True, dirs_exist_ok=True)
    return here


@pytest.fixture
def shop(
    endpoint: str, pipeline: Callable[..., Done], here: Path, no_waiting: None
) -> Iterator[Shop]:
    images, datas = zip(*(image(number) for number in range(1, 5)), strict=True)
    bucket = f"shop-{hashlib.md5(str(here).encode()).hexdigest()[:12]}"
    put(endpoint, bucket, {r["serving_bucket_key"]: d for r, d in zip(images, datas, strict=True)})
    export = write_export(here / "export.json", list(images))
    data = {r["file_name"]: d for r, d in zip(images, datas, strict=True)}
    with flaky_proxy(endpoint) as proxy:
        yield Shop(proxy, endpoint, bucket, list(images), data, export, pipeline)
