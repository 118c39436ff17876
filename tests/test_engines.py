import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from animl_pipeline.classifier import card, engines, networks, onnx_file, predicting
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.inference import Inference
from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.errors import InputMissing, OptionError
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
    card.save(folder, made, Card(model_name, LABELS, SIDE, {}, {"precision": "32-true"}, {}, "", 0))
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


def test_torch_computes_in_the_precision_of_training_whatever_else_the_processor_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, pictures = make_run(tmp_path), draw(4)
    before, _ = engines.open_engine(run, wanted="torch", device="cpu").run(pictures)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    after, _ = engines.open_engine(run, wanted="torch", device="cpu").run(pictures)
    np.testing.assert_array_equal(before, after)


def test_torch_gives_the_probabilities_of_evaluate_to_a_millionth(in_trained: Path) -> None:
    run = in_trained / "runs/first"
    engine = engines.open_engine(run, wanted="torch", device="cpu")
    rows = pd.read_csv("dataset/dataset.csv")
    network, its_card = card.load(run)
    predictor = predicting.Predictor(
        devices.make_fabric("cpu", card.choose_precision(its_card)), network, its_card
    )
    evaluated = predicting.predict_rows(predictor, rows, Path("crops"), "test").probabilities
    prepare = make_transform(its_card).prepare
    crops = [prepare(opening.open_upright(Path("crops", crop))).numpy() for crop in rows["crop"]]
    logits, _ = engine.run(np.stack(crops))
    np.testing.assert_allclose(soften(logits), evaluated, atol=1e-6)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose ONNX file is made already."""
    folder = make_run(tmp_path_factory.mktemp("run"))
    engines.open_engine(folder, wanted="onnx", device="cpu")
    return folder


def test_onnxruntime_gives_what_torch_gives(run: Path) -> None:
    by_onnx = engines.open_engine(run, wanted="onnx", device="cpu")
    by_torch = engines.open_engine(run, wanted="torch", device="cpu")
    pictures = draw(21)
    (logits, features), expected = by_onnx.run(pictures), by_torch.run(pictures)
    assert logits.shape == (21, len(LABELS))
    np.testing.assert_allclose(soften(logits), soften(expected[0]), atol=1e-4)
    np.testing.assert_allclose(features, expected[1], atol=1e-3)
    assert (by_onnx.name, by_torch.name) == ("onnxruntime", "torch")


def test_a_network_of_timm_is_exported_too(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "mobilenetv3_small_050")
    by_onnx, by_torch = (
        engines.open_engine(folder, wanted=wanted, device="cpu").run(draw(3))
        for wanted in ("onnx", "torch")
    )
    np.testing.assert_allclose(by_onnx[0], by_torch[0], atol=1e-4)


@pytest.mark.parametrize("wanted", ["onnx", "torch"])
def test_what_is_said_of_a_picture_hardly_depends_on_those_beside_it(
    run: Path, wanted: engines.Wanted
) -> None:
    engine = engines.open_engine(run, wanted=wanted, device="cpu")
    pictures = draw(16)
    together, _ = engine.run(pictures)
    alone = np.concatenate([engine.run(pictures[n : n + 1])[0] for n in range(16)])
    in_threes = np.concatenate([engine.run(pictures[n : n + 3])[0] for n in range(0, 16, 3)])
    np.testing.assert_allclose(alone, together, atol=2e-5)
    np.testing.assert_allclose(in_threes, together, atol=2e-5)


def list_kept(folder: Path) -> list[Path]:
    return sorted((folder / onnx_file.FOLDER).iterdir())


def test_the_onnx_file_is_made_once_and_anew_for_other_weights(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (kept,) = list_kept(folder)
    before = kept.stat().st_mtime_ns
    first = engines.open_engine(folder, wanted="onnx", device="cpu").run(draw(2))[0]
    assert list_kept(folder) == [kept]
    assert kept.stat().st_mtime_ns == before
    network, its_card = card.load(folder)
    with torch.no_grad():
        networks.find_head(network).bias.add_(torch.tensor([1.0, 0, 0]))
    card.save(folder, network, its_card)
    second = engines.open_engine(folder, wanted="onnx", device="cpu").run(draw(2))[0]
    assert len(list_kept(folder)) == 1
    assert list_kept(folder) != [kept]
    np.testing.assert_allclose(second - first, [[1, 0, 0]] * 2, atol=1e-4)


def test_a_run_that_cannot_be_written_keeps_its_onnx_file_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path / "run", "mobilenetv3_small_050")
    (folder / onnx_file.FOLDER).write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    engines.open_engine(folder, wanted="onnx", device="cpu")
    assert len(list((tmp_path / "cache/animl-pipeline/onnx").iterdir())) == 1


def test_a_file_that_says_something_else_is_refused(run: Path, tmp_path: Path) -> None:
    other = Inference(*card.load(run))
    with torch.no_grad():
        networks.find_head(other.network).bias.add_(torch.tensor([0.1, 0, 0]))
    (kept,) = list_kept(run)
    with pytest.raises(onnx_file.DiffersError, match="use --engine torch"):
        onnx_file.check(kept.read_bytes(), other.eval(), SIDE)


def test_on_a_cpu_onnxruntime_is_taken_and_its_reason_said(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        engine = engines.open_engine(run, device="cpu")
    assert engine.name == "onnxruntime"
    assert caplog.messages == [f"Engine onnxruntime {engine.version}: the fastest on a CPU"]


def test_onnxruntime_is_not_for_a_gpu(run: Path) -> None:
    with pytest.raises(OptionError, match="runs on the CPU: leave out --device cuda"):
        engines.open_engine(run, wanted="onnx", device="cuda")


@pytest.mark.parametrize("wanted", ["onnx", "torch"])
def test_a_run_without_weights_is_missing(
    run: Path, tmp_path: Path, wanted: engines.Wanted
) -> None:
    shutil.copy(run / card.CARD, tmp_path)
    with pytest.raises(InputMissing, match=r"model\.safetensors is not there"):
        engines.open_engine(tmp_path, wanted=wanted, device="cpu")
