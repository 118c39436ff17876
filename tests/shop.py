"""A bucket of four pictures behind a proxy that spoils answers, and the command for them."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flaky_proxy import Proxy


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


Pipeline = Callable[..., Done]


@dataclass(frozen=True)
class Shop:
    """Images 1 to 4 in a bucket of their own behind a proxy, and the export of them."""

    proxy: Proxy
    endpoint: str
    bucket: str
    images: list[dict[str, Any]]
    data: dict[str, bytes]  # by file name
    export: Path
    pipeline: Pipeline

    def download(self, *more: object) -> Done:
        where = ("--bucket", self.bucket, "--endpoint-url", self.proxy.url)
        return self.pipeline("download", "--coco-file", self.export, *where, *more)

    def states(self) -> list[str]:
        return [row["state"] for row in ledger()]


def ledger(folder: str = "images") -> list[dict[str, str]]:
    with Path(folder, "download.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
