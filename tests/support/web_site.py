"""A web server that answers as it is told, and what a source makes of its answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from serving import served

from animl_pipeline.errors import ObjectUnavailable
from animl_pipeline.sources import verified
from animl_pipeline.sources.source import Source

DATA = b"a picture of a fox " * 200


@dataclass
class Site:
    """What a web server answers: (status, headers, body) by path, one after another."""

    url: str = ""
    answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def says(self, path: str, *answers: tuple[int, dict[str, str], bytes]) -> None:
        """The last of the answers is given for ever."""
        self.answers[path] = list(answers)


@contextmanager
def site(port: int = 0) -> Iterator[Site]:
    found = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            found.asked.append(self.path)
            found.headers.append({k.lower(): v for k, v in self.headers.items()})
            due = found.answers.get(self.path, [(404, {}, b"")])
            status, headers, body = due.pop(0) if len(due) > 1 else due[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with served(Handler, port) as address:
        found.url = f"{address}/"
        yield found


def fetch(source: Source, key: str, target: Path, md5: str = "") -> verified.Fetched:
    return verified.fetch_verified(source, key, target, md5=md5, arrived=lambda _: None)


def state_of(source: Source, key: str, target: Path, md5: str = "") -> str:
    with pytest.raises(ObjectUnavailable) as caught:
        fetch(source, key, target, md5)
    return caught.value.state
