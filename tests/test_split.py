from pathlib import Path

import pytest
from effort import count
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_crops import (
    COLUMNS,
    PARTS,
    THE_SAME,
    Row,
    contents,
    crop_row,
    parts_of,
    read_dataset,
    read_json,
    some_crops,
    spec_file,
    split,
)

from animl_pipeline.errors import InputInvalid, InputMissing, OptionError
from animl_pipeline.running import perform
from animl_pipeline.splitting.settings import GroupBy
from animl_pipeline.stages.split import Options


def test_a_location_never_spans_two_splits(tmp_path: Path) -> None:
    split(tmp_path, some_crops())
    rows = read_dataset(tmp_path)
    assert all(len(parts) == 1 for parts in parts_of(rows, "dataset", "location").values())
    assert {row["split"] for row in rows} == set(PARTS)


def test_one_name_in_two_datasets_is_two_locations(tmp_path: Path) -> None:
    rows = some_crops("ABC")
    rows += [
        crop_row(1000 + i, row["location"], row["category"], dataset="mainland")
        for i, row in enumerate(rows)
    ]
    split(tmp_path, rows)
    splits = read_json(tmp_path, "splits.json")
    assert sum(len(places) for places in splits.values()) == 6


def test_the_dataset_is_the_crops_with_a_label_and_their_split(tmp_path: Path) -> None:
    rows = [*some_crops(), crop_row(900, "A", "unknown")]
    split(tmp_path, rows)
    found = read_dataset(tmp_path)
    assert list(found[0]) == [*COLUMNS, "label", "split"]
    expected = sorted((r for r in rows if r["category"] != "unknown"), key=lambda r: r["crop"])
    assert [{k: row[k] for k in COLUMNS} for row in found] == [
        {k: str(v) for k, v in row.items()} for row in expected
    ]
    assert all(row["label"] == row["category"] for row in found)


def test_splits_json_names_every_location_once_as_megadetectors_tools_write_it(
    tmp_path: Path,
) -> None:
    split(tmp_path, some_crops())
    splits = read_json(tmp_path, "splits.json")
    assert list(splits) == ["train", "val", "test"]
    named = [tuple(place) for part in PARTS for place in splits[part]]
    assert sorted(named) == [("island", letter) for letter in "ABCDEFGHIJ"]
    assert all(splits[part] == sorted(splits[part]) for part in PARTS)
    by_place = parts_of(read_dataset(tmp_path), "dataset", "location")
    for part in PARTS:
        assert all(by_place[tuple(place)] == {part} for place in splits[part])


def test_labels_are_numbered_in_the_order_of_their_names(tmp_path: Path) -> None:
    split(tmp_path, some_crops(categories=["skunk", "Bird", "été", "fox"]))
    assert read_json(tmp_path, "label_index.json") == {
        "0": "Bird", "1": "fox", "2": "skunk", "3": "été",
    }  # fmt: skip


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    split(tmp_path, some_crops(), to="one", seed=3)
    split(tmp_path, some_crops(), to="two", seed=3)
    assert contents(tmp_path / "one", *THE_SAME) == contents(tmp_path / "two", *THE_SAME)


@settings(
    deadline=None,
    max_examples=count(5),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(order=st.permutations(some_crops("ABCDEF")))
def test_the_order_of_the_crops_does_not_matter(tmp_path: Path, order: list[Row]) -> None:
    split(tmp_path, some_crops("ABCDEF"), to="sorted")
    split(tmp_path, order, to="shuffled")
    assert contents(tmp_path / "sorted", *THE_SAME) == contents(tmp_path / "shuffled", *THE_SAME)


def test_the_order_of_the_crops_does_not_matter_under_a_cap(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, {"fox": {"dataset_labels": {"*": ["fox"]}, "max_count": 12}})
    split(tmp_path, some_crops(), to="sorted", label_spec=spec)
    split(tmp_path, some_crops()[::-1], to="shuffled", label_spec=spec)
    assert contents(tmp_path / "sorted", *THE_SAME) == contents(tmp_path / "shuffled", *THE_SAME)


def test_other_names_of_the_locations_do_not_change_the_counts(tmp_path: Path) -> None:
    split(tmp_path, some_crops("ABCDEFGH"), to="one")
    split(tmp_path, some_crops([f"Ridge {number}" for number in range(8)]), to="two")
    one, two = (read_json(tmp_path, "split_report.json", name) for name in ("one", "two"))
    assert one == two


NASTY = (
    "NA", "null", "None", "nan", "", "007", "7", "1e3", "TRUE", "a,b", 'say "hi"', "two\nlines",
    "carriage\rreturn", "both\r\nof them", "Ñandú 狐狸", " spaces ", "\t", "-", "=1+1", "a/b",
    "#N/A",
)  # fmt: skip


def test_strange_names_of_locations_survive(tmp_path: Path) -> None:
    split(tmp_path, some_crops(NASTY))
    splits = read_json(tmp_path, "splits.json")
    assert sorted(place[1] for part in PARTS for place in splits[part]) == sorted(NASTY)
    assert {row["location"] for row in read_dataset(tmp_path)} == set(NASTY)


names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12
)


@settings(
    deadline=None,
    max_examples=count(25),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(names, min_size=3, max_size=6, unique=True))
def test_any_names_of_locations_survive(tmp_path: Path, locations: list[str]) -> None:
    split(tmp_path, some_crops(locations, ["fox"]))
    splits = read_json(tmp_path, "splits.json")
    assert sorted(place[1] for part in PARTS for place in splits[part]) == sorted(locations)


@pytest.mark.parametrize("label", ["jay, scrub", 'the "big" one', "NA", "007", "狐狸", "a/b", "0"])
def test_strange_names_of_labels_survive(tmp_path: Path, label: str) -> None:
    split(tmp_path, some_crops(categories=[label, "fox"]))
    assert sorted(read_json(tmp_path, "label_index.json").values()) == sorted([label, "fox"])
    assert {row["label"] for row in read_dataset(tmp_path)} == {label, "fox"}


def test_every_label_is_in_every_split_where_that_can_be(tmp_path: Path) -> None:
    rows = some_crops("ABCDE")
    rows += [crop_row(500 + i, place, "lizard") for i, place in enumerate("ACE")]
    rows += [crop_row(600 + i, place, "rodent") for i, place in enumerate("BCDD")]
    split(tmp_path, rows)
    found = parts_of(read_dataset(tmp_path), "label")
    assert all(parts == set(PARTS) for parts in found.values())
    assert read_json(tmp_path, "split_report.json")["not_covered"] == []


def test_three_locations_are_enough_for_three_splits(tmp_path: Path) -> None:
    split(tmp_path, some_crops("ABC"))
    splits = read_json(tmp_path, "splits.json")
    assert [len(splits[part]) for part in PARTS] == [1, 1, 1]


def test_a_label_that_cannot_be_everywhere_is_named(tmp_path: Path) -> None:
    rows = [*some_crops("ABCDEF"), crop_row(900, "A", "lizard"), crop_row(901, "B", "lizard")]
    counts = split(tmp_path, rows, min_locs=2)
    (sentence,) = read_json(tmp_path, "split_report.json")["not_covered"]
    assert "'lizard' has no crop in " in sentence
    assert sentence in counts.summary


def test_labels_at_too_few_locations_are_left_out_and_named(tmp_path: Path) -> None:
    rows = some_crops() + [crop_row(900 + i, "AB"[i % 2], "lizard") for i in range(40)]
    counts = split(tmp_path, rows)
    (record,) = read_json(tmp_path, "split_report.json")["left_out"]["labels"]
    assert (record["label"], record["crops"], record["locations"]) == ("lizard", 40, 2)
    assert "--min-locs" in record["reason"]
    assert "lizard" not in {row["label"] for row in read_dataset(tmp_path)}
    assert "lizard" not in read_json(tmp_path, "label_index.json").values()
    assert "'lizard' left out" in counts.summary
    assert counts.items["left out"] == 1


def test_a_lower_min_locs_keeps_the_label(tmp_path: Path) -> None:
    rows = some_crops() + [crop_row(900 + i, "AB"[i % 2], "lizard") for i in range(4)]
    split(tmp_path, rows, min_locs=2)
    assert "lizard" in read_json(tmp_path, "label_index.json").values()


def test_crops_without_a_location_do_not_count_as_one_for_min_locs(tmp_path: Path) -> None:
    rows = [*some_crops(), *(crop_row(900 + i, place, "lizard") for i, place in enumerate("AB"))]
    rows.append(crop_row(950, "", "lizard"))
    split(tmp_path, rows)
    (record,) = read_json(tmp_path, "split_report.json")["left_out"]["labels"]
    assert record["locations"] == 2


def test_one_location_in_all_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="No label is at 3 locations or more") as caught:
        split(tmp_path, some_crops("A"))
    assert "fox (1)" in str(caught.value)
    assert "--min-locs" in str(caught.value)


@pytest.mark.parametrize("locations", ["A", "AB"])
def test_too_few_locations_for_every_split_are_refused(tmp_path: Path, locations: str) -> None:
    with pytest.raises(InputInvalid, match="would be empty"):
        split(tmp_path, some_crops(locations), min_locs=1)


def test_one_label_alone_can_be_split(tmp_path: Path) -> None:
    counts = split(tmp_path, some_crops(categories=["fox"]))
    assert read_json(tmp_path, "label_index.json") == {"0": "fox"}
    assert counts.items["labels"] == 1


def test_no_test_fraction_gives_an_empty_list_of_test_locations(tmp_path: Path) -> None:
    split(tmp_path, some_crops(), test_frac=0.0)
    splits = read_json(tmp_path, "splits.json")
    assert splits["test"] == []
    assert len(splits["train"]) + len(splits["val"]) == 10


def test_no_val_fraction_leaves_train_and_test(tmp_path: Path) -> None:
    split(tmp_path, some_crops(), val_frac=0.0)
    splits = read_json(tmp_path, "splits.json")
    assert splits["val"] == []
    assert splits["train"]
    assert splits["test"]


def test_everything_may_go_to_train(tmp_path: Path) -> None:
    split(tmp_path, some_crops("AB"), val_frac=0.0, test_frac=0.0, min_locs=1)
    assert {row["split"] for row in read_dataset(tmp_path)} == {"train"}


@pytest.mark.parametrize("val_percent", [0, 10, 30, 35, 50, 55, 70, 90])
def test_fractions_that_leave_nothing_to_train_on_are_refused(
    tmp_path: Path, val_percent: int
) -> None:
    fractions = {"val_frac": val_percent / 100, "test_frac": (100 - val_percent) / 100}
    with pytest.raises(OptionError, match=r"nothing to train on|lies between"):
        split(tmp_path, some_crops(), **fractions)


def test_fractions_are_about_what_was_asked_for(tmp_path: Path) -> None:
    rows = some_crops([f"{number:02}" for number in range(30)])
    split(tmp_path, rows, val_frac=0.1, test_frac=0.3)
    sizes = [sum(row["split"] == part for row in read_dataset(tmp_path)) for part in PARTS]
    for size, target in zip(sizes, (0.6, 0.1, 0.3), strict=True):
        assert abs(size / len(rows) - target) < 0.04


def test_crops_without_a_location_are_only_for_training(tmp_path: Path) -> None:
    rows = some_crops() + [crop_row(900 + i, "", "fox") for i in range(200)]
    counts = split(tmp_path, rows)
    nowhere = [row for row in read_dataset(tmp_path) if not row["location"]]
    assert len(nowhere) == 200
    assert {row["split"] for row in nowhere} == {"train"}
    assert read_json(tmp_path, "split_report.json")["audit"]["crops_without_location"] == 200
    assert "200 crops without a location are only for training" in counts.summary


def test_the_old_test_locations_stay_the_test_set(tmp_path: Path) -> None:
    split(tmp_path, some_crops("ABCDEFGHIJ"), to="old", seed=1)
    split(tmp_path, some_crops("ABCDEFGHIJKLMNO"), to="new", match_test=tmp_path / "old")
    old, new = (read_json(tmp_path, "splits.json", name) for name in ("old", "new"))
    assert new["test"] == old["test"]
    assert not {tuple(p) for p in new["train"] + new["val"]} & {tuple(p) for p in old["test"]}
    assert new["val"]


def test_a_dataset_can_be_split_again_in_place_with_its_own_test_set(tmp_path: Path) -> None:
    split(tmp_path, some_crops("ABCDEFGHIJ"))
    old = read_json(tmp_path, "splits.json")
    split(tmp_path, some_crops("ABCDEFGHIJKLMNO"), match_test=tmp_path / "dataset", seed=5)
    assert read_json(tmp_path, "splits.json")["test"] == old["test"]


def test_an_old_test_location_without_crops_now_is_said(tmp_path: Path) -> None:
    split(tmp_path, some_crops("ABCDEFGHIJ"), to="old")
    gone = read_json(tmp_path, "splits.json", "old")["test"][0][1]
    left = "ABCDEFGHIJKLM".replace(gone, "")
    counts = split(tmp_path, some_crops(left), to="new", match_test=tmp_path / "old")
    assert f"'{gone}'" in counts.summary


def test_an_old_test_set_that_is_not_among_the_crops_is_refused(tmp_path: Path) -> None:
    split(tmp_path, some_crops("ABCDEFGHIJ"), to="old")
    with pytest.raises(InputInvalid, match="None of the test locations"):
        split(tmp_path, some_crops("klmnopq"), to="new", match_test=tmp_path / "old")


@pytest.mark.parametrize("text", ["[]", "{}", '{"test": 3}', '{"test": [["a"]]}', "{", "null"])
def test_an_old_split_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "splits.json").write_text(text)
    with pytest.raises(InputInvalid, match=r"splits\.json"):
        split(tmp_path, some_crops(), match_test=tmp_path / "old")


def test_an_old_split_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="pipeline split"):
        split(tmp_path, some_crops(), match_test=tmp_path / "old")


def test_an_old_test_set_goes_with_locations_only(tmp_path: Path) -> None:
    split(tmp_path, some_crops(), to="old")
    with pytest.raises(OptionError, match="--match-test"):
        split(tmp_path, some_crops(), match_test=tmp_path / "old", group_by=GroupBy.IMAGE)


def burst_rows() -> list[Row]:
    """Two locations; four sequences at each; in each three images of two crops."""
    rows = []
    for number in range(48):
        image = number // 2
        more = {"image": f"{image}.jpg", "image_id": f"id {image}", "sequence": f"s{image // 3}"}
        rows.append(crop_row(number, "AB"[number // 24], ["fox", "bird"][image % 2], **more))
    return rows


@pytest.mark.parametrize(
    ("group_by", "whole"), [(GroupBy.SEQUENCE, "sequence"), (GroupBy.IMAGE, "image_id")]
)
def test_groups_smaller_than_a_location_are_never_divided(
    tmp_path: Path, group_by: GroupBy, whole: str
) -> None:
    split(tmp_path, burst_rows(), group_by=group_by)
    rows = read_dataset(tmp_path)
    assert {row["split"] for row in rows} == set(PARTS)
    assert all(len(parts) == 1 for parts in parts_of(rows, "location", whole).values())
    audit = read_json(tmp_path, "split_report.json")["audit"]["in_two_parts"]
    assert audit["images"] == 0
    assert audit["locations"] == 2


def test_the_audit_finds_sequences_divided_by_images(tmp_path: Path) -> None:
    split(tmp_path, burst_rows(), group_by=GroupBy.IMAGE)
    rows = read_dataset(tmp_path)
    divided = sum(len(parts) > 1 for parts in parts_of(rows, "sequence").values())
    report = read_json(tmp_path, "split_report.json")
    assert report["audit"]["in_two_parts"]["sequences"] == divided > 0


def test_an_image_without_a_sequence_is_one_by_itself(tmp_path: Path) -> None:
    split(tmp_path, some_crops("AB"), group_by=GroupBy.SEQUENCE)
    splits = read_json(tmp_path, "splits.json")
    assert sum(map(len, splits.values())) == len(some_crops("AB"))


def test_a_spec_joins_categories_and_the_rest_is_reported(tmp_path: Path) -> None:
    rows = some_crops(categories=["fox", "island fox", "bird", "cow"])
    spec = spec_file(tmp_path, {"fox": ["fox", "island fox"], "bird": ["bird"]})
    counts = split(tmp_path, rows, label_spec=spec)
    found = read_dataset(tmp_path)
    assert {(row["category"], row["label"]) for row in found} == {
        ("fox", "fox"), ("island fox", "fox"), ("bird", "bird"),
    }  # fmt: skip
    (record,) = read_json(tmp_path, "split_report.json")["left_out"]["categories"]
    cows = sum(row["category"] == "cow" for row in rows)
    assert (record["category"], record["crops"]) == ("cow", cows)
    assert f"category 'cow' of 'island' ({cows} crops) left out: in no label of " in counts.summary
    assert len(found) == len(rows) - cows


def test_a_name_of_the_spec_that_matches_nothing_is_said(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, {"fox": ["fox"], "bird": ["bird"], "skunk": ["skunks"]})
    counts = split(tmp_path, some_crops(), label_spec=spec)
    unmatched = read_json(tmp_path, "split_report.json")["left_out"]["unmatched"]
    assert any("did you mean 'skunk'" in sentence for sentence in unmatched)
    assert all(sentence in counts.summary for sentence in unmatched)


def test_a_spec_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="--label-spec"):
        split(tmp_path, some_crops(), label_spec=spec_file(tmp_path, {"cow": ["cow"]}))


def test_a_category_of_two_labels_is_refused(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, {"fox": ["fox"], "canid": ["fox"]})
    with pytest.raises(InputInvalid, match="both"):
        split(tmp_path, some_crops(), label_spec=spec)


def test_max_count_is_of_images_and_what_is_over_is_reported(tmp_path: Path) -> None:
    spec = spec_file(
        tmp_path, {"fox": {"dataset_labels": {"*": ["fox"]}, "max_count": 12}, "bird": ["bird"]}
    )
    rows = some_crops(categories=["bird", "fox"])
    foxes = sum(row["category"] == "fox" for row in rows)
    split(tmp_path, rows, label_spec=spec)
    found = [row for row in read_dataset(tmp_path) if row["label"] == "fox"]
    assert len({row["image_id"] for row in found}) == 12
    assert len({row["location"] for row in found}) == 10
    (record,) = read_json(tmp_path, "split_report.json")["left_out"]["categories"]
    assert record["crops"] == foxes - 12
    assert "max_count" in record["reason"]


def test_max_count_is_of_images_of_all_datasets(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, {"fox": {"dataset_labels": {"*": ["fox"]}, "max_count": 12}})
    rows = [
        crop_row(number, "ABCD"[number % 4], "fox", dataset=dataset)
        for dataset in ("island", "mainland")
        for number in range(12)  # the same ids in both
    ]
    split(tmp_path, rows, label_spec=spec)
    assert len(read_dataset(tmp_path)) == 12


def test_no_crops_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match=r"failures\.csv"):
        split(tmp_path, [])


def test_an_empty_file_of_crops_is_refused(tmp_path: Path) -> None:
    (tmp_path / "crops.csv").write_bytes(b"")
    with pytest.raises(InputInvalid, match=r"crops\.csv"):
        perform.perform("split", Options(crops_dir=tmp_path, output_dir=tmp_path / "dataset"))


def test_crops_that_are_not_there_are_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="pipeline crop"):
        perform.perform("split", Options(crops_dir=tmp_path, output_dir=tmp_path / "dataset"))


def test_only_unknown_animals_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="No label is at 3"):
        split(tmp_path, some_crops(categories=["unknown", "animal"]))


@pytest.mark.parametrize("group_by", GroupBy)
def test_the_counts_of_the_report_sum_to_the_rows(tmp_path: Path, group_by: GroupBy) -> None:
    counts = split(tmp_path, burst_rows() + some_crops("CDEFG", ["bird", "fox"])[48:] + [
        crop_row(900 + i, place, "bird") for i, place in enumerate("CDEFG")
    ], group_by=group_by, min_locs=2)  # fmt: skip
    report, rows = read_json(tmp_path, "split_report.json"), read_dataset(tmp_path)
    found = [of_part for of_label in report["counts"].values() for of_part in of_label.values()]
    assert sum(of_part["crops"] for of_part in found) == len(rows)
    assert sum(counts.items[part] for part in PARTS) == len(rows)
    for label, by_part in report["counts"].items():
        for part, numbers in by_part.items():
            mine = [r for r in rows if (r["label"], r["split"]) == (label, part)]
            assert numbers["crops"] == len(mine)
            assert numbers["locations"] == len({r["location"] for r in mine})


def test_the_report_says_how_good_the_split_is(tmp_path: Path) -> None:
    split(tmp_path, some_crops(), seed=7)
    report = read_json(tmp_path, "split_report.json")
    assert report["seed"] == 7
    assert report["group_by"] == "location"
    assert report["bound"] <= report["objective"] + 1e-6
    assert report["gap"] == pytest.approx(report["objective"] - report["bound"], abs=1e-8)
    assert set(report["audit"]["in_two_parts"].values()) == {0}
