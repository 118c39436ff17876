import dataclasses
import json
import math
import pickle
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from efficientnet_pytorch import EfficientNet
from efficientnet_pytorch.utils import url_map
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier import kinds, networks, predicting, weights
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.kinds import MODEL_NAMES
from animl_pipeline.classifier.preprocessing import make_transform, pad_to_square
from animl_pipeline.errors import InputInvalid, InputMissing, OptionError, WeightsMissing
from animl_pipeline.running import devices

LABELS = ["skunk", "bird", "狐狸"]  # not sorted: the order is the card's
SIDE = 64


def made_card(**more: Any) -> Card:
    content: dict[str, Any] = {
        "model_name": "efficientnet-b0",
        "labels": LABELS,
        "image_size": SIDE,
        "crop_rule": {"version": "1", "margin": 0.0},
        "options": {"device": "auto", "precision": "auto"},
        "versions": {"torch": "2"},
        "data_fingerprint": "f" * 64,
        "epoch": 3,
    }
    return Card(**content | more)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Weights fresh, but normalised for what it sees, so that it tells pictures apart."""
    torch.manual_seed(0)
    network = networks.build("efficientnet-b0", len(LABELS)).train()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network(torch.rand(8, 3, SIDE, SIDE))
    return network.eval()


@pytest.fixture(scope="module")
def saved(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    classifier.save(folder, network, made_card())
    return folder


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Path:
    """A run's folder that may be damaged."""
    for name in (classifier.WEIGHTS, classifier.CARD):
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    return tmp_path


def pictures(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def logits_of(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = network(inputs.contiguous(memory_format=torch.channels_last))
    return found


def test_what_is_saved_and_loaded_predicts_the_same(network: nn.Module, saved: Path) -> None:
    loaded, _ = classifier.load(saved)
    assert torch.equal(logits_of(loaded, pictures()), logits_of(network, pictures()))


def test_a_loaded_network_is_ready_to_predict(saved: Path) -> None:
    loaded, _ = classifier.load(saved)
    assert not loaded.training
    assert torch.equal(logits_of(loaded, pictures()), logits_of(loaded, pictures()))


def test_the_card_travels(saved: Path) -> None:
    _, card = classifier.load(saved)
    assert json.dumps(dataclasses.asdict(card)) == json.dumps(dataclasses.asdict(made_card()))


def test_the_card_that_is_read_equals_the_one_that_was_saved(saved: Path) -> None:
    assert classifier.read_card(saved) == made_card()


def test_the_labels_keep_their_order(saved: Path) -> None:
    assert classifier.read_card(saved).labels == LABELS
    assert json.loads((saved / "model.json").read_text(encoding="utf-8"))["labels"] == LABELS


def test_the_weights_file_alone_holds_the_card_too(saved: Path) -> None:
    with safe_open(saved / "model.safetensors", "pt") as file:
        card = json.loads(file.metadata()["card"])
    assert card == json.loads((saved / "model.json").read_text(encoding="utf-8"))


def test_saving_twice_gives_the_same_bytes(network: nn.Module, saved: Path, tmp_path: Path) -> None:
    classifier.save(tmp_path, network, made_card())
    for name in (classifier.WEIGHTS, classifier.CARD):
        assert (tmp_path / name).read_bytes() == (saved / name).read_bytes()


def test_a_batch_of_two_is_not_the_first_twice(network: nn.Module) -> None:
    both = logits_of(network, pictures())
    assert not torch.allclose(both[0], both[1])
    for row in range(2):
        alone = logits_of(network, pictures()[row : row + 1])[0]
        torch.testing.assert_close(alone, both[row], rtol=1e-4, atol=1e-5)


def test_logits_are_those_of_the_package_for_the_same_weights(network: nn.Module) -> None:
    reference = EfficientNet.from_name("efficientnet-b0", num_classes=len(LABELS))
    reference.load_state_dict(network.state_dict())
    with torch.inference_mode():
        expected = reference.eval()(pictures())
    torch.testing.assert_close(logits_of(network, pictures()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [classifier.WEIGHTS, classifier.CARD])
@pytest.mark.parametrize("kept", [0, 1, 100])
def test_a_file_that_is_cut_short_is_refused(run: Path, name: str, kept: int) -> None:
    (run / name).write_bytes((run / name).read_bytes()[:kept])
    with pytest.raises(InputInvalid, match=name):
        classifier.load(run)


@pytest.mark.parametrize("name", [classifier.WEIGHTS, classifier.CARD])
def test_a_file_that_is_not_there_is_missing(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(InputMissing, match=name):
        classifier.load(run)


def test_weights_without_their_last_bytes_are_refused(run: Path) -> None:
    weights = run / classifier.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(InputInvalid, match=r"model\.safetensors"):
        classifier.load(run)


def edit_card(run: Path, **changes: Any) -> None:
    path = run / classifier.CARD
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in content.items() if value != "(gone)"}
    path.write_text(json.dumps(kept), encoding="utf-8")


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": "2"},
        {"format_version": "(gone)"},
        {"labels": "(gone)"},
        {"more": 1},
        {"labels": ["fox", "bird"]},  # the weights are of three
        {"labels": 5},
        {"labels": "fox"},
        {"labels": []},
        {"model_name": "resnet-of-nobody"},
        {"model_name": "local-dir:."},
        {"model_name": None},
        {"image_size": "300"},
        {"image_size": 0},
        {"mean": [0.5]},
        {"interpolation": "cubist"},
        {"options": None},
    ],
    ids=str,
)
def test_a_card_that_is_not_one_is_refused(run: Path, changes: dict[str, Any]) -> None:
    edit_card(run, **changes)
    with pytest.raises(InputInvalid, match=r"model\.json"):
        classifier.load(run)


@pytest.mark.parametrize("text", ["[]", "null", "3", '"card"'])
def test_json_that_is_no_card_is_refused(run: Path, text: str) -> None:
    (run / classifier.CARD).write_text(text)
    with pytest.raises(InputInvalid, match="not a model card"):
        classifier.load(run)


class Bomb:
    """Unpickling it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("suffix", ["pt", "pth", "safetensors", "ckpt"])
@pytest.mark.parametrize("nested", [True, False])
def test_code_in_a_weights_file_is_not_run(tmp_path: Path, suffix: str, nested: bool) -> None:
    mark, path = tmp_path / "mark", tmp_path / f"weights.{suffix}"
    bomb = {"model": {"a": torch.zeros(1)}, "extra": Bomb(mark)} if nested else Bomb(mark)
    torch.save(bomb, path)
    with pytest.raises(InputInvalid, match="weights"):
        weights.read_weights(path)
    path.write_bytes(pickle.dumps(bomb, protocol=2))
    with pytest.raises(InputInvalid, match="weights"):
        weights.read_weights(path)
    assert not mark.exists()
    torch.load(BytesIO(torch_bytes(Bomb(mark))), weights_only=False)  # it is a bomb
    assert mark.exists()


def torch_bytes(content: Any) -> bytes:
    file = BytesIO()
    torch.save(content, file)
    return file.getvalue()


def test_a_checkpoint_of_megadetectors_trainer_is_read(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "ckpt_18.pt"
    content = {"epoch": 18, "model": network.state_dict(), "val/acc": 91.5, "optimizer": {}}
    torch.save(content, path)
    fresh = networks.build("efficientnet-b0", len(LABELS))
    found = weights.read_weights(path)
    assert weights.start_from(fresh, found, "ckpt") == []
    assert torch.equal(logits_of(fresh.eval(), pictures()), logits_of(network, pictures()))


def test_plain_weights_are_read_whatever_the_kind_of_file(tmp_path: Path) -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3)}
    torch.save(state, tmp_path / "a.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "a.safetensors")
    for name in ("a.pth", "old.pth", "a.safetensors"):
        assert torch.equal(weights.read_weights(tmp_path / name)["a"], state["a"])


@pytest.mark.parametrize(
    "content", [[torch.zeros(1)], {"model": 3}, {"a": 3}, {"model": {"a": "b"}}, torch.zeros(2)]
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputInvalid, match=r"a\.pt"):
        weights.read_weights(tmp_path / "a.pt")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x80\x02}q\x00.", b"PK\x03\x04"])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_that_is_no_weights_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputInvalid, match=path.name):
        weights.read_weights(path)


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(InputInvalid, match=r"a\.pt"):
        weights.read_weights(tmp_path / "a.pt")


def test_weights_that_are_not_there_are_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="--weights"):
        weights.read_weights(tmp_path / "a.pt")


def test_a_folder_given_as_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match=tmp_path.name):
        weights.read_weights(tmp_path)


SMALL = {"a": torch.arange(4.0), "b": torch.ones(2, 2)}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 2**31), st.integers(1, 255), st.booleans(), st.sampled_from(["zip", "old"]))
def test_damage_anywhere_in_a_weights_file_is_no_crash(
    tmp_path: Path, where: int, change: int, cut: bool, kind: str
) -> None:
    path = tmp_path / "a.pt"
    torch.save(SMALL, path, _use_new_zipfile_serialization=kind == "zip")
    content = bytearray(path.read_bytes())
    where %= len(content)
    content[where] ^= change
    path.write_bytes(content[:where] if cut else content)
    try:
        found = weights.read_weights(path)
    except InputInvalid as error:
        assert "a.pt" in str(error)  # noqa: PT017 - it may also be read
    else:
        assert all(isinstance(value, torch.Tensor) for value in found.values())


def test_the_head_stays_fresh_where_the_labels_differ(network: nn.Module) -> None:
    torch.manual_seed(5)
    fresh = networks.build("efficientnet-b0", 7)
    head = fresh.state_dict()["_fc.weight"].clone()
    missing = weights.start_from(fresh, dict(network.state_dict()), "weights")
    assert missing == ["_fc.weight", "_fc.bias"]
    state = fresh.state_dict()
    assert torch.equal(state["_fc.weight"], head)
    for name in ("_conv_stem.weight", "_bn1.running_mean", "_conv_head.weight"):
        assert torch.equal(state[name], network.state_dict()[name])


@pytest.mark.parametrize("other", ["efficientnet-b1", "efficientnet-b2"])
def test_weights_of_another_network_are_refused(network: nn.Module, other: str) -> None:
    fresh = networks.build(other, len(LABELS))
    with pytest.raises(InputInvalid, match="--model-name"):
        weights.start_from(fresh, dict(network.state_dict()), "weights")


def test_pretrained_weights_without_a_network_are_missing_and_the_ways_out_are_named(
    no_network: Path,
) -> None:
    with pytest.raises(WeightsMissing) as caught:
        weights.read_pretrained("efficientnet-b0")
    for word in ("--weights", "--no-pretrained", url_map["efficientnet-b0"]):
        assert word in str(caught.value)


def test_pretrained_weights_come_from_the_cache_if_they_are_there(
    no_network: Path,
) -> None:
    cached(no_network, torch_bytes(SMALL))
    assert set(weights.read_pretrained("efficientnet-b0")) == {"a", "b"}


@pytest.mark.parametrize("content", [b"<html>please log in</html>", b""])
def test_a_damaged_cache_of_pretrained_weights_is_no_crash(
    no_network: Path, content: bytes
) -> None:
    cached(no_network, content)
    with pytest.raises(WeightsMissing, match="--weights"):
        weights.read_pretrained("efficientnet-b0")


def cached(folder: Path, content: bytes) -> None:
    path = folder / url_map["efficientnet-b0"].rsplit("/", 1)[1]
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "hf-hub:timm/resnet18",
        "local-dir:folder",
        "resnet18.nobodys",
        "efficientnet-b9",
        "EfficientNet-B0",
    ],
)
def test_an_unknown_network_is_refused_with_the_names_there_are(name: str) -> None:
    for function in (
        lambda: networks.describe_pictures(name).side_px,
        lambda: networks.build(name, 2),
        lambda: weights.read_pretrained(name),
    ):
        with pytest.raises(OptionError, match="efficientnet-b3"):
            function()


def test_image_sizes_are_the_published_ones() -> None:
    sizes = [networks.describe_pictures(name).side_px for name in MODEL_NAMES]
    assert sizes == [224, 240, 260, 300, 380, 456, 528, 600]


@pytest.mark.parametrize("size", [(10, 10), (200, 90), (90, 200), (1, 300), (301, 300)])
def test_any_picture_becomes_a_square_of_the_networks_size(size: tuple[int, int]) -> None:
    found = make_transform(made_card())(Image.new("RGB", size, "white"))
    assert found.shape == (3, SIDE, SIDE)
    assert found.dtype == torch.float32


def test_a_picture_that_is_not_square_is_padded_evenly() -> None:
    wide = pad_to_square(Image.new("RGB", (60, 20), "white"))
    assert wide.size == (60, 60)
    pixels = np.asarray(wide)[:, 0, 0]
    assert (pixels[:20] == 0).all()
    assert (pixels[20:40] == 255).all()
    assert (pixels[40:] == 0).all()
    high = pad_to_square(Image.new("RGB", (20, 60), "white"))
    np.testing.assert_array_equal(np.asarray(high), np.asarray(wide).transpose(1, 0, 2))


def test_a_square_stays_as_it_is() -> None:
    image = Image.new("RGB", (8, 8), "white")
    assert pad_to_square(image) is image


def test_black_and_white_become_what_imagenet_calls_them() -> None:
    white, black = (
        make_transform(made_card())(Image.new("RGB", (9, 9), c)) for c in ("white", "black")
    )
    mean, std = kinds.IMAGENET_MEAN, kinds.IMAGENET_STD
    for channel in range(3):
        assert white[channel, 5, 5] == pytest.approx((1 - mean[channel]) / std[channel], abs=1e-5)
        assert black[channel, 5, 5] == pytest.approx(-mean[channel] / std[channel], abs=1e-5)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=5))
def test_probabilities_are_the_softmax_and_sum_to_one(logits: list[list[float]]) -> None:
    found = predicting.to_probabilities(torch.tensor(logits))
    assert found.shape == (len(logits), 3)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=2e-9)
    for row, values in zip(found, logits, strict=True):
        exact = [math.exp(v - max(values)) for v in np.float32(values)]
        np.testing.assert_allclose(row, np.array(exact) / sum(exact), atol=1e-6)


@pytest.mark.parametrize(("device", "precision"), [("tpu", "auto"), ("cpu", "8-bit"), ("", "")])
def test_an_unknown_device_or_precision_is_refused(device: str, precision: str) -> None:
    with pytest.raises(OptionError, match="--device"):
        devices.make_fabric(device, precision)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_this_machine_lacks_is_refused() -> None:
    with pytest.raises(OptionError, match="--device cuda"):
        devices.make_fabric("cuda", "auto")


def test_saving_writes_no_file_of_another_name_that_a_crash_could_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set()
    really = Path.replace

    def watched(self: Path, target: Path) -> Path:
        names.update(path.name for path in tmp_path.iterdir())
        return really(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    classifier.save(tmp_path, nn.Linear(2, 2), made_card())
    assert {name.removesuffix(".part") for name in names} == {"model.safetensors", "model.json"}
    modes = {(tmp_path / name).stat().st_mode for name in ("model.safetensors", "model.json")}
    assert len(modes) == 1  # the weights can be read by whoever can read the card
