"""What another classifier says of the same crops: another run, or another tool's results."""

from pathlib import Path

from lightning_fabric import Fabric

from animl_pipeline.artifacts import tables
from animl_pipeline.classifier import card as classifier
from animl_pipeline.evaluation import mapping, predicting
from animl_pipeline.evaluation.against import matching
from animl_pipeline.evaluation.against.comparison import Other
from animl_pipeline.evaluation.figures import Split
from animl_pipeline.formats import megadetector


def of(path: Path, split: Split, fabric: Fabric, crops_dir: Path, *, given: Path | None) -> Other:
    """Return what the run in a folder, or a file of MegaDetector results, says of a split.

    `given` is a JSON of which of its labels or classes make up which of ours.

    Raises:
        InputMissing, InputInvalid: with what is wrong and what to do.
    """
    if path.is_dir():
        return _of_run(path, split, fabric, crops_dir, given)
    return _of_results(path, split, given)


def _of_run(
    folder: Path, split: Split, fabric: Fabric, crops_dir: Path, given: Path | None
) -> Other:
    network, card = classifier.load(folder)
    predicted = predicting.predict(fabric, network, card, split.rows, crops_dir, folder.name)
    names = [tables.PROBABILITY + label for label in card.labels]
    # A crop that was readable a minute ago may not be so now.
    table = predicted.table.set_index("crop")[names].reindex(split.rows["crop"])
    readable = table.notna().all(axis=1).to_numpy()
    labels = split.scored.labels
    members = mapping.read(given, members=card.labels, targets=labels) if given else None
    return matching.from_predictions(
        folder.name, table.fillna(0).to_numpy(), card.labels, readable, labels, members
    )


def _of_results(path: Path, split: Split, given: Path | None) -> Other:
    results = megadetector.read(path)
    classes, labels = list(results.classes), split.scored.labels
    members = mapping.read(given, members=classes, targets=labels) if given else None
    return matching.from_results(path.name, results, split.rows, labels, members)
