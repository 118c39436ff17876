"""What another classifier says of the same crops: another run, or another tool's results."""

from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from animl_pipeline.catalogue.records import Results
from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier.predicting import Predictor, predict_rows
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation.against import matching
from animl_pipeline.evaluation.against.comparison import Other
from animl_pipeline.evaluation.mapping import Mapping, read_mapping
from animl_pipeline.formats import megadetector
from animl_pipeline.runs import policy


@dataclass(frozen=True)
class Peer:
    """What to compare with, read but not yet asked: another run, or another tool's results.

    `members` are which of its labels or classes make up which of ours; None: those of equal name.
    A run's probabilities are calibrated by the `temperature` that is kept with it, if one is.
    """

    name: str
    source: Predictor | Results
    members: Mapping | None
    temperature: float | None = None


def read_peer(path: Path, fabric: Fabric, labels: list[str], mapping_file: Path | None) -> Peer:
    """Return the run in a folder, or what a file of MegaDetector results holds.

    `labels` are ours; `mapping_file` is a JSON of which of its labels or classes make up which.

    Raises:
        InputMissing, InputInvalid: with what is wrong and what to do.
    """
    source: Predictor | Results
    temperature = None
    if path.is_dir():
        network, card = classifier.load(path)
        temperature = policy.read_temperature(path, card)
        source, classes = Predictor(fabric, network, card), card.labels
    else:
        source = megadetector.read(path)
        classes = list(source.classes)
    members = None
    if mapping_file:
        members = read_mapping(mapping_file, members=classes, targets=labels)
    return Peer(path.name, source, members, temperature)


def predict_with_peer(peer: Peer, ours: Predictions, crops_dir: Path) -> Other:
    """Return what a peer says of the crops that we predicted."""
    if isinstance(peer.source, Results):
        return matching.match_results(peer.name, peer.source, ours, peer.members)
    # A crop that was readable a minute ago may not be so now.
    theirs = predict_rows(peer.source, ours.rows, crops_dir, peer.name)
    theirs = theirs.calibrate(peer.temperature)
    return matching.match_predictions(peer.name, theirs, ours, peer.members)
