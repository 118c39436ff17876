from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier import networks
from animl_pipeline.classifier.kinds import Pictures
from animl_pipeline.errors import InputInvalid, OptionError
from animl_pipeline.report import gradcam
from animl_pipeline.training import distributed

SMALL = ("test_resnet", "test_vit", "test_efficientnet")  # of timm, each for 160 px
LABELS = ["bird", "fox", "skunk"]


def made(name: str, side_px: int = 64) -> nn.Module:
    torch.manual_seed(0)
    return networks.build(name, len(LABELS), side_px).eval()


def card_of(name: str, side_px: int = 64) -> classifier.Card:
    return classifier.Card(name, LABELS, side_px, {}, {}, {}, "", 0)


def pictures(side_px: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, side_px, side_px, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
@pytest.mark.parametrize("name", ["efficientnet-b0", *SMALL, "resnet18"])
def test_a_network_is_its_head_on_the_embedding_of_its_features(name: str) -> None:
    network = made(name)
    found = networks.pool(network, networks.extract_features(network, pictures()))
    logits = networks.find_head(network)(found)
    assert logits.shape == (2, len(LABELS))
    torch.testing.assert_close(logits, network(pictures()), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("name", SMALL)
def test_a_network_of_timm_is_saved_and_loaded_with_no_more_than_its_folder(
    name: str, tmp_path: Path
) -> None:
    network = made(name, 96)
    classifier.save(tmp_path, network, card_of(name, 96))
    loaded, card = classifier.load(tmp_path)
    assert card.model_name == name
    assert torch.equal(loaded(pictures(96)), network(pictures(96)))


@torch.inference_mode()
@pytest.mark.parametrize("name", ["efficientnet-b0", "test_resnet", "test_efficientnet"])
def test_of_several_processes_on_gpus_every_batch_norm_is_shared_and_predicts_as_before(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = made(name)
    before, norms = network(pictures()), count(network, nn.BatchNorm2d)
    for variable in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(variable, "0" if variable == "RANK" else "2")
    assert distributed.share_batch_norms(network, torch.device("cpu")) is network
    shared = distributed.share_batch_norms(network, torch.device("cuda"))
    assert count(shared, nn.SyncBatchNorm) == norms > 0
    torch.testing.assert_close(shared.eval()(pictures()), before)


def count(network: nn.Module, kind: type) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


def test_a_network_with_two_heads_is_refused() -> None:
    with pytest.raises(OptionError, match="more than one head"):
        networks.build("swiftformer_xs", 3, 64)


@torch.inference_mode()
@pytest.mark.parametrize("name", SMALL)
def test_a_network_of_timm_is_predicted_with_as_it_is(name: str) -> None:
    network = made(name)
    assert torch.equal(networks.fold_batch_norms(network)(pictures()), network(pictures()))


@pytest.mark.parametrize("name", ["efficientnet-b0", *SMALL])
def test_grad_cam_is_of_any_network(name: str) -> None:
    found = gradcam.compute_heat(made(name), pictures()[0], label=1)
    assert found.ndim == 2
    assert 0 <= found.min() <= found.max() <= 1


def test_grad_cam_finds_the_places_where_channels_come_last() -> None:
    """Swin's features are (b, rows, columns, channels)."""
    network = made("swin_tiny_patch4_window7_224", 224)
    assert gradcam.compute_heat(network, pictures(224)[0], label=0).shape == (7, 7)


def test_what_pictures_a_network_takes_is_what_timm_says() -> None:
    found = networks.describe_pictures("test_vit")
    assert found == Pictures(160, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    assert networks.describe_pictures("test_resnet").interpolation == "bilinear"
    assert networks.describe_pictures("tf_efficientnet_b3.ns_jft_in1k").side_px == 300


def test_batch_norms_follow_the_few_steps_of_a_small_dataset() -> None:
    for name in ("efficientnet-b0", "tf_efficientnet_b0"):
        norms = [m for m in made(name).modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms
        assert {norm.momentum for norm in norms} == {networks.BATCH_NORM_MOMENTUM}


@pytest.mark.parametrize(
    "name",
    ["", "resnet-of-nobody", "resnet18.nobodys", "hf-hub:timm/resnet18", "local-dir:.", "../x",
     "efficientnet-b9", None, 5],
)  # fmt: skip
def test_a_card_of_a_network_that_is_none_is_refused(name: object, tmp_path: Path) -> None:
    assert not networks.is_known(name)
    classifier.save(tmp_path, nn.Linear(1, 1), card_of(name))  # type: ignore[arg-type]
    with pytest.raises(InputInvalid, match=r"model\.json: model_name"):
        classifier.load(tmp_path)


def test_an_unknown_network_is_refused_with_names_like_it() -> None:
    with pytest.raises(OptionError, match="resnet18d"):
        networks.build("resnet18.of_nobody", 2)


@pytest.mark.parametrize("name", ["test_vit", "nest_tiny"])  # says so when used, when built
def test_a_side_that_a_network_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="--image-size 65"):
        networks.build(name, 2, 65)


def test_features_of_tokens_have_no_places_and_no_heat() -> None:
    np.testing.assert_array_equal(gradcam.compute_heat(made("test_vit"), pictures()[0], 0), [[0.0]])
