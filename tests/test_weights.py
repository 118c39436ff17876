"""Weights of other hands: MegaDetector's checkpoints, other labels, files that lie."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from efficientnet_pytorch import EfficientNet
from safetensors.torch import save_file
from torch import nn

from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier import networks, weights
from animl_pipeline.errors import InputInvalid, WeightsMissing
from animl_pipeline.training.initial import make_network

LABELS = ["bird", "fox", "skunk"]


def card_of(name: str = "test_resnet", labels: list[str] | None = None) -> classifier.Card:
    return classifier.Card(name, labels or LABELS, 64, {}, {}, {}, "", 0)


def a_run(folder: Path, labels: list[str] | None = None) -> Path:
    card = card_of(labels=labels)
    torch.manual_seed(3)
    classifier.save(folder, networks.build(card.model_name, len(card.labels), 64), card)
    return folder / "model.safetensors"


def checkpoint(network: nn.Module, **more: Any) -> dict[str, Any]:
    """What MegaDetector's train_classifier saves."""
    optimizer = torch.optim.RMSprop(network.parameters(), 1e-3, alpha=0.9, momentum=0.9)
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    saved = {"epoch": 7, "model": network.state_dict(), "optimizer": optimizer.state_dict()}
    return {**saved, "val/acc": 81.25} | more


@torch.inference_mode()
def logits_of(network: nn.Module) -> torch.Tensor:
    found: torch.Tensor = network.eval()(
        torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    )
    return found


def test_an_old_checkpoint_of_b3_gives_the_logits_that_efficientnet_pytorch_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In a file as the trainer writes it, batch norms with statistics, optimizer and all."""
    torch.manual_seed(0)
    theirs = EfficientNet.from_name("efficientnet-b3", num_classes=len(LABELS))
    torch.save(checkpoint(theirs), tmp_path / "ckpt_7.pt")
    card = card_of("efficientnet-b3")
    with caplog.at_level(logging.WARNING):
        ours = make_network(card, weights_file=tmp_path / "ckpt_7.pt", pretrained=True)
    torch.testing.assert_close(logits_of(ours), logits_of(theirs), rtol=1e-4, atol=1e-5)
    assert "does not say which labels its head is for: taken to be bird, fox, skunk" in caplog.text


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_a_checkpoint_with_a_figure_of_numpys_is_read(tmp_path: Path, module: str) -> None:
    """As when the accuracy was computed with NumPy, by its old name for the type or its new."""
    path = tmp_path / "ckpt_1.pt"
    network = networks.build("test_resnet", 3)
    torch.save(checkpoint(network, **{"val/acc": np.float64(81.25)}), path, pickle_protocol=2)
    content = path.read_bytes()
    assert b"numpy._core.multiarray" in content
    renamed = tmp_path / "renamed.pt"
    rewrite(path, renamed, b"numpy._core.multiarray", module.encode())
    found = weights.read_weights(renamed)
    assert all(torch.equal(found[name], value) for name, value in network.state_dict().items())


def rewrite(path: Path, to: Path, old: bytes, new: bytes) -> None:
    """Copy a file of torch's with other names in its pickle."""
    import zipfile

    with zipfile.ZipFile(path) as source, zipfile.ZipFile(to, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content.replace(old, new) if name.endswith(".pkl") else content)


def test_a_run_says_for_which_labels_its_weights_are(tmp_path: Path) -> None:
    assert weights.read_labels(a_run(tmp_path)) == LABELS


@pytest.mark.parametrize(
    "metadata",
    [None, {"card": "no JSON"}, {"card": "[]"}, {"card": json.dumps({"labels": 5})}, {"a": "b"},
     {"card": "[" * 100_000}],
)  # fmt: skip
def test_a_file_that_does_not_say_its_labels_has_none(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata=metadata)
    assert weights.read_labels(tmp_path / "a.safetensors") is None


@pytest.mark.parametrize("labels", [["bird", "skunk", "fox"], ["bird", "fox", "lizard"]])
def test_a_head_for_as_many_other_labels_is_not_taken(
    tmp_path: Path, labels: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Nor one for the same labels in another order: its rows would speak for the wrong ones."""
    path = a_run(tmp_path, labels)
    torch.manual_seed(9)
    with caplog.at_level(logging.WARNING):
        network = make_network(card_of(), weights_file=path, pretrained=False)
    given, taken = weights.read_weights(path), network.state_dict()
    assert not torch.equal(taken["fc.weight"], given["fc.weight"])
    assert torch.equal(taken["layer1.0.conv1.weight"], given["layer1.0.conv1.weight"])
    assert f"are for other labels ({', '.join(labels)}): fc.weight, fc.bias" in caplog.text


def test_a_head_for_the_same_labels_is_taken_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = a_run(tmp_path)
    with caplog.at_level(logging.WARNING):
        network = make_network(card_of(), weights_file=path, pretrained=False)
    given, taken = weights.read_weights(path), network.state_dict()
    assert all(torch.equal(taken[name], given[name]) for name in given)
    assert caplog.text == ""


def test_weights_of_a_network_of_timm_that_cannot_be_had_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsMissing, match="--weights FILE, or train from scratch"):
        weights.read_pretrained("test_resnet", 64)


def test_weights_of_another_network_of_timm_are_refused(tmp_path: Path) -> None:
    path = a_run(tmp_path)
    with pytest.raises(InputInvalid, match="--model-name"):
        make_network(card_of("test_efficientnet"), weights_file=path, pretrained=False)
