"""What `evaluate` chose on val and is applied from then on: runs/<name>/policy.json."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from animl_pipeline.artifacts.names import CARD, POLICY, WEIGHTS
from animl_pipeline.classifier.card import Card
from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole
from animl_pipeline.files.folders import locked

FORMAT_VERSION = "1"
WAIT_S, TRIES = 0.05, 200  # for another evaluation to write its own


@dataclass(frozen=True)
class MeasuredOn:
    """The crops on which something was chosen; the fingerprint is dataset.csv's sha256."""

    split: str
    dataset_fingerprint: str
    n: int
    locations: int


@dataclass(frozen=True)
class Temperature:
    """What the logits are divided by."""

    value: float
    measured_on: MeasuredOn


@dataclass(frozen=True)
class Thresholds:
    """The least probability per label that reaches the wanted metric; None: none does."""

    wanted: float
    per_label: dict[str, float | None]
    measured_on: MeasuredOn


@dataclass(frozen=True)
class Policy:
    """The content of policy.json; `weights` is the sha256 of the weights that it is of.

    `thresholds` are by the metric they are to reach, precision or recall.
    """

    weights: str
    temperature: Temperature
    thresholds: dict[str, Thresholds]


def write_policy(folder: Path, policy: Policy) -> None:
    """Write a run's policy, whole or not at all.

    Two evaluations of one run may end at once: the second waits for the first.
    """
    for attempt in range(TRIES):
        try:
            with locked(folder / CARD.name, f"Another `pipeline evaluate` writes to {folder}"):
                return whole.write_json(
                    folder / POLICY.name, {"format_version": FORMAT_VERSION} | asdict(policy)
                )
        except InputInvalid:
            if attempt + 1 == TRIES:
                raise
        time.sleep(WAIT_S)
    return None


def read_temperature(folder: Path, card: Card) -> float | None:
    """Return the temperature that `evaluate` keeps for a run; None where it has none.

    Of a run that an older version evaluated it is in the card. The policy of other weights, from
    before the run was trained on, is not the run's.

    Raises:
        InputInvalid: policy.json is no policy.
    """
    path = folder / POLICY.name
    if not path.exists():
        return card.temperature
    content = whole.read_json(path, written_by="`pipeline evaluate`")
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        raise InputInvalid(
            f"{path} is not a policy of format {FORMAT_VERSION}. Remove it, and run "
            "`pipeline evaluate` again."
        )
    if content.get("weights") != whole.digest(folder / WEIGHTS.name, "sha256"):
        return card.temperature
    temperature = content.get("temperature")
    value = temperature.get("value") if isinstance(temperature, dict) else None
    if not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InputInvalid(f"{path}: its temperature is not a number above 0.")
    return value
