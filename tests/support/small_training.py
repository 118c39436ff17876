"""A few crops of noise to learn from, and the loop on them, in one process or in several.

As a script, by torchrun: trains in a folder and writes what each process saw of the run.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier import networks
from animl_pipeline.classifier.crops import Crops, loader
from animl_pipeline.classifier.predicting import Outputs
from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.running import devices, processes
from animl_pipeline.running.stopping import Stop
from animl_pipeline.training import augmentation, distributed, loop
from animl_pipeline.training.averaging import Average
from animl_pipeline.training.optimisation import make_optimizer
from animl_pipeline.training.recipe import Augmentation, Optimizer, SelectBy
from animl_pipeline.training.sampling import Drawn, Draws, crop_weights
from animl_pipeline.training.state import Learner, Progress

SIDE = 64
LABELS = ["bird", "fox"]
TRAIN, VAL = [0, 1, 2, 3, 6, 7, 8], [4, 5, 9, 10]


def draw_pictures(folder: Path) -> None:
    """Six greenish birds and six reddish foxes, each a little different."""
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(0, 120, (SIDE, SIDE, 3), dtype=np.uint8)
        pixels[..., 1 if number < 6 else 0] += 100
        Image.fromarray(pixels).save(folder / f"{number:02}.png")


def crops_of(
    folder: Path, numbers: list[int], *, augmented: bool = False, replace: bool = False
) -> Crops:
    card = classifier.Card(
        model_name="efficientnet-b0", labels=LABELS, image_size=SIDE, crop_rule={}, options={},
        versions={}, data_fingerprint="", epoch=0,
    )  # fmt: skip
    changed = augmentation.augmented(card, Augmentation.DEFAULT)
    transform = changed if augmented else make_transform(card)
    names = [f"{number:02}.png" for number in numbers]
    truth = [int(number >= 6) for number in numbers]
    return Crops(folder, names, truth, transform, replace=replace)


def val_rows() -> pd.DataFrame:
    """The rows of dataset.csv of val, as far as its predictions need them."""
    names = [f"{number:02}.png" for number in VAL]
    labels = [LABELS[number >= 6] for number in VAL]
    return pd.DataFrame({"crop": names, "label": labels, "dataset": "isle", "location": "a"})


def make_learner(
    folder: Path, *, lr: float = 1e-3, val: bool = True, batch_size: int = 3, seed: int = 0,
    numbers: list[int] = TRAIN, splits_batches: bool = False, readers: int = 0,
    dropout: bool = True,
) -> Learner:  # fmt: skip
    torch.manual_seed(seed)
    fabric = devices.make_fabric("cpu", "32-true")
    network = networks.build("efficientnet-b0", 2)
    if not dropout:
        network._dropout.p, network._global_params = (
            0.0, network._global_params._replace(drop_connect_rate=0.0),
        )  # fmt: skip
    network = distributed.share_batch_norm(network, fabric.device)
    optimizer = make_optimizer(Optimizer.RMSPROP, network, lr=lr, weight_decay=1e-6)
    network, optimizer = fabric.setup(network, optimizer)
    train = crops_of(folder, numbers, augmented=True, replace=True)
    draws = Draws(
        len(train), crop_weights(np.array(train.truth)), batch_size=batch_size, seed=1,
        rank=processes.rank(), ranks=processes.count(),
    )  # fmt: skip
    own = distributed.share(len(VAL))
    average = Average(network.module, steps=draws.steps)
    return Learner(
        fabric, network, average, optimizer,
        rate=lambda step: lr * 0.9 ** (step // draws.steps),
        labels=LABELS,
        draws=draws,
        train=loader(Drawn(train, None), batches=draws, workers=readers),
        val=loader(crops_of(folder, VAL), batch_size=3, workers=0, order=own) if val else None,
        val_rows=val_rows(),
        label_smoothing=0.0,
        splits_batches=splits_batches,
    )  # fmt: skip


def nothing(*_: Any) -> None:
    """Do nothing after an epoch."""


def fit(
    learner: Learner,
    state: Progress,
    on_epoch: Callable[..., None] = nothing,
    *,
    epochs: int = 3,
    patience: int = 0,
    select_by: SelectBy = SelectBy.MACRO_AP,
    stop: Stop | None = None,
    save: Callable[[Progress], None] = nothing,
    save_every_s: float = 999,
) -> Progress:
    loop.fit(
        learner, state, epochs=epochs, patience=patience, select_by=select_by,
        stop=stop or Stop(), save_every_s=save_every_s, save=save, on_epoch=on_epoch,
    )  # fmt: skip
    return state


def gathered(n: int = 7) -> dict[str, list[Any]]:
    """What all processes predicted of n crops, of which two cannot be read."""
    share = np.array(distributed.share(n))
    readable = ~np.isin(share, [1, 4])
    own = Outputs(np.stack([share, 9 - share], axis=1) / 9, share / 9, readable)
    outputs = distributed.gather_outputs(own, n)
    return {name: value.tolist() for name, value in vars(outputs).items()}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    learner = make_learner(folder, batch_size=4, lr=1e-4, dropout=False)
    state = fit(learner, Progress(), epochs=2)
    norm = learner.network.state_dict()["_bn1.running_var"]
    seen = {"history": state.history, "running_var": norm.tolist(), "gathered": gathered()}
    (folder / f"rank{processes.rank()}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
