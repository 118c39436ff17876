from pathlib import Path

import pytest

from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.formats import coco, readers


def test_each_reader_but_one_refuses_what_another_writes() -> None:
    heads = {coco: b'\xef\xbb\xbf {"images": []}'}
    for reader in readers.READERS:
        assert [owner for owner, head in heads.items() if reader.is_written_in(head)] == [reader]


@pytest.mark.parametrize("content", [b"", b"\0", b"image,label\n"])
def test_what_no_reader_knows_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(InputInvalid, match="labels"):
        readers.read(tmp_path / "labels")


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"gone\.json"):
        readers.read_images(tmp_path / "gone.json")
