"""Hostile input and bad luck that once lost a picture, stopped a run or told a secret."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flaky_proxy import flaky_proxy
from shop import Pipeline, Shop, ledger
from small_export import image, put, write_export
from web_site import DATA, Site, fetch, site, state_of

from animl_pipeline.errors import InputInvalid, ObjectUnavailable, OptionError
from animl_pipeline.files import folders
from animl_pipeline.sources import verified
from animl_pipeline.sources.bucket import Bucket
from animl_pipeline.sources.web import Web


def test_a_picture_of_another_export_under_the_same_name_is_not_taken_for_it(shop: Shop) -> None:
    assert shop.download().code == 0
    old, new = shop.images[0], image(7)
    assert len(shop.data[old["file_name"]]) == len(new[1])
    record = new[0] | {"file_name": old["file_name"]}
    put(shop.endpoint, shop.bucket, {record["serving_bucket_key"]: new[1]})
    write_export(shop.export, [record])
    assert shop.download().code == 0
    assert Path("images", old["file_name"]).read_bytes() == new[1]
    assert shop.states() == ["downloaded"]


def test_a_picture_that_is_another_and_cannot_be_had_says_that_another_lies_there(
    shop: Shop,
) -> None:
    target = Path("images", shop.images[0]["file_name"])
    target.parent.mkdir(parents=True)
    target.write_bytes(b"another picture")
    shop.proxy.spoil("original/1.jpg", "denied")
    shop.download()
    assert ledger()[0]["state"] == "denied"
    assert "another image lies in its place" in ledger()[0]["reason"]


def test_a_present_picture_whose_md5_is_not_that_of_its_id_has_the_note(shop: Shop) -> None:
    record = shop.images[0]
    put(shop.endpoint, shop.bucket, {record["serving_bucket_key"]: b"saved again"})
    target = Path("images", record["file_name"])
    target.parent.mkdir(parents=True)
    target.write_bytes(b"saved again")
    shop.download()
    assert ledger()[0]["state"] == "present"
    assert ledger()[0]["reason"] == verified.NOTE_OTHER_MD5


@pytest.mark.parametrize("cell", ["900.0", "900,0", "", "many"])
def test_a_ledger_edited_by_hand_costs_no_more_than_a_look(shop: Shop, cell: str) -> None:
    shop.download()
    path = Path("images/download.csv")
    size = ledger()[0]["bytes"]
    path.write_text(path.read_text().replace(f",{size},", f',"{cell}",'), encoding="utf-8")
    assert shop.download().code == 0
    assert shop.states() == ["present"] * 4


def test_what_is_refused_before_it_began_leaves_ledger_and_export_as_they_were(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.download()
    before = {path: path.read_bytes() for path in Path("images").glob("*.*")}
    write_export(shop.export, [*shop.images, image(9)[0]])
    done = shop.pipeline("download", "--coco-file", shop.export, "--source", "nowhere")
    assert done.code == 1
    assert {path: path.read_bytes() for path in Path("images").glob("*.*")} == before


def test_a_body_that_stays_wrong_after_other_trouble_is_given_up(
    shop: Shop,
) -> None:
    for fault in ["busy"] * 5 + ["altered"] * 50:
        shop.proxy.spoil("original/1.jpg", fault, times=1)
    shop.download()
    assert ledger()[0]["state"] == "corrupt"
    assert shop.proxy.fetched("original/1.jpg") < 15


def test_one_target_that_cannot_be_written_is_one_row(shop: Shop) -> None:
    target = Path("images", shop.images[1]["file_name"])
    target.mkdir(parents=True)
    (target / "a file of another").write_bytes(b"x")
    done = shop.download("--tolerate", 1)
    assert done.code == 0, done.err
    assert shop.states() == ["downloaded", "failed", "downloaded", "downloaded"]
    assert "cannot be written" in ledger()[1]["reason"]


def test_two_commands_in_one_folder_do_not_meet(shop: Shop) -> None:
    Path("images").mkdir()
    journal = Path("images/.download.unfinished")
    with folders.locked(journal, "taken"):
        done = shop.download()
    assert done.code == 1
    assert "Another `pipeline download` is at work" in done.err
    assert shop.download().code == 0


def test_a_lock_is_free_again_when_its_holder_is_gone(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from animl_pipeline.files import folders\n"
        "with folders.locked(Path(sys.argv[1]), 'taken'): print('held', flush=True); time.sleep(60)"
    )
    path = tmp_path / "held"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputInvalid, match="taken"), folders.locked(path, "taken"):
            pass
        process.kill()
    with folders.locked(path, "taken"):
        pass


# Sources


@pytest.fixture
def web(no_waiting: None) -> Iterator[tuple[Site, Web]]:
    with site() as found, closing(Web(found.url, connections=2, timeout_s=5)) as source:
        yield found, source


def test_a_redirection_to_a_host_that_is_not_there_is_one_picture_s_trouble(
    web: tuple[Site, Web], tmp_path: Path
) -> None:
    found, source = web
    found.says("/1.jpg", (302, {"Location": "http://localhost:9/1.jpg"}, b""))
    found.says("/2.jpg", (200, {}, DATA))
    assert state_of(source, "1.jpg", tmp_path / "1.jpg") == "failed"
    assert fetch(source, "2.jpg", tmp_path / "2.jpg").size_bytes == len(DATA)


def test_a_picture_compressed_on_its_way_is_not_kept_as_it_is(
    web: tuple[Site, Web], tmp_path: Path
) -> None:
    found, source = web
    found.says("/1.jpg", (200, {"Content-Encoding": "gzip"}, DATA))
    assert state_of(source, "1.jpg", tmp_path / "1.jpg") == "corrupt"


@pytest.mark.parametrize(
    "address",
    [
        "ftp://me:s3cr3t@host", "s3://AKIA:s3cr3t@bucket", "me:s3cr3t@host:9000",
        "http://host/?token=s3cr3t", "http://host/;s3cr3t#x", "http://[::1", "http://host:99999999/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("option", ["--source", "--endpoint-url"])
def test_no_address_with_a_secret_is_used_or_repeated(
    shop: Shop, address: str, option: str
) -> None:
    words = ["download", "--coco-file", shop.export, option, address]
    done = shop.pipeline(*words)
    assert done.code in {1, 2}
    assert "s3cr3t" not in done.out + done.err
    assert "Traceback" not in done.err
    assert "s3cr3t" not in "".join(p.read_text() for p in Path().rglob("*.json"))


def test_the_name_and_password_of_a_proxy_are_given_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_waiting: None
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    with site() as found:
        found.says("http://pictures.example/1.jpg", (200, {}, DATA))
        monkeypatch.setenv("http_proxy", found.url.replace("//", "//me:pass%20word@"))
        with closing(Web("http://pictures.example", connections=1, timeout_s=5)) as source:
            assert fetch(source, "1.jpg", tmp_path / "1.jpg").size_bytes == len(DATA)
    assert found.headers[-1]["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"


def test_a_proxy_of_another_kind_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "socks5://me:s3cr3t@127.0.0.1:9")
    with pytest.raises(OptionError, match="proxy") as caught:
        Web("http://pictures.example", connections=1, timeout_s=5)
    assert "s3cr3t" not in str(caught.value)


def test_one_key_whose_signature_the_server_reads_otherwise_stops_nothing(
    endpoint: str, tmp_path: Path, no_waiting: None
) -> None:
    put(endpoint, "odd-keys", {"plain.jpg": DATA, "o d d.jpg": DATA})
    with flaky_proxy(endpoint) as proxy:
        proxy.spoil("o d d.jpg", "signature")
        with closing(bucket_at(proxy.url, "odd-keys")) as source:
            source.check()
            assert fetch(source, "plain.jpg", tmp_path / "1.jpg").size_bytes == len(DATA)
            with pytest.raises(ObjectUnavailable) as caught:
                fetch(source, "o d d.jpg", tmp_path / "2.jpg")
    assert caught.value.state in {"failed", "denied"}


def bucket_at(url: str | None, name: str, region: str | None = None) -> Bucket:
    return Bucket(
        name, endpoint_url=url, profile=None, region=region, sign=True, requester_pays=False,
        connections=2, timeout_s=5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "region", "address"),
    [
        ("pictures", None, "https://pictures.s3.amazonaws.com/"),
        ("pictures", "eu-south-1", "https://pictures.s3.eu-south-1.amazonaws.com/"),
        ("my.pictures", "us-west-2", "https://s3.us-west-2.amazonaws.com/my.pictures/"),
        ("pictures", "cn-north-1", "https://pictures.s3.cn-north-1.amazonaws.com.cn/"),
    ],
)
def test_a_bucket_of_aws_is_asked_for_in_its_own_region(
    name: str, region: str | None, address: str
) -> None:
    with closing(bucket_at(None, name, region)) as source:
        assert source.base_url == address


def test_settings_of_the_environment_that_obstore_cannot_read_are_no_traceback(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_waiting: None
) -> None:
    put(endpoint, "settings", {"fox.jpg": DATA})
    monkeypatch.setenv("AWS_UNSIGNED_PAYLOAD", "perhaps")
    with closing(bucket_at(endpoint, "settings")) as source:
        source.check()
        assert fetch(source, "fox.jpg", tmp_path / "1.jpg").size_bytes == len(DATA)


@pytest.mark.parametrize(
    "config",
    [
        "[profile x]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = nobody\n",
        "[profile x]\ncredential_process = echo not-json\n",
        "[profile x]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n"
        "[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://example.invalid\n",
    ],
)
def test_credentials_that_cannot_be_had_are_one_message_and_no_traceback(
    shop: Shop, here: Path, config: str
) -> None:
    (here / "config").write_text(config)
    environment = {name: value for name, value in os.environ.items() if "AWS_" not in name}
    where = ["--bucket", shop.bucket, "--endpoint-url", shop.endpoint, "--profile", "x"]
    done = subprocess.run(
        [sys.executable, "-m", "animl_pipeline", "download", "--coco-file", shop.export, *where],
        env=environment | {"AWS_CONFIG_FILE": str(here / "config"), "HOME": str(here)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: No AWS credentials")


def test_a_dry_run_that_could_size_nothing_says_so(shop: Shop) -> None:
    shop.proxy.spoil("jpg", "denied")
    done = shop.download("--dry-run")
    assert "of unknown size: denied" in done.out


def test_ids_that_only_look_like_an_md5_are_no_md5(here: Path, pipeline: Pipeline) -> None:
    record, data = image(1, id="0123456789abcdef" * 2)
    del record["serving_bucket_key"]
    target = here / "disk" / record["file_name"]
    target.parent.mkdir(parents=True)
    target.write_bytes(data)
    write_export(here / "lila.json", [record])
    assert pipeline("download", "--coco-file", "lila.json", "--source", "disk").code == 0
    assert [row["state"] for row in ledger()] == ["downloaded"]


def test_the_journal_takes_ids_and_keys_with_any_character(shop: Shop) -> None:
    record, data = image(8, id="tab\tand\nnewline", serving_bucket_key="a\tb.jpg")
    put(shop.endpoint, shop.bucket, {"a\tb.jpg": data})
    write_export(shop.export, [record, image(1)[0]])
    shop.proxy.spoil("original/1.jpg", "expired")
    assert shop.download("--workers", 1).code == 1
    lines = Path("images/.download.unfinished").read_text().splitlines()
    assert [json.loads(line)[1] for line in lines] == ["tab\tand\nnewline"]
    shop.proxy.forget()
    assert shop.download().code == 0
    assert shop.proxy.fetched("b.jpg") == 0
