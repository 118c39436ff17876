"""What another classifier says of the same crops: another run, or another tool's results."""

from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier.predicting import Predictor, predict_rows
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation import mapping
from animl_pipeline.evaluation.against import matching
from animl_pipeline.evaluation.against.comparison import Other
from animl_pipeline.formats import megadetector


def predict_with_peer(
    peer: Path, ours: Predictions, fabric: Fabric, crops_dir: Path, *, mapping_file: Path | None
) -> Other:
    """Return what the run in a folder, or a file of MegaDetector results, says of our crops.

    `mapping_file` is a JSON of which of its labels or classes make up which of ours.

    Raises:
        InputMissing, InputInvalid: with what is wrong and what to do.
    """
    if peer.is_dir():
        return _predict_with_run(peer, ours, fabric, crops_dir, mapping_file)
    return _match_results(peer, ours, mapping_file)


def _predict_with_run(
    folder: Path, ours: Predictions, fabric: Fabric, crops_dir: Path, mapping_file: Path | None
) -> Other:
    network, card = classifier.load(folder)
    theirs = predict_rows(Predictor(fabric, network, card), ours.rows, crops_dir, folder.name)
    # A crop that was readable a minute ago may not be so now.
    readable = ~ours.rows["crop"].isin(theirs.unreadable).to_numpy()
    probabilities = np.zeros((len(ours), len(card.labels)))
    probabilities[readable] = theirs.probabilities
    members = None
    if mapping_file:
        members = mapping.read(mapping_file, members=card.labels, targets=ours.labels)
    return matching.from_predictions(
        folder.name, probabilities, card.labels, readable, ours.labels, members
    )


def _match_results(path: Path, ours: Predictions, mapping_file: Path | None) -> Other:
    results = megadetector.read(path)
    members = None
    if mapping_file:
        members = mapping.read(mapping_file, members=list(results.classes), targets=ours.labels)
    return matching.from_results(path.name, results, ours.rows, ours.labels, members)
