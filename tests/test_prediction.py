from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from animl_pipeline.classifier import card, networks, predicting
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.report import gradcam
from animl_pipeline.running import devices

CARD = card.Card("efficientnet-b0", ["bird", "fox"], 64, {}, {}, {}, "", 0)


def network(seed: int = 0, name: str = "efficientnet-b0") -> nn.Module:
    torch.manual_seed(seed)
    made = networks.build(name, 2).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training: not the identity
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return made


def crops(folder: Path, *pictures: Image.Image | bytes) -> pd.DataFrame:
    (folder / "isle").mkdir()
    names = []
    for number, picture in enumerate(pictures):
        path = folder / "isle" / f"{number}.png"
        path.write_bytes(picture) if isinstance(picture, bytes) else picture.save(path)
        names.append(f"isle/{number}.png")
    columns = {"crop": names, "image": names, "dataset": "isle", "location": "a", "label": "fox"}
    return pd.DataFrame(columns)


def noise(seed: int, mode: str = "RGB") -> Image.Image:
    shape = (70, 70, 3) if mode == "RGB" else (70, 70)
    pixels = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
    return Image.fromarray(pixels, mode)


def predicted(folder: Path, rows: pd.DataFrame) -> Predictions:
    fabric = devices.make_fabric("cpu", "32-true")
    return predicting.predict_rows(
        predicting.Predictor(fabric, network(), CARD), rows, folder, "test"
    )


@torch.inference_mode()
@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-b3"])
def test_a_folded_network_predicts_the_same_and_has_no_norm_left(name: str) -> None:
    plain = network(name=name)
    folded = networks.fold_batch_norms(plain)
    pictures = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(folded(pictures), plain(pictures), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in plain.modules())


def test_predictions_are_what_the_network_says_of_the_picture(tmp_path: Path) -> None:
    found = predicted(tmp_path, crops(tmp_path, noise(0), noise(1)))
    pictures = torch.stack([make_transform(CARD)(noise(seed)) for seed in (0, 1)])
    with torch.inference_mode():
        expected = torch.softmax(network()(pictures).double(), dim=1).numpy()
    soft = found.to_table()[["prob_bird", "prob_fox"]].to_numpy()
    np.testing.assert_allclose(soft, expected, atol=1e-5)
    assert found.to_table()["predicted"].tolist() == [
        CARD.labels[i] for i in expected.argmax(axis=1)
    ]


def test_a_picture_whose_channels_are_nearly_equal_is_grey(tmp_path: Path) -> None:
    tinted = Image.merge(
        "RGB", [noise(0, "L"), noise(0, "L"), noise(0, "L").point(lambda v: v - 3)]
    )
    rows = crops(tmp_path, noise(0), noise(0, "L"), tinted)
    assert predicted(tmp_path, rows).grey.tolist() == [False, True, True]


@pytest.mark.parametrize("size", [(60, 60), (60, 200), (200, 60)])
@pytest.mark.parametrize(("colour", "grey"), [((118, 110, 102), False), ((118, 116, 114), True)])
def test_black_padding_says_nothing_of_the_light(
    tmp_path: Path, size: tuple[int, int], colour: tuple[int, int, int], grey: bool
) -> None:
    rows = crops(tmp_path, Image.new("RGB", size, colour))
    assert predicted(tmp_path, rows).grey.tolist() == [grey]


def test_a_black_picture_is_grey(tmp_path: Path) -> None:
    assert predicted(tmp_path, crops(tmp_path, Image.new("RGB", (60, 60)))).grey.tolist() == [True]


def test_what_cannot_be_read_is_left_out_of_every_column(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = crops(tmp_path, noise(0), b"no picture", noise(0, "L"))
    found = predicted(tmp_path, rows)
    assert (
        found.to_table()["crop"].tolist()
        == found.rows["crop"].tolist()
        == ["isle/0.png", "isle/2.png"]
    )
    assert found.grey.tolist() == [False, True]
    assert found.unreadable == ["isle/1.png"]
    assert "isle/1.png cannot be read" in caplog.text


def test_labels_of_the_network_are_gathered_into_targets(tmp_path: Path) -> None:
    found = predicted(tmp_path, crops(tmp_path, noise(0)))
    mapped = found.as_labels({"animal": ["fox", "bird"], "other": []}).to_table()
    assert mapped[["prob_animal", "prob_other"]].to_numpy().tolist() == [[1.0, 0.0]]
    assert mapped["predicted"].tolist() == ["animal"]


def test_grad_cam_looks_where_the_label_is() -> None:
    """A network that sees red alone is warm where the red is, and nowhere else."""

    class Reddish(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2, bias=False)
            self.fc.weight.data = torch.tensor([[0.0, 1, 1], [1, 0, 0]])

        def forward_features(self, pictures: torch.Tensor) -> torch.Tensor:
            return torch.relu(nn.functional.avg_pool2d(pictures, 8))

        def forward_head(self, features: torch.Tensor, *, pre_logits: bool) -> torch.Tensor:
            return features.mean(dim=(2, 3)) if pre_logits else self.fc(features.mean(dim=(2, 3)))

        def get_classifier(self) -> nn.Module:
            return self.fc

    picture = torch.zeros(3, 64, 64)
    picture[0, :32, :32] = 1
    found = gradcam.compute_heat(Reddish(), picture, label=1)
    assert found.shape == (8, 8)
    assert (found[:4, :4] == 1).all()
    assert found.sum() == 16


def test_grad_cam_is_the_derivative_of_the_real_network() -> None:
    made, picture = network(), torch.randn(3, 64, 64)
    assert torch.allclose(
        networks.find_head(made)(
            networks.pool(made, networks.extract_features(made, picture[None]))
        ),
        made(picture[None]),
        atol=1e-5,
    )
    found = gradcam.compute_heat(made, picture, label=0)
    assert found.shape == (2, 2)
    assert 0 <= found.min() <= found.max() <= 1


def test_grad_cam_is_shown_on_the_square_the_network_sees() -> None:
    shown = gradcam.overlay_heat(network(), CARD, noise(0).resize((90, 40)), label=1)
    assert shown.size == (64, 64)
