"""All that an evaluation reads before it predicts, and what it refuses."""

import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.artifacts.names import CARD, WEIGHTS
from animl_pipeline.artifacts.splits import ALL_SPLITS, SEEN_TEST, TEST, TRAIN, VAL
from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier.card import Card, choose_precision
from animl_pipeline.classifier.predicting import Predictor
from animl_pipeline.errors import ImageUnusable, InputInvalid, InputMissing, OptionError
from animl_pipeline.evaluation.against.peers import Peer, read_peer
from animl_pipeline.evaluation.mapping import Mapping, read_mapping
from animl_pipeline.evaluation.settings import Settings
from animl_pipeline.files import whole
from animl_pipeline.files.folders import follow
from animl_pipeline.images.opening import open_upright
from animl_pipeline.running import devices
from animl_pipeline.running.markers import require_inputs
from animl_pipeline.running.stage import Plan
from animl_pipeline.runs import policy, trained_on
from animl_pipeline.runs.trained_on import TrainedOn

logger = logging.getLogger(__name__)

ORDER = (TEST, SEEN_TEST, VAL, TRAIN)  # what is asked most comes first


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan(Plan):
    """What is judged, on which crops, by what, and with what it is compared."""

    settings: Settings
    run_folder: Path
    predictor: Predictor
    trained_on: TrainedOn
    temperature: float | None  # as it is kept for the run
    history: pd.DataFrame | None
    dataset: pd.DataFrame
    dataset_fingerprint: str
    crops_dir: Path
    splits: dict[str, pd.DataFrame]  # the rows of those to predict, in the order of the report
    asked: list[str]
    members: Mapping | None  # which labels of the run make up which of the dataset
    peer: Peer | None
    peer_trained_on: TrainedOn | None


def make_plan(options: Settings) -> EvaluationPlan:
    """Return all that `evaluate` needs; nothing is written.

    Raises:
        OptionError, InputMissing, InputInvalid: with what is wrong and what to do.
    """
    if options.compare_mapping and not options.compare:
        raise OptionError("--compare-mapping goes with --compare, which names the other.")
    asked = parse_splits(options.splits)
    run_folder = follow(options.run_dir)
    if not run_folder.is_dir():
        raise InputMissing(f"{options.run_dir} is not there. `pipeline train` writes it.")
    card = classifier.read_card(run_folder)
    dataset_dir = options.dataset_dir or _find_as_trained(run_folder, card, "dataset_dir")
    crops_dir = options.crops_dir or _find_as_trained(run_folder, card, "crops_dir")
    dataset_file = dataset_dir / tables.DATASET.name
    peer_path = _follow_peer(options.compare)
    inputs = require_inputs("evaluate", _list_inputs(options, run_folder, dataset_file, peer_path))
    network, card = classifier.load(run_folder)
    fabric = devices.make_fabric("auto", choose_precision(card))
    dataset = table_io.read(tables.DATASET, dataset_file)
    members = None
    if options.target_mapping:
        members = read_mapping(options.target_mapping, members=card.labels)
    labels = list(members or card.labels)
    peer = peer_used = None
    if peer_path:
        peer = read_peer(peer_path, fabric, labels, options.compare_mapping)
        if peer_path.is_dir():
            peer_used = trained_on.read(peer_path, dataset, dataset_file)
    used = trained_on.read(run_folder, dataset, dataset_file)
    splits = _choose_rows(dataset, asked, labels, crops_dir)
    is_rewritten = VAL in splits and used.is_of(dataset) and members is None
    history = run_folder / tables.HISTORY.name
    return EvaluationPlan(
        folder=options.output_dir or run_folder / "evaluation",
        inputs=inputs,
        settings=options,
        run_folder=run_folder,
        predictor=Predictor(fabric, network, card),
        trained_on=used,
        temperature=_read_temperature(run_folder, card, is_rewritten=is_rewritten),
        history=table_io.read(tables.HISTORY, history) if history.exists() else None,
        dataset=dataset,
        dataset_fingerprint=whole.digest(dataset_file, "sha256"),
        crops_dir=crops_dir,
        splits=splits,
        asked=asked,
        members=members,
        peer=peer,
        peer_trained_on=peer_used,
    )


def parse_splits(text: str) -> list[str]:
    """Return the splits that are named with commas between, in the order of the report.

    Raises:
        OptionError: one of them is none, or there is none.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or not set(names) <= set(ALL_SPLITS):
        raise OptionError(f"--splits {text!r}: there are {', '.join(ALL_SPLITS)}.")
    return sorted(set(names), key=ORDER.index)


def _find_as_trained(run_folder: Path, card: Card, name: str) -> Path:
    """Return a folder that the run was trained from, as its card names it."""
    try:
        return Path(card.options[name])
    except (KeyError, TypeError) as error:
        option_name = name.replace("_", "-")
        message = f"{run_folder / CARD.name} names no {name}: give --{option_name}."
        raise InputInvalid(message) from error


def _read_temperature(run_folder: Path, card: Card, *, is_rewritten: bool) -> float | None:
    """Return the temperature kept; a broken policy stops only who does not write it anew."""
    try:
        return policy.read_temperature(run_folder, card)
    except InputInvalid as error:
        if not is_rewritten:
            raise
        logger.warning("%s This evaluation writes it anew.", error)
        return card.temperature


def _follow_peer(compare: Path | None) -> Path | None:
    """Return the run's own folder, or the file of results, that --compare names."""
    return follow(compare) if compare and compare.suffix != ".json" else compare


def _list_inputs(
    options: Settings, run_folder: Path, dataset_file: Path, peer: Path | None
) -> list[Path]:
    inputs = [run_folder / WEIGHTS.name, dataset_file]
    if peer and peer.suffix != ".json":
        inputs += [peer / CARD.name, peer / WEIGHTS.name]
    elif peer:
        inputs.append(peer)
    return inputs + [path for path in (options.compare_mapping, options.target_mapping) if path]


def _choose_rows(
    dataset: pd.DataFrame, asked: list[str], labels: list[str], crops_dir: Path
) -> dict[str, pd.DataFrame]:
    """Return the rows of the splits asked for; with test what is beside it; and of val.

    What was not asked for is left out where it has no crop.
    """
    wanted = {*asked, VAL, *([SEEN_TEST] if TEST in asked else [])}
    splits = {}
    for name in sorted(wanted, key=ORDER.index):
        rows = dataset[dataset["split"] == name]
        if rows.empty and name not in asked:
            continue
        _refuse_rows(rows, name, labels)
        if name in asked and not any(_can_read(crops_dir / crop) for crop in rows["crop"]):
            raise InputInvalid(
                f"No crop of {name} in {crops_dir} can be read: run `pipeline crop`."
            )
        splits[name] = rows
    return splits


def _refuse_rows(rows: pd.DataFrame, split: str, labels: list[str]) -> None:
    if rows.empty:
        raise InputInvalid(f"No crop of the dataset is in {split}: there is nothing to evaluate.")
    unknown = sorted(set(rows["label"]) - set(labels))
    if unknown:
        raise InputInvalid(
            f"The dataset has the label {unknown[0]!r} in {split}, which this classifier does not "
            f"know ({', '.join(labels)}). Give the dataset it was trained on with --dataset-dir, "
            "or say with --target-mapping which of its labels make up those of the dataset."
        )


def _can_read(path: Path) -> bool:
    try:
        open_upright(path)
    except ImageUnusable:
        return False
    return True
