"""Train a label-weighted EfficientNet on the crops.

Reads   dataset/dataset.csv             crops with label and split; test is never looked at
        dataset/label_index.json        the labels in order
        crops/<crop>                    the pictures
Writes  runs/<name>/model.safetensors   the weights of the best epoch
        runs/<name>/model.json          all that a user of the weights needs to know
        runs/<name>/last.pt             the full state after the last epoch, to go on from
        runs/<name>/trained_on.csv      the crops of train and val
        runs/<name>/history.csv         one row per epoch; TensorBoard events beside it
        runs/<name>/augmentation.jpg    a crop of each label as training sees it
        crops/.cache/                   decoded crops, or what a frozen network says of them
        runs/latest                     points at the newest run
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from animl_pipeline.artifacts import label_index, tables
from animl_pipeline.artifacts.splits import TRAIN, VAL
from animl_pipeline.errors import InputInvalid, OptionError, TrainingDiverged
from animl_pipeline.files import folders, names, whole
from animl_pipeline.running import processes, stopping
from animl_pipeline.running.options import option, plain_values, settings
from animl_pipeline.running.stage import Counts
from animl_pipeline.runs import trained_on
from animl_pipeline.training.recipe import Augmentation, Freeze, Optimizer, Schedule, SelectBy

if TYPE_CHECKING:
    import pandas as pd
    from lightning_fabric import Fabric
    from torch import nn

    from animl_pipeline.classifier.card import Card
    from animl_pipeline.training.state import Learner, Progress

LATEST = "latest"  # the name in the runs folder that points at the newest run
BATCH_SIZE_AUTO = 80  # the published one
NOT_OF_THE_RUN = {  # options that do not change what is learned, but perhaps for how long
    "dataset_dir", "crops_dir", "logdir", "run_name", "num_workers", "log_extreme_examples",
    "cache_gb", "resume", "save_minutes", "epochs", "patience",
}  # fmt: skip


@settings
class Options:
    """The knobs of `pipeline train`."""

    dataset_dir: Annotated[Path, option("Folder of the dataset.")] = Path("dataset")
    crops_dir: Annotated[Path, option("Folder of the crops.")] = Path("crops")
    logdir: Annotated[Path, option("Folder of all runs.")] = Path("runs")
    run_name: Annotated[
        str | None, option("Name of this run; default: the network and a hash of options and data.")
    ] = None
    model_name: Annotated[str, option("efficientnet-b0 to -b7, or any network of timm.")] = (
        "efficientnet-b3"
    )
    pretrained: Annotated[bool, option("Start from ImageNet weights (downloaded once).")] = True
    weights: Annotated[
        Path | None,
        option(
            "Start from this instead: a run's folder, .safetensors, or a ckpt_*.pt of "
            "MegaDetector's trainer. The head is new where the labels differ."
        ),
    ] = None
    freeze: Annotated[
        Freeze,
        option(
            "What keeps the weights it starts from: head: all but the head; staged: the "
            "same, for the first epochs."
        ),
    ] = Freeze.NONE
    unfreeze_after: Annotated[int, option("Epochs for which --freeze staged holds.", ge=1)] = 5
    cache_embeddings: Annotated[
        bool,
        option("Train the head on a frozen network's features, made once: minutes on a laptop."),
    ] = False
    augmentation: Annotated[
        Augmentation, option("How much crops are changed while training: see augmentation.jpg.")
    ] = Augmentation.DEFAULT
    label_weighted: Annotated[bool, option("Show each label equally often.")] = True
    loss_weighted: Annotated[
        bool, option("Weight the labels in the loss instead, and show each crop once per epoch.")
    ] = False
    confidence_weighted: Annotated[
        bool, option("Within a label, weight crops by the detector's confidence.")
    ] = False
    effective_number: Annotated[
        float,
        option(
            "Beta of the effective number of crops by which labels are weighted (Cui et al."
            " 2019), such as 0.999; 1: by their number.",
            ge=0.0,
            le=1.0,
        ),
    ] = 1.0
    label_smoothing: Annotated[float, option("As in cross_entropy.", ge=0.0, le=0.9)] = 0.0
    epochs: Annotated[int, option("At most so many.", ge=1)] = 50
    batch_size: Annotated[
        Annotated[int, option("", ge=1)] | Literal["auto"],
        option("Crops per step, of all processes; auto: 80, in pieces that fit in memory."),
    ] = 80
    optimizer: Annotated[Optimizer, option("What makes the steps.")] = Optimizer.RMSPROP
    lr: Annotated[float, option("Learning rate; from scratch about 1e-3.", ge=0.0)] = 3e-5
    lr_schedule: Annotated[
        Schedule, option("step: 0.97 per 2.4 epochs; cosine: to 0 at the end of --epochs.")
    ] = Schedule.STEP
    warmup_epochs: Annotated[
        float, option("Epochs in which the rate rises to its full.", ge=0.0)
    ] = 0.0
    ema_epochs: Annotated[
        float,
        option(
            "Epochs over whose steps the kept weights are averaged (exponential moving "
            "average); 0: those of the last step.",
            ge=0.0,
        ),
    ] = 1.0
    weight_decay: Annotated[float, option("Weight decay.", ge=0.0)] = 1e-6
    cache_gb: Annotated[
        float,
        option("Gigabytes of decoded crops kept beside the crops; 0: decode each time.", ge=0.0),
    ] = 10.0
    num_workers: Annotated[
        int | None, option("Processes that read crops; default: cores.", ge=0)
    ] = None
    image_size: Annotated[
        int | None, option("Side in pixels; default: the network's own (B3: 300).", ge=64)
    ] = None
    log_extreme_examples: Annotated[
        int, option("Most confident hits and misses per label shown in TensorBoard.", ge=0)
    ] = 3
    select_by: Annotated[SelectBy, option("The figure on val of the best epoch.")] = (
        SelectBy.MACRO_AP
    )
    patience: Annotated[
        int, option("Stop after so many epochs without a better; 0: never.", ge=0)
    ] = 8
    precision: Annotated[str, option("auto, 32-true, bf16-mixed or 16-mixed.")] = "auto"
    device: Annotated[str, option("auto, cpu, cuda or mps.")] = "auto"
    seed: Annotated[int, option("Same seed, same run (on the CPU).", ge=0, le=2**31 - 1)] = 0
    save_minutes: Annotated[
        float, option("Save last.pt so often within an epoch, too; 0: after every step.", ge=0.0)
    ] = 10.0
    resume: Annotated[bool, option("Go on with this run where it stopped; else start it over.")] = (
        True
    )

    @property
    def crops_per_step(self) -> int:
        """Return the batch size as a number."""
        if isinstance(self.batch_size, int):
            return self.batch_size
        if processes.count() > 1:
            raise OptionError("--batch-size auto is for one process: give a number.")
        return BATCH_SIZE_AUTO

    @property
    def folder(self) -> Path:
        """Where this run goes."""
        name = self.run_name
        why_not = names.explain_unsafe(name) if name is not None else ""
        if name is not None and (why_not or "/" in name or name == LATEST):
            raise OptionError(f"--run-name {name!r} {why_not or 'cannot name a folder of runs'}.")
        return self.logdir / (self.run_name or f"{self.model_name}-{self.identity[:8]}")

    @property
    def inputs(self) -> list[Path]:
        """The dataset and its labels."""
        found = [self.dataset_dir / tables.DATASET.name, self.dataset_dir / "label_index.json"]
        return found + ([self.weights_file] if self.weights_file else [])

    @property
    def weights_file(self) -> Path | None:
        """The file of `weights`, which may be the folder of a run."""
        inside = self.weights and self.weights / "model.safetensors"
        return inside if inside and inside.exists() else self.weights

    @cached_property
    def data_fingerprint(self) -> str:
        """Return the sha256 of the dataset, its labels and the weights it starts from."""
        digests = "".join(whole.digest(path, "sha256") for path in self.inputs)
        return hashlib.sha256(digests.encode()).hexdigest()

    @property
    def identity(self) -> str:
        """Return the sha256 of all that decides what is learned."""
        from animl_pipeline.crops.rule import read_crop_rule

        decides = {k: v for k, v in plain_values(self).items() if k not in NOT_OF_THE_RUN}
        decides.pop("weights")  # by content: it is in the data's fingerprint
        decides["data"] = self.data_fingerprint
        decides["crop_rule"] = read_crop_rule(self.crops_dir)
        if self.lr_schedule is Schedule.COSINE:
            decides["epochs"] = self.epochs  # it ends where they do
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def run(options: Options) -> Counts:
    """Train, or go on training, until the epochs are done or nothing gets better."""
    import torch

    from animl_pipeline.running import devices
    from animl_pipeline.training import loop, memory, preview
    from animl_pipeline.training.initial import card_for, network_for
    from animl_pipeline.training.run_folder import STATE, Keeper
    from animl_pipeline.training.state import Progress, load_state

    dataset = tables.read(tables.DATASET, options.dataset_dir / tables.DATASET.name)
    labels = label_index.read_labels(options.dataset_dir / "label_index.json")
    _check(dataset, labels, options)
    fabric = devices.make_fabric(options.device, options.precision, trains=True)
    torch.manual_seed(options.seed)
    card = card_for(
        options.model_name, labels, image_size=options.image_size, crops_dir=options.crops_dir,
        options=plain_values(options), data_fingerprint=options.data_fingerprint,
    )  # fmt: skip
    last = options.folder / STATE
    resumes = options.resume and last.exists()
    starts = not resumes or options.cache_embeddings  # made anew where they were not kept
    network = network_for(
        card,
        weights_file=options.weights_file if starts else None,
        pretrained=options.pretrained and starts,
    )
    learner = _learner(fabric, network, dataset, card, options)
    state = load_state(last, learner, identity=options.identity) if resumes else Progress()
    fabric.barrier()
    if fabric.is_global_zero:
        trained_on.write(options.folder, dataset, options.weights_file)
    if not resumes and fabric.is_global_zero:
        last.unlink(missing_ok=True)
        if not options.cache_embeddings:
            crops = learner.train.dataset.data  # type: ignore[attr-defined] # of the Drawn
            preview.write(options.folder / preview.NAME, crops, card, seed=options.seed)
    if not state.ended(epochs=options.epochs, patience=options.patience):
        keeper = Keeper(
            options.folder, learner, card, identity=options.identity, epochs=options.epochs,
            crops_dir=options.crops_dir,
            extremes_per_label=options.log_extreme_examples, first_epoch=state.next_epoch,
        )  # fmt: skip
        with keeper, stopping.noted() as stop, memory.readers_told():
            try:
                loop.fit(
                    learner, state, epochs=options.epochs, patience=options.patience,
                    select_by=options.select_by, stop=stop, save_every_s=60 * options.save_minutes,
                    save=keeper.save, on_epoch=keeper.keep,
                )  # fmt: skip
            except TrainingDiverged as error:
                raise TrainingDiverged(f"{error} {_remedy(state, options)}") from error
    if fabric.is_global_zero:
        folders.point_at(options.logdir / LATEST, options.folder)
    return _counted(state, dataset, options)


def _remedy(state: "Progress", options: Options) -> str:
    """Return how to go on after the loss was no number."""
    change = f"lower --lr (now {options.lr:g}), add --warmup-epochs 1, or use --precision 32-true"
    if not state.history:
        return f"Start it over: {change}."
    done, best = len(state.history), options.folder / "model.safetensors"
    return (
        f"Epoch {state.best_epoch + 1}, the best of {done}, is kept: `--weights {best}` starts a "
        f"run from it ({change}), and this one with --epochs {done} ends there."
    )


def _learner(
    fabric: "Fabric", network: "nn.Module", dataset: "pd.DataFrame", card: "Card", options: Options
) -> "Learner":
    from animl_pipeline.training.setup import build_learner, train_weights

    if options.confidence_weighted and not (options.label_weighted or options.loss_weighted):
        raise OptionError("--confidence-weighted needs --label-weighted or --loss-weighted.")
    weights = None
    if options.label_weighted or options.loss_weighted:
        weights = train_weights(
            dataset, card.labels, by_confidence=options.confidence_weighted,
            beta=options.effective_number,
        )  # fmt: skip
    return build_learner(
        fabric, network, dataset, card, crops_dir=options.crops_dir, weights=weights,
        loss_weighted=options.loss_weighted, label_smoothing=options.label_smoothing,
        batch_size=options.crops_per_step, splits_batches=options.batch_size == "auto",
        readers=options.num_workers, seed=options.seed, optimizer=options.optimizer,
        lr=options.lr, weight_decay=options.weight_decay, schedule=options.lr_schedule,
        warmup_epochs=options.warmup_epochs, ema_epochs=options.ema_epochs, epochs=options.epochs,
        freeze=options.freeze, unfreeze_after=options.unfreeze_after,
        cache_embeddings=options.cache_embeddings, augmentation=options.augmentation,
        cache_gb=options.cache_gb,
    )  # fmt: skip


def _check(dataset: "pd.DataFrame", labels: list[str], options: Options) -> None:
    unknown = sorted(set(dataset["label"]) - set(labels))
    if unknown:
        raise InputInvalid(
            f"{options.dataset_dir}: label {unknown[0]!r} is not in label_index.json. Run "
            "`pipeline split` again."
        )
    if not (dataset["split"] == TRAIN).any():
        raise InputInvalid(f"{options.dataset_dir}: no crop is in train. Run `pipeline split`.")
    used = dataset[dataset["split"].isin([TRAIN, VAL])]["crop"]
    absent = [crop for crop in used if not (options.crops_dir / crop).is_file()]
    if absent:
        raise InputInvalid(
            f"{len(absent):,} of {len(used):,} crops are not in {options.crops_dir}, such as "
            f"{absent[0]}: check --crops-dir, or run `pipeline crop` and `pipeline split` again."
        )


def _counted(state: "Progress", dataset: "pd.DataFrame", options: Options) -> Counts:
    best = state.history[state.best_epoch]
    score = best["val_macro_average_precision"]
    return Counts(
        items={
            "epochs": len(state.history),
            "best epoch": state.best_epoch + 1,
            "train": int((dataset["split"] == TRAIN).sum()),
            "val": int((dataset["split"] == VAL).sum()),
        },
        summary=f"best of {len(state.history)} epochs is {state.best_epoch + 1}, with macro "
        f"average precision {score:.3f} on val -> {options.folder}\n"
        f"  curves: tensorboard --logdir {options.logdir}",
    )
