import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flaky_proxy import Proxy, flaky_proxy
from small_export import put, put_in_parts, request

from animl_pipeline.errors import ObjectUnavailable, OptionError, StorageRefused
from animl_pipeline.sources import verified
from animl_pipeline.sources.bucket import Bucket
from animl_pipeline.sources.source import Source

BUCKET = "storage-tests"
DATA = b"a picture of a fox " * 200
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture(scope="module")
def served(endpoint: str) -> str:
    put(endpoint, BUCKET, {"fox.jpg": DATA})
    put_in_parts(endpoint, BUCKET, "parts.jpg", DATA)
    kms = {"x-amz-server-side-encryption": "aws:kms"}
    request(endpoint, "PUT", f"/{BUCKET}/kms.jpg", DATA, kms)
    return endpoint


@pytest.fixture(scope="module")
def running(served: str) -> Iterator[Proxy]:
    with flaky_proxy(served) as proxy:
        yield proxy


@pytest.fixture
def proxy(running: Proxy, no_waiting: None) -> Proxy:
    running.forget()
    return running


@pytest.fixture(scope="module")
def bucket(running: Proxy) -> Iterator[Bucket]:
    with closing(open_at(running.url)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def nothing_spoiled(proxy: Proxy) -> None:
    """Every test begins with a proxy that only forwards."""


def open_at(
    url: str,
    *,
    name: str = BUCKET,
    sign: bool = True,
    requester_pays: bool = False,
    profile: str | None = None,
) -> Bucket:
    return Bucket(
        name,
        endpoint_url=url,
        profile=profile,
        region=None,
        sign=sign,
        requester_pays=requester_pays,
        connections=2,
        timeout_s=5,
    )


def fetch(source: Source, key: str, target: Path, md5: str = MD5) -> verified.Fetched:
    return verified.fetch_verified(source, key, target, md5=md5, arrived=lambda _: None)


def test_what_is_fetched_is_the_object_with_its_size_and_md5(
    bucket: Bucket, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "folder" / "fox.jpg"
    got = fetch(bucket, "fox.jpg", target)
    assert got == verified.Fetched(len(DATA), MD5, target.stat().st_mtime_ns)
    assert target.read_bytes() == DATA


def test_arrived_is_called_once_with_the_checked_bytes_not_yet_in_place(
    bucket: Bucket, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.spoil("fox.jpg", "altered", times=2)
    target, calls = tmp_path / "fox.jpg", []

    def arrived(got: verified.Fetched) -> None:
        calls.append((got, target.exists(), target.with_name("fox.jpg.part").read_bytes() == DATA))

    got = verified.fetch_verified(bucket, "fox.jpg", target, md5=MD5, arrived=arrived)
    assert calls == [(got, False, True)]


@pytest.mark.parametrize("fault", ["altered", "cut", "short", "denied", "busy"])
def test_an_object_that_cannot_be_had_leaves_the_old_file_as_it_was(
    bucket: Bucket, proxy: Proxy, tmp_path: Path, fault: str
) -> None:
    target = tmp_path / "fox.jpg"
    target.write_bytes(b"old")
    proxy.spoil("fox.jpg", fault)
    with pytest.raises(ObjectUnavailable):
        fetch(bucket, "fox.jpg", target)
    assert [path.name for path in tmp_path.iterdir()] == ["fox.jpg"]
    assert target.read_bytes() == b"old"


def test_without_an_md5_of_the_export_the_etag_is_what_counts(
    bucket: Bucket, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.spoil("fox.jpg", "altered")
    with pytest.raises(ObjectUnavailable, match="md5") as caught:
        fetch(bucket, "fox.jpg", tmp_path / "fox.jpg", md5="")
    assert caught.value.state == "corrupt"


@pytest.mark.parametrize("key", ["parts.jpg", "kms.jpg"])
def test_an_etag_that_is_no_md5_of_the_body_is_not_taken_for_one(
    bucket: Bucket, tmp_path: Path, key: str
) -> None:
    assert fetch(bucket, key, tmp_path / key, md5="").md5 == MD5
    assert verified.is_same(bucket, key, size_bytes=len(DATA), md5="0" * 32)


def test_a_size_that_differs_never_matches(bucket: Bucket) -> None:
    assert not verified.is_same(bucket, "parts.jpg", size_bytes=len(DATA) + 1, md5=MD5)


def test_an_md5_that_differs_does_not_match_where_the_etag_is_one(bucket: Bucket) -> None:
    assert verified.is_same(bucket, "fox.jpg", size_bytes=len(DATA), md5=MD5)
    assert not verified.is_same(bucket, "fox.jpg", size_bytes=len(DATA), md5="0" * 32)


def test_the_size_of_an_object_is_known_without_fetching_it(bucket: Bucket, proxy: Proxy) -> None:
    assert verified.ask_size(bucket, "fox.jpg") == len(DATA)
    assert proxy.fetched() == 0


@pytest.mark.parametrize(
    ("fault", "state"), [("denied", "denied"), ("altered", "corrupt"), ("short", "failed")]
)
def test_trouble_with_one_object_has_the_ledger_s_word_for_it(
    bucket: Bucket, proxy: Proxy, tmp_path: Path, fault: str, state: str
) -> None:
    proxy.spoil("fox.jpg", fault)
    with pytest.raises(ObjectUnavailable) as caught:
        fetch(bucket, "fox.jpg", tmp_path / "fox.jpg")
    assert caught.value.state == state


def test_expired_credentials_are_trouble_with_the_whole_bucket(
    bucket: Bucket, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.spoil("fox.jpg", "expired")
    with pytest.raises(StorageRefused, match="log in"):
        fetch(bucket, "fox.jpg", tmp_path / "fox.jpg")


@pytest.mark.parametrize("key", ["", "x" * 2000])
def test_a_key_that_s3_cannot_have_is_one_object_s_trouble(
    bucket: Bucket, tmp_path: Path, key: str
) -> None:
    with pytest.raises(ObjectUnavailable):
        fetch(bucket, key, tmp_path / "fox.jpg")


def test_a_name_that_is_no_bucket_s_is_said_to_be_wrong(proxy: Proxy) -> None:
    with pytest.raises(OptionError, match="--bucket"):
        open_at(proxy.url, name="s3://bucket/folder")


def test_requester_pays_is_said_with_every_request(proxy: Proxy, tmp_path: Path) -> None:
    with closing(open_at(proxy.url, requester_pays=True)) as bucket:
        bucket.check()
        fetch(bucket, "fox.jpg", tmp_path / "fox.jpg")
        verified.ask_size(bucket, "fox.jpg")
    assert [sent.get("x-amz-request-payer") for sent in proxy.headers] == ["requester"] * 3


def test_nothing_is_signed_where_that_is_asked_for(proxy: Proxy) -> None:
    private = pytest.raises(ObjectUnavailable)
    with closing(open_at(proxy.url, sign=False)) as bucket, private:
        verified.ask_size(bucket, "fox.jpg")
    assert all("authorization" not in sent for sent in proxy.headers)


def test_a_profile_that_is_not_there_is_a_wrong_option() -> None:
    with pytest.raises(OptionError, match="--profile"):
        open_at("http://127.0.0.1:9", profile="nobody")
