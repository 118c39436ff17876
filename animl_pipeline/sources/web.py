"""A web address as the source of images, as LILA serves its sets; the only urllib3."""

import base64
import binascii
import contextlib
import os
import re
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import certifi
import urllib3
from urllib3 import BaseHTTPResponse, Retry, Timeout
from urllib3 import exceptions as broken

from animl_pipeline.errors import ObjectUnavailable, OptionError, StorageRefused
from animl_pipeline.sources.patience import Again, Patience
from animl_pipeline.sources.source import CHUNK_BYTES, Answer

CONNECT_S = 10.0
REDIRECTS = 5
COMPRESSED = {"gzip", "x-gzip", "deflate", "br", "zstd"}
ERROR_BYTES = 1 << 16  # of an error's body, which is a few lines; the rest is not read
MD5_HEX = re.compile(r"[0-9a-f]{32}")
MISSING, DENIED, BUSY = {404, 410}, {401, 403}, {408, 425, 429}
NEVER_THERE = (broken.NewConnectionError, broken.ConnectTimeoutError, broken.ProxyError)


class Web:
    """A source whose keys are paths below an http(s) address."""

    redirects = REDIRECTS

    def __init__(
        self, base_url: str, *, connections: int, timeout_s: float, ca_file: str | None = None
    ) -> None:
        """Open nothing yet; `ca_file` has the certificates to trust in the place of the usual.

        Raises:
            OptionError: the address is none, or holds what must not be written down.
        """
        refuse_secrets(base_url)
        self.patience = Patience()
        self.timeout_s = timeout_s
        self.base_url = base_url.rstrip("/") + "/"
        self.ca_file = ca_file or os.environ.get("REQUESTS_CA_BUNDLE") or None
        self._manager = _make_manager(
            base_url, connections, timeout_s, _make_ssl_context(self.ca_file)
        )
        self._bodies: set[BaseHTTPResponse] = set()

    def check(self) -> None:
        """Do nothing: an address says nothing of all its files."""

    def get_quickly(self, key: str) -> Answer | None:  # noqa: ARG002 - a bucket has a quicker way
        """Return None: there is one way to a web address."""
        return None

    @contextmanager
    def open(self, key: str) -> Iterator[Answer]:
        """Yield an object and its body."""
        response = self._ask("GET", key)
        self._bodies.add(response)
        try:
            answer = self._read_answer(response)
            yield Answer(answer.size_bytes, answer.md5, _read_chunks(response))
        finally:
            self._bodies.discard(response)
            # Read to its end the connection has gone back by itself; else it is of no more use.
            response.close()

    def head(self, key: str) -> Answer:
        """Return what the server says of an object."""
        response = self._ask("HEAD", key)
        response.drain_conn()
        return self._read_answer(response)

    def close(self) -> None:
        """End what is under way, in whatever thread, and give back the connections."""
        self.patience.stopped.set()
        for response in list(self._bodies):
            with contextlib.suppress(OSError, ValueError, RuntimeError):  # it has just ended
                response.shutdown()
        self._manager.clear()

    def _ask(self, method: str, key: str) -> BaseHTTPResponse:
        """Return the answer of a server that has the object; the body is not read yet."""
        response = self._send(method, key)
        if response.status == 200:
            return response
        try:
            body = response.read(ERROR_BYTES).decode(errors="replace")
        except (broken.HTTPError, OSError):
            body = ""
        response.close()
        raise self._explain_refusal(response, body)

    def _send(self, method: str, key: str) -> BaseHTTPResponse:
        """Return any answer of the server."""
        self.patience.refuse_stopped()
        if not {".", ".."}.isdisjoint(key.split("/")):
            raise ObjectUnavailable("failed", "the key has a . or .. part, which HTTP cannot name")
        url = self.base_url + quote(key, safe="/~")
        headers = self._make_headers(method, url)
        retries = Retry(None, connect=0, read=0, status=0, other=0, redirect=self.redirects)
        try:
            response = self._manager.urlopen(
                method,
                url,
                headers=headers,
                preload_content=False,
                decode_content=False,
                redirect=self.redirects > 0,
                retries=retries,
            )
        except (broken.HTTPError, OSError) as error:
            raise self._explain_silence(error) from error
        self.patience.note_reached()
        return response

    def _explain_silence(self, error: Exception) -> Exception:
        """Return what a request without an answer means."""
        trouble = _explain_error(error)
        pool = getattr(error, "pool", None)
        elsewhere = getattr(pool, "host", None) not in {None, urlsplit(self.base_url).hostname}
        if isinstance(trouble, Again) and elsewhere and not self._manager.proxy:
            trouble.reached = True  # it led to a host that is not there: one image's trouble
            self.patience.note_reached()
        return trouble

    def _make_headers(self, method: str, url: str) -> dict[str, str]:  # noqa: ARG002 - S3 signs them
        return {"Accept-Encoding": "identity"}

    def _read_answer(self, response: BaseHTTPResponse) -> Answer:
        md5 = self._read_md5(response)
        if not md5 and response.headers.get("Content-Type", "").startswith("text/html"):
            raise Again("a web page came in the place of the image", state="corrupt")
        encoding = response.headers.get("Content-Encoding", "identity")
        if not md5 and encoding in COMPRESSED:
            raise Again(f"the image came compressed ({encoding})", state="corrupt")
        length = response.headers.get("Content-Length", "")
        return Answer(int(length) if length.isdecimal() else None, md5)

    def _read_md5(self, response: BaseHTTPResponse) -> str:
        """Return the md5 the server names: as S3, Azure and Google's storage do."""
        headers = response.headers
        if "x-amz-request-id" in headers:
            return read_etag_md5(response)
        google = re.search(r"md5=([\w+/=]+)", headers.get("x-goog-hash", ""))
        text = google[1] if google else headers.get("Content-MD5", "")
        try:
            digest = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return ""
        return digest.hex() if len(digest) == 16 else ""

    def _explain_refusal(self, response: BaseHTTPResponse, body: str) -> Exception:  # noqa: ARG002
        """Return what an answer other than 200 means."""
        return explain_answer(response, response.reason or "")


def explain_answer(response: BaseHTTPResponse, word: str) -> Exception:
    """Return what an answer other than 200 means by HTTP; `word` is what else it says."""
    status = response.status
    if status == 407:
        return StorageRefused(
            "The proxy of the environment wants a name and a password: http://name:password@proxy."
        )
    if status in MISSING:
        return ObjectUnavailable("missing", "no such file at the address")
    if status in DENIED:
        return ObjectUnavailable("denied", "no permission to read it")
    reason = f"the server answered {status} {word}".rstrip()
    if status in BUSY or status >= 500:
        return Again(reason, wait_s=_read_retry_after_s(response))
    return ObjectUnavailable("failed", reason)


def read_etag_md5(response: BaseHTTPResponse) -> str:
    """Return S3's ETag if it is the md5 of the body: not of one in parts or encrypted with a key.

    Source: Amazon S3 API, Object, ETag.
    """
    etag = response.headers.get("ETag", "").strip('"')
    encrypted = response.headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
    customer = "x-amz-server-side-encryption-customer-algorithm" in response.headers
    return etag if MD5_HEX.fullmatch(etag) and not encrypted and not customer else ""


def _make_ssl_context(ca_file: str | None) -> ssl.SSLContext:
    """Return whom to trust: those of a file, or the system's and Mozilla's.

    Raises:
        OptionError: there is no such file, or it holds no certificates.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise OptionError(f"The certificates of {ca_file} cannot be read: {error}.") from error
    if not ca_file:  # some systems' Python knows none
        context.load_verify_locations(certifi.where())
    return context


def _make_manager(
    url: str, connections: int, timeout_s: float, trusted: ssl.SSLContext
) -> urllib3.PoolManager:
    """Return the connections, through a proxy where the environment names one for this host."""
    parts, proxies = urlsplit(url), urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    settings: Any = {
        "maxsize": connections,
        "timeout": Timeout(connect=min(CONNECT_S, timeout_s), read=timeout_s),
        "ssl_context": trusted,
    }
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return urllib3.PoolManager(**settings)
    address = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
    headers = urllib3.make_headers(proxy_basic_auth=unquote(address.auth)) if address.auth else {}
    try:
        return urllib3.ProxyManager(
            address._replace(auth=None).url, proxy_headers=headers, **settings
        )
    except ValueError as error:
        raise OptionError(
            f"The proxy of the environment ({parts.scheme}_proxy) is of a kind that cannot be used "
            f"here: give an http:// one, or except the host with no_proxy."
        ) from error


def refuse_secrets(url: str) -> None:
    """Raise OptionError if an address is none, or holds what must not be written down.

    The address is not in the message: what it holds may be a password.
    """
    try:
        parts = urlsplit(url)
        secret = bool(parts.query or parts.fragment or ";" in url or "@" in url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port or a host that cannot be
        secret, good = False, None
    if secret:
        raise OptionError(
            "An address with a password, a query or a token in it is refused: credentials come "
            "from the AWS chain alone (--profile, environment, SSO)."
        )
    if not good:
        raise OptionError(
            "That is no http:// or https:// address: check --source and --endpoint-url."
        )


def _read_chunks(response: BaseHTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK_BYTES, decode_content=False):
            yield chunk
    except (broken.HTTPError, OSError, ValueError) as error:
        raise _explain_error(error) from error


def _explain_error(error: Exception) -> Exception:
    """Return what a request without an answer means."""
    if isinstance(error, broken.MaxRetryError) and error.reason:
        error = error.reason
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StorageRefused(
            f"The server's certificate is not to be trusted: {error}. If it is your own, name the "
            "file of its authority in AWS_CA_BUNDLE or REQUESTS_CA_BUNDLE."
        )
    if isinstance(error, broken.LocationValueError | broken.ResponseError):
        return ObjectUnavailable("failed", f"a redirection that leads nowhere: {error}")
    message = re.sub(
        r"^[^:]*\([^)]*\): ", "", " ".join(str(error).split())
    )  # without the pool's repr
    reason = message or type(error).__name__
    if isinstance(error, NEVER_THERE):
        return Again(f"no connection: {reason}", reached=False)
    return Again(f"the connection broke: {reason}")


def _read_retry_after_s(response: BaseHTTPResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0
