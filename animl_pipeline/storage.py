"""S3 and what speaks like it: open a bucket, fetch an object verified; the only boto3."""

import hashlib
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore import UNSIGNED, exceptions
from botocore.config import Config

from animl_pipeline import files
from animl_pipeline.errors import ObjectUnavailable, OptionError, StorageRefused

NOTE_OTHER_MD5 = "md5 is the server's, not the one in the image id"
CHUNK_BYTES = 1 << 18
REQUEST_ATTEMPTS = 5  # of botocore: 5xx, throttling, timeouts and resets, with back-off and jitter
BODY_ATTEMPTS = 4  # ours: a body that ends early or arrives altered
MD5 = re.compile(r"[0-9a-f]{32}")
MISSING = {"NoSuchKey", "404", "NotFound", "NoSuchVersion"}
DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "InvalidObjectState"}
REMEDIES = {
    "NoSuchBucket": "There is no such bucket: check --bucket and --endpoint-url.",
    "InvalidBucketName": "That is no name of a bucket: check --bucket.",
    "ExpiredToken": "The credentials have expired: log in again (aws sso login, aws-vault).",
    "ExpiredTokenException": "The credentials have expired: log in again.",
    "TokenRefreshRequired": "The credentials have expired: log in again.",
    "InvalidToken": "The session token is not valid: log in again.",
    "InvalidAccessKeyId": "The access key is not known there: check --profile.",
    "SignatureDoesNotMatch": "The secret key is wrong: check --profile.",
    "AuthorizationHeaderMalformed": "The region is wrong: check --region.",
    "PermanentRedirect": "The bucket is in another region: check --region.",
    "RequestTimeTooSkewed": "The clock of this computer is wrong: set it.",
}
UNREACHABLE = (
    exceptions.EndpointConnectionError,
    exceptions.ConnectTimeoutError,
    exceptions.ProxyConnectionError,
    exceptions.SSLError,
)
NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.TokenRetrievalError,
    exceptions.SSOError,
)


@dataclass(frozen=True)
class Bucket:
    """A bucket that is open for reading, and what every request to it carries."""

    client: Any
    name: str
    extra: dict[str, Any]


@dataclass(frozen=True)
class Fetched:
    """What arrived: bytes, md5 of them, and a note if the source contradicts itself."""

    size_bytes: int
    md5: str
    note: str = ""


def open_bucket(
    name: str,
    *,
    endpoint_url: str | None,
    profile: str | None,
    region: str | None,
    sign: bool,
    requester_pays: bool,
    connections: int,
) -> Bucket:
    """Return a bucket; credentials come from the AWS chain alone (environment, profile, SSO, role).

    Raises:
        OptionError: the profile or the endpoint is no such thing.
    """
    retries: Any = {"total_max_attempts": REQUEST_ATTEMPTS, "mode": "standard"}
    config = Config(
        retries=retries,
        max_pool_connections=connections,
        connect_timeout=10,
        read_timeout=30,
        signature_version=None if sign else UNSIGNED,
        # An endpoint of one's own rarely has a host name per bucket.
        s3={"addressing_style": "path" if endpoint_url else "auto"},
        # Our own check of every body is stronger, and some servers know no other.
        response_checksum_validation="when_required",
    )
    try:
        session = boto3.session.Session(profile_name=profile, region_name=region)
        client = session.client("s3", endpoint_url=endpoint_url, config=config)
    except (exceptions.BotoCoreError, ValueError) as error:
        raise OptionError(f"{error}. Check --profile, --region and --endpoint-url.") from error
    return Bucket(client, name, {"RequestPayer": "requester"} if requester_pays else {})


def fetch(
    bucket: Bucket, key: str, target: Path, *, md5: str, arrived: Callable[[Fetched], None]
) -> Fetched:
    """Write an object to `target`, whole or not at all, after its size and md5 were checked.

    `arrived` is called once, when the checked bytes are about to take their place.

    The md5 of the body is to be the given one (of the export; "" if it has none) or the ETag's,
    where the ETag is an md5. A body that is not is fetched again, then it is `corrupt`.

    Raises:
        ObjectUnavailable: this one object is missing, denied, corrupt or failed.
        StorageRefused: no object can be had: credentials, bucket, region, network.
    """
    trouble = ObjectUnavailable("failed", "never tried")
    for attempt in range(BODY_ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0, 0.25 * 2**attempt))  # jitter
        try:
            return _fetch_once(bucket, key, target, md5, arrived)
        except ObjectUnavailable as error:
            if error.state != "corrupt":  # what may be asked again, botocore has asked again
                raise
            trouble = error
        except (exceptions.HTTPClientError, exceptions.IncompleteReadError) as error:
            trouble = ObjectUnavailable("failed", f"the connection broke: {type(error).__name__}")
    raise trouble


def matches(bucket: Bucket, key: str, *, size_bytes: int, md5: str, by_size: bool = True) -> bool:
    """Return whether the object in the bucket has this size and md5.

    Where the ETag is no md5, its size alone decides if `by_size`, and else it does not match.

    Raises:
        ObjectUnavailable, StorageRefused: as for `fetch`.
    """
    head = _asked(bucket, key, "head_object")
    etag = _etag_md5(head)
    same_md5 = etag == md5 if etag else by_size
    return bool(head.get("ContentLength") == size_bytes and same_md5)


def size_bytes(bucket: Bucket, key: str) -> int:
    """Return the size of an object.

    Raises:
        ObjectUnavailable, StorageRefused: as for `fetch`.
    """
    return int(_asked(bucket, key, "head_object").get("ContentLength", 0))


def refuse_missing(bucket: Bucket) -> None:
    """Raise StorageRefused if there is no such bucket, which HEAD of an object cannot say."""
    try:
        bucket.client.head_bucket(Bucket=bucket.name)
    except exceptions.ClientError as error:
        if error.response.get("Error", {}).get("Code") in MISSING:  # not that we may not list it
            raise StorageRefused(f"{bucket.name!r}: {REMEDIES['NoSuchBucket']}") from error


def _fetch_once(
    bucket: Bucket, key: str, target: Path, md5: str, arrived: Callable[[Fetched], None]
) -> Fetched:
    answer = _asked(bucket, key, "get_object")
    expected_bytes, etag = answer.get("ContentLength"), _etag_md5(answer)
    hashed, size = hashlib.md5(usedforsecurity=False), 0
    with files.whole(target) as part:
        with part.open("wb") as file:
            for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                file.write(chunk)
                hashed.update(chunk)
                size += len(chunk)
        found = hashed.hexdigest()
        if expected_bytes is not None and size != expected_bytes:
            reason = f"{size:,} bytes arrived of {expected_bytes:,}"
            raise ObjectUnavailable("corrupt", reason)
        known = {value for value in (md5, etag) if value}
        if known and found not in known:
            reason = f"md5 of the body is {found}, expected is {' or '.join(sorted(known))}"
            raise ObjectUnavailable("corrupt", reason)
        differs = bool(md5) and found != md5
        fetched = Fetched(size, found, NOTE_OTHER_MD5 if differs else "")
        arrived(fetched)
    return fetched


def _asked(bucket: Bucket, key: str, operation: str) -> Any:
    """Return the answer to a request about one object; errors sorted into the two kinds."""
    try:
        return getattr(bucket.client, operation)(Bucket=bucket.name, Key=key, **bucket.extra)
    except exceptions.ClientError as error:
        raise _sorted_out(bucket, error) from error
    except UNREACHABLE as error:
        raise StorageRefused(_unreachable(bucket, error)) from error
    except NO_CREDENTIALS as error:
        raise StorageRefused(
            f"No AWS credentials: {error}. Set --profile, log in (aws sso login, aws-vault), or "
            "use --no-sign-request for a public bucket."
        ) from error
    except exceptions.ParamValidationError as error:
        reason = " ".join(str(error).split())
        if "bucket name" in reason:
            raise StorageRefused(f"{bucket.name!r}: {REMEDIES['InvalidBucketName']}") from error
        raise ObjectUnavailable("failed", f"the key is not valid: {reason}") from error


def _sorted_out(bucket: Bucket, error: exceptions.ClientError) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in REMEDIES:
        return StorageRefused(f"Bucket {bucket.name!r}: {REMEDIES[code]} Then run this again.")
    if code in MISSING:
        return ObjectUnavailable("missing", "no such key in the bucket")
    if code in DENIED:
        return ObjectUnavailable("denied", "no permission to read it (or, without it, no such key)")
    return ObjectUnavailable("failed", f"the server answered {status} {code}")


def _unreachable(bucket: Bucket, error: Exception) -> str:
    return (
        f"Cannot reach the bucket {bucket.name!r}: {error}. Check the network and --endpoint-url, "
        "then run this again; it goes on where it stopped."
    )


def _etag_md5(answer: Any) -> str:
    """Return the ETag if it is the md5 of the body: not of a multipart or a KMS-encrypted one."""
    etag = str(answer.get("ETag", "")).strip('"')
    encrypted = answer.get("ServerSideEncryption", "AES256") != "AES256"
    customer = "SSECustomerAlgorithm" in answer
    return etag if MD5.fullmatch(etag) and not encrypted and not customer else ""
