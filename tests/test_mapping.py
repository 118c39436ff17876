import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animl_pipeline.classifier.predictions import normalise, sum_members
from animl_pipeline.errors import InputInvalid, InputMissing
from animl_pipeline.evaluation import mapping

MEMBERS = ["grey fox", "island fox", "jay", "skunk"]


def written(folder: Path, content: Any) -> Path:
    path = folder / "map.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_mapping_is_read_in_its_order(tmp_path: Path) -> None:
    content = {"skunk": ["skunk"], "fox": ["island fox", "grey fox"], "other": []}
    found = mapping.read_mapping(written(tmp_path, content), members=MEMBERS)
    assert found == content
    assert list(found) == ["skunk", "fox", "other"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "is to be"),
        ({}, "is to be"),
        ("{", "cannot be read"),
        ("", "cannot be read"),
        ({"fox": "island fox"}, "'fox' is not a list"),
        ({"fox": [3]}, "'fox' is not a list"),
        ({"fox": ["wolf"]}, "'wolf', which the classifier does not know"),
        ({"fox": ["jay"], "bird": ["jay"]}, "'jay' is in 'fox' and in 'bird'"),
        ({"fox": ["jay", "jay"]}, "'jay' is in 'fox' and in 'fox'"),
    ],
)
def test_what_is_no_mapping_is_a_message(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(InputInvalid, match=words):
        mapping.read_mapping(written(tmp_path, content), members=MEMBERS)


def test_a_target_that_is_no_label_of_the_dataset_is_a_message(tmp_path: Path) -> None:
    path = written(tmp_path, {"foxx": ["grey fox"]})
    with pytest.raises(InputInvalid, match=r"'foxx' is no label here \(fox, jay\)"):
        mapping.read_mapping(path, members=MEMBERS, targets=["fox", "jay"])


def test_a_mapping_that_is_not_there_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"map\.json"):
        mapping.read_mapping(tmp_path / "map.json", members=MEMBERS)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_the_sum_over_members_is_the_softmax_of_logsumexp(seed: int, n: int) -> None:
    logits = torch.tensor(np.random.default_rng(seed).normal(0, 3, (n, 4)))
    wanted = {"fox": ["island fox", "grey fox"], "jay": ["jay"]}
    columns = [[MEMBERS.index(name) for name in names] for names in wanted.values()]
    mapped = torch.stack([torch.logsumexp(logits[:, own], dim=1) for own in columns], dim=1)
    expected = torch.softmax(mapped, dim=1).numpy()
    soft = torch.softmax(logits, dim=1).numpy()
    found = normalise(sum_members(soft, MEMBERS, wanted))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_row_without_any_member_is_even() -> None:
    found = normalise(np.array([[0.0, 0.0], [0.2, 0.6]]))
    np.testing.assert_allclose(found, [[0.5, 0.5], [0.25, 0.75]])


def test_labels_of_one_name_are_matched_whatever_their_case() -> None:
    found = mapping.match_by_name(["Jay", "wolf"], members=MEMBERS)
    assert found == {"Jay": ["jay"], "wolf": []}
