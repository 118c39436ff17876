"""Pictures from a web address and from a folder, and what a source may do wrong."""

import base64
import hashlib
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rclone_server import rclone
from shop import Done, agrees, ledger, pictures
from small_export import image, write_export
from web_site import DATA, Site, fetch, site, state_of

from animl_pipeline.errors import InputMissing, OptionError, StorageRefused
from animl_pipeline.sources import patience, verified
from animl_pipeline.sources.bucket import Bucket
from animl_pipeline.sources.folder import Folder
from animl_pipeline.sources.web import Web

MD5 = hashlib.md5(DATA).hexdigest()
Pipeline = Callable[..., Done]


@pytest.fixture
def web(no_waiting: None) -> Iterator[tuple[Site, Web]]:
    with site() as found, closing(Web(found.url, connections=2, timeout_s=5)) as source:
        yield found, source


# A web address


def test_a_picture_of_a_web_address_is_fetched(web: tuple[Site, Web], tmp_path: Path) -> None:
    found, source = web
    found.says("/set/a%20b/%C3%A4%23%3F.jpg", (200, {}, DATA))
    got = fetch(source, "set/a b/ä#?.jpg", tmp_path / "1.jpg")
    assert (got.size_bytes, got.md5, (tmp_path / "1.jpg").read_bytes()) == (len(DATA), MD5, DATA)


@pytest.mark.parametrize(
    ("status", "state"),
    [(404, "missing"), (410, "missing"), (401, "denied"), (403, "denied"), (418, "failed")],
)
def test_an_answer_for_good_is_not_asked_for_again(
    web: tuple[Site, Web], tmp_path: Path, status: int, state: str
) -> None:
    found, source = web
    found.says("/1.jpg", (status, {}, b"no"))
    assert state_of(source, "1.jpg", tmp_path / "1.jpg") == state
    assert len(found.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_answer_for_now_is_asked_for_again(
    web: tuple[Site, Web], tmp_path: Path, status: int
) -> None:
    found, source = web
    trouble = (status, {"Retry-After": "1"}, b"later")
    found.says("/1.jpg", trouble, trouble, (200, {}, DATA))
    assert fetch(source, "1.jpg", tmp_path / "1.jpg").md5 == MD5
    found.says("/2.jpg", trouble)
    found.asked.clear()
    assert state_of(source, "2.jpg", tmp_path / "2.jpg") == "failed"
    assert len(found.asked) == patience.TRIES


BASE64 = base64.b64encode(hashlib.md5(DATA).digest()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-MD5": BASE64},
        {"x-goog-hash": f"crc32c=AAAAAA==,md5={BASE64}"},
        {"ETag": f'"{MD5}"', "x-amz-request-id": "1"},
    ],
)
def test_the_md5_that_azure_google_and_amazon_name_is_held_against_the_body(
    web: tuple[Site, Web], tmp_path: Path, headers: dict[str, str]
) -> None:
    found, source = web
    found.says("/1.jpg", (200, headers, DATA))
    found.says("/2.jpg", (200, headers, DATA[::-1]))
    assert fetch(source, "1.jpg", tmp_path / "1.jpg").md5 == MD5
    assert state_of(source, "2.jpg", tmp_path / "2.jpg") == "corrupt"
    assert not (tmp_path / "2.jpg").exists()


@pytest.mark.parametrize("headers", [{"ETag": f'"{MD5}"'}, {"Content-MD5": "none"}])
def test_what_only_looks_like_an_md5_is_not_taken_for_one(
    web: tuple[Site, Web], tmp_path: Path, headers: dict[str, str]
) -> None:
    found, source = web
    found.says("/1.jpg", (200, headers, DATA[::-1]))
    assert fetch(source, "1.jpg", tmp_path / "1.jpg").size_bytes == len(DATA)


def test_the_page_of_a_hotel_is_no_picture(web: tuple[Site, Web], tmp_path: Path) -> None:
    found, source = web
    found.says("/1.jpg", (200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>"))
    assert state_of(source, "1.jpg", tmp_path / "1.jpg") == "corrupt"


def test_a_redirection_is_followed_but_not_for_ever(web: tuple[Site, Web], tmp_path: Path) -> None:
    found, source = web
    found.says("/1.jpg", (302, {"Location": "/moved/1.jpg"}, b""))
    found.says("/moved/1.jpg", (200, {}, DATA))
    found.says("/2.jpg", (302, {"Location": "/2.jpg"}, b""))
    found.says("/3.jpg", (302, {"Location": "file:///etc/passwd"}, b""))
    assert fetch(source, "1.jpg", tmp_path / "1.jpg").md5 == MD5
    assert state_of(source, "2.jpg", tmp_path / "2.jpg") == "failed"
    assert state_of(source, "3.jpg", tmp_path / "3.jpg") == "failed"


def test_a_body_larger_than_any_picture_is_given_up(
    web: tuple[Site, Web], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, source = web
    monkeypatch.setattr(verified, "IMAGE_BYTES_MAX", 1000)
    found.says("/1.jpg", (200, {}, DATA))
    assert state_of(source, "1.jpg", tmp_path / "1.jpg") == "failed"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["../1.jpg", "a/../1.jpg", "./1.jpg"])
def test_a_key_that_the_web_would_shorten_is_not_asked_for(
    web: tuple[Site, Web], tmp_path: Path, key: str
) -> None:
    found, source = web
    assert state_of(source, key, tmp_path / "1.jpg") == "failed"
    assert found.asked == []


@pytest.mark.parametrize(
    "address",
    ["ftp://host/", "http://", "http:///x", "https://me:secret@host/", "https://host/?sig=secret"],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused_without_repeating_the_secret(
    address: str,
) -> None:
    with pytest.raises(OptionError) as caught:
        Web(address, connections=1, timeout_s=1)
    assert "secret" not in str(caught.value)


def test_a_source_that_was_never_there_is_given_up_soon(tmp_path: Path, no_waiting: None) -> None:
    gone = pytest.raises(StorageRefused, match="Cannot reach")
    with closing(Web("http://127.0.0.1:9", connections=1, timeout_s=1)) as source, gone:
        fetch(source, "1.jpg", tmp_path / "1.jpg")


def test_a_source_that_comes_back_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(patience, "BACKOFF_S", (0.01, 0.02))
    monkeypatch.setattr(patience, "START_S", 0.0)  # that of one that was there before is long
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with closing(Web(f"http://127.0.0.1:{port}", connections=1, timeout_s=5)) as source:
        with site(port) as found:
            found.says("/1.jpg", (200, {"Connection": "close"}, DATA))
            fetch(source, "1.jpg", tmp_path / "1.jpg")
        tries = threading.Event()
        monkeypatch.setattr(patience, "say", lambda _: tries.set())
        got: list[verified.Fetched] = []
        thread = threading.Thread(
            target=lambda: got.append(fetch(source, "2.jpg", tmp_path / "2.jpg"))
        )
        thread.start()
        assert tries.wait(20)  # it has noticed, and says so
        with site(port) as found:
            found.says("/2.jpg", (200, {}, DATA))
            thread.join(20)
    assert [one.md5 for one in got] == [MD5]


def test_lila_s_way_downloads_from_a_web_address(
    here: Path, pipeline: Pipeline, no_waiting: None
) -> None:
    records, data = lila(here, 4)
    with site() as found:
        for name, content in data.items():
            found.says(f"/set/{name}", (200, {}, content))
        found.says("/set/lila/2.jpg", (404, {}, b""))
        done = pipeline(
            "download", "--coco-file", "lila.json", "--source", found.url + "set", "--tolerate", 1
        )
        assert done.code == 0, done.err
        assert [row["state"] for row in ledger()] == [
            "downloaded", "downloaded", "missing", "downloaded",
        ]  # fmt: skip
        assert agrees(ledger(), pictures())
        found.asked.clear()
        pipeline("download", "--coco-file", "lila.json", "--source", found.url + "set")
        assert found.asked == ["/set/lila/2.jpg"]
    assert len(records) == 4


def lila(folder: Path, count: int) -> tuple[list[dict[str, object]], dict[str, bytes]]:
    """An export as LILA's, whose keys are its file names and whose ids say nothing."""
    records, data = [], {}
    for number in range(count):
        record, content = image(number, id=f"picture {number}", file_name=f"lila/{number}.jpg")
        del record["serving_bucket_key"]
        records.append(record)
        data[record["file_name"]] = content
    write_export(folder / "lila.json", records)
    return records, data


# A folder


def test_pictures_are_copied_from_a_folder_and_never_again(here: Path, pipeline: Pipeline) -> None:
    _, data = lila(here, 4)
    for name, content in data.items():
        (here / "disk" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "disk" / name).write_bytes(content)
    (here / "disk/lila/3.jpg").unlink()
    words = ("download", "--coco-file", "lila.json", "--source", "disk", "--tolerate", 1)
    assert pipeline(*words).code == 0
    assert [row["state"] for row in ledger()] == ["downloaded"] * 3 + ["missing"]
    assert agrees(ledger(), pictures())
    assert pipeline(*words).code == 0
    assert [row["state"] for row in ledger()] == ["present"] * 3 + ["missing"]


def test_a_folder_may_be_its_own_source(here: Path, pipeline: Pipeline) -> None:
    _, data = lila(here, 3)
    for name, content in data.items():
        (here / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "images" / name).write_bytes(content)
    done = pipeline("download", "--coco-file", "lila.json", "--source", "images")
    assert done.code == 0, done.err
    assert [row["state"] for row in ledger()] == ["present"] * 3
    assert pictures() == data


def test_a_folder_that_is_not_there_is_a_message(here: Path, pipeline: Pipeline) -> None:
    lila(here, 1)
    done = pipeline("download", "--coco-file", "lila.json", "--source", "nowhere")
    assert done.code == 1
    assert "--source" in done.err
    with pytest.raises(InputMissing):
        Folder(here / "nowhere").check()


@pytest.mark.parametrize("key", ["../secret.jpg", "/etc/hostname", "a/../../secret.jpg", "a\x00b"])
def test_a_key_that_leaves_the_folder_is_unsafe(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(DATA)
    (tmp_path / "disk/a").mkdir(parents=True)
    source = Folder(tmp_path / "disk")
    assert state_of(source, key, tmp_path / "1.jpg") == "unsafe"
    assert not (tmp_path / "1.jpg").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_what_is_no_file_in_the_folder_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("pipe.jpg", "folder.jpg"):
        assert state_of(Folder(tmp_path), name, tmp_path / "1.jpg") == "failed"


def test_a_file_whose_md5_is_not_that_of_the_export_is_corrupt(
    tmp_path: Path, no_waiting: None
) -> None:
    (tmp_path / "fox.jpg").write_bytes(DATA)
    assert state_of(Folder(tmp_path), "fox.jpg", tmp_path / "1.jpg", md5="0" * 32) == "corrupt"


# Which source


@pytest.mark.parametrize(
    "option", [("--bucket", "mine"), ("--endpoint-url", "http://x"), ("--requester-pays",)]
)
def test_an_option_of_s3_beside_another_source_is_wrong_usage(
    here: Path, pipeline: Pipeline, option: tuple[str, ...]
) -> None:
    lila(here, 1)
    done = pipeline("download", "--coco-file", "lila.json", "--source", ".", *option)
    assert done.code == 2
    assert option[0] in done.err


# Whom to trust


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate of 127.0.0.1 that nobody has signed, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a reserve's own server")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, *form)
    )
    return path


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[str]:
    """An S3 server of that certificate with fox.jpg in its bucket `secure`."""
    folder = tmp_path_factory.mktemp("secure")
    (folder / "secure").mkdir()
    (folder / "secure/fox.jpg").write_bytes(DATA)
    with rclone(folder, "--cert", str(certificate), "--key", str(certificate)) as url:
        yield url


def secure_bucket(url: str) -> Bucket:
    return Bucket(
        "secure", endpoint_url=url, profile=None, region=None, sign=True, requester_pays=False,
        connections=2, timeout_s=5,
    )  # fmt: skip


def test_a_server_nobody_vouches_for_is_refused_at_once(secure: str, no_waiting: None) -> None:
    with closing(secure_bucket(secure)) as source, pytest.raises(StorageRefused, match="trust"):
        source.check()


def test_a_server_is_trusted_by_the_certificates_aws_s_settings_name_in_both_ways(
    secure: str, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    with closing(secure_bucket(secure)) as source:
        source.check()
        quick = source.get_quickly("fox.jpg")
        assert quick
        assert b"".join(quick.chunks) == DATA
        with source.open("fox.jpg") as answer:
            assert b"".join(answer.chunks) == DATA


def test_certificates_that_are_not_there_are_a_message(
    secure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "nowhere.pem")
    with pytest.raises(OptionError, match=r"nowhere\.pem"):
        secure_bucket(secure)
