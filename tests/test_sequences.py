"""Sequences found from the time between the images of a camera."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animl_pipeline.catalogue import sequences

START = datetime(2023, 3, 2, 6, 41, 10, tzinfo=UTC)


class Shot(NamedTuple):
    image_id: str
    file_name: str
    location: str
    datetime: str
    sequence: str = ""


def shots(*seconds: float, folder: str = "p/c", location: str = "Harbor") -> list[Shot]:
    return [
        Shot(
            f"{location} {folder} {second:09.1f}",
            f"{folder}/{second}.jpg",
            location,
            (START + timedelta(seconds=second)).isoformat(),
        )
        for second in seconds
    ]


def groups(found: dict[str, str]) -> list[int]:
    """The sizes of the sequences."""
    return sorted(list(found.values()).count(name) for name in set(found.values()))


def test_images_within_a_minute_of_one_another_are_one_sequence() -> None:
    found = sequences.find_sequences(shots(0, 2, 61.5, 121.5))
    assert set(found.values()) == {"Harbor p/c 0000000.0"}


def test_more_than_a_minute_begins_a_new_sequence() -> None:
    assert groups(sequences.find_sequences(shots(0, 60, 120.5, 121))) == [2, 2]


def test_two_cameras_at_one_location_are_apart() -> None:
    assert groups(sequences.find_sequences([*shots(0, 1), *shots(0.5, folder="p/d")])) == [1, 2]


def test_two_locations_of_one_folder_are_apart() -> None:
    assert groups(sequences.find_sequences([*shots(0, 1), *shots(0.5, location="Cove")])) == [1, 2]


@pytest.mark.parametrize("text", ["", "0000-00-00 00:00:00", "2023-02-30 10:00:00", "yesterday"])
def test_an_image_without_a_readable_datetime_has_no_sequence(text: str) -> None:
    odd = Shot("odd", "p/c/odd.jpg", "Harbor", text)
    found = sequences.find_sequences([*shots(0, 1), odd])
    assert found["odd"] == ""
    assert len(found) == 3


def test_the_sources_own_sequence_is_kept() -> None:
    own = Shot("own", "p/c/own.jpg", "Harbor", START.isoformat(), "seq 7")
    found = sequences.find_sequences([*shots(0, 1), own])
    assert found["own"] == "seq 7"
    assert groups(found) == [1, 2]


def test_the_same_moment_in_two_time_zones_is_the_same_moment() -> None:
    texts = ["2023-03-02T06:41:10.000-08:00", "2023-03-02T14:41:10.000Z", "2023-03-02 14:41:10"]
    assert len({sequences.parse_datetime(text) for text in texts}) == 1


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_before_or_after_all_time_is_no_moment(text: str) -> None:
    assert sequences.parse_datetime(text) is None


SHOTS = st.lists(
    st.tuples(st.integers(0, 900), st.sampled_from("ab"), st.sampled_from("xy"), st.booleans()),
    max_size=25,
).map(
    lambda rows: [
        Shot(
            f"{number}",
            f"{folder}/{number}.jpg",
            location,
            (START + timedelta(seconds=second)).isoformat() if timed else "",
        )
        for number, (second, folder, location, timed) in enumerate(rows)
    ]
)


@settings(deadline=None, max_examples=150)
@given(SHOTS, st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(images: list[Shot], rng: random.Random) -> None:
    shuffled = rng.sample(images, len(images))
    assert sequences.find_sequences(shuffled) == sequences.find_sequences(images)


@settings(deadline=None, max_examples=150)
@given(SHOTS)
def test_two_neighbours_of_a_camera_are_together_just_where_the_gap_is_small(
    images: list[Shot],
) -> None:
    found = sequences.find_sequences(images)
    timed = [image for image in images if image.datetime]
    for camera in {(image.location, image.file_name[0]) for image in timed}:
        of_camera = sorted(
            (datetime.fromisoformat(image.datetime), image.image_id)
            for image in timed
            if (image.location, image.file_name[0]) == camera
        )
        for (before, one), (after, other) in itertools.pairwise(of_camera):
            together = (after - before).total_seconds() <= sequences.GAP_SECONDS
            assert (found[one] == found[other]) == together
    for one in timed:
        for other in timed:
            if found[one.image_id] == found[other.image_id]:
                assert (one.location, one.file_name[0]) == (other.location, other.file_name[0])
