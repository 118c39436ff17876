"""What `evaluate` chose on val and is applied from then on: runs/<name>/policy.json."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from animl_pipeline.artifacts.names import CARD, POLICY, WEIGHTS
from animl_pipeline.classifier.card import Card
from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole
from animl_pipeline.files.folders import locked

FORMAT_VERSION: Literal["1"] = "1"
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

    value: Annotated[float, Field(gt=0, allow_inf_nan=False)]
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
    format_version: Literal["1"] = FORMAT_VERSION


SCHEMA = TypeAdapter(Policy)  # what it does not know is left aside


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


def read_policy(folder: Path) -> Policy | None:
    """Return what is kept for a run; None where nothing is.

    The policy of other weights, from before the run was trained on, is not the run's.

    Raises:
        InputInvalid: policy.json is no policy; the message names what is wrong in it.
    """
    path = folder / POLICY.name
    if not path.exists():
        return None
    try:
        policy = SCHEMA.validate_json(path.read_bytes(), strict=True)
    except (OSError, ValidationError) as error:
        raise InputInvalid(
            f"{path} is not a policy of format {FORMAT_VERSION}: {_explain(error)}. Remove it, and "
            "run `pipeline evaluate` on the dataset that the run was trained on."
        ) from error
    return policy if policy.weights == whole.digest(folder / WEIGHTS.name, "sha256") else None


def _explain(error: OSError | ValidationError) -> str:
    """Return the first thing that is wrong, and in which field."""
    if isinstance(error, OSError):
        return str(error)
    first = error.errors()[0]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))


def read_temperature(folder: Path, card: Card) -> float | None:
    """Return the temperature that `evaluate` keeps for a run; None where it has none.

    Of a run that an older version evaluated it is in the card.

    Raises:
        InputInvalid: policy.json is no policy.
    """
    policy = read_policy(folder)
    return policy.temperature.value if policy else card.temperature
