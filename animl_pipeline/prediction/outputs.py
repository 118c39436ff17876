"""Write what follows from the answers: results, tables of boxes, images, sequences and failures.

All are written image by image, so that memory stays the same however many there are.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.artifacts.names import RESULTS
from animl_pipeline.catalogue.records import ANIMAL, DETECTOR_CATEGORIES, DetectedImage, Detection
from animl_pipeline.formats import megadetector
from animl_pipeline.prediction.answers import BoxAnswer, ImageAnswer
from animl_pipeline.prediction.cameras import CameraTally, CameraVerdict, judge_cameras
from animl_pipeline.prediction.decisions import BoxDecision, Decision, Frame, Rules, decide_frame
from animl_pipeline.prediction.sequence_decisions import decide_sequence
from animl_pipeline.prediction.sequencing import name_sequences
from animl_pipeline.prediction.store import Store
from animl_pipeline.runs.policy import Cameras

JOINED = ";"  # between the labels of one cell


class Watcher(Protocol):
    """What wants to see all that is decided, as a page does."""

    def add(self, frame: Frame) -> None:
        """Take in an image."""

    def add_sequence(self, location: str, start: str, decision: Decision) -> None:
        """Take in a sequence."""


@dataclass(frozen=True, kw_only=True)
class Writing:
    """Where the files go, what decides, and what they say of how they were made.

    Images of a camera are one sequence where each follows the one before within `gap_seconds`.
    `info` are members of results.json's `info`; `cameras` are those that the run was tested on.
    """

    folder: Path
    rules: Rules
    gap_seconds: float
    detector: str
    info: dict[str, Any] = field(default_factory=dict)
    cameras: Cameras | None = None


@dataclass
class OutputCounts:
    """How many there are, by decision; and how far each location is from those tested on."""

    boxes: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    sequences: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    cameras: list[CameraVerdict] = field(default_factory=list)


def write_outputs(answers: Store, writing: Writing, *watchers: Watcher) -> OutputCounts:
    """Write all files, each whole or not at all, and return what is in them."""
    name_sequences(answers, writing.gap_seconds)
    counts = OutputCounts()
    tallies: dict[str, CameraTally] = {}
    with ExitStack() as stack:
        appends = _Appends(
            *(
                stack.enter_context(table_io.open_rows(table, writing.folder / table.name, further))
                for table, further in (
                    (tables.PREDICTED_BOXES, writing.rules.labels),
                    (tables.PREDICTED_IMAGES, ()),
                    (tables.UNREADABLE_IMAGES, ()),
                )
            )
        )

        def walk() -> Iterator[DetectedImage]:
            for answer in answers.iterate():
                frame = decide_frame(answer, writing.rules)
                for watcher in watchers:
                    watcher.add(frame)
                if writing.cameras:
                    _find_tally(tallies, answer, writing.rules).add(answer)
                _count(counts, frame)
                _append_frame(appends, frame, len(writing.rules.labels))
                yield make_result(frame, writing.rules)

        megadetector.write(
            writing.folder / RESULTS.name,
            walk(),
            detector=writing.detector,
            classes=writing.rules.labels,
            info=writing.info,
        )
    _write_sequences(answers, writing, watchers, counts)
    counts.cameras = judge_cameras(tallies.values(), writing.cameras)
    return counts


@dataclass(frozen=True)
class _Appends:
    """What adds a row to each table."""

    boxes: table_io.Append
    images: table_io.Append
    failures: table_io.Append


def _find_tally(tallies: dict[str, CameraTally], answer: ImageAnswer, rules: Rules) -> CameraTally:
    location = answer.facts.location
    if location not in tallies:
        tallies[location] = CameraTally(location, rules.temperature)
    return tallies[location]


def _count(counts: OutputCounts, frame: Frame) -> None:
    counts.images[frame.decision.decision] += 1
    counts.boxes.update(box.decision for box in frame.boxes)
    counts.failed += bool(frame.answer.failure)


def _append_frame(appends: _Appends, frame: Frame, labels: int) -> None:
    """Add an image's rows to the tables, of which that of boxes has so many labels."""
    answer, facts = frame.answer, frame.answer.facts
    where = (answer.file_name, facts.location, facts.datetime, facts.sequence)
    appends.images((*where, *_list_cells(frame.decision)))
    if answer.failure:
        appends.failures((answer.file_name, answer.failure))
    blank = [""] * labels
    for box, decided in zip(answer.boxes, frame.boxes, strict=True):
        appends.boxes(
            (
                *where,
                *box.detection.box,
                box.detection.confidence,
                decided.label,
                decided.probability,
                box.unknown,
                decided.decision,
                decided.reason,
                *(decided.probabilities.tolist() or blank),
            )
        )


def _list_cells(decision: Decision) -> tuple[Any, ...]:
    return (
        JOINED.join(decision.labels),
        decision.count,
        decision.probability,
        decision.decision,
        decision.reason,
    )


def make_result(frame: Frame, rules: Rules) -> DetectedImage:
    """Return an image as MegaDetector results have it: the likeliest label of a box first."""
    answer = frame.answer
    detections = [
        _make_detection(box, decided, rules.labels)
        for box, decided in zip(answer.boxes, frame.boxes, strict=True)
    ]
    return DetectedImage(answer.file_name, detections, answer.failure, answer.facts)


def _make_detection(box: BoxAnswer, decided: BoxDecision, labels: Sequence[str]) -> Detection:
    pairs = zip(labels, decided.probabilities.tolist(), strict=False)
    detection = box.detection
    is_theirs = detection.category in DETECTOR_CATEGORIES
    return replace(
        detection,
        category=detection.category if is_theirs else ANIMAL,
        confidence=float(detection.confidence),
        classifications=tuple(sorted(pairs, key=lambda pair: -pair[1])),
    )


def _write_sequences(
    answers: Store, writing: Writing, watchers: Sequence[Watcher], counts: OutputCounts
) -> None:
    table = tables.PREDICTED_SEQUENCES
    with table_io.open_rows(table, writing.folder / table.name) as append:
        by_sequence = groupby(answers.iterate_by_sequence(), lambda answer: answer.facts.sequence)
        for name, members in by_sequence:
            span = _Span()
            decision = decide_sequence(
                (decide_frame(answer, writing.rules) for answer in span.watch(members)),
                writing.rules,
            )
            counts.sequences[decision.decision] += 1
            append((name, span.location, span.start, span.end, span.images, *_list_cells(decision)))
            for watcher in watchers:
                watcher.add_sequence(span.location, span.start, decision)


class _Span:
    """Where a sequence is, from when to when, and of how many images."""

    def __init__(self) -> None:
        self.location = self.start = self.end = ""
        self.images = 0

    def watch(self, answers: Iterator[ImageAnswer]) -> Iterator[ImageAnswer]:
        """Yield the same images."""
        for answer in answers:
            self.location = self.location or answer.facts.location
            self.start = self.start or answer.facts.datetime
            self.end = answer.facts.datetime or self.end
            self.images += 1
            yield answer
