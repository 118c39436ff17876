"""Decide of a sequence: by the mean logit of what its images leave open, never by a vote."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isnan, nan

import numpy as np
from scipy import special

from animl_pipeline.classifier.predictions import DECIMALS, Floats
from animl_pipeline.prediction.decisions import (
    ACCEPT,
    ALARM,
    EMPTY,
    REVIEW,
    BoxDecision,
    Decision,
    Frame,
    Rules,
    judge,
)


@dataclass
class _Pool:
    """Boxes whose logits are averaged, and the images they are of."""

    logits: Floats
    boxes: int = 0
    images: frozenset[int] = frozenset()  # the first and the last are enough to know of two

    def add(self, logits: Floats, image: int) -> None:
        """Add a box (labels,) of the image of this number."""
        self.logits = self.logits + logits
        self.boxes += 1
        self.images = _keep_two(self.images | {image})

    def join(self, other: "_Pool") -> "_Pool":
        """Return both as one."""
        images = _keep_two(self.images | other.images)
        return _Pool(self.logits + other.logits, self.boxes + other.boxes, images)


def _keep_two(images: frozenset[int]) -> frozenset[int]:
    return frozenset((min(images), max(images))) if images else images


@dataclass
class _Tally:
    """What is known of a sequence after some of its images, in memory that does not grow."""

    first: Decision | None = None
    images: int = 0
    count: int = 0
    unread: int = 0
    is_empty: bool = True
    alarm: BoxDecision | None = None  # that of the largest probability
    standing: BoxDecision | None = None  # one that needs a look whatever the other images show
    alarms: dict[str, None] = field(default_factory=dict)  # in the order they were seen in
    others: dict[str, None] = field(default_factory=dict)
    accepted: dict[str, BoxDecision] = field(default_factory=dict)  # the surest of each label
    pools: dict[str, _Pool] = field(default_factory=dict)  # of the accepted, by label
    unsure: _Pool | None = None
    weakest: BoxDecision | None = None  # of the unsure


def decide_sequence(frames: Iterable[Frame], rules: Rules) -> Decision:
    """Return what becomes of a sequence.

    An alarm in any image is one of the sequence. What single boxes are accepted for stays, so that
    a sequence may hold two species. The boxes that are only unsure are taken together: their mean
    logit gives a label, and where single boxes were accepted for that label they join the mean. It
    says nothing new where all are of one image. A sequence of one image is decided as that image.
    """
    tally = _Tally()
    for frame in frames:
        _add_frame(tally, frame, rules)
    if tally.first is None:
        return Decision((), 0, nan, EMPTY, "no image")
    return tally.first if tally.images == 1 else _conclude(tally, rules)


def _add_frame(tally: _Tally, frame: Frame, rules: Rules) -> None:
    tally.first = tally.first or frame.decision
    tally.count = max(tally.count, frame.decision.count)
    tally.unread += bool(frame.answer.failure)
    tally.is_empty &= frame.decision.decision == EMPTY
    for answer, box in zip(frame.answer.boxes, frame.boxes, strict=True):
        logits = None if answer.logits is None else answer.logits.astype(float) / rules.temperature
        _add_box(tally, box, logits)
    tally.images += 1


def _add_box(tally: _Tally, box: BoxDecision, logits: Floats | None) -> None:
    if box.decision == ALARM:
        tally.alarms[box.label] = None
        if tally.alarm is None or box.probability > tally.alarm.probability:
            tally.alarm = box
    elif box.decision == ACCEPT:
        best = tally.accepted.get(box.label, box)
        tally.accepted[box.label] = box if box.probability > best.probability else best
        if logits is not None:
            _get_pool(tally.pools, box.label, logits).add(logits, tally.images)
    elif box.is_unsure and logits is not None:
        tally.unsure = tally.unsure or _Pool(np.zeros(len(logits)))
        tally.unsure.add(logits, tally.images)
        if tally.weakest is None or box.probability < tally.weakest.probability:
            tally.weakest = box
    elif box.decision == REVIEW:
        tally.others[box.label] = None
        tally.standing = tally.standing or box


def _get_pool(pools: dict[str, _Pool], label: str, logits: Floats) -> _Pool:
    return pools.setdefault(label, _Pool(np.zeros(len(logits))))


def _conclude(tally: _Tally, rules: Rules) -> Decision:
    """Return what becomes of a sequence of two images or more."""
    settled = _settle(tally, rules)
    mean = [settled.label] if settled else []
    labels = tuple(dict.fromkeys([*tally.alarms, *tally.accepted, *mean, *tally.others]))

    def decide(decision: str, probability: float, reason: str) -> Decision:
        return Decision(labels, tally.count, probability, decision, reason)

    if tally.alarm:
        return decide(ALARM, tally.alarm.probability, tally.alarm.reason)
    if tally.unread:
        return decide(REVIEW, nan, f"{tally.unread} of {tally.images} images cannot be read")
    if tally.standing:
        return decide(REVIEW, tally.standing.probability, tally.standing.reason)
    if settled and settled.decision == REVIEW:
        return decide(REVIEW, settled.probability, settled.reason)
    if tally.is_empty:
        return decide(EMPTY, nan, "no animal in any image")
    accepted = [*tally.accepted.values(), *([settled] if settled else [])]
    least = min(accepted, key=lambda box: 2.0 if isnan(box.probability) else box.probability)
    return decide(ACCEPT, least.probability, least.reason)


def _settle(tally: _Tally, rules: Rules) -> BoxDecision | None:
    """Return what the unsure boxes are together, or None where there is none."""
    pool, weakest = tally.unsure, tally.weakest
    if pool is None or weakest is None:
        return None
    label = rules.labels[int(pool.logits.argmax())]
    if label in tally.pools:
        pool = pool.join(tally.pools[label])
    if len(pool.images) < 2:
        return weakest
    probabilities = special.softmax(pool.logits / pool.boxes).round(DECIMALS)
    probability = float(probabilities[rules.labels.index(label)])
    is_accepted, reason = judge(label, probability, rules)
    is_accepted &= label != rules.empty_label  # each of these boxes said that it is not
    decision = ACCEPT if is_accepted else REVIEW
    return BoxDecision(
        label, probability, decision, f"mean of {pool.boxes} boxes: {reason}", probabilities
    )
