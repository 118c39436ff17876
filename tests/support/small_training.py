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

from animl_pipeline.artifacts import tables
from animl_pipeline.classifier import networks
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.crops import Crops
from animl_pipeline.classifier.predicting import Outputs
from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.running import devices, processes
from animl_pipeline.running.stopping import Stop
from animl_pipeline.training import distributed, loop
from animl_pipeline.training.augmentation import make_training_transform
from animl_pipeline.training.loop import Validation
from animl_pipeline.training.settings import Augmentation, Course, Machine, Recipe, SelectBy
from animl_pipeline.training.setup import build_learner
from animl_pipeline.training.state import Learner, Progress, read_state, restore

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


def card_of(model_name: str = "efficientnet-b0") -> Card:
    return Card(model_name, LABELS, SIDE, {}, {}, {}, "", 0)


def crops_of(
    folder: Path, numbers: list[int], *, augmented: bool = False, replace: bool = False
) -> Crops:
    changed = make_training_transform(card_of(), Augmentation.DEFAULT)
    transform = changed if augmented else make_transform(card_of())
    names = [f"{number:02}.png" for number in numbers]
    truth = [int(number >= 6) for number in numbers]
    return Crops(folder, names, truth, transform, replace=replace)


def dataset_of(**splits: list[int]) -> pd.DataFrame:
    """The rows of dataset.csv of these pictures, as far as training needs them."""
    rows = [
        {
            "crop": f"{number:02}.png",
            "label": LABELS[number >= 6],
            "split": split,
            "dataset": "isle",
            "location": "a",
            tables.CONFIDENCE: (number + 1) / 12,
        }
        for split, numbers in splits.items()
        for number in numbers
    ]
    return pd.DataFrame(rows)


def make_learner(
    folder: Path,
    *,
    numbers: list[int] = TRAIN,
    val: bool = True,
    seed: int = 0,
    readers: int = 0,
    **recipe: Any,
) -> Learner:
    """What learns from the pictures; `seed` is that of the first weights."""
    torch.manual_seed(seed)
    how = Recipe(
        **{"model_name": "efficientnet-b0", "lr": 1e-3, "batch_size": 3, "seed": 1} | recipe
    )
    return build_learner(
        devices.make_fabric("cpu", "32-true"),
        networks.build(how.model_name, len(LABELS), SIDE),
        dataset_of(train=numbers, val=VAL if val else []),
        card_of(how.model_name),
        recipe=how,
        course=Course(epochs=3),
        machine=Machine(num_workers=readers, cache_gb=0.0),
        crops_dir=folder,
    )


class Recorder:
    """Hands on what the loop has reached, or forgets it."""

    def __init__(
        self,
        on_epoch: Callable[..., None] | None = None,
        save: Callable[[Progress], None] | None = None,
    ) -> None:
        self.on_epoch, self.save = on_epoch, save

    def write_epoch(
        self, progress: Progress, validation: Validation | None, *, is_best: bool
    ) -> None:
        if self.on_epoch:
            self.on_epoch(progress, validation, is_best)

    def write_state(self, progress: Progress) -> None:
        if self.save:
            self.save(progress)


def fit(
    learner: Learner,
    state: Progress,
    on_epoch: Callable[..., None] | None = None,
    *,
    epochs: int = 3,
    patience: int = 0,
    select_by: SelectBy = SelectBy.MACRO_AP,
    stop: Stop | None = None,
    save: Callable[[Progress], None] | None = None,
    save_minutes: float = 99.0,
) -> Progress:
    course = Course(epochs=epochs, patience=patience, save_minutes=save_minutes)
    loop.fit(
        learner,
        state,
        course,
        select_by=select_by,
        stop=stop or Stop(),
        recorder=Recorder(on_epoch, save),
    )
    return state


def load_state(path: Path, learner: Learner, *, identity: str) -> Progress:
    """Put a learner back where it was saved, and return how far that was."""
    return restore(learner, read_state(path, identity=identity), path)


def gathered(n: int = 7) -> dict[str, list[Any]]:
    """What all processes predicted of n crops, of which two cannot be read."""
    share = np.array(distributed.share_out(n))
    readable = ~np.isin(share, [1, 4])
    own = Outputs(np.stack([share, 9 - share], axis=1) / 9, share / 9, readable)
    outputs = distributed.gather_outputs(own, n)
    parts = ("probabilities", "spread", "readable")  # what validation takes
    return {name: getattr(outputs, name).tolist() for name in parts}


def main(folder: Path) -> None:
    """Learn without batch norm, which on CPUs is each process's own, and without dropout."""
    torch.set_num_threads(1)
    learner = make_learner(folder, model_name="test_vit", batch_size=4, lr=1e-4)
    state = fit(learner, Progress(), epochs=2)
    head = learner.network.state_dict()["head.weight"]
    seen = {"history": state.history, "head": head.tolist(), "gathered": gathered()}
    (folder / f"rank{processes.get_rank()}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
