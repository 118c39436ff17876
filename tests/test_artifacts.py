"""The tables between the stages: read back as written, and what is wrong said with its row."""

import json
import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from animl_pipeline.artifacts import label_index, table_io
from animl_pipeline.artifacts.tables import (
    CROPS,
    DATASET,
    HISTORY,
    LEDGER,
    PREDICTIONS,
    REASONS,
    Table,
)
from animl_pipeline.errors import InputInvalid, InputMissing

ROW = {
    "crop": "p/a.jpg___1.jpg",
    "image": "a.jpg",
    "image_id": "a",
    "annotation_id": "1",
    "dataset": "p",
    "location": "Harbor",
    "datetime": "2023-03-02T06:41:10.000-08:00",
    "sequence": "a",
    "category": "fox",
    "confidence": 1.0,
    "x": 0.1,
    "y": 0.2,
    "width": 0.3,
    "height": 0.4,
}
TRICKY = [
    "NA", "N/A", "nan", "NaN", "null", "None", "<NA>", "", "007", "1e5", "1.0", "+1", "True",
    "a,b", 'a "quoted" b', '"', "two\nlines", "two\r\nlines", "one\rreturn", "\r", " spaces ",
    "tab\t", "Käfer 狐狸", "'", "#hash", "\\", "\\N", "\ufeffbom", "\x85", "\u2028", "-inf",
]  # fmt: skip


def crops(**changed: Any) -> pd.DataFrame:
    """Two rows, the second with something changed."""
    other = ROW | {"crop": "p/b.jpg___2.jpg", "image": "b.jpg", "image_id": "b"}
    return pd.DataFrame([ROW, other | changed], columns=CROPS.names)


def read_back(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    with TemporaryDirectory() as folder:
        table_io.write(table, Path(folder, table.name), frame)
        return table_io.read(table, Path(folder, table.name))


def written(path: Path, **changed: Any) -> Path:
    """A crops.csv with something wrong in row 3, as another tool would write it."""
    crops(**changed).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("text", TRICKY)
def test_a_location_is_read_back_as_it_was_written(text: str) -> None:
    frame = crops(location=text)
    assert read_back(CROPS, frame)["location"].tolist() == ["Harbor", text]


def test_tables_of_every_kind_are_read_back() -> None:
    frames = {
        CROPS: crops(),
        DATASET: crops().assign(label="fox", split="train"),
        REASONS: pd.DataFrame([("", "", "why")], columns=REASONS.names),
        LEDGER: pd.DataFrame([["", "", "", "failed", "", "", "x"]], columns=LEDGER.names),
    }
    for table, frame in frames.items():
        found = read_back(table, frame)
        assert found.to_dict("records") == frame.to_dict("records")


def test_an_empty_table_has_its_columns() -> None:
    found = read_back(CROPS, crops().iloc[:0])
    assert list(found.columns) == CROPS.names
    assert len(found) == 0


TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.sampled_from(list('",\n\r\t;NA017nul ')),
    max_size=12,
)
FRACTION = st.floats(0, 1)
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # each example writes a file


@settings(deadline=None, max_examples=100, phases=WITHOUT_SHRINKING)
@given(st.lists(st.tuples(TEXT, TEXT, TEXT, FRACTION, FRACTION, FRACTION), max_size=4))
def test_any_text_and_every_bit_of_a_number_is_read_back(
    rows: list[tuple[str, str, str, float, float, float]],
) -> None:
    frame = pd.DataFrame(
        [
            ROW
            | {"crop": f"{number}", "location": location, "datetime": moment, "sequence": sequence}
            | {"x": x, "y": y, "width": width}
            for number, (location, moment, sequence, x, y, width) in enumerate(rows)
        ],
        columns=CROPS.names,
    )
    found = read_back(CROPS, frame)
    for column in ("location", "datetime", "sequence"):
        assert found[column].tolist() == frame[column].tolist()
    for column in ("x", "y", "width"):
        ours = [struct.pack("<d", number) for number in found[column]]
        assert ours == [struct.pack("<d", number) for number in frame[column]]


@settings(deadline=None, max_examples=50, phases=WITHOUT_SHRINKING)
@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=5))
def test_a_loss_is_read_back_bit_for_bit_and_may_be_missing(losses: list[float]) -> None:
    frame = pd.DataFrame(
        [[epoch, 1e-3, 0.5, loss, loss, loss, 1.0, 2.0] for epoch, loss in enumerate(losses)],
        columns=HISTORY.names,
    )
    found = read_back(HISTORY, frame)
    assert found["epoch"].tolist() == list(range(len(losses)))
    assert found["epoch"].dtype == "int64"
    assert repr(found["val_loss"].tolist()) == repr(losses)


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        table_io.write(CROPS, tmp_path / name, crops())
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert b"\r" not in (tmp_path / "a.csv").read_bytes()


def test_predictions_have_a_number_for_each_label(tmp_path: Path) -> None:
    columns = [*PREDICTIONS.names, "prob_fox", "prob_scrub jay"]
    row = ["c", "i", "d", "", "fox", "fox", 0.75, 0.25]
    table_io.write(PREDICTIONS, tmp_path / "p.csv", pd.DataFrame([row], columns=columns))
    found = table_io.read(PREDICTIONS, tmp_path / "p.csv")
    assert found["prob_scrub jay"].tolist() == [0.25]


def test_a_missing_table_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"crops\.csv is not there; `pipeline crop` writes it"):
        table_io.read(CROPS, tmp_path / "crops.csv")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'crop,image\n"a', b"crop\na,b,c\n"])
def test_a_file_that_is_no_table_is_said_with_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "crops.csv").write_bytes(content)
    with pytest.raises(InputInvalid, match=r"crops\.csv.*pipeline crop"):
        table_io.read(CROPS, tmp_path / "crops.csv")


@pytest.mark.parametrize("column", ["location", "x", "crop"])
def test_a_missing_column_is_refused_with_the_expected_ones(tmp_path: Path, column: str) -> None:
    crops().drop(columns=column).to_csv(tmp_path / "crops.csv", index=False)
    with pytest.raises(InputInvalid, match=rf"crops\.csv: the columns are .*expected.*{column}"):
        table_io.read(CROPS, tmp_path / "crops.csv")


def test_a_further_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="columns are"):
        table_io.write(CROPS, tmp_path / "crops.csv", crops().assign(more=1))
    assert not (tmp_path / "crops.csv").exists()


@pytest.mark.parametrize("column", ["crop", "image", "image_id", "dataset", "category"])
def test_an_empty_cell_that_is_required_is_said_with_its_row_and_column(
    tmp_path: Path, column: str
) -> None:
    path = written(tmp_path / "crops.csv", **{column: ""})
    with pytest.raises(InputInvalid, match=rf"crops\.csv: row 3 has no {column}\."):
        table_io.read(CROPS, path)


@pytest.mark.parametrize("value", [-0.01, 1.01, 640.0, float("inf"), float("nan")])
@pytest.mark.parametrize("column", ["x", "width", "confidence"])
def test_a_fraction_out_of_range_is_said_with_its_row_and_column(
    tmp_path: Path, column: str, value: float
) -> None:
    path = written(tmp_path / "crops.csv", **{column: value})
    with pytest.raises(InputInvalid, match=rf"crops\.csv: row 3.*{column}"):
        table_io.read(CROPS, path)
    with pytest.raises(InputInvalid, match="row 3"):
        table_io.write(CROPS, tmp_path / "new.csv", crops(**{column: value}))


def test_a_text_where_a_number_belongs_is_said_with_its_row_and_column(tmp_path: Path) -> None:
    path = written(tmp_path / "crops.csv", x="left")
    with pytest.raises(InputInvalid, match=r"crops\.csv: x: row 3 is no number: 'left'"):
        table_io.read(CROPS, path)


def test_a_crop_that_is_there_twice_is_said_with_its_row_and_name(tmp_path: Path) -> None:
    path = written(tmp_path / "crops.csv", crop=ROW["crop"])
    with pytest.raises(InputInvalid, match=r"crops\.csv.*row 3.*crop.*twice") as caught:
        table_io.read(CROPS, path)
    assert str(ROW["crop"]) in str(caught.value)


@pytest.mark.parametrize("table", [CROPS, REASONS, LEDGER])
def test_rows_with_a_cell_too_many_are_refused_not_shifted(tmp_path: Path, table: Table) -> None:
    cells = ",".join(["0"] * (len(table.columns) + 1))
    text = ",".join(table.names) + f"\n{cells}\n"
    (tmp_path / table.name).write_text(text)
    with pytest.raises(InputInvalid, match=table.name):
        table_io.read(table, tmp_path / table.name)


def test_a_row_with_cells_missing_at_its_end_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "crops.csv")
    text = path.read_text()
    path.write_text(text[: text.rindex(",p,")])
    with pytest.raises(InputInvalid, match=r"crops\.csv: row 3"):
        table_io.read(CROPS, path)


@pytest.mark.parametrize("epoch", ["", "1.5", "inf", "nan"])
def test_an_epoch_that_is_no_whole_number_is_refused(tmp_path: Path, epoch: str) -> None:
    (tmp_path / "history.csv").write_text(",".join(HISTORY.names) + f"\n{epoch},1,1,1,1,1,1,1\n")
    with pytest.raises(InputInvalid, match=r"history\.csv.*epoch|history\.csv.*row 2"):
        table_io.read(HISTORY, tmp_path / "history.csv")


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    table_io.write(CROPS, tmp_path / "crops.csv", crops(location="007"))
    text = (tmp_path / "crops.csv").read_text(encoding="utf-8")
    (tmp_path / "crops.csv").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    assert table_io.read(CROPS, tmp_path / "crops.csv")["location"].tolist() == ["Harbor", "007"]


def test_labels_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [f"label {number}" for number in range(12)]
    content = {str(number): name for number, name in enumerate(names)}
    (tmp_path / "l.json").write_text(json.dumps(dict(reversed(content.items()))))
    assert label_index.read_labels(tmp_path / "l.json") == names


@pytest.mark.parametrize(
    "content",
    [
        "{}", "[]", '["fox"]', "5", "null", "true", '"fox"', '{"1": "fox"}', '{"fox": 0}',
        '{"0": "fox", "2": "bird"}', '{"0": "fox", "1": "fox"}', '{"0": null}', '{"0": ["fox"]}',
    ],
)  # fmt: skip
def test_a_label_index_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "label_index.json").write_text(content)
    with pytest.raises(InputInvalid, match=r"label_index\.json is to be"):
        label_index.read_labels(tmp_path / "label_index.json")
