"""Score a trained classifier by average precision.

Reads   runs/latest/model.safetensors, model.json   the classifier
        runs/latest/trained_on.csv                  the crops it was trained on
        dataset/dataset.csv, crops/<crop>           as it was trained with
Writes  runs/<name>/evaluation/predictions_<split>.csv   a probability per crop and label
        runs/<name>/evaluation/label_errors_<split>.csv  labels to look at again
        runs/<name>/evaluation/metrics.json              every figure
        runs/<name>/evaluation/report.html               one page to read
        runs/<name>/model.json                           the temperature, fitted on val, added
"""

import dataclasses
import logging
import platform
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from animl_pipeline.artifacts import tables
from animl_pipeline.artifacts.splits import ALL_SPLITS, SEEN_TEST, TEST, TRAIN, VAL
from animl_pipeline.errors import InputInvalid, InputMissing, OptionError
from animl_pipeline.files import folders, whole
from animl_pipeline.running.options import command_line, option, plain_values, settings
from animl_pipeline.running.stage import Counts, load
from animl_pipeline.runs import trained_on

if TYPE_CHECKING:
    import pandas as pd
    from lightning_fabric import Fabric
    from torch import nn

    from animl_pipeline.classifier.card import Card
    from animl_pipeline.classifier.predicting import Predictor
    from animl_pipeline.classifier.predictions import Predictions

SEED = 0  # of the bootstrap
PACKAGES = ("animl-pipeline", "torch", "torchvision", "numpy", "pandas", "scipy")
ORDER = (TEST, SEEN_TEST, VAL, TRAIN)  # what is asked most comes first

logger = logging.getLogger(__name__)


@settings
class Options:
    """The knobs of `pipeline evaluate`."""

    run_dir: Annotated[Path, option("Folder of the trained run.")] = Path("runs/latest")
    dataset_dir: Annotated[Path | None, option("Folder of the dataset; default: as trained.")] = (
        None
    )
    crops_dir: Annotated[Path | None, option("Folder of the crops; default: as trained.")] = None
    splits: Annotated[
        str, option(f"Splits to score, with commas between: {', '.join(ALL_SPLITS)}.")
    ] = "test"
    output_dir: Annotated[Path | None, option("Default: evaluation/ in the run's folder.")] = None
    precision_target: Annotated[
        float, option("Find each label's threshold for this precision.", ge=0.0, le=1.0)
    ] = 0.9
    recall_target: Annotated[
        float, option("Find each label's threshold for this recall.", ge=0.0, le=1.0)
    ] = 0.9
    empty_label: Annotated[str, option("The label, if there is one, of crops without animals.")] = (
        "empty"
    )
    compare: Annotated[
        Path | None,
        option("Another run's folder, or a .json of MegaDetector results with classifications."),
    ] = None
    compare_mapping: Annotated[
        Path | None,
        option('JSON {"label": ["label of the other", ...]}; default: labels of equal name.'),
    ] = None
    target_mapping: Annotated[
        Path | None,
        option('JSON {"label of the dataset": ["label of the run", ...]}, where they differ.'),
    ] = None
    md_files: Annotated[bool, option("Also write the files of MegaDetector's evaluator.")] = False
    tolerate: Annotated[
        float,
        option(
            "Fraction of crops that may be unreadable before the exit code is 3.", ge=0.0, le=1.0
        ),
    ] = 0.01
    grad_cam: Annotated[bool, option("Show in the report where the network looked.")] = False

    @cached_property
    def run_folder(self) -> Path:
        """Return the run's own folder, where --run-dir is a pointer such as runs/latest."""
        return folders.follow(self.run_dir)

    @property
    def folder(self) -> Path:
        """Where the figures go."""
        return self.output_dir or self.run_folder / "evaluation"

    def as_trained(self, name: str) -> Path:
        """Return the folder of the dataset or crops: the option, else as the run was trained."""
        given: Path | None = getattr(self, name)
        if given:
            return given
        card = whole.read_json(self.run_folder / "model.json", written_by="`pipeline train`")
        try:
            return Path(card["options"][name])
        except (KeyError, TypeError) as error:
            option_name = name.replace("_", "-")
            message = f"{self.run_folder / 'model.json'} names no {name}: give --{option_name}."
            raise InputInvalid(message) from error

    @property
    def dataset_file(self) -> Path:
        """Return the table of the dataset."""
        return self.as_trained("dataset_dir") / tables.DATASET.name

    @property
    def compared_run(self) -> Path | None:
        """Return the folder of the run to compare with, unless --compare is a file of results."""
        if self.compare is None or self.compare.suffix == ".json":
            return None
        return folders.follow(self.compare)

    @property
    def inputs(self) -> list[Path]:
        """The classifier and the dataset, and what they are compared with."""
        if self.compare_mapping and not self.compare:
            raise OptionError("--compare-mapping goes with --compare, which names the other.")
        if not self.run_folder.is_dir():
            raise InputMissing(f"{self.run_dir} is not there. `pipeline train` writes it.")
        # Not model.json: it gets the temperature, so its bytes are not those of before.
        run = [self.run_folder / "model.safetensors"]
        run.append(self.dataset_file)
        if self.compare:
            other = self.compared_run
            names = ("model.json", "model.safetensors")
            run += [other / name for name in names] if other else [self.compare]
        return run + [path for path in (self.compare_mapping, self.target_mapping) if path]


def run(options: Options) -> Counts:
    """Predict every crop of the splits, then score, compare and report."""
    from animl_pipeline.classifier import card as classifier
    from animl_pipeline.classifier.predicting import Predictor
    from animl_pipeline.evaluation import calibration, metrics
    from animl_pipeline.evaluation import figures as evaluation
    from animl_pipeline.evaluation import splits as predicting
    from animl_pipeline.running import devices

    network, card = classifier.load(options.run_folder)
    fabric = devices.make_fabric("auto", _precision(card))
    dataset = tables.read(tables.DATASET, options.dataset_file)
    splits, unreadable = _predicted(Predictor(fabric, network, card), dataset, options)
    asked = [name for name in splits if name != VAL or name in _splits(options.splits)]
    val = splits.get(VAL)
    used = trained_on.read(options.run_folder, dataset, options.dataset_file)
    fitted = val is not None and used.is_of(dataset)
    temperature = calibration.fit_temperature(val) if val and fitted else card.temperature
    wanted = {"precision": options.precision_target, "recall": options.recall_target}
    figures = {
        name: evaluation.figures(
            splits[name], None if name == VAL else val, temperature, wanted, options.empty_label
        )
        for name in asked
    }
    rows = {name: split.rows for name, split in splits.items()}
    overlap, warnings = used.known(rows)
    compared, more = _compared(fabric, asked[0], splits[asked[0]], dataset, options)
    train = command_line("train", load("train").Options, card.options)
    this = command_line("evaluate", Options, plain_values(options))
    content: dict[str, Any] = {
        "format_version": metrics.FORMAT_VERSION,
        "labels": splits[asked[0]].labels,
        "splits": figures,
        "seen_against_new": evaluation.seen_against_new(splits),
        "comparison": compared,
        "warnings": predicting.warnings(unreadable) + warnings + more,
        "unreadable": unreadable,
        "trained_on": {"overlap": overlap, "labels": used.label_counts(rows)},
        "temperature_fitted": fitted,
        "model": dataclasses.asdict(card) | {"temperature": temperature},
        "training": _training(options),
        "commands": [train, this],
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }
    for warning in content["warnings"]:
        logger.warning(warning)
    if not options.target_mapping:
        _keep_temperature(card, temperature, options)
    _write({name: splits[name] for name in asked}, val, content, network, card, options)
    return _counted(content, sum(map(len, rows.values())), options)


def _precision(card: "Card") -> str:
    """Return the precision the run was trained in, where every machine has it."""
    trained = card.options.get("precision")
    return trained if trained in {"32-true", "bf16-mixed"} else "auto"


def _splits(text: str) -> list[str]:
    splits = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in splits if name not in ALL_SPLITS]
    if unknown or not splits:
        raise OptionError(f"--splits {text!r}: there are {', '.join(ALL_SPLITS)}.")
    return sorted(set(splits), key=ORDER.index)


def _predicted(
    predictor: "Predictor", dataset: "pd.DataFrame", options: Options
) -> "tuple[dict[str, Predictions], dict[str, dict[str, Any]]]":
    """Return the splits asked for; with test what is beside it; and val, for the thresholds."""
    from animl_pipeline.evaluation import mapping, splits

    asked = _splits(options.splits)
    wanted = {*asked, VAL, *([SEEN_TEST] if TEST in asked else [])}
    given = options.target_mapping
    targets = mapping.read_mapping(given, members=predictor.card.labels) if given else None
    return splits.predicted(
        predictor, dataset, options.as_trained("crops_dir"),
        wanted=sorted(wanted, key=ORDER.index), asked=asked, targets=targets,
    )  # fmt: skip


def _compared(
    fabric: "Fabric", name: str, split: "Predictions", dataset: "pd.DataFrame", options: Options
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the comparison on a split, and what to beware of in it."""
    from animl_pipeline.evaluation.against import comparison, peers

    if options.compare is None:
        return None, []
    where, crops_dir = options.compared_run or options.compare, options.as_trained("crops_dir")
    other = peers.predict_with_peer(
        where, split, fabric, crops_dir, mapping_file=options.compare_mapping
    )
    found = comparison.compare(split, other, seed=SEED)
    if not options.compared_run:
        return found, []
    used = trained_on.read(options.compared_run, dataset, options.dataset_file)
    overlap, warnings = used.known({name: split.rows})
    return found | {"overlap": overlap}, warnings


def _training(options: Options) -> dict[str, Any] | None:
    path = options.run_folder / tables.HISTORY.name
    history = tables.read(tables.HISTORY, path) if path.exists() else ()
    # No seconds: they differ from run to run, and the same run is to be the same bytes.
    return {"epochs": len(history)} if len(history) else None


def _keep_temperature(card: "Card", temperature: float | None, options: Options) -> None:
    """Store the temperature beside the weights, where whoever predicts with them finds it."""
    from animl_pipeline.classifier import card as classifier

    if temperature in {None, card.temperature}:
        return
    try:
        classifier.save_card(options.run_folder, dataclasses.replace(card, temperature=temperature))
    except OSError as error:
        logger.warning("The temperature is in metrics.json alone, not in model.json: %s", error)


def _write(
    splits: "dict[str, Predictions]",
    val: "Predictions | None",
    content: dict[str, Any],
    network: "nn.Module",
    card: "Card",
    options: Options,
) -> None:
    from animl_pipeline.evaluation import figures, md_evaluator
    from animl_pipeline.report import gallery
    from animl_pipeline.report import page as report

    folder, crops_dir = options.folder, options.as_trained("crops_dir")
    for name, split in (splits | ({VAL: val} if val else {})).items():
        table = split.to_table()
        tables.write(tables.PREDICTIONS, folder / f"predictions_{name}.csv", table)
    for name, split in splits.items():
        path = folder / f"label_errors_{name}.csv"
        tables.write(tables.LABEL_ERRORS, path, figures.label_error_table(split))
    whole.write_json(folder / "metrics.json", content)
    if options.md_files:
        crops = {name: list(split.rows["crop"]) for name, split in splits.items()}
        md_evaluator.write_md_files(folder, splits, crops)
    history = options.run_folder / tables.HISTORY.name
    page = report.render(
        metrics=content,
        scored=splits,
        history=tables.read(tables.HISTORY, history) if history.exists() else None,
        pictures=gallery.Pictures(crops_dir, card, network if options.grad_cam else None),
    )
    whole.write_text(folder / "report.html", page)


def _counted(content: dict[str, Any], readable: int, options: Options) -> Counts:
    compared, lines = content["comparison"], []
    for split, found in content["splits"].items():
        interval = found["intervals"].get("macro_average_precision")
        words = f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        lines.append(
            f"{split}: macro average precision {found['macro_average_precision']:.3f}{words}, "
            f"accuracy {found['accuracy']:.3f}, {found['n']:,} crops at "
            f"{len(found['by_location']):,} locations"
        )
        for label, of_label in found["per_label"].items():
            ap = of_label["average_precision"]
            shown = "   -" if ap is None else f"{ap:.3f}"
            lines.append(f"  {label:<24} {shown}  n {of_label['n']:,}")
    lines += [f"beside {compared['other']}: {compared['in_words']}"] if compared else []
    crops = sum(found["n"] for found in content["splits"].values())
    unreadable = sum(lost["n"] for lost in content["unreadable"].values())
    return Counts(
        items={"crops": crops, "unreadable": unreadable},
        summary="\n  ".join([*lines, f"-> {options.folder / 'report.html'}"]),
        failed=unreadable,
        total=readable + unreadable,
        tolerate=options.tolerate,
    )
