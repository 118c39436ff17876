"""What the page of `predict` shows, gathered image by image while memory stays the same."""

import bisect
import hashlib
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from animl_pipeline.boxes import Box
from animl_pipeline.catalogue.reasons import find_kind
from animl_pipeline.catalogue.records import PERSON
from animl_pipeline.catalogue.sequences import parse_datetime
from animl_pipeline.prediction.answers import BoxAnswer, ImageAnswer
from animl_pipeline.prediction.decisions import (
    ACCEPT,
    ALARM,
    EMPTY,
    REVIEW,
    BoxDecision,
    Decision,
    Frame,
)

REVIEW_SHOWN, UNKNOWN_SHOWN, OF_A_LABEL_SHOWN = 24, 12, 12  # pictures
SPARE = 8  # times as many are kept, so that a burst or a location does not fill a gallery
NEAR_SECONDS = 60.0
KINDS_MAX, KIND_CHARACTERS = 50, 120
HOURS = 24


@dataclass(frozen=True, slots=True)
class Tile:
    """A box that may be shown, and what is said below its picture."""

    file_name: str
    box: Box
    label: str
    probability: float  # NaN where it was not classified
    decision: str
    reason: str
    location: str
    datetime: str
    unknown: float


class Best:
    """The tiles of the smallest keys, whatever the order in which they are offered."""

    def __init__(self, shown: int) -> None:
        self.shown = shown
        self._kept: list[tuple[tuple[float, ...], str, Box, Tile]] = []

    def offer(self, key: tuple[float, ...], tile: Tile) -> None:
        """Keep the tile if its key is among the smallest."""
        row = (key, tile.file_name, tile.box, tile)
        if len(self._kept) < self.shown * SPARE:
            bisect.insort(self._kept, row, key=lambda of: of[:3])
        elif row[:3] < self._kept[-1][:3]:
            self._kept.pop()
            bisect.insort(self._kept, row, key=lambda of: of[:3])

    def choose(self) -> list[Tile]:
        """Return those to show in the order of their keys.

        Of a location there are at most a quarter, and of images of one minute there is one, unless
        nothing else is left.
        """
        tiles = [row[3] for row in self._kept]
        chosen: list[int] = []
        for quarter, seconds in ((math.ceil(self.shown / 4), NEAR_SECONDS), (self.shown, 0.0)):
            for number, tile in enumerate(tiles):
                others = [tiles[other] for other in chosen]
                here = [other for other in others if other.location == tile.location]
                if (
                    number not in chosen
                    and len(chosen) < self.shown
                    and len(here) < quarter
                    and not (seconds and any(_is_near(tile, other, seconds) for other in here))
                ):
                    chosen.append(number)
        return [tiles[number] for number in sorted(chosen)]


def _is_near(tile: Tile, other: Tile, seconds: float) -> bool:
    """Return whether two tiles of one location may be of one burst."""
    if tile.file_name == other.file_name:
        return True
    times = parse_datetime(tile.datetime), parse_datetime(other.datetime)
    if times[0] is None or times[1] is None:
        return False
    return abs((times[0] - times[1]).total_seconds()) <= seconds


@dataclass
class Tally:
    """How often a label was accepted, or left to a person as the most probable one.

    By `hours` (24) of the camera's clock; `boxes` by decision.
    """

    sure: int = 0
    unsure: int = 0
    sure_hours: list[int] = field(default_factory=lambda: [0] * HOURS)
    unsure_hours: list[int] = field(default_factory=lambda: [0] * HOURS)
    boxes: Counter[str] = field(default_factory=Counter)
    tiles: Best = field(default_factory=lambda: Best(OF_A_LABEL_SHOWN))


@dataclass
class Place:
    """What was seen at a location: images by decision, sequences by label."""

    images: Counter[str] = field(default_factory=Counter)
    sure: Counter[str] = field(default_factory=Counter)
    unsure: Counter[str] = field(default_factory=Counter)


class Overview:
    """Counts and the few tiles to show; flat in the number of images.

    Memory grows with the number of labels times locations.
    """

    def __init__(self) -> None:
        self.images: Counter[str] = Counter()  # by decision; without failures
        self.boxes: Counter[str] = Counter()
        self.sequences: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.failure_examples: dict[str, list[str]] = defaultdict(list)
        self.labels: defaultdict[str, Tally] = defaultdict(Tally)
        self.places: defaultdict[str, Place] = defaultdict(Place)
        self.review = Best(REVIEW_SHOWN)
        self.unlike = Best(UNKNOWN_SHOWN)
        self.first, self.last = "", ""  # datetimes
        self.without_time = 0

    def add(self, frame: Frame) -> None:
        """Take in an image with what was decided of it."""
        answer, decision = frame.answer, frame.decision.decision
        if answer.failure:
            return self._add_failure(answer)
        self._note_time(answer.facts.datetime)
        self.images[decision] += 1
        self.places[answer.facts.location].images[decision] += 1
        for box, decided in zip(answer.boxes, frame.boxes, strict=True):
            self._add_box(answer, box, decided)
        return None

    def add_sequence(self, location: str, start: str, decision: Decision) -> None:
        """Take in a sequence: each of its labels counts once, at its location and hour."""
        self.sequences[decision.decision] += 1
        is_sure = decision.decision in {ACCEPT, ALARM}
        place, hour = self.places[location], find_hour(start)
        for label in decision.labels:
            tally = self.labels[label]
            if is_sure:
                tally.sure += 1
                place.sure[label] += 1
            else:
                tally.unsure += 1
                place.unsure[label] += 1
            if hour is not None:
                (tally.sure_hours if is_sure else tally.unsure_hours)[hour] += 1

    def _note_time(self, text: str) -> None:
        if find_hour(text) is None:
            self.without_time += 1
            return
        self.first = min(self.first, text) if self.first else text
        self.last = max(self.last, text)

    def _add_failure(self, answer: ImageAnswer) -> None:
        self.places[answer.facts.location].images["failure"] += 1
        kind = find_kind(answer.failure)[:KIND_CHARACTERS]
        if kind not in self.failures and len(self.failures) >= KINDS_MAX:
            kind = "another reason"
        self.failures[kind] += 1
        if len(self.failure_examples[kind]) < 3:
            self.failure_examples[kind].append(answer.file_name)

    def _add_box(self, answer: ImageAnswer, box: BoxAnswer, decided: BoxDecision) -> None:
        self.boxes[decided.decision] += 1
        self.labels[decided.label].boxes[decided.decision] += 1
        tile = Tile(
            answer.file_name,
            box.detection.box,
            decided.label,
            decided.probability,
            decided.decision,
            decided.reason,
            answer.facts.location,
            answer.facts.datetime,
            box.unknown,
        )
        if decided.decision == ALARM:
            self.review.offer((0.0, -decided.probability), tile)
        elif decided.decision == REVIEW:
            is_given = math.isnan(decided.probability)
            self.review.offer((1.0, 2.0 if is_given else decided.probability), tile)
        if not math.isnan(box.unknown):
            self.unlike.offer((-box.unknown,), tile)
        if decided.label != PERSON and decided.decision != EMPTY:  # people are counted, not shown
            self.labels[decided.label].tiles.offer(
                (float(decided.decision == REVIEW), draw_lot(tile)), tile
            )


def draw_lot(tile: Tile) -> float:
    """Return a number from 0 to 1 that follows from the box alone: a sample in any order."""
    digest = hashlib.blake2b(repr((tile.file_name, tile.box)).encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def find_hour(text: str) -> int | None:
    """Return the hour by the camera's own clock, or None where there is no time of day.

    >>> find_hour("2023-03-02T06:41:10-08:00"), find_hour("2023-03-02"), find_hour("")
    (6, None, None)
    """
    if len(text) <= len("2023-03-02"):
        return None
    try:
        return datetime.fromisoformat(text).hour
    except ValueError:
        return None
