from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from animl_pipeline.classifier import card, engines, networks, predicting
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.images import opening
from animl_pipeline.running import devices

LABELS = ["bird", "fox", "lizard"]
SIDE = 64
# One with batch norms that fold, one whose norms do not, one whose features are tokens.
NETWORKS = ["efficientnet-b0", "mobilenetv3_small_050", "vit_tiny_patch16_224"]


def make_run(folder: Path, model_name: str = "efficientnet-b0") -> Path:
    """A run whose network is as after training: norms settled, and sure of what it sees."""
    torch.manual_seed(0)
    made = networks.build(model_name, len(LABELS), SIDE)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        for parameter in networks.find_head(made).parameters():
            parameter.normal_(0, 0.5)
    card.save(folder, made, Card(model_name, LABELS, SIDE, {}, {}, {}, "", 0))
    return folder


def draw(count: int) -> NDArray[np.uint8]:
    """Pictures as `Transform.prepare` gives them, from dark to light."""
    rng = np.random.default_rng(0)
    light = np.linspace(30, 256, count).reshape(-1, 1, 1, 1)
    return (rng.random((count, 3, SIDE, SIDE)) * light).astype(np.uint8)


def soften(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    return predicting.to_probabilities(torch.from_numpy(logits))


@pytest.mark.parametrize("model_name", NETWORKS)
def test_torch_gives_the_logits_of_the_network_and_what_its_head_takes(
    tmp_path: Path, model_name: str
) -> None:
    engine = engines.open_engine(make_run(tmp_path, model_name), wanted="torch", device="cpu")
    pictures = draw(4)
    logits, features = engine.run(pictures)
    network, its_card = card.load(tmp_path)
    with torch.inference_mode():
        shown = torch.stack([make_transform(its_card).finish(p) for p in torch.tensor(pictures)])
        np.testing.assert_allclose(logits, network(shown).numpy(), atol=2e-5)
        of_head = networks.find_head(network)(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(logits, of_head, atol=1e-6)
    assert logits.dtype == features.dtype == np.float32
    assert engine.card == its_card


def test_torch_gives_the_probabilities_of_evaluate_to_a_millionth(in_trained: Path) -> None:
    run = in_trained / "runs/first"
    engine = engines.open_engine(run, wanted="torch", device="cpu")
    rows = pd.read_csv("dataset/dataset.csv")
    network, its_card = card.load(run)
    predictor = predicting.Predictor(devices.make_fabric("cpu", "auto"), network, its_card)
    evaluated = predicting.predict_rows(predictor, rows, Path("crops"), "test").probabilities
    prepare = make_transform(its_card).prepare
    crops = [prepare(opening.open_upright(Path("crops", crop))).numpy() for crop in rows["crop"]]
    logits, _ = engine.run(np.stack(crops))
    np.testing.assert_allclose(soften(logits), evaluated, atol=1e-6)
