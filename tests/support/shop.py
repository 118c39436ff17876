"""A bucket of four pictures behind a proxy that spoils answers, and the command for them."""

import csv
import hashlib
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


def ledger(folder: str | Path = "images") -> list[dict[str, str]]:
    with Path(folder, "download.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pictures(folder: Path = Path("images")) -> dict[str, bytes]:
    """Every file of the folder but what the pipeline writes itself."""
    ours = {"cct.json", "download.csv", "download.json", ".download.unfinished"}
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in ours)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def agrees(rows: list[dict[str, str]], found: dict[str, bytes]) -> bool:
    """The ledger and the disk say the same: names, sizes and bytes."""
    held = {row["file_name"]: row for row in rows if row["state"] in {"present", "downloaded"}}
    return held.keys() == found.keys() and all(
        hashlib.md5(data).hexdigest() == held[name]["md5"] and len(data) == int(held[name]["bytes"])
        for name, data in found.items()
    )
