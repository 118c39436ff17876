"""A training run from beginning to end: what it starts with, and its way to the last epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import nn

from animl_pipeline.artifacts import label_index, table_io, tables
from animl_pipeline.artifacts.splits import TRAIN, VAL
from animl_pipeline.classifier import weights
from animl_pipeline.crops.rule import read_crop_rule
from animl_pipeline.errors import InputInvalid, OptionError, TrainingDiverged
from animl_pipeline.files import folders, names
from animl_pipeline.running import devices, stopping
from animl_pipeline.running.options import make_plain
from animl_pipeline.runs import identity, trained_on
from animl_pipeline.training import initial, loop, memory, preview, setup
from animl_pipeline.training.frozen import measure_embedding
from animl_pipeline.training.run_folder import STATE, Run, RunFolder
from animl_pipeline.training.settings import Recipe, TrainOptions, list_decisive_values
from animl_pipeline.training.state import Learner, Progress, read_state, restore

LATEST = "latest"  # the name in the runs folder that points at the newest run


@dataclass(frozen=True)
class Start:
    """What a run starts with; nothing of it is written yet."""

    run: Run
    inputs: tuple[Path, ...]  # dataset.csv, label_index.json, and the weights if there are any
    dataset: pd.DataFrame
    fabric: Fabric
    network: nn.Module
    weights_file: Path | None
    state: dict[str, Any] | None  # of its last save; None: it begins


def find_weights(path: Path | None) -> Path | None:
    """Return the file of --weights, which may be the folder of a run."""
    inside = path / weights.NAME if path else None
    return inside if inside and inside.exists() else path


def prepare_start(
    options: TrainOptions, require: Callable[[list[Path]], tuple[Path, ...]]
) -> Start:
    """Read what a run starts with, and find out which run it is.

    `require` returns the files it is given, if they are there and whole.

    Raises:
        OptionError, InputMissing, InputInvalid, WeightsMissing: with what to do.
    """
    weights_file = find_weights(options.weights)
    dataset_file = options.dataset_dir / tables.DATASET.name
    labels_file = options.dataset_dir / "label_index.json"
    inputs = require([dataset_file, labels_file, *([weights_file] if weights_file else [])])
    _refuse_name(options.run_name)
    setup.refuse_contradictions(options)
    dataset, labels = (
        table_io.read(tables.DATASET, dataset_file),
        label_index.read_labels(labels_file),
    )
    _refuse_dataset(dataset, labels, options)
    setup.make_sampler(dataset, labels, options)  # refuses what it cannot weigh or divide
    card = initial.make_card(
        options,
        labels,
        crop_rule=read_crop_rule(options.crops_dir),
        options=make_plain(options),
        data_fingerprint=identity.fingerprint_data(inputs),
    )
    identified = identity.identify(
        list_decisive_values(options, epochs=options.epochs),
        data_fingerprint=card.data_fingerprint,
        crop_rule=card.crop_rule,
    )
    name = options.run_name or identity.name_run(options.model_name, identified)
    run = Run(options.logdir / name, identified, card, options.crops_dir, options)
    last = run.folder / STATE
    state = read_state(last, identity=identified) if options.resume and last.exists() else None
    fabric = devices.make_fabric(options.device, options.precision, trains=True)
    torch.manual_seed(options.seed)
    is_fresh = state is None or options.cache_embeddings  # embeddings may have to be made anew
    network = initial.make_network(
        card,
        weights_file=weights_file if is_fresh else None,
        pretrained=options.pretrained and is_fresh,
    )
    if options.cache_embeddings:
        measure_embedding(network, card)  # refuses a network that has none
    return Start(run, inputs, dataset, fabric, network, weights_file, state)


def train(start: Start, options: TrainOptions) -> Progress:
    """Train, or go on training, until the epochs are done or nothing gets better.

    Raises:
        Stopped: somebody asked to stop; last.pt holds the state.
        TrainingDiverged, CropsLost, ReaderLost: with how to go on.
    """
    run, fabric = start.run, start.fabric
    learner = setup.build_learner(
        fabric,
        start.network,
        start.dataset,
        run.card,
        recipe=options,
        course=options,
        machine=options,
        crops_dir=options.crops_dir,
    )
    progress = Progress()
    if start.state:
        progress = restore(learner, start.state, run.folder / STATE)
    fabric.barrier()
    if fabric.is_global_zero:
        _write_beginning(start, options)
    if not progress.is_over(options):
        _go_on(learner, progress, run, options)
    if fabric.is_global_zero:
        folders.point_at(options.logdir / LATEST, run.folder)
    return progress


def _write_beginning(start: Start, options: TrainOptions) -> None:
    """Write what is known before the first epoch."""
    run = start.run
    trained_on.write(run.folder, start.dataset, start.weights_file)
    if start.state:
        return
    (run.folder / STATE).unlink(missing_ok=True)
    if not options.cache_embeddings:
        crops, _ = setup.make_splits(start.dataset, run.card, options, options.crops_dir)
        preview.write(run.folder / preview.NAME, crops, run.card, seed=options.seed)


def _go_on(learner: Learner, progress: Progress, run: Run, options: TrainOptions) -> None:
    recorder = RunFolder(run, learner, first_epoch=progress.next_epoch)
    with recorder, stopping.noted() as stop, memory.explaining_lost_readers():
        try:
            loop.fit(
                learner,
                progress,
                options,
                select_by=options.select_by,
                stop=stop,
                recorder=recorder,
            )
        except TrainingDiverged as error:
            remedy = _describe_remedy(progress, run.folder, options)
            raise TrainingDiverged(f"{error} {remedy}") from error


def _describe_remedy(progress: Progress, folder: Path, recipe: Recipe) -> str:
    """Return how to go on after the loss was no number."""
    change = f"lower --lr (now {recipe.lr:g}), add --warmup-epochs 1, or use --precision 32-true"
    if not progress.history:
        return f"Start it over: {change}."
    done, best = len(progress.history), folder / weights.NAME
    return (
        f"Epoch {progress.best_epoch + 1}, the best of {done}, is kept: `--weights {best}` starts "
        f"a run from it ({change}), and this one with --epochs {done} ends there."
    )


def _refuse_name(name: str | None) -> None:
    """Raise OptionError if a run cannot be called so."""
    if name is None:
        return
    reason = names.explain_unsafe(name)
    if reason or "/" in name or name == LATEST:
        raise OptionError(f"--run-name {name!r} {reason or 'cannot name a folder of runs'}.")


def _refuse_dataset(dataset: pd.DataFrame, labels: list[str], options: TrainOptions) -> None:
    """Raise InputInvalid if a dataset cannot be learned from."""
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
