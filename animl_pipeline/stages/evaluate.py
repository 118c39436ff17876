"""Score a trained classifier by average precision.

Reads   runs/latest/model.safetensors, model.json   the classifier
        dataset/dataset.csv, crops/<crop>           as it was trained with
Writes  runs/<name>/evaluation/predictions_<split>.csv   a probability per crop and label
        runs/<name>/evaluation/metrics.json              every figure
        runs/<name>/evaluation/report.html               one page to read
"""

import logging
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animl_pipeline import artifacts, files
from animl_pipeline.audit import PARTS
from animl_pipeline.errors import InputInvalid, InputMissing, OptionError
from animl_pipeline.stages import Counts, option

if TYPE_CHECKING:
    import pandas as pd
    from lightning_fabric import Fabric
    from torch import nn

    from animl_pipeline.classifier import Card

INTERVAL_SEED = 0
BATCH_SIZE = 64

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The knobs of `pipeline evaluate`."""

    run_dir: Path = option(Path("runs/latest"), help="Folder of the trained run.")
    dataset_dir: Path | None = option(None, help="Folder of the dataset; default: as trained.")
    crops_dir: Path | None = option(None, help="Folder of the crops; default: as trained.")
    splits: str = option("test", help="Splits to score, with commas between: train, val, test.")
    output_dir: Path | None = option(None, help="Default: evaluation/ in the run's folder.")

    @cached_property
    def run_folder(self) -> Path:
        """Return the run's own folder, where --run-dir is a pointer such as runs/latest."""
        return files.pointed_at(self.run_dir)

    @property
    def folder(self) -> Path:
        """Where the figures go."""
        return self.output_dir or self.run_folder / "evaluation"

    def as_trained(self, name: str) -> Path:
        """Return the folder of the dataset or crops: the option, else as the run was trained."""
        given: Path | None = getattr(self, name)
        if given:
            return given
        card = files.read_json(self.run_folder / "model.json", written_by="`pipeline train`")
        try:
            return Path(card["options"][name])
        except (KeyError, TypeError) as error:
            option_name = name.replace("_", "-")
            message = f"{self.run_folder / 'model.json'} names no {name}: give --{option_name}."
            raise InputInvalid(message) from error

    @property
    def inputs(self) -> list[Path]:
        """The classifier and the dataset."""
        if not self.run_folder.is_dir():
            raise InputMissing(f"{self.run_dir} is not there. `pipeline train` writes it.")
        run = [self.run_folder / "model.json", self.run_folder / "model.safetensors"]
        return [*run, self.as_trained("dataset_dir") / artifacts.DATASET.name]


def run(options: Options) -> Counts:
    """Predict every crop of the splits, then score and report."""
    from animl_pipeline import classifier, devices, metrics, report

    splits = _splits(options.splits)
    dataset = artifacts.read(
        artifacts.DATASET, options.as_trained("dataset_dir") / artifacts.DATASET.name
    )
    network, card = classifier.load(options.run_folder)
    fabric = devices.make_fabric("auto", _precision(card))
    network = fabric.setup(network)
    folder, crops_dir = options.folder, options.as_trained("crops_dir")
    predictions, figures, unreadable = {}, {}, 0
    for split in splits:
        rows = _rows(dataset, split, card, options)
        table = _predict(fabric, network, rows, card, crops_dir, split)
        unreadable += len(rows) - len(table)
        if table.empty:
            raise InputInvalid(
                f"No crop of {split} in {crops_dir} can be read: run `pipeline crop`."
            )
        artifacts.write(artifacts.PREDICTIONS, folder / f"predictions_{split}.csv", table)
        predictions[split] = table
        figures[split] = metrics.evaluate(
            table[[artifacts.PROBABILITY + label for label in card.labels]].to_numpy(),
            table["label"].map(card.labels.index).to_numpy(dtype="int64"),
            card.labels,
            list(zip(table["dataset"], table["location"], strict=True)),
            INTERVAL_SEED,
        )
    content = {
        "format_version": metrics.FORMAT_VERSION, "labels": card.labels, "splits": figures
    }  # fmt: skip
    files.write_json(folder / "metrics.json", content)
    history = options.run_folder / artifacts.HISTORY.name
    page = report.render(
        model=files.read_json(options.run_folder / "model.json", written_by="`pipeline train`"),
        metrics=content,
        predictions=predictions,
        history=artifacts.read(artifacts.HISTORY, history) if history.exists() else None,
        crops_dir=crops_dir,
    )
    files.write_text(folder / "report.html", page)
    return _counted(figures, unreadable, options)


def _precision(card: "Card") -> str:
    """Return the precision the run was trained in, where every machine has it."""
    trained = card.options.get("precision")
    return trained if trained in {"32-true", "bf16-mixed"} else "auto"


def _splits(text: str) -> list[str]:
    splits = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in splits if name not in PARTS]
    if unknown or not splits:
        raise OptionError(f"--splits {text!r}: there are {', '.join(PARTS)}.")
    return sorted(set(splits), key=PARTS.index, reverse=True)  # test first


def _rows(dataset: "pd.DataFrame", split: str, card: "Card", options: Options) -> "pd.DataFrame":
    rows = dataset[dataset["split"] == split]
    where = options.as_trained("dataset_dir")
    if rows.empty:
        raise InputInvalid(f"No crop of {where} is in {split}: there is nothing to evaluate.")
    unknown = sorted(set(rows["label"]) - set(card.labels))
    if unknown:
        raise InputInvalid(
            f"{where} has the label {unknown[0]!r}, which this classifier does not know "
            f"({', '.join(card.labels)}). Give the dataset it was trained on with --dataset-dir."
        )
    return rows


def _predict(
    fabric: "Fabric",
    network: "nn.Module",
    rows: "pd.DataFrame",
    card: "Card",
    crops_dir: Path,
    split: str,
) -> "pd.DataFrame":
    """Return the table of predictions; crops that cannot be read are left out, and said."""
    import pandas as pd

    from animl_pipeline import classifier, learning

    truth = [card.labels.index(label) for label in rows["label"]]
    crops = learning.Crops(crops_dir, list(rows["crop"]), truth, classifier.transform(card))
    readers = min(8, os.cpu_count() or 1)
    loader = learning.loader(crops, batch_size=BATCH_SIZE, workers=readers)
    predicted = classifier.predict(fabric, network, loader, split)
    for crop in rows["crop"][~predicted.readable]:
        logger.warning("%s cannot be read: left out; run `pipeline crop` again", crop)
    table = rows[predicted.readable][["crop", "image", "dataset", "location", "label"]]
    best = predicted.probabilities.argmax(axis=1)
    names = [artifacts.PROBABILITY + label for label in card.labels]
    return pd.concat(
        [
            table.reset_index(drop=True).assign(predicted=[card.labels[i] for i in best]),
            pd.DataFrame(predicted.probabilities, columns=names),
        ],
        axis=1,
    )


def _counted(figures: dict[str, Any], unreadable: int, options: Options) -> Counts:
    lines = []
    for split, found in figures.items():
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
    return Counts(
        items={"crops": sum(found["n"] for found in figures.values()), "unreadable": unreadable},
        summary="\n  ".join([*lines, f"-> {options.folder / 'report.html'}"]),
    )
