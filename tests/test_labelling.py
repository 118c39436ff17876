"""A label spec applied to crops: labels, caps spread over locations and sequences, what is left."""

from collections import Counter
from typing import Any

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from animl_pipeline.errors import InputInvalid
from animl_pipeline.splitting.labels.labelling import account_for_categories, label_crops
from animl_pipeline.splitting.labels.spec import ANY_DATASET, LabelRule, LabelSpec, Terms


def spec(max_count: int | None = None) -> LabelSpec:
    def of(*names: str) -> Terms:
        return Terms(frozenset((ANY_DATASET, name) for name in names))

    return LabelSpec(
        "test",
        {"fox": LabelRule(of("fox", "zorro"), max_count=max_count), "bird": LabelRule(of("bird"))},
    )


def crops(*rows: tuple[str, str, str], category: str = "fox", dataset: str = "d") -> pd.DataFrame:
    """One crop for each (location, sequence, image id)."""
    return pd.DataFrame(
        [
            {
                "crop": f"{dataset}/{image_id} {category} {number}",
                "image_id": image_id,
                "dataset": dataset,
                "location": location,
                "sequence": sequence,
                "category": category,
            }
            for number, (location, sequence, image_id) in enumerate(rows)
        ]
    )


def burst(location: str, sequence: str, count: int) -> list[tuple[str, str, str]]:
    return [(location, sequence, f"{location} {sequence} {number}") for number in range(count)]


def kept(found: pd.DataFrame) -> set[str]:
    return set(found["crop"])


def test_every_crop_gets_its_label_and_keeps_its_order() -> None:
    table = pd.concat([crops(*burst("x", "s", 2)), crops(*burst("y", "t", 1), category="bird")])
    found, left_out = label_crops(table, spec(), seed=0)
    assert found["label"].tolist() == ["fox", "fox", "bird"]
    assert found["crop"].tolist() == table["crop"].tolist()
    assert found.index.tolist() == [0, 1, 2]
    assert left_out == []


def test_a_category_in_no_label_is_left_out_counted_and_said() -> None:
    table = pd.concat([crops(*burst("x", "s", 2)), crops(*burst("x", "s", 3), category="skunk")])
    found, left_out = label_crops(table, spec(), seed=0)
    assert set(found["category"]) == {"fox"}
    assert left_out == [{"dataset": "d", "category": "skunk", "crops": 3, "reason": "in no label"}]


def test_no_crops_give_no_rows() -> None:
    found, left_out = label_crops(crops(("x", "s", "1")).iloc[:0], spec(3), seed=0)
    assert (len(found), left_out) == (0, [])


def test_a_category_in_two_labels_is_refused() -> None:
    both = LabelRule(Terms(frozenset({(ANY_DATASET, "fox")})))
    with pytest.raises(InputInvalid, match="both 'one' and 'two'"):
        label_crops(crops(("x", "s", "1")), LabelSpec("test", {"one": both, "two": both}), seed=0)


def test_a_cap_counts_images_not_crops() -> None:
    twice = pd.concat([crops(("x", "s", "1"), ("x", "t", "2"))] * 2, ignore_index=True)
    twice["crop"] = twice.index.astype(str)
    assert len(label_crops(twice, spec(2), seed=0)[0]) == 4
    assert len(label_crops(twice, spec(1), seed=0)[0]) == 2


def test_a_cap_holds_for_its_label_alone() -> None:
    table = pd.concat(
        [crops(*burst("x", "s", 9)), crops(*burst("x", "s", 9), category="bird")],
        ignore_index=True,
    )
    found, _ = label_crops(table, spec(2), seed=0)
    assert Counter(found["label"]) == {"fox": 2, "bird": 9}


def test_what_is_over_a_cap_is_counted_by_category_and_said() -> None:
    table = pd.concat(
        [crops(*burst("x", "s", 3)), crops(*burst("y", "t", 3), category="zorro")],
        ignore_index=True,
    )
    found, left_out = label_crops(table, spec(2), seed=0)
    assert sum(record["crops"] for record in left_out) == 6 - len(found) == 4
    assert {record["reason"] for record in left_out} == {"fox: over max_count 2"}


def test_a_cap_counts_images_of_two_datasets_apart_even_with_the_same_ids() -> None:
    rows = burst("x", "s", 3)
    table = pd.concat([crops(*rows, dataset="a"), crops(*rows, dataset="b")], ignore_index=True)
    assert len(label_crops(table, spec(3), seed=0)[0]) == 3
    assert len(label_crops(table, spec(5), seed=0)[0]) == 5
    assert len(label_crops(table, spec(6), seed=0)[0]) == 6


def test_a_cap_takes_from_every_location_before_twice_from_one() -> None:
    rows = burst("big", "s", 90)
    for number in range(20):
        rows += burst("big", f"s{number}", 1)
    rows += burst("small", "t", 1) + burst("other", "u", 2)
    for seed in range(5):
        found, _ = label_crops(crops(*rows), spec(3), seed=seed)
        assert Counter(found["location"]) == {"big": 1, "small": 1, "other": 1}


def test_a_cap_takes_every_sequence_before_two_images_of_one() -> None:
    rows = burst("x", "long", 50) + burst("x", "a", 1) + burst("x", "b", 1) + burst("y", "c", 9)
    for seed in range(5):
        found, _ = label_crops(crops(*rows), spec(4), seed=seed)
        assert Counter(found["sequence"]) == {"long": 1, "a": 1, "b": 1, "c": 1}


def test_a_cap_takes_from_the_datasets_of_the_first_level_before_all_others() -> None:
    table = pd.concat(
        [crops(*burst(place, "s", 4), dataset=name) for name in "abc" for place in "xy"],
        ignore_index=True,
    )
    rule = LabelRule(
        Terms(frozenset({(ANY_DATASET, "fox")})), max_count=11,
        prioritize=(frozenset("b"), frozenset("c")),
    )  # fmt: skip
    found, _ = label_crops(table, LabelSpec("test", {"fox": rule}), seed=0)
    assert Counter(found["dataset"]) == {"b": 8, "c": 3}
    assert Counter(found[found["dataset"] == "c"]["location"]).most_common(1)[0][1] == 2


def test_what_went_where_accounts_for_every_category() -> None:
    table = pd.concat(
        [crops(*burst("x", "s", 5)), crops(*burst("x", "s", 2), category="skunk")],
        ignore_index=True,
    )
    found, left_out = label_crops(table, spec(3), seed=0)
    assert account_for_categories(table, found, found, left_out, []) == [
        {"dataset": "d", "category": "fox", "label": "fox", "crops": 5, "kept": 3,
         "reason": "fox: over max_count 3"},
        {"dataset": "d", "category": "skunk", "label": None, "crops": 2, "kept": 0,
         "reason": "in no label"},
    ]  # fmt: skip


def test_images_without_a_sequence_are_each_their_own() -> None:
    rows = burst("x", "", 5) + burst("x", "long", 50)
    found, _ = label_crops(crops(*rows), spec(6), seed=0)
    assert Counter(found["sequence"]) == {"": 5, "long": 1}


def test_another_seed_takes_other_images_of_a_burst() -> None:
    table = crops(*burst("x", "s", 100))
    assert len({min(kept(label_crops(table, spec(1), seed=seed)[0])) for seed in range(8)}) > 3


WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # pandas is slow at it
IMAGES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(0, 15),
        st.sampled_from("xyz"),
        st.sampled_from(["", "s", "t"]),
        st.lists(st.sampled_from(["fox", "zorro", "bird", "skunk"]), min_size=1, max_size=3),
    ),
    max_size=20,
    unique_by=lambda image: image[:2],
)
TABLES = IMAGES.map(
    lambda images: pd.DataFrame(
        [
            {
                "crop": f"{dataset}/{image_id}/{number}",
                "image_id": f"{image_id}",
                "dataset": dataset,
                "location": location,
                "sequence": sequence,
                "category": category,
            }
            for dataset, image_id, location, sequence, categories in images
            for number, category in enumerate(categories)
        ],
        columns=["crop", "image_id", "dataset", "location", "sequence", "category"],
    )
)


@settings(deadline=None, max_examples=60, phases=WITHOUT_SHRINKING)
@given(TABLES, st.integers(1, 12), st.integers(0, 3), st.integers(0, 99))
def test_the_order_of_the_rows_does_not_matter_and_the_same_seed_is_the_same_rows(
    table: pd.DataFrame, max_count: int, seed: int, shuffle: int
) -> None:
    found, left_out = label_crops(table, spec(max_count), seed)
    again, _ = label_crops(table, spec(max_count), seed)
    shuffled = table.sample(frac=1, random_state=shuffle).reset_index(drop=True)
    other, also_left_out = label_crops(shuffled, spec(max_count), seed)
    assert found.equals(again)
    assert kept(found) == kept(other)
    assert left_out == also_left_out


@settings(deadline=None, max_examples=60, phases=WITHOUT_SHRINKING)
@given(TABLES, st.integers(1, 12))
def test_every_crop_is_labelled_or_counted_as_left_out(table: pd.DataFrame, max_count: int) -> None:
    found, left_out = label_crops(table, spec(max_count), 0)
    assert len(found) + sum(record["crops"] for record in left_out) == len(table)
    foxes = found[found["label"] == "fox"]
    images = len(foxes.drop_duplicates(["dataset", "image_id"]))
    before: Any = table[table["category"].isin(["fox", "zorro"])]
    there = len(before.drop_duplicates(["dataset", "image_id"]))
    assert images == min(max_count, there)
