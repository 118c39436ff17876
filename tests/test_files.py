"""Files that are whole or not there, and names that stay inside their folder."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.files import folders, names, whole
from animl_pipeline.files.journal import Journal, read_journal

SAFE = [
    "a.jpg",
    "project/camera/picture.jpg",
    "a..b.jpg",
    "...jpg",
    "2041999/default/picture..JPG",
    "a name with spaces.jpg",
    "sci_biosecurity:a8a6-original.jpg",
    "Käfer/Füchsin.jpg",
    "狐狸/1.jpg",
    "what?.jpg",
    "console.jpg",
    "auxiliary/nullify.jpg",
    "com10.jpg",
    "x" * 246 + ".jpg",
]
UNSAFE = {
    "": "is empty",
    "   ": "is empty",
    ".": "is empty",
    "/": "is empty",
    "folder/": "is empty",
    "a\x00.jpg": "control character",
    "a\nb.jpg": "control character",
    "a\tb.jpg": "control character",
    "/etc/passwd": "absolute",
    "//server/share/a.jpg": "absolute",
    "\\\\server\\share\\a.jpg": "absolute",
    "C:\\a.jpg": "absolute",
    "c:/a.jpg": "absolute",
    "..": "leaves",
    "../a.jpg": "leaves",
    "a/../../b.jpg": "leaves",
    "a/..": "leaves",
    "..\\..\\a.jpg": "leaves",
    "a\\..\\..\\b.jpg": "leaves",
    "a/..\\b.jpg": "leaves",
    "\ud800.jpg": "not valid text",
    "x" * 300: "too long",
    "ü" * 130 + ".jpg": "too long",
    "/".join(["folder"] * 200): "too long",
    "CON": "Windows reserves",
    "con.jpg": "Windows reserves",
    "folder/aux.jpg": "Windows reserves",
    "NUL.tar.gz": "Windows reserves",
    "lpt1/a.jpg": "Windows reserves",
}


def test_what_is_written_whole_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with whole.whole(path) as part:
        part.write_text("old")
    with whole.whole(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def write_half(path: Path, error: BaseException) -> None:
    with whole.whole(path) as part:
        part.write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), SystemExit(1)])
def test_a_block_that_raises_leaves_the_old_file_and_no_part(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(type(error)):
        write_half(path, error)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_block_that_raises_before_it_writes_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too early"), whole.whole(tmp_path / "file.txt"):
        raise ValueError("too early")
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_writes_nothing_is_an_error_not_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole.whole(tmp_path / "file.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_cannot_replace_a_folder_and_leaves_no_part(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    with pytest.raises(OSError, match="name"):
        whole.write_text(tmp_path / "name", "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["name"]


def test_text_has_the_same_line_ends_everywhere(tmp_path: Path) -> None:
    whole.write_text(tmp_path / "a.txt", "ä\nb\r\n")
    assert (tmp_path / "a.txt").read_bytes() == "ä\nb\r\n".encode()


def test_json_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    content = {"label": "Füchsin", "numbers": [1, 0.1, None, True]}
    whole.write_json(tmp_path / "a.json", content)
    assert whole.read_json(tmp_path / "a.json", written_by="x") == content
    assert "Füchsin" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_with_a_number_that_is_none_is_refused_and_leaves_no_file(
    tmp_path: Path, number: float
) -> None:
    with pytest.raises(ValueError, match="JSON"):
        whole.write_json(tmp_path / "a.json", {"loss": number})
    assert list(tmp_path.iterdir()) == []


def test_a_json_file_that_is_missing_names_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"gone\.json is not there; `pipeline split` writes it"):
        whole.read_json(tmp_path / "gone.json", written_by="`pipeline split`")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1} x'])
def test_a_json_file_that_is_none_is_said_with_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(InputInvalid, match=r"bad\.json cannot be read"):
        whole.read_json(tmp_path / "bad.json", written_by="x")


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"fox" * 100_000)
    assert whole.digest(tmp_path / "a", "sha256") == hashlib.sha256(b"fox" * 100_000).hexdigest()


def test_a_pointer_leads_to_the_newest_folder(tmp_path: Path) -> None:
    for name in ("run1", "run2"):
        (tmp_path / name).mkdir()
        folders.point_at(tmp_path / "latest", tmp_path / name)
    assert folders.follow(tmp_path / "latest") == tmp_path / "run2"


def test_a_pointer_may_be_a_file_with_the_folders_name(tmp_path: Path) -> None:
    (tmp_path / "latest").write_text("run7\n", encoding="utf-8")
    assert folders.follow(tmp_path / "latest") == tmp_path / "run7"


def test_a_path_that_is_no_pointer_is_itself(tmp_path: Path) -> None:
    assert folders.follow(tmp_path / "run1") == tmp_path / "run1"


@pytest.mark.parametrize("name", SAFE)
def test_a_name_a_camera_may_give_is_safe(name: str) -> None:
    assert names.explain_unsafe(name) == ""


@pytest.mark.parametrize(("name", "reason"), UNSAFE.items())
def test_a_name_that_leaves_its_folder_or_cannot_be_a_file_is_refused_with_the_reason(
    name: str, reason: str
) -> None:
    assert reason in names.explain_unsafe(name)


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("ab./\\: \x00\n\ud800Cü"), max_size=12) | st.text(max_size=30))
def test_a_name_without_a_reason_lies_below_its_folder(name: str) -> None:
    if not names.explain_unsafe(name):
        for separators in (name, name.replace("\\", "/")):
            target = Path("/folder", separators)
            assert target.parts[:2] == ("/", "folder")
            assert len(target.parts) > 2
            assert ".." not in target.parts
        json.dumps(name).encode()
        name.encode()


def test_a_lock_is_free_as_soon_as_its_holder_is_killed_though_its_children_live(
    tmp_path: Path,
) -> None:
    program = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from animl_pipeline.files import folders\n"
        "with folders.locked(Path(sys.argv[1]), 'taken'):\n"
        "    if not os.fork(): print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    path = tmp_path / "lock"
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(InputInvalid, match="taken"), folders.locked(path, "taken"):
                pass
            holder.kill()
            os.waitpid(holder.pid, 0)
            os.kill(child, 0)  # it is there still
            with folders.locked(path, "taken"):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_journal_gives_back_what_was_added_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert list(read_journal(path)) == []
    with Journal(path) as journal:
        journal.append([1, "ü\n"])
    with Journal(path, syncs=True) as journal:
        journal.append({"b": None})
    assert list(read_journal(path)) == [[1, "ü\n"], {"b": None}]
    journal.remove()
    assert not path.exists()


@pytest.mark.parametrize("header", [None, {"threshold": 0.1}])
def test_a_journal_cut_off_anywhere_loses_its_last_line_alone(
    tmp_path: Path, header: dict[str, float] | None
) -> None:
    path = tmp_path / "journal"
    with Journal(path, header) as journal:
        for number in range(3):
            journal.append([number])
    data = path.read_bytes()
    start = data.index(b"[0]")
    for end in range(len(data) + 1):
        path.write_bytes(data[:end])
        kept = data[start:end].count(b"\n")
        assert list(read_journal(path, header)) == [[n] for n in range(kept)]
        with Journal(path, header) as journal:
            journal.append(["next"])
        assert list(read_journal(path, header)) == [*([n] for n in range(kept)), ["next"]]


def test_a_journal_under_another_header_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, {"threshold": 0.1}) as journal:
        journal.append(1)
    assert list(read_journal(path, {"threshold": 0.2})) == []
    with Journal(path, {"threshold": 0.2}) as journal:
        journal.append(2)
    assert list(read_journal(path, {"threshold": 0.2})) == [2]


def test_a_line_that_a_full_disk_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"[1]\n[2,[3]\n[4]\n")
    assert list(read_journal(path)) == [[1], [4]]
