"""What the splitter of MegaDetector's tools gets wrong, one test each: here it goes right."""

import inspect
import itertools
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_crops import PARTS, crop_row, parts_of, read_dataset, read_json, some_crops, split

from animl_pipeline.artifacts import label_index
from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole
from animl_pipeline.splitting.partition.partitioning import Partitioning
from animl_pipeline.splitting.partition.solve import partition

TARGETS = np.array([0.6, 0.2, 0.2])


def project(locations: int, seed: int) -> np.ndarray:
    """Five labels, each at 3 locations or more, with skewed counts."""
    rng = np.random.default_rng(seed)
    crops = np.zeros((locations, 5), dtype=np.int64)
    for label in range(5):
        places = rng.choice(locations, rng.integers(3, locations + 1), replace=False)
        crops[places, label] = 1 + rng.lognormal(2, 1.5, len(places)).astype(int)
    return crops[crops.sum(axis=1) > 0]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("locations", [5, 6])
def test_a_label_is_missing_in_a_part_only_where_no_choice_has_it(
    locations: int, seed: int
) -> None:
    crops = project(locations, seed)
    problem = Partitioning(crops, TARGETS, np.ones((len(crops), 3), dtype=bool))
    found = partition(crops, TARGETS, problem.allowed, 0).choice
    choices = itertools.product(range(3), repeat=len(crops))
    assert problem.compute_penalty(found) == min(
        problem.compute_penalty(np.array(c)) for c in choices
    )


@pytest.fixture(scope="module")
def peer() -> Any:
    """The peer's module; what it imports and the splitter does not use is of Azure."""
    name = "megadetector.classification.detect_and_crop"
    sys.modules[name] = types.ModuleType(name)
    from megadetector.classification import create_classification_dataset

    yield create_classification_dataset
    del sys.modules[name]


def test_the_objective_is_the_peers_score(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    bar = types.SimpleNamespace(write=said.append)
    monkeypatch.setattr(peer, "tqdm", lambda steps: list(steps)[:30])
    peer.tqdm.write = bar.write
    crops = project(9, 1)
    where, what = np.nonzero(crops)
    times = crops[where, what]
    frame = pd.DataFrame({"dataset": "d", "location": [f"{u:03}" for u in np.repeat(where, times)],
                          "label": [f"{x:03}" for x in np.repeat(what, times)]})  # fmt: skip
    chosen = peer.create_splits_random(frame, 0.2, 0.2)
    part = np.zeros(len(crops), dtype=np.int64)
    for place, name in enumerate(PARTS):
        part[[int(location) for _, location in chosen[name]]] = place
    problem = Partitioning(crops, TARGETS, np.ones((len(crops), 3), dtype=bool))
    score = float(said[-1].rpartition(" ")[2])
    assert problem.compute_cost(part) - problem.compute_penalty(part) == pytest.approx(
        score, abs=1e-12
    )
    ours = partition(crops, TARGETS, problem.allowed, 0)
    assert ours.objective <= problem.compute_cost(part)


@pytest.mark.parametrize("places", ["ABC", "ABCD"])
def test_val_is_never_empty(tmp_path: Path, places: str) -> None:
    split(tmp_path, some_crops(places), val_frac=0.2)
    assert all(read_json(tmp_path, "splits.json").values())


def test_no_label_left_is_an_error_and_no_empty_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="No label is at 9 locations"):
        split(tmp_path, some_crops("ABCDEF"), min_locs=9)
    assert not (tmp_path / "dataset/dataset.csv").exists()


def test_a_second_run_is_the_same_split_and_the_score_is_kept(tmp_path: Path) -> None:
    split(tmp_path, some_crops(), to="one")
    split(tmp_path, some_crops(), to="two")
    one, two = (read_json(tmp_path, "splits.json", name) for name in ("one", "two"))
    assert one == two
    assert read_json(tmp_path, "split_report.json", "one")["objective"] > 0


def test_locations_that_are_numbers_stay_names(tmp_path: Path) -> None:
    split(tmp_path, some_crops(["1", "02", "3.0", "7"]))
    named = [p[1] for part in PARTS for p in read_json(tmp_path, "splits.json")[part]]
    assert sorted(named) == ["02", "1", "3.0", "7"]


@pytest.mark.parametrize("name", ["NA", "None", "null", "nan"])
def test_no_crop_vanishes_for_the_name_of_its_location(tmp_path: Path, name: str) -> None:
    rows = some_crops([name, *"ABC"])
    split(tmp_path, rows)
    assert len(read_dataset(tmp_path)) == len(rows)
    assert name in {row["location"] for row in read_dataset(tmp_path)}


def test_without_a_test_fraction_there_is_still_a_list_of_test(tmp_path: Path) -> None:
    split(tmp_path, some_crops("ABCD"), test_frac=0.0)
    assert read_json(tmp_path, "splits.json")["test"] == []


def test_the_locations_of_an_earlier_test_set_are_in_no_other_part(tmp_path: Path) -> None:
    split(tmp_path, some_crops(), to="old")
    split(tmp_path, some_crops([*"ABCDEFGHIJKL"]), to="new", match_test=tmp_path / "old", seed=9)
    old, new = (read_json(tmp_path, "splits.json", name) for name in ("old", "new"))
    assert new["test"] == old["test"]
    assert not [place for place in new["train"] + new["val"] if place in old["test"]]


def test_a_comma_in_a_label_does_not_make_it_two(tmp_path: Path) -> None:
    split(tmp_path, some_crops("ABC", ["jay, scrub", "fox"]))
    assert label_index.read_labels(tmp_path / "dataset/label_index.json") == ["fox", "jay, scrub"]


def test_a_cap_with_priorities_is_the_same_twice_on_this_python(tmp_path: Path) -> None:
    rows = [crop_row(n, "ABCD"[n % 4], "fox", dataset=("a", "b")[n // 24]) for n in range(48)]
    rule = {"dataset_labels": {"*": ["fox"]}, "max_count": 30, "prioritize": [["b"]]}
    (tmp_path / "spec.json").write_text(json.dumps({"fox": rule}))
    taken = []
    for name in ("one", "two"):
        split(tmp_path, rows, to=name, label_spec=tmp_path / "spec.json")
        taken.append([row["crop"] for row in read_dataset(tmp_path, name)])
    assert taken[0] == taken[1]
    assert sum(crop.startswith("b/") for crop in taken[0]) == 24
    assert len(taken[0]) == 30


def test_a_category_without_crops_is_said(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"fox": ["fox", "foxx"]}')
    counts = split(tmp_path, some_crops("ABC"), label_spec=tmp_path / "spec.json")
    assert "no crop has the category 'foxx' (did you mean 'fox'?)" in counts.summary


def test_a_split_that_fails_leaves_no_half_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "splits.json"
    with pytest.raises(TypeError):
        whole.write_json(path, {"test": {("d", "A")}})  # what --match-test wrote half
    assert not list(tmp_path.iterdir())


def test_bursts_are_never_divided(tmp_path: Path) -> None:
    rows = [crop_row(n, "ABCDEF"[n // 8], "fox", sequence=f"s{n // 4}") for n in range(48)]
    split(tmp_path, rows)
    assert all(len(parts) == 1 for parts in parts_of(read_dataset(tmp_path), "sequence").values())


def test_the_peer_is_the_one_that_was_described(peer: Any) -> None:
    """Its source has the 10,000 draws; another version may have mended what these tests name."""
    assert "range(10_000)" in inspect.getsource(peer.create_splits_random)
