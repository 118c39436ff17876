"""An S3 bucket, or what speaks like it, as the source of images; the only botocore.

botocore, the half of boto3 below its resources, finds the credentials, the region and the address
of the bucket, and signs. The requests are sent as to any web address, and first by a quicker way.
"""

import io
import re
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore import UNSIGNED, exceptions
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.config import Config
from urllib3 import BaseHTTPResponse, HTTPResponse

from animl_pipeline.errors import ObjectUnavailable, OptionError, StorageRefused
from animl_pipeline.sources import quick
from animl_pipeline.sources.patience import Again
from animl_pipeline.sources.source import Answer
from animl_pipeline.sources.web import Web, explain_answer, read_etag_md5, refuse_secrets

ANY_KEY = "key"
KEY_BYTES_MAX = 1024  # of S3 (Amazon S3 User Guide, Naming objects)
MISSING = {"NoSuchKey", "NoSuchVersion", "NotFound"}
DENIED = {"AccessDenied", "Forbidden", "AllAccessDisabled", "InvalidObjectState"}
HTTP_CODES = {404: "NotFound", 403: "Forbidden"}
BUSY = {
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "RequestLimitExceeded",
    "InternalError",
    "TemporaryRedirect",
}
# Trouble with one object once another was had: a server and we may spell its key in two ways.
OF_ONE_KEY = {"SignatureDoesNotMatch"}
REMEDIES = {
    "NoSuchBucket": "There is no such bucket: check --bucket and --endpoint-url.",
    "InvalidBucketName": "That is no name of a bucket: check --bucket (a name alone, without s3://).",
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
NO_WAY_TO_CREDENTIALS = (exceptions.ConnectionError, exceptions.HTTPClientError)


class Bucket(Web):
    """A source whose keys are those of a bucket."""

    redirects = 0  # S3's redirections name another region, which wants another signature

    def __init__(
        self,
        name: str,
        *,
        endpoint_url: str | None,
        profile: str | None,
        region: str | None,
        sign: bool,
        requester_pays: bool,
        connections: int,
        timeout_s: float,
    ) -> None:
        """Open nothing yet; credentials come from the AWS chain alone.

        Raises:
            OptionError: the bucket, the profile, the region or the endpoint is no such thing.
        """
        if endpoint_url is not None:
            refuse_secrets(endpoint_url)
        try:
            self._session = botocore.session.Session(profile=profile)
            base_url, self._region = _find_address(self._session, name, endpoint_url, region)
            ca_file = self._session.get_config_variable("ca_bundle")
        except (exceptions.BotoCoreError, ValueError) as error:
            if "bucket name" in str(error):
                raise OptionError(f"{name!r}: {REMEDIES['InvalidBucketName']}") from error
            raise OptionError(f"{error}. Check --profile, --region and --endpoint-url.") from error
        super().__init__(base_url, connections=connections, timeout_s=timeout_s, ca_file=ca_file)
        self.name = name
        self._endpoint_url = endpoint_url
        self._sign = sign
        self._requester_pays = requester_pays
        self._extra = {"x-amz-request-payer": "requester"} if requester_pays else {}
        self._credentials: Any = None
        self._served = False
        self._quick: quick.Quick | None = None

    def check(self) -> None:
        """Find the credentials and the region of the bucket.

        Raises:
            StorageRefused: there are none, or there is no such bucket.
        """
        while True:
            try:
                response = self._send("HEAD", "")
                break
            except Again as trouble:
                self.patience.note_unreached(trouble)
                self.patience.wait(1, trouble.wait_s)
        response.drain_conn()
        if response.status == 404:
            raise StorageRefused(f"{self.name!r}: {REMEDIES['NoSuchBucket']}")
        region = response.headers.get("x-amz-bucket-region", "")
        if self._endpoint_url is None and re.fullmatch(r"[a-z0-9-]+", region):
            address = _find_address(self._session, self.name, None, region)
            self.base_url, self._region = address
        self._quick = quick.open_quick(
            self.base_url,
            region=self._region,
            credentials=self._freeze_credentials if self._sign else None,
            explain=_explain_code,
            requester_pays=self._requester_pays,
            timeout_s=self.timeout_s,
            ca_file=self.ca_file,
        )

    def get_quickly(self, key: str) -> Answer | None:
        """Return an object if it comes by the quicker way."""
        answer = self._quick.get(key) if self._quick else None
        self._served = self._served or answer is not None
        return answer

    def _make_headers(self, method: str, url: str) -> dict[str, str]:
        headers = super()._make_headers(method, url) | self._extra
        if not self._sign:
            return headers
        request = AWSRequest(method, url, headers=headers)
        S3SigV4Auth(self._freeze_credentials(), "s3", self._region).add_auth(request)
        return dict(request.headers.items())

    def _freeze_credentials(self) -> Any:
        """Return the credentials of now: those of a role or of SSO renew themselves."""
        try:
            if self._credentials is None:
                self._credentials = self._session.get_credentials()
            if self._credentials is None:
                raise exceptions.NoCredentialsError
            return self._credentials.get_frozen_credentials()
        except NO_WAY_TO_CREDENTIALS as error:
            raise Again(f"no way to the credentials: {error}", reached=False) from error
        except (exceptions.BotoCoreError, exceptions.ClientError, ValueError) as error:
            raise StorageRefused(
                f"No AWS credentials: {error}. Set --profile, log in (aws sso login, aws-vault), "
                "or use --no-sign-request for a public bucket."
            ) from error

    def _send(self, method: str, key: str) -> BaseHTTPResponse:
        if len(key.encode()) > KEY_BYTES_MAX:
            raise ObjectUnavailable("failed", f"the key is longer than {KEY_BYTES_MAX} bytes")
        return super()._send(method, key)

    def _ask(self, method: str, key: str) -> BaseHTTPResponse:
        if not key:
            raise ObjectUnavailable("failed", "the key is empty")
        response = super()._ask(method, key)
        self._served = True
        return response

    def _read_md5(self, response: BaseHTTPResponse) -> str:
        return read_etag_md5(response)

    def _explain_refusal(self, response: BaseHTTPResponse, body: str) -> Exception:
        element = re.search(r"<Code>(\w{1,64})</Code>", body)
        code = element[1] if element else ""
        if code in REMEDIES and not (self._served and code in OF_ONE_KEY):
            region = re.search(r"<Region>([a-z0-9-]{1,32})</Region>", body)
            named = f" It says {region[1]}." if region else ""
            return StorageRefused(
                f"Bucket {self.name!r}: {REMEDIES[code]}{named} Then run this again."
            )
        if not code and response.status in HTTP_CODES:  # HEAD has no body to hold one
            code = HTTP_CODES[response.status]
        if final := _explain_code(code):
            return final
        if code in BUSY:
            return Again(f"the server answered {response.status} {code}")
        return explain_answer(response, code)


def _explain_code(code: str) -> Exception | None:
    """Return what S3's code for an error means where asking again would not help."""
    if code in MISSING:
        return ObjectUnavailable("missing", "no such key in the bucket")
    if code in DENIED:
        reason = "no permission to read it (or, without it, no such key)"
        return ObjectUnavailable("denied", reason)
    return None


def _find_address(
    session: Any, name: str, endpoint_url: str | None, region: str | None
) -> tuple[str, str]:
    """Return the address below which a bucket's keys are, and the region to sign for.

    botocore knows the rules (a host per bucket or a path, partitions, access points, the settings
    of the environment and the profile): they are read from a request that is held back.
    """
    set_style = session.get_scoped_config().get("s3", {}).get("addressing_style")
    # An endpoint of one's own rarely has a host name per bucket.
    style = {} if set_style else {"addressing_style": "path" if endpoint_url else "auto"}
    config = Config(signature_version=UNSIGNED, s3=style)
    client = session.create_client(
        "s3", region_name=region, endpoint_url=endpoint_url, config=config
    )
    urls: list[str] = []

    def hold_back(request: Any, **_: Any) -> AWSResponse:
        urls.append(request.url)
        nothing = HTTPResponse(io.BytesIO(), preload_content=False)
        return AWSResponse(request.url, 200, {}, nothing)

    client.meta.events.register("before-send.s3.HeadObject", hold_back)
    client.head_object(Bucket=name, Key=ANY_KEY)
    client.close()
    url = urlsplit(urls[0])
    base_url = f"{url.scheme}://{url.netloc}{url.path}".removesuffix(ANY_KEY)
    named = client.meta.region_name
    return base_url, named if named and named != "aws-global" else "us-east-1"
