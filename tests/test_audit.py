import pandas as pd

from animl_pipeline.artifacts.splits import SPLITS
from animl_pipeline.splitting import sizes
from animl_pipeline.splitting.audit import leaks


def table(*rows: tuple[str, str, str, str, str, str]) -> pd.DataFrame:
    columns = ["dataset", "location", "sequence", "image_id", "label", "split"]
    return pd.DataFrame(list(rows), columns=columns)


CLEAN = (
    ("d", "A", "s1", "1", "fox", "train"),
    ("d", "A", "s1", "2", "fox", "train"),
    ("d", "A", "", "3", "fox", "train"),
    ("d", "B", "s2", "4", "fox", "val"),
    ("e", "A", "s1", "1", "bird", "test"),
)


def test_counts_are_of_crops_locations_and_sequences() -> None:
    counts = sizes.count_labels(table(*CLEAN))
    assert counts["fox"]["train"] == {"crops": 3, "locations": 1, "sequences": 2}
    assert counts["fox"]["val"] == {"crops": 1, "locations": 1, "sequences": 1}
    assert counts["bird"]["train"] == {"crops": 0, "locations": 0, "sequences": 0}
    assert list(counts["bird"]) == list(SPLITS)


def test_the_same_names_in_another_dataset_are_no_leak() -> None:
    assert set(leaks.find_leaks(table(*CLEAN))["in_two_parts"].values()) == {0}


def test_a_location_in_two_parts_is_found() -> None:
    rows = (*CLEAN, ("d", "A", "s9", "9", "fox", "test"))
    assert leaks.find_leaks(table(*rows))["in_two_parts"] == {
        "locations": 1, "sequences": 0, "images": 0, "bytes": 0,
    }  # fmt: skip


def test_a_sequence_in_two_parts_is_found() -> None:
    rows = (*CLEAN, ("d", "C", "s1", "9", "fox", "test"))
    assert leaks.find_leaks(table(*rows))["in_two_parts"]["sequences"] == 1


def test_an_image_in_two_parts_is_found_twice_if_it_has_no_sequence() -> None:
    rows = (*CLEAN, ("d", "", "", "3", "fox", "test"))
    assert leaks.find_leaks(table(*rows))["in_two_parts"] == {
        "locations": 0, "sequences": 1, "images": 1, "bytes": 0,
    }  # fmt: skip


def test_no_location_is_counted_and_is_no_leak() -> None:
    rows = (("d", "", "", "1", "fox", "train"), ("d", "", "", "2", "fox", "val"))
    found = leaks.find_leaks(table(*rows))
    assert found["crops_without_location"] == 2
    assert found["in_two_parts"]["locations"] == 0
