"""What `evaluate` chose on val and is applied from then on: runs/<name>/policy.json."""

import json
import logging
import re
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from animl_pipeline.artifacts.names import CARD, POLICY, WEIGHTS
from animl_pipeline.classifier.card import Card
from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole
from animl_pipeline.files.folders import locked

FORMAT_VERSION = "2"
OF_RAW_PROBABILITIES = "1"  # thresholds of a softmax without temperature: no longer applied
WAIT_S, TRIES = 0.05, 200  # for another evaluation to write its own
AGAIN = "Remove it, and run `pipeline evaluate` again."

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Metric = Literal["precision", "recall"]
Count = Annotated[int, Field(ge=0)]

logger = logging.getLogger(__name__)


class Part(BaseModel):
    """A part of a policy: as it was read, and no field but those that are known."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class MeasuredOn(Part):
    """The crops on which something was chosen; the fingerprint is dataset.csv's sha256."""

    split: str
    dataset_fingerprint: str
    n: Count
    locations: Count


class Temperature(Part):
    """What the logits are divided by; `measured_on` is None for a run of 0.1.0."""

    value: Positive
    measured_on: MeasuredOn | None


class Thresholds(Part):
    """The least calibrated probability per label that reaches the wanted metric; None: none."""

    wanted: Probability
    per_label: dict[str, Probability | None]
    measured_on: MeasuredOn


class Unknown(Part):
    """Above which unknown score a crop is unlike all that was learned.

    `score` names what was measured. Of the crops `measured_on`, whose labels are known, at most
    the share `wanted` is above `threshold`, each location weighing alike; `share` is.
    """

    score: str
    threshold: float
    wanted: Probability
    share: Probability
    measured_on: MeasuredOn


class CameraSummary(Part):
    """What a location's boxes are like, in counts and sums that can be added up.

    Counts of boxes by the bins of `prediction.cameras`, and by most probable label in label order;
    how many are grey; sums and sums of squares of the traits (k,).
    """

    dataset: str
    location: str
    boxes: Count
    probability: tuple[Count, ...]
    labels: tuple[Count, ...]
    area: tuple[Count, ...]
    grey: Count
    traits: tuple[float, ...]
    squares: tuple[float, ...]


class Cameras(Part):
    """The locations that a run was tested on, and how far from them is far.

    A location's distance is the root mean square of its differences, each over its `scales`. Of
    the known locations, each left out in turn, at most the share `wanted` is farther than
    `threshold`. Of one with fewer than `boxes_min` boxes nothing is said.
    """

    threshold: Positive
    wanted: Probability
    boxes_min: Count
    scales: dict[str, Positive]
    measured_on: MeasuredOn
    known: tuple[CameraSummary, ...]


class Policy(Part):
    """The content of policy.json; `weights` is the sha256 of the weights that it is of.

    `thresholds` are by the metric they are to reach, and none of an older version; `alarms` are by
    label; `reference` is the sha256 of reference.safetensors, which the unknown score is of.
    """

    weights: str
    temperature: Temperature
    thresholds: dict[Metric, Thresholds] = {}
    alarms: dict[str, Probability] = {}
    empty_label: str | None = None
    reference: str | None = None
    unknown: Unknown | None = None
    cameras: Cameras | None = None


def write_policy(folder: Path, policy: Policy) -> None:
    """Write a run's policy, whole or not at all.

    Two evaluations of one run may end at once: the second waits for the first.
    """
    for attempt in range(TRIES):
        try:
            with locked(folder / CARD.name, f"Another `pipeline evaluate` writes to {folder}"):
                return whole.write_text(folder / POLICY.name, _to_json(policy))
        except InputInvalid:
            if attempt + 1 == TRIES:
                raise
        time.sleep(WAIT_S)
    return None


def _to_json(policy: Policy) -> str:
    """Return the content of policy.json: a line a value, or a list of numbers."""
    content = {"format_version": FORMAT_VERSION} | policy.model_dump(mode="json")
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return re.sub(r"\[[-+.,eE\d\s]*\]", lambda numbers: "".join(numbers[0].split()), text) + "\n"


def read_policy(folder: Path, card: Card) -> Policy | None:
    """Return the policy of a run, or None where `evaluate` has kept none.

    That of other weights, from before the run was trained on, is not the run's. Of an older
    version, whose thresholds are of probabilities without the temperature, the temperature is left;
    it is in the card of a run of 0.1.0.

    Raises:
        InputInvalid: policy.json is no policy; the message names the field.
    """
    path = folder / POLICY.name
    weights = whole.digest(folder / WEIGHTS.name, "sha256")
    if path.exists():
        content = whole.read_json(path, written_by="`pipeline evaluate`")
        version = content.pop("format_version", None) if isinstance(content, dict) else None
        if version not in {FORMAT_VERSION, OF_RAW_PROBABILITIES}:
            raise InputInvalid(f"{path} is not a policy of format {FORMAT_VERSION}. {AGAIN}")
        policy = _validate(path, content, card)
        if policy.weights == weights:
            return policy if version == FORMAT_VERSION else _keep_temperature(path, policy)
    if card.temperature is None:
        return None
    return Policy(
        weights=weights, temperature=Temperature(value=card.temperature, measured_on=None)
    )


def read_temperature(folder: Path, card: Card) -> float | None:
    """Return the temperature that is kept for a run; None where it has none.

    Raises:
        InputInvalid: policy.json is no policy.
    """
    policy = read_policy(folder, card)
    return policy.temperature.value if policy else None


def _validate(path: Path, content: dict[str, Any], card: Card) -> Policy:
    """Return the policy in a file, whose labels are the card's."""
    try:
        # As JSON, in which a list may stand for a tuple.
        policy = Policy.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputInvalid(f"{path}: {field}: {first['msg']}. {AGAIN}") from error
    fields: dict[str, set[str]] = {
        **{f"thresholds.{name}": set(of.per_label) for name, of in policy.thresholds.items()},
        "alarms": set(policy.alarms),
        "empty_label": {policy.empty_label} if policy.empty_label else set(),
    }
    for field, labels in fields.items():
        if labels - set(card.labels):
            label = min(labels - set(card.labels))
            raise InputInvalid(f"{path}: {field}: {label!r} is no label of the run. {AGAIN}")
    return policy


def _keep_temperature(path: Path, policy: Policy) -> Policy:
    """Return what of an older version's policy still holds."""
    logger.warning(
        "%s is of an older version, whose thresholds are of probabilities without the "
        "temperature: they are not applied. Run `pipeline evaluate` again.",
        path,
    )
    return Policy(weights=policy.weights, temperature=policy.temperature)
