"""Train a label-weighted EfficientNet on the crops.

Reads   dataset/dataset.csv             crops with label and split; test is never looked at
        dataset/label_index.json        the labels in order
        crops/<crop>                    the pictures
Writes  runs/<name>/model.safetensors   the weights of the best epoch
        runs/<name>/model.json          all that a user of the weights needs to know
        runs/<name>/last.pt             the full state after the last epoch, to go on from
        runs/<name>/history.csv         one row per epoch; TensorBoard events beside it
        runs/latest                     points at the newest run
"""

import hashlib
import json
import platform
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from animl_pipeline import artifacts, cutting, files
from animl_pipeline.errors import InputInvalid, OptionError
from animl_pipeline.stages import Counts, option, record_of

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from animl_pipeline.classifier import Card
    from animl_pipeline.learning.state import Progress

LATEST = "latest"  # the name in the runs folder that points at the newest run
NOT_OF_THE_RUN = {  # options that do not change what is learned
    "dataset_dir", "crops_dir", "logdir", "run_name", "num_workers", "log_extreme_examples",
    "resume",
}  # fmt: skip
PACKAGES = ("animl-pipeline", "torch", "torchvision", "efficientnet-pytorch", "pillow")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The knobs of `pipeline train`."""

    dataset_dir: Path = option(Path("dataset"), help="Folder of the dataset.")
    crops_dir: Path = option(Path("crops"), help="Folder of the crops.")
    logdir: Path = option(Path("runs"), help="Folder of all runs.")
    run_name: str | None = option(
        None, help="Name of this run; default: the network and a hash of options and data."
    )
    model_name: str = option("efficientnet-b3", help="efficientnet-b0 to -b7.")
    pretrained: bool = option(True, help="Start from ImageNet weights (downloaded once).")
    weights: Path | None = option(
        None, help="Start from this file instead: model.safetensors, or a .pt of tensors."
    )
    label_weighted: bool = option(True, help="Show each label equally often.")
    epochs: int = option(50, min=1, help="At most so many.")
    batch_size: int = option(80, min=1, help="Crops per step; lower it if memory runs out.")
    lr: float = option(3e-5, min=0.0, help="Learning rate; from scratch about 1e-3.")
    weight_decay: float = option(1e-6, min=0.0, help="Weight decay.")
    num_workers: int | None = option(None, min=0, help="Processes that read crops; default: cores.")
    image_size: int | None = option(
        None, min=64, help="Side in pixels; default: the network's own (B3: 300)."
    )
    log_extreme_examples: int = option(
        3, min=0, help="Most confident hits and misses per label shown in TensorBoard."
    )
    patience: int = option(8, min=0, help="Stop after so many epochs without a better; 0: never.")
    precision: str = option("auto", help="auto, 32-true, bf16-mixed or 16-mixed.")
    device: str = option("auto", help="auto, cpu, cuda or mps.")
    seed: int = option(0, min=0, max=2**31 - 1, help="Same seed, same run (on the CPU).")
    resume: bool = option(True, help="Go on with this run where it stopped; else start it over.")

    @property
    def folder(self) -> Path:
        """Where this run goes."""
        name = self.run_name
        why_not = files.unsafe_reason(name) if name is not None else ""
        if name is not None and (why_not or "/" in name or name == LATEST):
            raise OptionError(f"--run-name {name!r} {why_not or 'cannot name a folder of runs'}.")
        return self.logdir / (self.run_name or f"{self.model_name}-{self.identity[:8]}")

    @property
    def inputs(self) -> list[Path]:
        """The dataset and its labels."""
        found = [self.dataset_dir / artifacts.DATASET.name, self.dataset_dir / "label_index.json"]
        return found + ([self.weights] if self.weights else [])

    @cached_property
    def data_fingerprint(self) -> str:
        """Return the sha256 of the dataset, its labels and the weights it starts from."""
        digests = "".join(files.digest(path, "sha256") for path in self.inputs)
        return hashlib.sha256(digests.encode()).hexdigest()

    @property
    def identity(self) -> str:
        """Return the sha256 of all that decides what is learned."""
        decides = {k: v for k, v in record_of(self).items() if k not in NOT_OF_THE_RUN}
        decides.pop("weights")  # by content: it is in the data's fingerprint
        decides["data"] = self.data_fingerprint
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def run(options: Options) -> Counts:
    """Train, or go on training, until the epochs are done or nothing gets better."""
    import torch
    from torch.utils.tensorboard import SummaryWriter

    from animl_pipeline import classifier, devices, learning
    from animl_pipeline.learning.building import build_learner
    from animl_pipeline.learning.keeping import keeper
    from animl_pipeline.learning.state import Progress, load_state

    dataset = artifacts.read(artifacts.DATASET, options.dataset_dir / artifacts.DATASET.name)
    labels = artifacts.read_labels(options.dataset_dir / "label_index.json")
    _check(dataset, labels, options)
    fabric = devices.make_fabric(options.device, options.precision)
    torch.manual_seed(options.seed)
    network = classifier.build(options.model_name, len(labels))
    card = _card(options, labels)
    last = options.folder / "last.pt"
    resumes = options.resume and last.exists()
    if not resumes:
        _start(network, options)
    learner = build_learner(
        fabric, network, dataset, card, crops_dir=options.crops_dir,
        batch_size=options.batch_size, readers=options.num_workers,
        label_weighted=options.label_weighted, lr=options.lr, weight_decay=options.weight_decay,
    )  # fmt: skip
    state = Progress()
    if not resumes:
        last.unlink(missing_ok=True)
    else:
        state = load_state(last, learner, identity=options.identity)
    with SummaryWriter(options.folder, purge_step=state.next_epoch) as writer:
        keep = keeper(
            options.folder, learner, card, writer, identity=options.identity,
            extremes_per_label=options.log_extreme_examples,
        )  # fmt: skip
        try:
            learning.fit(
                learner, state, epochs=options.epochs, patience=options.patience,
                seed=options.seed, on_epoch=keep,
            )  # fmt: skip
        except torch.OutOfMemoryError as error:
            raise OptionError(
                f"Out of memory: --batch-size {options.batch_size} is too much, try half."
            ) from error
    files.point_at(options.logdir / LATEST, options.folder)
    return _counted(state, dataset, options)


def _check(dataset: "pd.DataFrame", labels: list[str], options: Options) -> None:
    unknown = sorted(set(dataset["label"]) - set(labels))
    if unknown:
        raise InputInvalid(
            f"{options.dataset_dir}: label {unknown[0]!r} is not in label_index.json. Run "
            "`pipeline split` again."
        )
    if not (dataset["split"] == "train").any():
        raise InputInvalid(f"{options.dataset_dir}: no crop is in train. Run `pipeline split`.")
    used = dataset[dataset["split"].isin(["train", "val"])]["crop"]
    absent = [crop for crop in used if not (options.crops_dir / crop).is_file()]
    if absent:
        raise InputInvalid(
            f"{len(absent):,} of {len(used):,} crops are not in {options.crops_dir}, such as "
            f"{absent[0]}: check --crops-dir, or run `pipeline crop` and `pipeline split` again."
        )


def _card(options: Options, labels: list[str]) -> "Card":
    from animl_pipeline import classifier

    return classifier.Card(
        model_name=options.model_name,
        labels=labels,
        image_size=options.image_size or classifier.image_size_of(options.model_name),
        crop_rule=cutting.crop_rule(options.crops_dir),
        options=record_of(options),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        data_fingerprint=options.data_fingerprint,
        epoch=-1,
    )


def _start(network: "nn.Module", options: Options) -> None:
    """Give the network the weights it starts from."""
    from animl_pipeline import classifier
    from animl_pipeline.learning import logger

    if options.weights:
        source, weights = str(options.weights), classifier.read_weights(options.weights)
    elif options.pretrained:
        source = f"ImageNet weights of {options.model_name}"
        weights = classifier.pretrained_weights(options.model_name)
    else:
        return
    fresh = classifier.start_from(network, weights, source)
    if fresh:
        logger.warning("%s: started fresh, since they do not fit: %s", source, ", ".join(fresh))


def _counted(state: "Progress", dataset: "pd.DataFrame", options: Options) -> Counts:
    best = state.history[state.best_epoch]
    score = best["val_macro_average_precision"]
    return Counts(
        items={
            "epochs": len(state.history),
            "best epoch": state.best_epoch + 1,
            "train": int((dataset["split"] == "train").sum()),
            "val": int((dataset["split"] == "val").sum()),
        },
        summary=f"best of {len(state.history)} epochs is {state.best_epoch + 1}, with macro "
        f"average precision {score:.3f} on val -> {options.folder}\n"
        f"  curves: tensorboard --logdir {options.logdir}",
    )
