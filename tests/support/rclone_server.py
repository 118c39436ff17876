"""rclone's S3 server over a folder whose folders are the buckets: an implementation not moto's."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEYS = "nobody,nothing"  # as the tests' environment has them


@contextmanager
def rclone(folder: Path, *more: str) -> Iterator[str]:
    """Yields the endpoint url; `more` are options of rclone's."""
    command = [Path(sys.executable).with_name("rclone"), "serve", "s3", "--config", "", folder]
    with subprocess.Popen(
        [*command, "--auth-key", KEYS, "--addr", "127.0.0.1:0", *more],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield _address(process)
        finally:
            process.terminate()


def _address(process: "subprocess.Popen[str]") -> str:
    said = []
    assert process.stderr
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"https?://[\d.]+:\d+", line):
            return found[0]
    raise RuntimeError("rclone did not start:\n" + "".join(said))
