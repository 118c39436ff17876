"""Which run it is: two that have the same data and decide the same are one run."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from animl_pipeline.files import whole


def fingerprint_data(files: Iterable[Path]) -> str:
    """Return one sha256 of the content of files, in their order.

    They are dataset.csv, label_index.json and, if it starts from some, the weights.
    """
    digests = "".join(whole.digest(path, "sha256") for path in files)
    return hashlib.sha256(digests.encode()).hexdigest()


def identify(
    decisive: Mapping[str, Any], *, data_fingerprint: str, crop_rule: dict[str, Any]
) -> str:
    """Return the sha256 of all that decides what is learned.

    `decisive` are the values of the recipe by name: `training.settings.decisive_values`.
    """
    content = {**decisive, "data": data_fingerprint, "crop_rule": crop_rule}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def name_run(model_name: str, identity: str) -> str:
    """Return the name of a run that was given none: the network and the identity's beginning."""
    return f"{model_name}-{identity[:8]}"
