"""A proxy before an S3 server that counts requests and spoils the answers it is told to."""

import http.client
import random
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from serving import served

FOREVER = 1000
ERRORS = {
    "busy": (503, "SlowDown"),
    "throttled": (429, "TooManyRequests"),
    "denied": (403, "AccessDenied"),
    "expired": (400, "ExpiredToken"),
    "broken": (500, "InternalError"),
    "signature": (403, "SignatureDoesNotMatch"),
    "elsewhere": (400, "AuthorizationHeaderMalformed"),
}
PASSING = ("busy", "throttled", "broken", "reset", "short", "cut", "altered", "stall", "page")


@dataclass
class Proxy:
    """Its address, the requests so far as (method, path), and the faults to come by path's end."""

    url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)  # of each request
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    spoiled: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # how often, by fault
    stalled: threading.Event = field(default_factory=threading.Event)  # set, it ends all stalls
    weather: random.Random | None = None
    fraction: float = 0.0

    def spoil(self, key: str, fault: str, times: int = FOREVER) -> None:
        """Spoils the next answers for a key: busy, denied, expired, broken (errors of S3), reset,
        short (the connection ends early), cut (half a body that says it is whole), altered (a
        byte is another), chunked (no length is given), page (a 200 that is not S3's at all),
        stall (half a body, then silence), elsewhere (the wrong region).
        """
        self.faults[key] += [fault] * times

    def rain(self, fraction: float, seed: int) -> None:
        """Spoils a fraction of all answers to GET from now on, each in one of the passing ways."""
        self.weather, self.fraction = random.Random(seed), fraction

    def due(self, method: str, path: str) -> str:
        """Returns the fault for a request, or ""."""
        for key, faults in self.faults.items():
            if path.endswith(key) and faults:
                return faults.pop(0)
        if self.weather and method == "GET" and self.weather.random() < self.fraction:
            return self.weather.choice(PASSING)
        return ""

    def forget(self) -> None:
        """Drops the requests so far and the faults to come."""
        self.requests.clear()
        self.headers.clear()
        self.faults.clear()
        self.spoiled.clear()
        self.weather = None

    def fetched(self, key: str = "") -> int:
        return sum(method == "GET" and path.endswith(key) for method, path in self.requests)


@contextmanager
def flaky_proxy(endpoint_url: str) -> Iterator[Proxy]:
    """Yields a proxy before the server."""
    proxy = Proxy()
    handler = type("Handler", (Forward,), {"proxy": proxy, "upstream": urlsplit(endpoint_url)})
    with served(handler) as proxy.url:
        try:
            yield proxy
        finally:
            proxy.stalled.set()


class Forward(BaseHTTPRequestHandler):
    """Forwards a request, and spoils what comes back if a fault is due."""

    proxy: Proxy
    upstream: Any
    lock = threading.Lock()
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server_side = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port)

    def finish(self) -> None:
        self.server_side.close()
        super().finish()

    def do_GET(self) -> None:
        self.forward()

    def do_HEAD(self) -> None:
        self.forward()

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def forward(self) -> None:
        path = unquote(urlsplit(self.path).path)
        with self.lock:
            self.proxy.requests.append((self.command, path))
            self.proxy.headers.append({k.lower(): v for k, v in self.headers.items()})
            fault = self.proxy.due(self.command, path)
            self.proxy.spoiled[fault] += bool(fault)
        if fault == "reset":
            # Linger of no time: the peer sees a reset, not an end.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            return
        if fault == "page":
            self.answer(200, [("Content-Type", "text/html")], b"<html>Log in to the hotel</html>")
        elif fault in ERRORS:
            status, code = ERRORS[fault]
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Region>eu-west-3</Region>"
            body = (text + "</Error>").encode()
            self.answer(status, [("Content-Type", "application/xml")], body)
        else:
            self.answer(*self.ask(), fault=fault)

    def ask(self) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
        try:
            self.server_side.request(self.command, self.path, headers=headers)
            answer = self.server_side.getresponse()
        except (ConnectionError, http.client.HTTPException):  # it was kept for too long
            self.server_side.close()
            self.server_side.request(self.command, self.path, headers=headers)
            answer = self.server_side.getresponse()
        drop = {"connection", "transfer-encoding", "date", "server"}
        kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in drop]
        return answer.status, kept, answer.read()

    def answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, fault: str = ""
    ) -> None:
        half = body[: len(body) // 2]
        if fault == "altered":
            body = half + bytes([body[len(half)] ^ 255]) + body[len(half) + 1 :]
        length = len(half) if fault == "cut" else len(body)
        self.send_response(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD" and fault != "chunked":
            self.send_header("Content-Length", str(length))
        self.close_connection = fault in {"chunked", "short", "stall"}
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(half if fault in {"cut", "short", "stall"} else body)
        if fault == "stall":
            self.proxy.stalled.wait(60)
