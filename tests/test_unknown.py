from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from animl_pipeline.classifier import networks
from animl_pipeline.classifier.reference import (
    Floats32,
    Reference,
    compute_energy,
    find_reference,
    learn_reference,
    read_reference,
    write_reference,
)
from animl_pipeline.errors import InputInvalid
from animl_pipeline.evaluation import unknown
from animl_pipeline.files.whole import digest

WIDTH, LABELS = 24, 3


def draw_crops(seed: int, n: int, *, away: float = 0.0) -> tuple[Floats32, Floats32]:
    """Features about the means of three labels, or moved away from them, and their logits."""
    rng, means = np.random.default_rng(seed), 4 * np.eye(LABELS, WIDTH)
    features = means[rng.integers(LABELS, size=n)] * (1 - away) + rng.normal(0, 0.3, (n, WIDTH))
    features[:, -1] += 4 * away
    logits = 2 * features[:, :LABELS]
    return features.astype(np.float32), logits.astype(np.float32)


def learned(seed: int = 0, n: int = 90) -> Reference:
    return learn_reference(*draw_crops(seed, n), [str(number % 5) for number in range(n)])


class Names:
    """What a policy says of the reference."""

    def __init__(self, sha256: str | None) -> None:
        self.reference = sha256


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.floats(0.5, 1))
def test_what_is_far_from_all_labels_scores_higher_than_what_is_near_one(
    seed: int, away: float
) -> None:
    reference = learned()
    near = reference.score_unknown(*draw_crops(seed, 20))
    far = reference.score_unknown(*draw_crops(seed + 1, 20, away=away))
    assert np.median(far) > near.max()


def test_the_distance_is_scikit_learns_to_the_nearest_neighbour() -> None:
    reference, (features, logits) = learned(), draw_crops(7, 30)
    tree = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute")
    tree.fit(reference.neighbours.astype(np.float64))
    nearest = tree.kneighbors(features)[0][:, 0]
    expected = nearest / reference.scales[0] + compute_energy(logits) / reference.scales[1]
    np.testing.assert_allclose(reference.score_unknown(features, logits), expected, atol=1e-3)


def test_a_score_does_not_depend_on_what_else_is_scored() -> None:
    reference, (features, logits) = learned(), draw_crops(3, 16)
    each = [reference.score_unknown(features[i : i + 1], logits[i : i + 1])[0] for i in range(16)]
    np.testing.assert_allclose(each, reference.score_unknown(features, logits), atol=1e-3)


def test_traits_of_train_have_mean_0_and_variance_1_and_are_at_most_32() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 50)).astype(np.float32) * np.linspace(0.1, 3, 50)
    features = features.astype(np.float32)
    reference = learn_reference(features, features[:, :3], ["a"] * 200)
    traits = reference.measure_traits(features)
    assert traits.shape == (200, 32)
    np.testing.assert_allclose(traits.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(traits.var(axis=0), 1, atol=1e-2)


@pytest.mark.parametrize("n", [1, 2])
def test_a_few_crops_or_equal_ones_give_finite_scores(n: int) -> None:
    features = np.ones((n, 4), dtype=np.float32)
    reference = learn_reference(features, features[:, :2], ["a"] * n)
    assert np.isfinite(reference.score_unknown(features, features[:, :2])).all()
    assert reference.measure_traits(features).shape == (n, 0)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), min_size=1, max_size=60),
    st.sampled_from([0.01, 0.05, 0.3]),
)
def test_at_the_threshold_no_more_than_wanted_is_unknown_and_at_the_next_score_more(
    crops: list[tuple[int, int]], wanted: float
) -> None:
    locations = [("isle", str(location)) for location, _ in crops]
    scores = np.array([score for _, score in crops], dtype=np.float64)
    threshold = unknown.choose_threshold(scores, locations, wanted=wanted)
    assert unknown.measure_share(scores > threshold, locations) <= wanted + 1e-9
    lower = scores[scores < threshold]
    if len(lower):
        assert unknown.measure_share(scores > lower.max(), locations) > wanted


def test_a_location_weighs_alike_however_many_crops_it_has() -> None:
    scores = np.array([1.0] * 99 + [5.0])
    of_two = [("isle", "a")] * 99 + [("isle", "b")]
    assert unknown.choose_threshold(scores, of_two, wanted=0.01) == 5
    assert unknown.choose_threshold(scores, [("isle", "a")] * 100, wanted=0.01) == 1
    assert unknown.measure_share(scores > 1, of_two) == 0.5


def test_crops_of_train_are_drawn_from_each_label_and_always_the_same() -> None:
    rows = pd.DataFrame({"label": ["fox"] * 300 + ["bird"] * 50, "crop": range(350)})
    drawn = unknown.draw_rows(rows)
    assert drawn["label"].value_counts().to_dict() == {"fox": 200, "bird": 50}
    assert drawn["crop"].is_monotonic_increasing
    assert drawn.equals(unknown.draw_rows(rows))


def test_of_many_labels_each_has_as_many() -> None:
    rows = pd.DataFrame({"label": [str(i % 50) for i in range(10_000)], "crop": range(10_000)})
    assert set(unknown.draw_rows(rows)["label"].value_counts()) == {80}


def test_a_reference_is_read_as_it_was_written_and_by_its_sha256(tmp_path: Path) -> None:
    reference, (features, logits) = learned(), draw_crops(5, 8)
    write_reference(tmp_path, reference, "of this")
    path = tmp_path / "reference.safetensors"
    back = read_reference(tmp_path, Names(digest(path, "sha256")))
    assert back is not None
    assert (back.score_unknown(features, logits) == reference.score_unknown(features, logits)).all()
    assert find_reference(tmp_path, "of this") is not None
    assert find_reference(tmp_path, "of that") is None
    assert read_reference(tmp_path, None) is read_reference(tmp_path, Names(None)) is None
    with pytest.raises(InputInvalid, match="pipeline evaluate"):
        read_reference(tmp_path, Names("0" * 64))
    path.unlink()
    with pytest.raises(InputInvalid, match="pipeline evaluate"):
        read_reference(tmp_path, Names("0" * 64))
    assert find_reference(tmp_path, "of this") is None


@torch.inference_mode()
@pytest.mark.parametrize(
    "name", ["efficientnet-b0", "tf_efficientnet_lite0", "vit_tiny_patch16_224"]
)
def test_watched_features_are_those_that_the_backbone_gives(name: str) -> None:
    network = networks.build(name, 2).eval()
    pictures = torch.randn(2, 3, 224, 224)
    expected = networks.pool(network, networks.extract_features(network, pictures))
    with networks.watch_features(network) as watched:
        logits = network(pictures)
    torch.testing.assert_close(watched.features, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(networks.find_head(network)(watched.features), logits)
