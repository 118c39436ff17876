"""JSON from outside, read through a small window, says and gives what Python's own reader does."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from animl_pipeline.errors import InputInvalid
from animl_pipeline.formats import json_file

LISTS = ("images", "annotations")
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
OBJECTS = st.fixed_dictionaries(
    {name: st.lists(VALUES, max_size=6) for name in LISTS},
    optional={"info": VALUES, "größe": VALUES},
)
WINDOWS = st.integers(1, 70)
quickly = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.json"


def read(
    path: Path, window: int = 1 << 20, *, lists: tuple[str, ...] = LISTS, **more: Any
) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_file, "CHUNK_CHARACTERS", window)
        return json_file.read_object(path, what="an export", lists=lists, **more)


@quickly
@given(content=OBJECTS, window=WINDOWS, indent=st.sampled_from([None, 1]), bom=st.booleans())
def test_a_file_is_read_as_python_reads_it_however_small_the_window(
    file: Path, content: dict[str, Any], window: int, indent: int | None, bom: bool
) -> None:
    text = json.dumps(content, indent=indent, ensure_ascii=window % 2 == 0)
    file.write_text(text, encoding="utf-8-sig" if bom else "utf-8")
    assert read(file, window) == content


@quickly
@given(content=OBJECTS, window=WINDOWS, data=st.data())
def test_a_spoiled_file_is_refused_exactly_where_python_refuses_it(
    file: Path, content: dict[str, Any], window: int, data: st.DataObject
) -> None:
    text = json.dumps(content)
    at = data.draw(st.integers(0, len(text)))
    spoiled = data.draw(st.sampled_from([text[:at], text[:at] + "," + text[at:], text + text]))
    file.write_text(spoiled, encoding="utf-8")
    try:
        wanted = json.loads(spoiled)
    except json.JSONDecodeError:
        wanted = {}
    if all(isinstance(wanted.get(name), list) for name in LISTS):
        assert read(file, window) == wanted
    else:
        with pytest.raises(InputInvalid):
            read(file, window)


@pytest.mark.parametrize("window", [1, 7, 1 << 20])
def test_the_line_of_a_fault_is_named(file: Path, window: int) -> None:
    file.write_text('{"images": [\n{},\n{"a" 1}],\n"annotations": []}')
    with pytest.raises(InputInvalid, match="line 3"):
        read(file, window)


@pytest.mark.parametrize("window", [1, 7, 1 << 20])
def test_a_file_cut_off_is_said_to_be(file: Path, window: int) -> None:
    file.write_text('{"info": 1,\n"annotations": [{"id": "cut o')
    with pytest.raises(InputInvalid, match="cut off at line 2"):
        read(file, window)


@pytest.mark.parametrize("window", [1, 7, 1 << 20])
def test_of_a_file_cut_off_that_is_no_export_no_advice_on_exports_is_given(
    file: Path, window: int
) -> None:
    file.write_text('{"info": {}, "images": [{"file": "a.jpg"},\n{"file": "b')
    with pytest.raises(InputInvalid, match="cut off at line 2") as caught:
        read(file, window, lists=("images",))
    assert "Export" not in str(caught.value)
    assert "Fetch or make it again" in str(caught.value)


def test_a_name_that_is_there_twice_is_refused_rather_than_one_chosen(file: Path) -> None:
    file.write_text('{"images": [1], "annotations": [], "images": []}')
    with pytest.raises(InputInvalid, match="two members 'images'"):
        read(file)


@pytest.mark.parametrize("text", ["[]", '"images"', "1", "null", "[1, 2"])
def test_what_is_no_object_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(InputInvalid, match="not an export"):
        read(file)


def test_nesting_without_an_end_is_refused(file: Path) -> None:
    file.write_text('{"images": ' + "[" * 200_000)
    with pytest.raises(InputInvalid):
        read(file)


def test_what_is_not_kept_takes_no_memory(file: Path) -> None:
    items = ", ".join(f'{{"id": {number}, "text": "{"x" * 1000}"}}' for number in range(5000))
    file.write_text(f'{{"images": [{items}], "annotations": []}}')
    tracemalloc.start()
    found = read(file, 1 << 14, keep=lambda _, item: item["id"])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found["images"] == list(range(5000))
    assert most < file.stat().st_size / 5


def test_a_member_of_no_end_is_refused_before_it_fills_the_memory(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_file, "VALUE_CHARACTERS_MAX", 10_000)
    file.write_text('{"images": ["' + "x" * 100_000 + '"], "annotations": []}')
    with pytest.raises(InputInvalid):
        read(file, 1000)
