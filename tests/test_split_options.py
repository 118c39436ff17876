"""More ways to divide and to test: rare labels, folds, time, known cameras, maps, the audit."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_crops import (
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
    write_crops,
)  # fmt: skip

from animl_pipeline.errors import InputInvalid, InputMissing, OptionError
from animl_pipeline.running import perform
from animl_pipeline.running.markers import find_marker, refuse_unfinished
from animl_pipeline.splitting.audit import leaks
from animl_pipeline.splitting.settings import GroupBy, Rare
from animl_pipeline.stages.split import Options


def rare_rows() -> list[Row]:
    """Ten locations of three labels, and a lizard at two of them."""
    return some_crops() + [crop_row(900 + i, "AB"[i % 2], "lizard") for i in range(8)]


def labels_of(rows: list[dict[str, str]]) -> set[str]:
    return {row["label"] for row in rows}


def test_rare_labels_may_be_an_error_that_names_them(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match=r"'lizard' \(2\).*--rare"):
        split(tmp_path, rare_rows(), rare=Rare.ERROR)
    assert not (tmp_path / "dataset").exists()


def test_a_split_of_which_one_label_of_several_is_left_is_refused(tmp_path: Path) -> None:
    rows = [row for row in rare_rows() if row["category"] in {"fox", "lizard"}]
    with pytest.raises(InputInvalid, match=r"Only the label 'fox' is left.*'lizard' \(8 crops"):
        split(tmp_path, rows)
    assert not (tmp_path / "dataset").exists()


def test_one_label_left_by_a_misspelt_name_is_refused_with_what_may_be_meant(
    tmp_path: Path,
) -> None:
    spec = spec_file(tmp_path, {"fox": ["fox"], "skunk": ["skunks"]})
    with pytest.raises(InputInvalid, match=r"Only the label 'fox'.*did you mean 'skunk'"):
        split(tmp_path, some_crops(), label_spec=spec)


def test_one_label_where_no_other_was_asked_for_is_warned_of(tmp_path: Path) -> None:
    counts = split(tmp_path, some_crops(categories=["fox"]))
    assert "Warning: there is one label only" in counts.summary.splitlines()[-1]


def test_a_label_of_the_spec_without_a_crop_is_warned_of_at_the_end(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, {"fox": ["fox"], "bird": ["bird"], "moufflon": ["moufflon"]})
    counts = split(tmp_path, some_crops(), label_spec=spec)
    assert "Warning: " in counts.summary.splitlines()[-1]
    assert "'moufflon', and no crop is of it" in counts.summary.splitlines()[-1]


def test_a_spec_of_which_nothing_matches_is_refused_with_what_may_be_meant(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, {"fox": ["Fox"], "bird": ["BIRD"]})
    with pytest.raises(InputInvalid, match=r"did you mean 'fox'.*--label-spec"):
        split(tmp_path, some_crops(), label_spec=spec)


def test_a_label_that_the_given_test_set_lacks_is_said_to_be_lacking_there(tmp_path: Path) -> None:
    rows = some_crops() + [crop_row(900 + i, "ABCD"[i % 4], "lizard") for i in range(8)]
    test = written(tmp_path, "t.csv", ("dataset", "location"), ("island", "I"), ("island", "J"))
    split(tmp_path, rows, test_locations=test)
    (sentence,) = read_json(tmp_path, "split_report.json")["not_covered"]
    assert sentence == "label 'lizard' has no crop in test: the test set was given and holds none"


def test_what_is_refused_leaves_an_earlier_dataset_as_it_is(tmp_path: Path) -> None:
    split(tmp_path, some_crops())
    before = contents(tmp_path / "dataset", *THE_SAME, "split.json")
    with pytest.raises(InputInvalid, match="fewer --folds"):
        split(tmp_path, some_crops(), folds=11)
    assert contents(tmp_path / "dataset", *THE_SAME, "split.json") == before
    assert not list((tmp_path / "dataset").glob(".*"))


def test_a_rare_label_that_is_only_for_training_is_in_no_other_part(tmp_path: Path) -> None:
    split(tmp_path, rare_rows(), rare=Rare.TRAIN_ONLY)
    rows = read_dataset(tmp_path)
    assert parts_of(rows, "label")["lizard",] == {"train"}
    assert all(len(parts) == 1 for parts in parts_of(rows, "location").values())
    assert "lizard" in read_json(tmp_path, "label_index.json").values()
    (record,) = read_json(tmp_path, "split_report.json")["rare"]
    assert (record["label"], record["handled"]) == ("lizard", "train only")


def test_a_rare_label_becomes_its_parent_and_that_its_own_if_it_is_rare_still(
    tmp_path: Path,
) -> None:
    def rule(*names: str, **more: Any) -> dict[str, Any]:
        return {"dataset_labels": {"*": list(names)}} | more

    rows = [*rare_rows(), crop_row(990, "C", "gecko")]
    content = {"gecko": rule("gecko", parent="lizard"), "lizard": rule("lizard", parent="skunk"),
               "skunk": rule("skunk"), "fox": rule("fox"), "bird": rule("bird")}  # fmt: skip
    spec = spec_file(tmp_path, content)
    split(tmp_path, rows, rare=Rare.PARENT, label_spec=spec)
    found = read_dataset(tmp_path)
    assert {r["label"] for r in found if r["category"] in {"skunk", "gecko"}} == {"skunk"}
    # At three locations with the gecko's, so no longer rare.
    split(tmp_path, rows, rare=Rare.PARENT, label_spec=spec, min_locs=4)
    assert {row["label"] for row in read_dataset(tmp_path) if row["category"] == "lizard"} == {
        "skunk"
    }


def test_every_category_is_accounted_for(tmp_path: Path) -> None:
    rows = [*rare_rows(), crop_row(980, "A", "unknown")]
    split(tmp_path, rows)
    found = {r["category"]: r for r in read_json(tmp_path, "split_report.json")["categories"]}
    there = Counter(row["category"] for row in rows)
    assert {name: record["crops"] for name, record in found.items()} == there
    assert sum(record["kept"] for record in found.values()) == len(read_dataset(tmp_path))
    assert (found["fox"]["label"], found["fox"]["reason"]) == ("fox", "")
    assert found["lizard"]["label"] is None
    assert "--min-locs" in found["lizard"]["reason"]
    assert found["unknown"]["reason"] == "in no label"


def test_each_location_is_in_the_test_of_one_fold_and_the_val_of_one(tmp_path: Path) -> None:
    split(tmp_path, some_crops(), folds=4)
    parts: dict[str, Counter[str]] = {part: Counter() for part in PARTS}
    for number in range(4):
        splits = read_json(tmp_path, "splits.json", f"dataset/fold_{number}")
        assert sorted(p[1] for part in PARTS for p in splits[part]) == list("ABCDEFGHIJ")
        rows = read_dataset(tmp_path, f"dataset/fold_{number}")
        assert all(found == set(PARTS) for found in parts_of(rows, "label").values())
        for part in PARTS:
            parts[part].update(place[1] for place in splits[part])
    assert set(parts["test"].values()) == set(parts["val"].values()) == {1}
    assert set(parts["train"].values()) == {2}


def test_folds_without_val_train_on_all_the_rest(tmp_path: Path) -> None:
    split(tmp_path, some_crops("ABCDEF"), folds=3, val_frac=0.0)
    assert {row["split"] for row in read_dataset(tmp_path, "dataset/fold_0")} == {"train", "test"}


def test_what_an_earlier_split_left_is_no_part_of_the_next(tmp_path: Path) -> None:
    split(tmp_path, some_crops("ABCDEF"), folds=5, classification_ds=True)
    split(tmp_path, some_crops("ABCDEF"), folds=3)
    names = {path.name for path in (tmp_path / "dataset").iterdir()}
    assert names == {"fold_0", "fold_1", "fold_2", "split.json"}
    assert not (tmp_path / "dataset/fold_0/classification_ds.csv").exists()
    split(tmp_path, some_crops("ABCDEF"))
    assert not list((tmp_path / "dataset").glob("fold_*"))


def test_a_folder_that_is_no_fold_of_ours_is_left_alone(tmp_path: Path) -> None:
    for name in ("fold_9", "folds", "fold_x"):
        (tmp_path / "dataset" / name).mkdir(parents=True)
        (tmp_path / "dataset" / name / "notes.txt").write_text("mine")
    split(tmp_path, some_crops("ABC"))
    assert len(list((tmp_path / "dataset").glob("fold*/notes.txt"))) == 3


def test_a_stage_refuses_a_fold_whose_split_did_not_end(tmp_path: Path) -> None:
    split(tmp_path, some_crops("ABCDEF"), folds=3)
    find_marker(tmp_path / "dataset", "split").touch()
    with pytest.raises(InputInvalid, match="`pipeline split`"):
        refuse_unfinished(tmp_path / "dataset/fold_0", but="train")


def burst_rows(places: str = "ABCDEFGH", bursts: int = 10) -> list[Row]:
    """Bursts of three images of one label at each place; the labels take turns."""
    rows = []
    for number in range(len(places) * bursts * 3):
        burst = number // 3
        place, label = places[burst // bursts], ("fox", "bird")[burst % 2]
        rows.append(crop_row(number, place, label, sequence=f"s{burst}"))
    return rows


@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_seen_test_is_whole_sequences_of_training_locations(
    tmp_path: Path, fraction: float
) -> None:
    split(tmp_path, burst_rows(), seen_test_frac=fraction)
    rows, splits = read_dataset(tmp_path), read_json(tmp_path, "splits.json")
    seen = [row for row in rows if row["split"] == "seen_test"]
    train = [row for row in rows if row["split"] == "train"]
    assert {row["location"] for row in seen} <= {place[1] for place in splits["train"]}
    assert {row["sequence"] for row in seen}.isdisjoint(row["sequence"] for row in train)
    assert splits["seen_test"] == sorted(
        [list(key) for key in {(r["dataset"], r["location"], r["sequence"]) for r in seen}]
    )
    for label in ("fox", "bird"):
        mine = sum(row["label"] == label for row in seen)
        both = mine + sum(row["label"] == label for row in train)
        assert fraction * both - 3 < mine <= fraction * both


def test_seen_test_leaves_each_label_its_last_sequence(tmp_path: Path) -> None:
    split(tmp_path, burst_rows(bursts=2), seen_test_frac=0.9)
    assert parts_of(read_dataset(tmp_path), "label")["fox",] >= {"train", "seen_test"}


def test_without_the_option_there_is_no_seen_test(tmp_path: Path) -> None:
    split(tmp_path, burst_rows(bursts=2))
    assert set(read_json(tmp_path, "splits.json")) == set(PARTS)


def dated_rows() -> list[Row]:
    return [
        row | {"datetime": f"2024-0{1 + n % 6}-15T10:00:00.000-08:00"}
        for n, row in enumerate(some_crops())
    ]


def test_a_time_cutoff_trains_on_the_past_and_tests_on_what_came_later(tmp_path: Path) -> None:
    counts = split(tmp_path, dated_rows(), time_cutoff="2024-05-01")
    rows = read_dataset(tmp_path)
    assert {row["split"] for row in rows if row["datetime"] >= "2024-05"} == {"test"}
    assert {row["split"] for row in rows if row["datetime"] < "2024-05"} == {"train", "val"}
    past = [row for row in rows if row["split"] != "test"]
    assert all(len(parts) == 1 for parts in parts_of(past, "location").values())
    splits = read_json(tmp_path, "splits.json")
    assert {place[2] for place in splits["test"]} == {"from"}
    assert {place[2] for place in splits["train"] + splits["val"]} == {"before"}
    assert not counts.problem  # a location on both sides of a date is what was asked for


def test_a_sequence_is_on_the_side_where_it_began(tmp_path: Path) -> None:
    rows = dated_rows()
    times = ("2024-04-30T23:59:59", "2024-05-01T00:00:01", "")
    rows += [crop_row(900 + n, "A", "fox", sequence="midnight", datetime=time)
             for n, time in enumerate(times)]  # fmt: skip
    split(tmp_path, rows, time_cutoff="2024-05-01")
    found = [row for row in read_dataset(tmp_path) if row["sequence"] == "midnight"]
    assert len(found) == 3
    assert "test" not in {row["split"] for row in found}


def test_crops_without_a_date_are_left_out_of_a_split_by_time_and_counted(tmp_path: Path) -> None:
    rows = [
        *dated_rows(),
        crop_row(900, "A", "fox", datetime="yesterday"),
        crop_row(901, "A", "fox"),
    ]
    split(tmp_path, rows, time_cutoff="2024-05-01")
    (record,) = read_json(tmp_path, "split_report.json")["left_out"]["categories"]
    assert (record["category"], record["crops"]) == ("fox", 2)
    assert len(read_dataset(tmp_path)) == len(rows) - 2


@pytest.mark.parametrize(("cutoff", "error"), [
    ("soon", OptionError), ("2024-13-01", OptionError), ("2030-01-01", InputInvalid),
    ("1990-01-01", InputInvalid),
])  # fmt: skip
def test_a_cutoff_that_divides_nothing_is_refused(
    tmp_path: Path, cutoff: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match="--time-cutoff"):
        split(tmp_path, dated_rows(), time_cutoff=cutoff)


def written(tmp_path: Path, name: str, *rows: tuple[str, ...]) -> Path:
    with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / name


def test_the_test_set_may_be_given_as_a_list(tmp_path: Path) -> None:
    places = written(tmp_path, "t.csv", ("dataset", "location"), ("island", "C"), ("island", "D"),
                     ("island", "gone"))  # fmt: skip
    counts = split(tmp_path, some_crops(), test_locations=places)
    assert [place[1] for place in read_json(tmp_path, "splits.json")["test"]] == ["C", "D"]
    assert "'gone'" in counts.summary


def test_a_test_set_of_every_location_is_refused(tmp_path: Path) -> None:
    places = written(tmp_path, "t.csv", ("dataset", "location"), *[("island", x) for x in "ABCD"])
    with pytest.raises(InputInvalid, match="train would be empty"):
        split(tmp_path, some_crops("ABCD"), test_locations=places)


def test_more_folds_than_locations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="fewer --folds"):
        split(tmp_path, some_crops("ABC"), folds=4)


@pytest.mark.parametrize("more", [
    {"time_cutoff": "2024-01-01"}, {"folds": 3}, {"group_by": GroupBy.IMAGE},
])  # fmt: skip
def test_a_given_test_set_goes_with_no_other_way_to_choose_one(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    places = written(tmp_path, "t.csv", ("dataset", "location"), ("island", "C"))
    with pytest.raises(OptionError):
        split(tmp_path, some_crops(), test_locations=places, **more)


def test_two_spellings_of_a_location_are_said_and_a_map_makes_them_one(tmp_path: Path) -> None:
    rows = some_crops(["Creek 1", "creek_1", *"ABCDEF"])
    counts = split(tmp_path, rows)
    assert "'Creek 1', 'creek_1' may be one location" in counts.summary
    same = written(tmp_path, "map.csv", ("dataset", "location", "same_as"),
                   ("*", "creek_1", "Creek 1"), ("*", "Crek", "Creek 1"))  # fmt: skip
    counts = split(tmp_path, rows, location_map=same)
    assert "may be one" not in counts.summary
    assert "no crop is at 'Crek'" in counts.summary
    named = [p[1] for part in PARTS for p in read_json(tmp_path, "splits.json")[part]]
    assert sorted(named) == sorted([*"ABCDEF", "Creek 1"])
    assert "creek_1" not in {row["location"] for row in read_dataset(tmp_path)}


@pytest.mark.parametrize("rows", [
    [], [("dataset", "location")], [("dataset", "location", "same_as")],
    [("dataset", "location", "same_as"), ("*", "", "A")],
    [("dataset", "location", "same_as"), ("*", "a", "A"), ("*", "a", "B")],
    [("dataset", "location", "same_as"), ("*", "a", "b"), ("*", "b", "c")],
    [("dataset", "location", "same_as"), ("*", "a")],
])  # fmt: skip
def test_a_location_map_that_is_none_is_refused(
    tmp_path: Path, rows: list[tuple[str, ...]]
) -> None:
    with pytest.raises(InputInvalid, match=r"map\.csv"):
        split(tmp_path, some_crops("ABC"), location_map=written(tmp_path, "map.csv", *rows))


def test_the_default_deployments_of_animl_are_told_apart_by_camera(tmp_path: Path) -> None:
    rows = some_crops("ABCD")
    for number in range(20):
        camera = f"X{number % 4}"
        folder = f"proj/{camera}/default" if number % 2 else camera
        rows.append(crop_row(
            900 + number, "default", ["fox", "bird", "skunk"][number % 3],
            image=f"{folder}/{number}.jpg", image_id=f"proj:{number:032x}",
        ))  # fmt: skip
    split(tmp_path, rows)
    found = {row["location"] for row in read_dataset(tmp_path)}
    assert found == {*"ABCD", "X0-default", "X1-default", "X2-default", "X3-default"}


def test_a_location_named_default_of_another_source_stays(tmp_path: Path) -> None:
    split(tmp_path, some_crops(["default", "A", "B"]))
    assert "default" in {row["location"] for row in read_dataset(tmp_path)}


def test_a_sequence_gap_finds_the_sequences_anew_where_there_are_times(tmp_path: Path) -> None:
    rows = some_crops("ABC", ["fox"])
    for second in (0, 5, 30):
        rows.append(crop_row(900 + second, "A", "fox", image=f"cam/{second}.jpg", sequence="given",
                             datetime=f"2024-01-01T00:00:{second:02}"))  # fmt: skip
    rows.append(crop_row(990, "A", "fox", sequence="kept"))
    split(tmp_path, rows, sequence_gap=10)
    found = {row["crop"]: row["sequence"] for row in read_dataset(tmp_path)}
    named = [found[row["crop"]] for row in rows[-4:]]
    assert named == ["id 900", "id 900", "id 930", "kept"]


def test_megadetectors_shape_is_written_and_its_audit_is_clean(tmp_path: Path) -> None:
    split(tmp_path, some_crops(), classification_ds=True)
    with (tmp_path / "dataset/classification_ds.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "dataset", "location", "dataset_class", "confidence", "label"]
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("classification_ds.csv", "splits.json"):
        shutil.copy(tmp_path / "dataset" / name, theirs / name)
    dataset, unplaced = leaks.read_split(theirs)
    assert unplaced == 0
    ours = {row["crop"]: row["split"] for row in read_dataset(tmp_path)}
    assert dict(zip(dataset["crop"], dataset["split"], strict=True)) == ours


def test_a_comma_in_a_label_is_refused_for_megadetectors_shape_alone(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="comma"):
        split(tmp_path, some_crops(categories=["jay, scrub"]), classification_ds=True)
    assert not (tmp_path / "dataset").exists()


def drawn(tmp_path: Path, rows: list[Row]) -> list[Row]:
    """Draws a picture for each crop: a random pattern, so no two are alike."""
    rng = np.random.default_rng(0)
    for row in rows:
        path = tmp_path / "crops" / row["crop"]
        path.parent.mkdir(parents=True, exist_ok=True)
        cells = rng.integers(0, 255, (9, 10, 3), dtype=np.uint8)
        Image.fromarray(cells).resize((90, 81), Image.Resampling.NEAREST).save(path, quality=95)
    return rows


@pytest.fixture
def divided(tmp_path: Path) -> list[dict[str, str]]:
    """The rows of a clean split by location, with pictures; three crops at each location."""
    rows = [crop_row(n, "ABCDEF"[n // 3], "fox", sequence=f"s{n // 3}") for n in range(18)]
    counts = split(tmp_path, drawn(tmp_path, rows))
    assert not counts.problem
    return read_dataset(tmp_path)


def crops_of(rows: list[dict[str, str]], part: str, tmp_path: Path) -> list[Path]:
    return [tmp_path / "crops" / row["crop"] for row in rows if row["split"] == part]


def audited(tmp_path: Path, folder: str = "dataset") -> perform.Counts:
    options = Options(crops_dir=tmp_path / "crops", output_dir=tmp_path / "none",
                      audit=tmp_path / folder)  # fmt: skip
    counts = perform.perform("split", options)
    assert not (tmp_path / "none").exists()
    return counts


def change(tmp_path: Path, rows: list[dict[str, str]], **cells: str) -> None:
    """Writes the dataset with other cells in the first row of test."""
    (first := next(row for row in rows if row["split"] == "test")).update(cells)
    assert first in rows
    with (tmp_path / "dataset/dataset.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_the_audit_passes_a_clean_split(tmp_path: Path, divided: list[dict[str, str]]) -> None:
    before = contents(tmp_path / "dataset", *THE_SAME)
    counts = audited(tmp_path)
    assert (counts.problem, set(counts.items.values())) == ("", {0})
    assert "audit of " in counts.summary.splitlines()[0]
    assert ": passed;" in counts.summary.splitlines()[0]
    assert "18 crops were compared" in counts.summary
    assert contents(tmp_path / "dataset", *THE_SAME) == before


@pytest.mark.parametrize(("kind", "column"), [
    ("locations", "location"), ("sequences", "sequence"), ("images", "image_id"),
])  # fmt: skip
def test_the_audit_finds_a_planted_leak(
    tmp_path: Path, divided: list[dict[str, str]], kind: str, column: str
) -> None:
    trained = next(row for row in divided if row["split"] == "train")
    change(tmp_path, divided, **{column: trained[column]})
    counts = audited(tmp_path)
    assert counts.items[kind] == 1
    assert trained[column] in counts.problem


def test_the_audit_finds_the_same_bytes_in_two_parts(
    tmp_path: Path, divided: list[dict[str, str]]
) -> None:
    train, test = (crops_of(divided, part, tmp_path)[0] for part in ("train", "test"))
    shutil.copy(train, test)
    counts = audited(tmp_path)
    assert counts.items["bytes"] == 1
    assert train.name in counts.problem
    again = split(tmp_path, [{k: r[k] for k in r if k not in {"label", "split"}} for r in divided])
    assert train.name in again.problem  # our own split says it as well


def test_equal_bytes_in_one_part_are_no_leak(tmp_path: Path, divided: list[dict[str, str]]) -> None:
    one, other = crops_of(divided, "train", tmp_path)[:2]
    shutil.copy(one, other)
    assert audited(tmp_path).items["bytes"] == 0


def test_equal_bytes_are_known_by_animls_image_ids_without_a_picture(
    tmp_path: Path, divided: list[dict[str, str]]
) -> None:
    trained = next(row for row in divided if row["split"] == "train")
    trained["image_id"] = f"one:{7:032x}"
    change(tmp_path, divided, image_id=f"two:{7:032x}")
    shutil.rmtree(tmp_path / "crops" / "island")
    counts = audited(tmp_path)
    assert counts.items["bytes"] == 1
    assert "18 are not there" in counts.summary


def test_a_copy_that_was_scaled_and_compressed_again_is_listed_and_not_fatal(
    tmp_path: Path, divided: list[dict[str, str]]
) -> None:
    train, test = (crops_of(divided, part, tmp_path)[0] for part in ("train", "test"))
    with Image.open(train) as picture:
        picture.resize((60, 54)).save(test, quality=60)
    counts = audited(tmp_path)
    assert not counts.problem
    (line,) = [line for line in counts.summary.splitlines() if "nearly the same" in line]
    assert train.name in line
    assert test.name in line


def test_a_split_of_megadetectors_tools_is_audited(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    rows = ["path,dataset,location,dataset_class,confidence,label"]
    rows += [f"d/{n}.jpg___crop00.jpg,d,{place},fox,1.0,fox" for n, place in enumerate("1123NA")]
    (folder / "classification_ds.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    places = {"train": [["d", 1], ["d", "N"]], "val": [["d", 2]], "test": [["d", 3], ["d", 1]]}
    (folder / "splits.json").write_text(json.dumps(places), encoding="utf-8")
    counts = audited(tmp_path, "theirs")
    assert counts.items["locations"] == 1
    assert "d / 1: test, train" in counts.problem
    assert "1 crops are in no split" in counts.summary


@pytest.mark.parametrize("content", ["[]", '{"train": 5}', '{"train": [["d"]]}', "{", "null"])
def test_a_split_that_is_none_cannot_be_audited(tmp_path: Path, content: str) -> None:
    (tmp_path / "theirs").mkdir()
    header = "path,dataset,location,dataset_class,confidence,label\n"
    (tmp_path / "theirs/classification_ds.csv").write_text(header + "c,d,l,fox,1.0,fox\n")
    (tmp_path / "theirs/splits.json").write_text(content)
    with pytest.raises(InputInvalid, match=r"splits\.json"):
        audited(tmp_path, "theirs")


def test_a_folder_without_a_split_cannot_be_audited(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"classification_ds\.csv"):
        audited(tmp_path, "nothing")


def test_a_leak_makes_the_command_fail_and_nothing_of_it_is_a_traceback(
    tmp_path: Path, pipeline: Any, here: Path
) -> None:
    rows = [crop_row(n, "ABC"[n // 3], "fox", image_id=f"p{n // 3}:{n % 3:032x}") for n in range(9)]
    write_crops(here / "crops", rows)
    done = pipeline("split")
    assert done.code == 1
    assert "in two splits at once: 3 bytes" in done.err
    assert (here / "dataset/split.json").exists()
    done = pipeline("split", "--audit", "dataset")
    assert (done.code, "Traceback" in done.err) == (1, False)


def test_the_page_shows_every_label_location_and_reason_and_escapes_them(tmp_path: Path) -> None:
    rows = some_crops(["<b>A</b>", *"BCDEF"], ["fox", "bird & co"])
    split(tmp_path, [*rows, crop_row(900, "B", "<script>")], seen_test_frac=0.2)
    page = (tmp_path / "dataset/split_report.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;b&gt;A&lt;/b&gt;" in page
    assert "bird &amp; co" in page
    assert "seen_test" in page
    assert "://" not in page
    assert "<main>" in page
    assert 'tabindex="0"' in page
