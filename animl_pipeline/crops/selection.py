"""Which boxes of a COCO file become crops, and the reason for every row that does not.

People's boxes carry their own category. A detector's box takes the label of its image, if the image
has exactly one animal category, and if it does not overlap a box that the COCO file has.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from animl_pipeline.boxes import Box, clip_box, compute_iou
from animl_pipeline.catalogue.reasons import Reason, find_kind, join_reasons
from animl_pipeline.catalogue.records import (
    ANIMAL,
    EMPTY,
    PERSON,
    VEHICLE,
    Annotation,
    Catalogue,
    Detection,
    Image,
    Refused,
    Results,
)
from animl_pipeline.crops.settings import SelectionRules

NOT_AN_ANIMAL = {EMPTY, PERSON, VEHICLE}
PLAIN_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
USED = "cut"  # the fate of a detection that becomes a crop
UNKNOWN_IMAGE = "not of an image of the COCO file that can be used"


@dataclass(frozen=True)
class ChosenBox:
    """A box to cut. `box_id` goes into the crop's name, and stays when other boxes come or go."""

    box_id: str
    annotation_id: str
    category: str
    confidence: float
    box: Box
    validated: bool = False
    warning: str = ""


@dataclass(frozen=True)
class Selection:
    """The boxes to cut, by image id, and the rows that give no crop.

    `detections` counts a detector's boxes by their fate: USED, or why they are not cut. `unboxed`
    counts people's labels without a box.
    """

    boxes: dict[str, list[ChosenBox]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    detections: Counter[str] = field(default_factory=Counter)
    unboxed: int = 0


class PeoplesBoxes(NamedTuple):
    """People's boxes of one image, the rows that give none, and its labels without a box."""

    boxes: list[ChosenBox]
    refused: list[Refused]
    unboxed: list[Annotation]


class DetectedBoxes(NamedTuple):
    """A detector's boxes of one image, the fate of each, and the reason where there is none."""

    boxes: list[ChosenBox]
    fates: list[str]
    reason: str


class ImageBoxes(NamedTuple):
    """The boxes to cut of one image, the rows that give no crop, the fates of its detections."""

    boxes: list[ChosenBox]
    refused: list[Refused]
    fates: Sequence[str] = ()
    unboxed: int = 0


def select(catalogue: Catalogue, results: Results | None, rules: SelectionRules) -> Selection:
    """Return every box that becomes a crop, and a reason for every other row.

    `results` are those of a detector, or None where people's boxes alone are wanted.
    """
    annotations: dict[str, list[Annotation]] = defaultdict(list)
    for row in catalogue.annotations:
        annotations[row.image_id].append(row)
    boxes = {}
    refused = [*catalogue.refused_images, *catalogue.refused_annotations]
    detections: Counter[str] = Counter()
    unboxed = 0
    for image in catalogue.images:
        chosen = _select_of_image(image, annotations[image.image_id], results, rules)
        if chosen.boxes:
            boxes[image.image_id] = chosen.boxes
        refused += chosen.refused
        detections.update(map(find_kind, chosen.fates))
        unboxed += chosen.unboxed
    if results:
        usable = {image.file_name for image in catalogue.images if not image.unsafe}
        for name, of_image in results.detections.items():
            if of_image and name not in usable:
                detections[UNKNOWN_IMAGE] += len(of_image)
    return Selection(boxes, refused, detections, unboxed)


def _select_of_image(
    image: Image, rows: list[Annotation], results: Results | None, rules: SelectionRules
) -> ImageBoxes:
    if image.unsafe:
        ids = [row.annotation_id for row in rows] or [""]
        refused = [Refused(image.file_name, id_, image.unsafe_reason) for id_ in ids]
        return ImageBoxes([], refused)
    peoples = _select_peoples(image, rows, rules)
    detected = _select_detected(image, rows, results, rules) if results else None
    refused = peoples.refused if rows else [Refused(image.file_name, "", "no annotation")]
    for row in peoples.unboxed:
        why_not = (_explain_too_vague(row, rules) or detected.reason) if detected else ""
        if why_not or not detected:  # else a detection has taken the label
            reason = join_reasons(row.reason, why_not)
            refused.append(Refused(image.file_name, row.annotation_id, reason))
    return ImageBoxes(
        peoples.boxes + (detected.boxes if detected else []),
        refused,
        detected.fates if detected else (),
        len(peoples.unboxed),
    )


def _select_peoples(image: Image, rows: list[Annotation], rules: SelectionRules) -> PeoplesBoxes:
    boxes: dict[str, ChosenBox] = {}
    refused, unboxed = [], []
    for row in rows:
        reason = _explain_no_crop(row, rules)
        if not reason and row.box is None:
            unboxed.append(row)
            continue
        if not reason and row.box:
            box_id = name_box(row.annotation_id, row.category, row.box)
            confidence = 1.0 if row.validated else row.confidence
            if box_id not in boxes:
                boxes[box_id] = ChosenBox(
                    box_id,
                    row.annotation_id,
                    row.category,
                    confidence,
                    row.box,
                    row.validated,
                    row.warning,
                )
                continue
            reason = "the same box with the same category is there twice"
        refused.append(Refused(image.file_name, row.annotation_id, reason))
    return PeoplesBoxes(list(boxes.values()), refused, unboxed)


def _explain_no_crop(row: Annotation, rules: SelectionRules) -> str:
    """Return why a row gives no crop whatever its box is, or ""."""
    if not row.category:
        return row.reason
    if not row.validated and not rules.include_unvalidated:
        return "not validated by a person"
    if not _is_animal(row):
        return f"category {row.category} is not an animal"
    return ""


def _is_animal(row: Annotation) -> bool:
    return bool(row.category) and row.category.strip().lower() not in NOT_AN_ANIMAL


def _explain_too_vague(row: Annotation, rules: SelectionRules) -> str:
    """Return why a row is no label of its image, or ""."""
    if row.sequence_level and not rules.sequence_labels:
        return "a sequence's label says too little about one image for its detections"
    return ""


def _select_detected(
    image: Image, rows: list[Annotation], results: Results, rules: SelectionRules
) -> DetectedBoxes:
    """Return the detections of an image that take its one label."""
    if image.file_name in results.failures:
        sentence = f"the detector failed on it: {results.failures[image.file_name]}"
        return DetectedBoxes([], [], Reason("the detector failed on it", sentence))
    if image.file_name not in results.detections:
        return DetectedBoxes([], [], "the detector's results do not hold it")
    category, no_label = _find_label(rows, rules)
    labelled = [row.box for row in rows if row.box and row.category.strip().lower() != EMPTY]
    boxes: dict[str, ChosenBox] = {}
    fates = []
    # Of the same box twice the surer one stays.
    for detection in sorted(results.detections[image.file_name], key=lambda box: -box.confidence):
        clipped = clip_box(detection.box)
        fate = (
            _explain_not_cut(detection, clipped.box, labelled, rules) or clipped.reason or no_label
        )
        if clipped.box and not fate:
            box_id = name_box("", category, clipped.box)
            if box_id in boxes:
                fate = "the same box is there twice"
            else:
                boxes[box_id] = ChosenBox(
                    box_id,
                    "",
                    category,
                    detection.confidence,
                    clipped.box,
                    warning=clipped.warning,
                )
        fates.append(fate or USED)
    if boxes:
        return DetectedBoxes(list(boxes.values()), fates, "")
    overlapping = " but what overlaps a box of the COCO file" if labelled else ""
    none = f"no animal detected at {rules.threshold:g} or more{overlapping}"
    return DetectedBoxes([], fates, no_label or none)


def _find_label(rows: list[Annotation], rules: SelectionRules) -> tuple[str, str]:
    """Return the one animal category of an image, or "" and why there is none.

    What no person validated is no label, but it is reason enough to doubt another one.
    """
    animals = [row for row in rows if _is_animal(row) and not _explain_too_vague(row, rules)]
    categories = sorted({row.category for row in animals})
    if not any(row.validated or rules.include_unvalidated for row in animals):
        return "", "its image has no label of an animal"
    if len(categories) > 1:
        sentence = f"several categories ({', '.join(categories)}): which detection is which?"
        return "", Reason("several categories", sentence)
    return categories[0], ""


def _explain_not_cut(
    detection: Detection, box: Box | None, labelled: list[Box], rules: SelectionRules
) -> str:
    """Return why a detection is not cut whatever its image's label is, or ""."""
    if detection.category != ANIMAL:
        return f"category {detection.category}"
    if detection.confidence < rules.threshold:
        return f"below the threshold {rules.threshold:g}"
    if box and any(compute_iou(box, other) >= rules.iou for other in labelled):
        return "overlaps a box of the COCO file, which wins"
    return ""


def name_box(annotation_id: str, category: str, box: Box) -> str:
    """Return what names a box's crop: the annotation's id, or a hash where it has none to use.

    >>> name_box("bc21fd1feac35a4eaf62d07e", "fox", (0.1, 0.1, 0.2, 0.2))
    'bc21fd1feac35a4eaf62d07e'
    >>> name_box("../../id", "fox", (0.1, 0.1, 0.2, 0.2))
    'box-0a0df244b12c'
    """
    if PLAIN_ID.fullmatch(annotation_id):
        return annotation_id
    identity = annotation_id or f"{category} {box}"
    return f"box-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
