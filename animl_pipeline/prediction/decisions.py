"""Decide what passes without a look: accept, review, alarm or empty, of a box and of an image."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan

import numpy as np

from animl_pipeline.catalogue.records import PERSON, VEHICLE
from animl_pipeline.classifier.predictions import Floats, calibrate
from animl_pipeline.prediction.answers import BoxAnswer, ImageAnswer
from animl_pipeline.runs.policy import Policy

ACCEPT, REVIEW, ALARM, EMPTY = DECISIONS = ("accept", "review", "alarm", "empty")
NOT_CLASSIFIED: Floats = np.zeros(0)
DECIMALS_SHOWN = (2, 3, 4, 6, 9)  # the fewest that tell two numbers apart


@dataclass(frozen=True)
class Rules:
    """What decides: all of it is chosen on val, or given by a person.

    `thresholds` hold the least probability per label that is accepted; None where none reaches the
    `wanted` precision, and no entry where nobody chose one. `alarms` are the labels that must not
    be missed, with theirs. A crop whose unknown score is above `unknown` is like none of train.
    """

    labels: Sequence[str]
    temperature: float = 1.0
    thresholds: Mapping[str, float | None] = field(default_factory=dict)
    wanted: float | None = None
    alarms: Mapping[str, float] = field(default_factory=dict)
    unknown: float = float("inf")
    empty_label: str | None = None


def make_rules(
    labels: Sequence[str], policy: Policy | None, given: Mapping[str, float] | None = None
) -> Rules:
    """Return what a run's policy decides by; `given` thresholds by label go before its own."""
    if policy is None:
        return Rules(labels, thresholds=dict(given or {}))
    precise = policy.thresholds.get("precision")
    chosen = precise.per_label if precise else {}
    return Rules(
        labels,
        temperature=policy.temperature.value,
        thresholds={**chosen, **(given or {})},
        wanted=precise.wanted if precise else None,
        alarms=policy.alarms,
        unknown=policy.unknown.threshold if policy.unknown else float("inf"),
        empty_label=policy.empty_label,
    )


@dataclass(frozen=True, slots=True, eq=False)
class BoxDecision:
    """What becomes of a box.

    `probabilities` (labels,) are calibrated, in the order of the labels; empty, and `probability`
    NaN, where the box was not classified. `is_unsure`: only its probability is too low, so that
    further images of its sequence may settle it.
    """

    label: str
    probability: float
    decision: str
    reason: str
    probabilities: Floats
    is_unsure: bool = False

    @property
    def is_animal(self) -> bool:
        """Whether it may be one: neither a person nor a vehicle nor empty."""
        is_given = not len(self.probabilities) and self.decision == ACCEPT
        return self.decision != EMPTY and not is_given


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an image or a sequence.

    `labels` are what it may hold, alarms first. `count` is of animals; of a sequence, the most
    that one image shows. `probability` is that of what decided, NaN where nothing has one.
    """

    labels: tuple[str, ...]
    count: int
    probability: float
    decision: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """An image with what was decided of it and of each of its boxes, in their order."""

    answer: ImageAnswer
    boxes: list[BoxDecision]
    decision: Decision


def decide_frame(answer: ImageAnswer, rules: Rules) -> Frame:
    """Return an image with all that is decided of it."""
    boxes = decide_boxes(answer.boxes, rules)
    return Frame(answer, boxes, decide_image(boxes, answer.failure))


def decide_boxes(boxes: Sequence[BoxAnswer], rules: Rules) -> list[BoxDecision]:
    """Return what becomes of each box."""
    logits = [box.logits for box in boxes if box.logits is not None]
    calibrated = iter(calibrate(np.stack(logits), rules.temperature) if logits else ())
    return [
        _decide_detected(box) if box.logits is None else _decide_box(box, next(calibrated), rules)
        for box in boxes
    ]


def _decide_detected(box: BoxAnswer) -> BoxDecision:
    category = box.detection.category
    nan = float("nan")
    if category in {PERSON, VEHICLE}:
        return BoxDecision(category, nan, ACCEPT, f"detector: {category}", NOT_CLASSIFIED)
    return BoxDecision(category, nan, REVIEW, "not classified", NOT_CLASSIFIED)


def _decide_box(box: BoxAnswer, probabilities: Floats, rules: Rules) -> BoxDecision:
    """Return what becomes of a classified box: the first rule that holds decides."""
    best = int(probabilities.argmax())
    label, probability = rules.labels[best], float(probabilities[best])

    def decide(decision: str, reason: str, *, is_unsure: bool = False) -> BoxDecision:
        return BoxDecision(label, probability, decision, reason, probabilities, is_unsure)

    if alarm := _find_alarm(probabilities, rules):
        name, value = alarm
        compared = compare(name, value, rules.alarms[name])
        others = "" if name == label else f"; most probable is {label} {probability:.2f}"
        return BoxDecision(name, value, ALARM, f"alarm: {compared}{others}", probabilities)
    if box.unknown > rules.unknown:
        compared = compare("unknown: score", box.unknown, rules.unknown, (">", "<"))
        return decide(REVIEW, f"{compared}; nearest is {label} {probability:.2f}")
    if label == rules.empty_label:
        return decide(EMPTY, f"{label} {probability:.2f}")
    accepted, reason = judge(label, probability, rules)
    return decide(ACCEPT if accepted else REVIEW, reason, is_unsure=not accepted)


def _find_alarm(probabilities: Floats, rules: Rules) -> tuple[str, float] | None:
    """Return the most probable of the alarm labels that reach their threshold."""
    scores = {label: float(probabilities[rules.labels.index(label)]) for label in rules.alarms}
    raised = [label for label, score in scores.items() if score >= rules.alarms[label]]
    return max(((name, scores[name]) for name in raised), key=lambda pair: pair[1], default=None)


def judge(label: str, probability: float, rules: Rules) -> tuple[bool, str]:
    """Return whether a label of this probability is accepted, and why."""
    if label not in rules.thresholds:
        return False, f"no threshold of {label}; `pipeline evaluate` chooses them"
    threshold = rules.thresholds[label]
    if threshold is None:
        return False, f"no threshold of {label} reaches precision {rules.wanted:g} on val"
    return probability >= threshold, compare(label, probability, threshold)


def compare(name: str, value: float, limit: float, signs: tuple[str, str] = (">=", "<")) -> str:
    """Return a value beside its limit, in as few decimals as tell them apart.

    `signs` are that of a value that reaches the limit, and that of one that does not.

    >>> compare("fox", 0.97, 0.81), compare("fox", 0.8099, 0.81)
    ('fox 0.97 >= 0.81', 'fox 0.8099 < 0.8100')
    """
    sign = signs[0] if value >= limit else signs[1]
    for digits in DECIMALS_SHOWN:
        shown, least = f"{value:.{digits}f}", f"{limit:.{digits}f}"
        if shown != least or value == limit:
            break
    return f"{name} {shown} {sign} {least}"


def decide_image(boxes: Sequence[BoxDecision], failure: str = "") -> Decision:
    """Return what becomes of an image with these boxes, or that could not be read.

    One box that needs a look is enough for the image to need one.
    """
    nan = float("nan")
    if failure:
        return Decision((), 0, nan, REVIEW, failure)
    if not boxes:
        return Decision((), 0, nan, EMPTY, "no box")
    order = [ALARM, REVIEW, ACCEPT, EMPTY]
    decision = min((box.decision for box in boxes), key=order.index)
    deciding = [box for box in boxes if box.decision == decision]
    choose = max if decision == ALARM else min
    decisive = choose(deciding, key=_rank)
    return Decision(
        list_labels(boxes),
        sum(box.is_animal for box in boxes),
        decisive.probability,
        decision,
        decisive.reason,
    )


def _rank(box: BoxDecision) -> tuple[bool, float]:
    """Return what a box decides by: first what no further image settles, then its probability."""
    return box.is_unsure, 2.0 if isnan(box.probability) else box.probability


def list_labels(boxes: Iterable[BoxDecision]) -> tuple[str, ...]:
    """Return the labels of boxes that are not empty, each once, alarms first."""
    kept = [box for box in boxes if box.decision != EMPTY]
    kept.sort(key=lambda box: box.decision != ALARM)
    return tuple(dict.fromkeys(box.label for box in kept))
