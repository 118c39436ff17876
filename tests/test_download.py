import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from shop import Pipeline, Shop, ledger
from small_export import image, put, put_in_parts, request, write_export
from world import BUCKET, World

from animl_pipeline.sources import downloading, patience

FIXTURES = Path(__file__).parents[2] / "shared/fixtures/animl"
needs_fixtures = pytest.mark.skipif(
    not FIXTURES.exists(), reason=f"{FIXTURES} is not there: no fixture of the Animl formats"
)


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def names_in(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def damage(path: Path, *, longer: bool = False) -> None:
    """Other bytes, and a time of change that a run before cannot have seen."""
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 255]) + data[1:] + b"x" * longer)
    later = path.stat().st_mtime_ns + 5_000_000_000
    os.utime(path, ns=(later, later))


# What the ledger says


def test_every_image_of_the_export_has_one_ledger_row_in_its_order(
    world: World, endpoint: str, pipeline: Pipeline
) -> None:
    pipeline("download", "--coco-file", world.coco_file, "--endpoint-url", endpoint)
    records = json.loads(world.coco_file.read_bytes())["images"]
    assert [row["image_id"] for row in ledger()] == [record["id"] for record in records]


def test_the_world_downloads_but_for_what_the_bucket_has_not_and_what_leaves_the_folder(
    world: World, endpoint: str, pipeline: Pipeline
) -> None:
    done = pipeline("download", "--coco-file", world.coco_file, "--endpoint-url", endpoint)
    states = Counter(row["state"] for row in ledger())
    assert states == {"downloaded": world.images - 2, "missing": 1, "unsafe": 1}
    assert done.code == 3  # --tolerate is 0


def test_the_pictures_are_the_objects_byte_for_byte(shop: Shop) -> None:
    assert shop.download().code == 0
    for name, data in shop.data.items():
        assert Path("images", name).read_bytes() == data


def test_a_row_has_key_bytes_and_md5_of_its_picture(shop: Shop) -> None:
    shop.download()
    data = shop.data["island/cam/pier/1.jpg"]
    assert ledger()[0] == {
        "image_id": shop.images[0]["id"],
        "file_name": "island/cam/pier/1.jpg",
        "key": "original/1.jpg",
        "state": "downloaded",
        "bytes": str(len(data)),
        "md5": hashlib.md5(data).hexdigest(),
        "reason": "",
    }


def test_the_export_is_kept_byte_for_byte(shop: Shop) -> None:
    odd = shop.export.read_bytes().replace(b"\n", b"\r\n") + b"\r\n \t\n"
    shop.export.write_bytes(odd)
    assert shop.download().code == 0
    assert Path("images/cct.json").read_bytes() == odd


def test_the_record_comes_last_and_nothing_half_done_stays(shop: Shop) -> None:
    shop.download()
    files = everything_in(Path("images"))
    assert set(files) == {*shop.data, "cct.json", "download.csv", "download.json"}
    record = json.loads(files["download.json"])
    assert record["stage"] == "download"
    assert record["counts"]["downloaded"] == 4
    digest = hashlib.sha256(shop.export.read_bytes()).hexdigest()
    assert list(record["inputs"].values()) == [digest]


# Running it again


def test_a_second_run_fetches_nothing(shop: Shop) -> None:
    shop.download()
    shop.proxy.requests.clear()
    assert shop.download().code == 0
    assert shop.proxy.requests == []
    assert shop.states() == ["present"] * 4


def test_pictures_that_were_there_before_any_run_are_present_and_not_fetched(shop: Shop) -> None:
    for name, data in shop.data.items():
        Path("images", name).parent.mkdir(parents=True, exist_ok=True)
        Path("images", name).write_bytes(data)
    shop.download()
    assert shop.proxy.fetched() == 0
    assert shop.states() == ["present"] * 4


@pytest.mark.parametrize("longer", [False, True], ids=["other bytes", "other size"])
def test_a_picture_damaged_on_disk_is_fetched_again(shop: Shop, longer: bool) -> None:
    shop.download()
    shop.proxy.requests.clear()
    damage(Path("images/island/cam/pier/2.jpg"), longer=longer)
    shop.download()
    assert Path("images/island/cam/pier/2.jpg").read_bytes() == shop.data["island/cam/pier/2.jpg"]
    assert shop.proxy.fetched() == 1
    assert shop.states() == ["present", "downloaded", "present", "present"]


def test_a_damaged_picture_is_fetched_again_where_the_server_has_no_md5_of_it(shop: Shop) -> None:
    name = "island/cam/pier/1.jpg"
    put_in_parts(shop.endpoint, shop.bucket, "original/1.jpg", shop.data[name])
    shop.download()
    damage(Path("images", name))
    shop.download()
    assert Path("images", name).read_bytes() == shop.data[name]


def test_a_picture_with_a_newer_time_and_the_same_bytes_is_not_fetched_again(shop: Shop) -> None:
    shop.download()
    shop.proxy.requests.clear()
    later = time.time() + 100
    os.utime("images/island/cam/pier/2.jpg", (later, later))
    shop.download()
    assert shop.proxy.fetched() == 0
    assert shop.states() == ["present"] * 4


def test_a_removed_picture_is_fetched_again(shop: Shop) -> None:
    shop.download()
    shop.proxy.requests.clear()
    Path("images/island/cam/pier/3.jpg").unlink()
    shop.download()
    assert shop.proxy.fetched() == shop.proxy.fetched("original/3.jpg") == 1


def test_a_picture_damaged_after_an_interrupted_run_is_fetched_again(shop: Shop) -> None:
    shop.download()
    interrupted(shop)
    past = time.time() - 1000
    os.utime("images/.download.unfinished", (past, past))
    path = Path("images/island/cam/pier/2.jpg")
    data = path.read_bytes()
    path.write_bytes(b"?" + data[1:])  # now: after the crash, before the next run
    shop.download()
    assert path.read_bytes() == data


def test_an_interrupted_run_goes_on_and_its_pictures_count_as_downloaded(shop: Shop) -> None:
    shop.download()
    interrupted(shop)
    shop.proxy.requests.clear()
    shop.download()
    assert shop.proxy.requests == []
    assert shop.states() == ["downloaded"] * 4


def test_a_journal_whose_last_line_is_cut_off_is_read_up_to_there(shop: Shop) -> None:
    shop.download()
    interrupted(shop)
    journal = Path("images/.download.unfinished")
    journal.write_bytes(journal.read_bytes()[:-9])
    shop.proxy.requests.clear()
    assert shop.download().code == 0
    assert shop.proxy.fetched() == 0  # the picture itself has the md5 of its id
    assert shop.states() == ["downloaded", "downloaded", "downloaded", "present"]


def interrupted(shop: Shop) -> None:
    """Turns the folder of a finished run into that of one which stopped before its ledger."""
    lines = []
    for row in ledger():
        mtime_ns = Path("images", row["file_name"]).stat().st_mtime_ns
        of_it = (row["file_name"], row["image_id"], row["key"])
        lines.append(json.dumps([*of_it, int(row["bytes"]), row["md5"], mtime_ns]))
    journal = Path("images/.download.unfinished")
    journal.write_text("\n".join(lines) + "\n", encoding="utf-8")
    Path("images/download.csv").unlink()
    Path("images/download.json").unlink()
    assert len(lines) == len(shop.images)


def test_an_unfinished_download_is_refused_by_crop(shop: Shop) -> None:
    shop.download()
    interrupted(shop)
    done = shop.pipeline("crop")
    assert done.code == 1
    assert "run `pipeline download` again" in done.err


def test_a_smaller_export_in_the_same_folder_leaves_the_other_pictures_alone(shop: Shop) -> None:
    shop.download()
    write_export(shop.export, shop.images[:2])
    assert shop.download().code == 0
    assert len(ledger()) == 2
    assert all(Path("images", name).exists() for name in shop.data)


def test_the_export_may_lie_in_the_output_folder_itself(shop: Shop) -> None:
    shop.download()
    before = Path("images/cct.json").read_bytes()
    where = ("--bucket", shop.bucket, "--endpoint-url", shop.proxy.url)
    done = shop.pipeline("download", "--coco-file", "images/cct.json", *where)
    assert done.code == 0
    assert Path("images/cct.json").read_bytes() == before


# One object in trouble


def test_an_object_that_is_not_there_is_missing(shop: Shop) -> None:
    write_export(shop.export, [*shop.images, image(9)[0]])
    done = shop.download()
    assert shop.states() == ["downloaded"] * 4 + ["missing"]
    assert ledger()[4]["reason"] == "no such key in the bucket"
    assert done.code == 3


def test_an_object_without_permission_is_denied_and_not_asked_for_again(shop: Shop) -> None:
    shop.proxy.spoil("original/2.jpg", "denied")
    shop.download()
    assert shop.states() == ["downloaded", "denied", "downloaded", "downloaded"]
    assert shop.proxy.fetched("original/2.jpg") == 1
    assert not Path("images/island/cam/pier/2.jpg").exists()


@pytest.mark.parametrize("fault", ["altered", "cut"])
def test_a_body_that_never_has_its_md5_is_corrupt_and_not_kept(shop: Shop, fault: str) -> None:
    shop.proxy.spoil("original/3.jpg", fault)
    done = shop.download()
    assert shop.states() == ["downloaded", "downloaded", "corrupt", "downloaded"]
    assert "md5" in ledger()[2]["reason"]
    assert names_in("images/island/cam/pier") == ["1.jpg", "2.jpg", "4.jpg"]
    assert done.code == 3


@pytest.mark.parametrize("fault", ["short", "reset"])
def test_a_connection_that_always_breaks_is_a_failed_row_and_leaves_nothing(
    shop: Shop, fault: str
) -> None:
    shop.proxy.spoil("original/3.jpg", fault)
    done = shop.download()
    assert shop.states() == ["downloaded", "downloaded", "failed", "downloaded"]
    assert names_in("images/island/cam/pier") == ["1.jpg", "2.jpg", "4.jpg"]
    assert done.code == 3


def test_a_body_without_a_length_is_judged_by_its_md5(shop: Shop) -> None:
    shop.proxy.spoil("original/3.jpg", "chunked")
    assert shop.download().code == 0
    assert shop.states() == ["downloaded"] * 4


def test_a_server_that_stays_broken_gives_a_failed_row_after_a_bounded_number_of_tries(
    shop: Shop,
) -> None:
    shop.proxy.spoil("original/3.jpg", "broken")
    shop.download()
    assert shop.states() == ["downloaded", "downloaded", "failed", "downloaded"]
    assert "500" in ledger()[2]["reason"]
    assert shop.proxy.fetched("original/3.jpg") <= 24


def test_an_answer_that_is_spoiled_once_is_asked_for_again_and_then_fine(shop: Shop) -> None:
    for number, fault in enumerate(["altered", "cut", "short", "reset"], start=1):
        shop.proxy.spoil(f"original/{number}.jpg", fault, times=1)
    assert shop.download().code == 0
    for name, data in shop.data.items():
        assert Path("images", name).read_bytes() == data
    assert shop.proxy.fetched() == 8


def test_a_server_that_is_busy_or_broken_once_is_asked_again(shop: Shop) -> None:
    shop.proxy.spoil("original/1.jpg", "busy", times=1)
    shop.proxy.spoil("original/2.jpg", "broken", times=1)
    assert shop.download().code == 0
    assert shop.states() == ["downloaded"] * 4


def test_a_page_of_something_else_is_not_taken_for_a_picture(shop: Shop) -> None:
    shop.proxy.spoil("original/3.jpg", "page")
    shop.download()
    assert shop.states() == ["downloaded", "downloaded", "corrupt", "downloaded"]


def test_what_failed_is_fetched_by_the_next_run_alone(shop: Shop) -> None:
    shop.proxy.spoil("original/3.jpg", "altered", times=patience.TRIES_OF_A_BODY + 1)  # each way
    assert shop.download().code == 3
    shop.proxy.requests.clear()
    assert shop.download().code == 0
    assert shop.proxy.fetched() == 1
    assert shop.states() == ["present", "present", "downloaded", "present"]


def test_an_object_whose_md5_is_not_that_of_its_id_is_kept_with_a_note(shop: Shop) -> None:
    record, _ = image(7)
    put(shop.endpoint, shop.bucket, {"original/7.jpg": b"another picture"})
    write_export(shop.export, [record])
    done = shop.download()
    row = ledger()[0]
    assert done.code == 0
    assert (row["state"], row["md5"]) == (
        "downloaded", hashlib.md5(b"another picture").hexdigest(),
    )  # fmt: skip
    assert "not the one in the image id" in row["reason"]
    assert "1 with a note" in done.out


def test_the_note_of_a_contradiction_stays_on_a_second_run(shop: Shop) -> None:
    record, _ = image(7)
    put(shop.endpoint, shop.bucket, {"original/7.jpg": b"another picture"})
    write_export(shop.export, [record])
    shop.download()
    first = ledger()[0]
    shop.download()
    assert ledger()[0] == first | {"state": "present"}


def test_an_object_in_parts_is_checked_by_the_md5_of_the_id(shop: Shop) -> None:
    put_in_parts(shop.endpoint, shop.bucket, "original/1.jpg", shop.data["island/cam/pier/1.jpg"])
    shop.proxy.spoil("original/1.jpg", "altered")
    shop.download()
    assert shop.states()[0] == "corrupt"


def test_an_empty_object_is_kept_as_it_is(shop: Shop) -> None:
    put(shop.endpoint, shop.bucket, {"original/0.jpg": b""})
    md5 = hashlib.md5(b"").hexdigest()
    write_export(shop.export, [image(0, id=f"island:{md5}")[0]])
    assert shop.download().code == 0
    assert (ledger()[0]["bytes"], ledger()[0]["md5"]) == ("0", md5)


# Names

UNSAFE = (
    "../outside.jpg",
    "island/../../outside.jpg",
    "/tmp/outside.jpg",
    "..\\outside.jpg",
    "C:\\outside.jpg",
    "",
    " ",
    ".",
    "island/",
    "nul\x00.jpg",
    "line\nbreak.jpg",
    "con",
    "x" * 300 + ".jpg",
    "\ud800.jpg",
    "cct.json",
    "download.csv",
    "CCT.json",
)


def test_no_unsafe_file_name_is_ever_written(shop: Shop, here: Path) -> None:
    records = [image(number, file_name=name)[0] for number, name in enumerate(UNSAFE, start=10)]
    keyed = [record | {"serving_bucket_key": "original/1.jpg"} for record in records]
    write_export(shop.export, [*keyed, shop.images[1]])
    outside = {path for path in here.parent.rglob("*") if "images" not in path.parts}
    done = shop.download()
    assert done.code == 3
    states = {row["file_name"]: row["state"] for row in ledger()}
    assert {name for name, state in states.items() if state != "unsafe"} == {
        "island/cam/pier/2.jpg"
    }
    assert len(ledger()) == len(UNSAFE) + 1
    assert all(row["reason"] for row in ledger()[:-1])
    assert set(everything_in(Path("images"))) == {
        "island/cam/pier/2.jpg", "cct.json", "download.csv", "download.json",
    }  # fmt: skip
    assert {path for path in here.parent.rglob("*") if "images" not in path.parts} == outside
    assert not Path("/tmp/outside.jpg").exists()


def test_no_spelling_of_a_name_overwrites_a_file_of_ours(shop: Shop) -> None:
    names = ("./cct.json", ".//CCT.json", "././download.csv", "./.download.unfinished")
    records = [
        image(number, file_name=name)[0] for number, name in zip(range(1, 5), names, strict=True)
    ]
    write_export(shop.export, records)
    shop.download()
    assert shop.states() == ["unsafe"] * 4
    assert Path("images/cct.json").read_bytes() == shop.export.read_bytes()


@pytest.mark.parametrize("name", ["cct.json/1.jpg", "download.csv/1.jpg"])
def test_a_folder_named_as_a_file_of_ours_is_a_row_with_a_reason(shop: Shop, name: str) -> None:
    write_export(shop.export, [image(1, file_name=name)[0], shop.images[1]])
    done = shop.download()
    assert done.code == 3, done.err
    assert shop.states()[0] in {"unsafe", "failed"}
    assert shop.states()[1] == "downloaded"


def test_two_images_never_share_a_file(shop: Shop) -> None:
    names = ("a/b.jpg", "a//b.jpg", "./a/b.jpg", "A/b.JPG")
    records = [
        image(number, file_name=name)[0] for number, name in zip(range(1, 5), names, strict=True)
    ]
    write_export(shop.export, records)
    done = shop.download("--workers", 1)
    assert shop.states() == ["downloaded", "unsafe", "unsafe", "unsafe"]
    assert Path("images/a/b.jpg").read_bytes() == image(1)[1]
    assert done.code == 3


@pytest.mark.parametrize("names", [("a", "a/b.jpg"), ("a/b.jpg", "a")], ids=str)
def test_a_name_that_is_also_a_folder_of_another_is_a_row_with_a_reason(
    shop: Shop, names: tuple[str, str]
) -> None:
    write_export(shop.export, [image(1, file_name=names[0])[0], image(2, file_name=names[1])[0]])
    done = shop.download("--workers", 1)
    assert done.code == 3, done.err
    assert len(ledger()) == 2
    assert "downloaded" in shop.states()


def test_a_record_without_id_name_or_key_is_a_row_with_a_reason(shop: Shop) -> None:
    nameless, keyless = image(1)[0], image(2)[0]
    del nameless["file_name"], keyless["serving_bucket_key"]
    idless = image(3)[0] | {"id": None}
    write_export(shop.export, [nameless, keyless, idless, shop.images[3]])
    assert shop.download().code == 3
    rows = ledger()
    assert len(rows) == 4
    assert Counter(row["state"] for row in rows) == {"downloaded": 1, "failed": 3}
    assert all(row["reason"] for row in rows if row["state"] == "failed")


def test_two_images_of_one_id_are_two_rows(shop: Shop) -> None:
    write_export(shop.export, [shop.images[0], shop.images[0] | {"file_name": "b.jpg"}])
    shop.download()
    assert sorted(shop.states()) == ["downloaded", "failed"]


# Options


def test_a_dry_run_writes_nothing_and_fetches_nothing(shop: Shop) -> None:
    before = everything_in(Path())
    done = shop.download("--dry-run")
    assert done.code == 0
    assert "4 to fetch" in done.out
    assert everything_in(Path()) == before
    assert not Path("images").exists()
    assert shop.proxy.fetched() == 0


def test_a_dry_run_of_a_finished_folder_leaves_it_as_it_is(shop: Shop) -> None:
    shop.download()
    before = everything_in(Path())
    done = shop.download("--dry-run")
    assert "0 to fetch" in done.out
    assert everything_in(Path()) == before


def test_a_dry_run_notices_a_wrong_bucket(shop: Shop) -> None:
    done = shop.download("--dry-run", "--bucket", "no-such-bucket-anywhere")
    assert done.code == 1
    assert "--bucket" in done.err


def test_a_key_prefix_comes_before_every_key(shop: Shop) -> None:
    put(shop.endpoint, shop.bucket, {"backup/original/1.jpg": shop.data["island/cam/pier/1.jpg"]})
    write_export(shop.export, shop.images[:1])
    assert shop.download("--key-prefix", "backup/").code == 0
    assert ledger()[0]["key"] == "backup/original/1.jpg"
    assert shop.proxy.fetched("backup/original/1.jpg") == 1


def test_a_key_field_chooses_where_the_key_is(shop: Shop) -> None:
    put(shop.endpoint, shop.bucket, {"island/cam/pier/1.jpg": shop.data["island/cam/pier/1.jpg"]})
    write_export(shop.export, shop.images[:1])
    assert shop.download("--key-field", "file_name").code == 0
    assert ledger()[0]["key"] == "island/cam/pier/1.jpg"


def test_a_key_field_that_no_record_has_is_said_and_fetches_nothing(shop: Shop) -> None:
    done = shop.download("--key-field", "s3_key")
    assert done.code in {1, 3}
    assert shop.proxy.fetched() == 0
    assert "s3_key" in done.err or all("s3_key" in row["reason"] for row in ledger())


def test_keys_with_any_character_are_fetched(shop: Shop) -> None:
    keys = ["original/a b+c%20&=?#.jpg", "original/é日本.jpg", "original/island:1.jpg", "o//x.jpg"]
    records = [image(number, serving_bucket_key=key)[0] for number, key in enumerate(keys, start=1)]
    put(shop.endpoint, shop.bucket, {key: image(n)[1] for n, key in enumerate(keys, start=1)})
    write_export(shop.export, records)
    assert shop.download().code == 0, [row["reason"] for row in ledger()]


@needs_fixtures
def test_an_export_of_2023_has_its_pictures_under_the_original_relative_path(
    shop: Shop, here: Path
) -> None:
    pictures = FIXTURES / "images_2023"
    objects = {
        path.relative_to(pictures).as_posix(): path.read_bytes()
        for path in pictures.rglob("*")
        if path.is_file()
    }
    put(shop.endpoint, "animl-images-archive-prod", objects)
    export = shutil.copy(FIXTURES / "cct_2023.json", here / "old.json")
    where = ("--bucket", "animl-images-archive-prod", "--endpoint-url", shop.endpoint)
    done = shop.pipeline("download", "--coco-file", export, *where)
    states = Counter(row["state"] for row in ledger())
    assert states == {"downloaded": 19, "missing": 1}
    assert done.code == 3
    for name, data in objects.items():
        assert Path("images", name).read_bytes() == data


@pytest.mark.parametrize(("tolerate", "code"), [(0.19, 3), (0.2, 0)])
def test_tolerate_is_the_fraction_of_images_that_may_fail(
    shop: Shop, tolerate: float, code: int
) -> None:
    write_export(shop.export, [*shop.images, image(9)[0]])
    done = shop.download("--tolerate", tolerate)
    assert done.code == code
    assert (code == 3) == ("--tolerate" in done.err)
    assert Path("images/download.json").exists()


# What stops it at once


def test_a_wrong_bucket_stops_at_once_and_says_what_to_check(shop: Shop) -> None:
    done = shop.download("--bucket", "no-such-bucket-anywhere")
    assert done.code == 1
    assert "no-such-bucket-anywhere" in done.err
    assert "--bucket" in done.err
    assert not Path("images/download.json").exists()


def test_no_credentials_stops_at_once_and_says_what_to_do(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    done = shop.download()
    assert done.code == 1
    assert "No AWS credentials" in done.err
    assert "--profile" in done.err
    assert shop.proxy.requests == []


def test_a_public_bucket_needs_no_credentials(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for record in shop.images:
        path = f"/{shop.bucket}/{record['serving_bucket_key']}"
        request(shop.endpoint, "PUT", f"{path}?acl", headers={"x-amz-acl": "public-read"})
    assert shop.download("--no-sign-request").code == 0


def test_an_endpoint_out_of_reach_stops_and_says_what_to_check(
    shop: Shop,
) -> None:
    done = shop.download("--endpoint-url", "http://127.0.0.1:9")
    assert done.code == 1
    assert "--endpoint-url" in done.err


def test_expired_credentials_stop_and_the_next_run_goes_on(shop: Shop) -> None:
    shop.proxy.spoil("original/3.jpg", "expired", times=2)
    done = shop.download("--workers", 1)
    assert done.code == 1
    assert "expired" in done.err
    shop.proxy.requests.clear()
    assert shop.download().code == 0
    assert shop.proxy.fetched() < 4
    assert shop.states() == ["downloaded"] * 4


@pytest.mark.parametrize("option", [("--profile", "nobody"), ("--endpoint-url", "localhost:5000")])
def test_an_option_that_makes_no_sense_is_wrong_usage(shop: Shop, option: tuple[str, str]) -> None:
    done = shop.download(*option)
    assert done.code == 2
    assert option[0] in done.err
    assert not list(Path("images").glob("*"))


def test_a_broken_aws_configuration_is_a_message(
    shop: Shop, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "config").write_text("this is [no configuration\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(here / "config"))
    done = shop.download()
    assert done.code in {1, 2}
    assert done.err.startswith("Error: ")


def test_an_export_that_is_not_there_is_a_message(pipeline: Pipeline) -> None:
    done = pipeline("download", "--coco-file", "nowhere.json")
    assert done.code == 1
    assert "nowhere.json is not there" in done.err
    assert not Path("images").exists()


@needs_fixtures
def test_a_truncated_export_is_explained(pipeline: Pipeline) -> None:
    done = pipeline("download", "--coco-file", FIXTURES / "cct_truncated.json")
    assert done.code == 1
    assert "cut off" in done.err
    assert "18,000" in done.err


def test_an_output_folder_that_is_a_file_is_a_message(shop: Shop) -> None:
    Path("taken").write_text("a file")
    done = shop.download("--output-dir", "taken")
    assert done.code in {1, 2}
    assert "taken" in done.err
    assert Path("taken").read_text() == "a file"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or (os.geteuid() == 0 and not shutil.which("setpriv")),
    reason="nothing is read-only for root here",
)
def test_a_read_only_output_folder_is_a_message(shop: Shop, here: Path) -> None:
    Path("images").mkdir()
    here_and_above = [here, *here.parents][:5]
    modes = {folder: folder.stat().st_mode for folder in here_and_above}
    for folder in here_and_above:
        if str(folder).startswith("/tmp/"):
            folder.chmod(modes[folder] | stat.S_IXOTH | stat.S_IROTH)
    Path("images").chmod(0o555)
    other = [] if os.geteuid() else ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess_download(shop, *other)
    for folder, mode in modes.items():
        folder.chmod(mode)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_the_wrong_region_stops_at_once_and_says_which_is_right(shop: Shop) -> None:
    shop.proxy.spoil("", "elsewhere")
    done = shop.download("--region", "us-west-2")
    assert done.code == 1
    assert "--region" in done.err
    assert "eu-west-3" in done.err
    assert len(shop.proxy.requests) < 20


def test_a_bucket_nobody_may_read_is_denied_row_by_row_and_said_early(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "ALL_ALIKE", 3)
    shop.proxy.spoil("", "denied")
    done = shop.download()
    assert done.code == 3
    assert shop.states() == ["denied"] * 4
    assert "The first 3 images are all denied" in done.out
    assert "--profile" in done.out


def test_an_export_without_images_is_a_message_and_writes_nothing(shop: Shop) -> None:
    write_export(shop.export, [])
    done = shop.download()
    assert done.code == 1
    assert "holds no images" in done.err
    assert not list(Path("images").glob("*"))


def subprocess_download(
    shop: Shop, *before: str, **more: Any
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "animl_pipeline", "download", "--coco-file", "export.json"]
    where = ["--bucket", shop.bucket, "--endpoint-url", shop.endpoint]
    return subprocess.run(
        [*before, *command, *where], capture_output=True, text=True, check=False, **more
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a process here")
def test_a_quota_that_is_used_up_is_a_message_and_leaves_no_half_picture(shop: Shop) -> None:
    import resource

    record, data = image(9, file_name="island/large.jpg")
    large = data * 100
    record["id"] = f"island:{hashlib.md5(large).hexdigest()}"
    put(shop.endpoint, shop.bucket, {record["serving_bucket_key"]: large})
    write_export(shop.export, [*shop.images, record])
    quota = (len(large) // 2, len(large) // 2)  # bytes of any one file
    done = subprocess_download(
        shop, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, quota)
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert not [path for path in Path("images").rglob("*") if path.name.startswith("large")]
    assert shop.download().code == 0
    assert Path("images/island/large.jpg").read_bytes() == large


def may_mount() -> bool:
    """Whether this process may have a small disk of its own."""
    unshare, mount = shutil.which("unshare"), shutil.which("mount")
    if not unshare or not mount:
        return False
    command = [unshare, "--map-root-user", "--mount", mount, "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="no disk of one's own may be mounted here")
def test_a_full_disk_is_a_message_and_leaves_no_half_picture(shop: Shop, here: Path) -> None:
    Path("images").mkdir()
    script = (
        'mount -t tmpfs -o size=16k none images && "$@"; code=$?; '
        "find images -type f >found; exit $code"
    )
    done = subprocess_download(
        shop, "unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"
    )
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("Error: ")
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert ".part" not in (here / "found").read_text()
    assert shop.download().code == 0


def test_an_export_without_the_key_of_animl_needs_the_name_of_its_bucket(
    here: Path, pipeline: Pipeline
) -> None:
    record, _ = image(1)
    del record["serving_bucket_key"]
    export = write_export(here / "lila.json", [record])
    done = pipeline("download", "--coco-file", export)
    assert done.code == 2
    assert "--bucket" in done.err


def test_the_world_is_served_from_the_bucket_of_animl_itself() -> None:
    assert BUCKET == "animl-images-serving-prod"
