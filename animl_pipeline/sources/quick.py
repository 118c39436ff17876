"""A quicker way to the objects of a bucket, which says less of what went wrong; the only obstore.

What does not come this way is asked for in the other, which tries again and knows the reasons.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from animl_pipeline.sources.source import Answer

if TYPE_CHECKING:
    from obstore.store import ClientConfig

# Keys that obstore asks for as they are: it shortens a//b, and spells some characters otherwise.
PLAIN = re.compile(r"(?!\.{1,2}(/|$))[\w.-]+(/(?!\.{1,2}(/|$))[\w.-]+)*", re.ASCII)
BODY_BYTES_MAX = 1 << 26  # larger ones are not held in memory, one for every worker
RENEWED = timedelta(minutes=15)  # when credentials are asked for again
USELESS = 20  # failures without one success: this server is not for obstore


def open_quick(base_url: str, **settings: Any) -> "Quick | None":
    """Return the quicker way, or None where obstore cannot make out the settings of this place."""
    try:
        return Quick(base_url, **settings)
    except (BaseError, OSError, ValueError):
        return None


class Quick:
    """The objects of a bucket by way of obstore."""

    def __init__(
        self,
        base_url: str,
        *,
        region: str,
        credentials: Callable[[], Any] | None,
        explain: Callable[[str], Exception | None],
        requester_pays: bool,
        timeout_s: float,
        ca_file: str | None,
    ) -> None:
        """Open nothing yet.

        `credentials` gives those of botocore, frozen; None is for requests that are not signed.
        `explain` gives, for S3's code of an error, what to raise, or None to ask the other way.
        """

        def provide() -> Any:
            frozen = credentials() if credentials else None
            return frozen and {
                "access_key_id": frozen.access_key,
                "secret_access_key": frozen.secret_key,
                "token": frozen.token,
                "expires_at": datetime.now(UTC) + RENEWED,
            }

        silence = timedelta(seconds=timeout_s)
        client: ClientConfig = {
            "allow_http": base_url.startswith("http://"),
            "connect_timeout": min(silence, timedelta(seconds=10)),
            "read_timeout": silence,
            "timeout": timedelta(hours=6),
        }
        if ca_file:
            client["root_certificate"] = Path(ca_file).read_bytes()
        self._explain = explain
        self._failures: int | None = 0  # None once one came
        self._store = S3Store(
            "of-the-endpoint",  # whose address has the bucket in it
            endpoint=base_url.rstrip("/"),
            virtual_hosted_style_request=True,
            region=region,
            skip_signature=credentials is None,
            request_payer=requester_pays,
            credential_provider=provide if credentials else None,
            retry_config={"max_retries": 0},
            client_options=client,
        )

    def get(self, key: str) -> Answer | None:
        """Return an object and its body, or None if it does not come this way.

        Raises:
            ObjectUnavailable: what `explain` says of the server's answer.
        """
        if (self._failures or 0) >= USELESS or not PLAIN.fullmatch(key):
            return None
        try:
            result = obstore.get(self._store, key)
            size = result.meta["size"]
            if size > BODY_BYTES_MAX or "text/html" in result.attributes.get("Content-Type", ""):
                return None
            body = result.bytes().to_bytes()
        except (BaseError, OSError, ValueError) as error:
            code = re.search(r"<Code>(\w{1,64})</Code>", str(error))
            trouble = self._explain(code[1] if code else "")
            if trouble:
                raise trouble from error
            if self._failures is not None:
                self._failures += 1
            return None
        self._failures = None
        etag = (result.meta["e_tag"] or "").strip('"')
        return Answer(size, etag if re.fullmatch(r"[0-9a-f]{32}", etag) else "", iter([body]))
