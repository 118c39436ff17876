"""Which boxes of an export become crops, and the reason for every row that does not.

People's boxes carry their own category. A detector's box takes the label of its image, if the image
has exactly one animal category, and if it is not, by its overlap, a box that the export has.
"""

import hashlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from animl_pipeline.boxes import Box, clip_box, compute_iou
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

NOT_AN_ANIMAL = {EMPTY, PERSON, VEHICLE}
PLAIN_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What decides between boxes."""

    threshold: float  # least confidence of a detection
    iou: float  # of intersection over union: from here on two boxes are of one animal
    include_unvalidated: bool
    sequence_labels: bool  # whether a label of a whole sequence is one of each of its images


@dataclass(frozen=True)
class Chosen:
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
    """The boxes to cut by image id, and (image, annotation id, reason) of what is not cut.

    `detections` counts a detector's boxes by what became of them: USED, or why they are not.
    """

    boxes: dict[str, list[Chosen]] = field(default_factory=lambda: defaultdict(list))
    refused: list[Refused] = field(default_factory=list)
    detections: Counter[str] = field(default_factory=Counter)


USED = "cut"


def select(catalogue: Catalogue, results: Results | None, rules: Rules) -> Selection:
    """Return every box that becomes a crop, and a reason for every other row of the export."""
    selection = Selection(refused=[*catalogue.refused_images, *catalogue.refused_annotations])
    annotations: dict[str, list[Annotation]] = defaultdict(list)
    for row in catalogue.annotations:
        annotations[row.image_id].append(row)
    for image in catalogue.images:
        rows = annotations[image.image_id]
        if image.unsafe:
            reason = f"file_name {image.unsafe}"
            ids = [row.annotation_id for row in rows] or [""]
            selection.refused.extend(Refused(image.file_name, id_, reason) for id_ in ids)
        elif not rows:
            selection.refused.append(Refused(image.file_name, "", "no annotation"))
        unboxed = [] if image.unsafe else _take_peoples(image, rows, selection, rules)
        why_not = ""
        if results and not image.unsafe:
            why_not = _take_detected(image, rows, results, selection, rules)
        for row in unboxed:
            own = _too_little(row, rules) if results else ""
            if own or why_not or not results:
                reason = "; ".join(filter(None, [row.reason, own or why_not]))
                selection.refused.append(Refused(image.file_name, row.annotation_id, reason))
    if results:
        known = {image.file_name for image in catalogue.images if not image.unsafe}
        for name, found in results.detections.items():
            if found and name not in known:
                selection.detections["not of an image of the export that can be used"] += len(found)
    return selection


def _take_peoples(
    image: Image, rows: list[Annotation], selection: Selection, rules: Rules
) -> list[Annotation]:
    """Choose people's boxes of an image, and return the rows that label it without a box."""
    unboxed = []
    for row in rows:
        why_not = _policy(row, rules)
        if why_not:
            selection.refused.append(Refused(image.file_name, row.annotation_id, why_not))
        elif row.box is None:
            unboxed.append(row)
        else:
            chosen = Chosen(
                box_id(row.annotation_id, row.category, row.box),
                row.annotation_id,
                row.category,
                1.0 if row.validated else row.confidence,
                row.box,
                row.validated,
                row.warning,
            )
            if chosen.box_id in {other.box_id for other in selection.boxes[image.image_id]}:
                reason = "the same box with the same category is there twice"
                selection.refused.append(Refused(image.file_name, row.annotation_id, reason))
            else:
                selection.boxes[image.image_id].append(chosen)
    return unboxed


def _policy(row: Annotation, rules: Rules) -> str:
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


def _too_little(row: Annotation, rules: Rules) -> str:
    """Return why a row is no label of its image, or ""."""
    if row.sequence_level and not rules.sequence_labels:
        return "a sequence's label says too little about one image for its detections"
    return ""


def _take_detected(
    image: Image, rows: list[Annotation], results: Results, selection: Selection, rules: Rules
) -> str:
    """Choose the detections of an image that take its one label, and return why none does."""
    if image.file_name in results.failures:
        return f"the detector failed on it: {results.failures[image.file_name]}"
    if image.file_name not in results.detections:
        return "the detector's results do not hold it"
    category, no_label = _label_of(rows, rules)
    boxes = [row.box for row in rows if row.box and row.category.strip().lower() != EMPTY]
    taken: dict[str, Chosen] = {}
    # Of the same box twice the surer one stays.
    for found in sorted(results.detections[image.file_name], key=lambda one: -one.confidence):
        box, fate, warning = clip_box(found.box)
        fate = _fate(found, box, boxes, rules) or fate or no_label
        id_ = box_id("", category, box) if box else ""
        if not fate and id_ in taken:
            fate = "the same box is there twice"
        if box and not fate:
            taken[id_] = Chosen(id_, "", category, found.confidence, box, warning=warning)
        selection.detections[fate or USED] += 1
    if taken:
        selection.boxes[image.image_id].extend(taken.values())
        return ""
    overlapping = "but what overlaps a box of the export" if boxes else ""
    return no_label or f"no animal detected at {rules.threshold:g} or more {overlapping}".strip()


def _label_of(rows: list[Annotation], rules: Rules) -> tuple[str, str]:
    """Return the one animal category of an image, or "" and why there is none.

    What no person validated is no label, but it is reason enough to doubt another one.
    """
    animals = [row for row in rows if _is_animal(row) and not _too_little(row, rules)]
    categories = sorted({row.category for row in animals})
    if not any(row.validated or rules.include_unvalidated for row in animals):
        return "", "its image has no label of an animal"
    if len(categories) > 1:
        return "", f"several categories ({', '.join(categories)}): which detection is which?"
    return categories[0], ""


def _fate(found: Detection, box: Box | None, boxes: list[Box], rules: Rules) -> str:
    """Return why a detection is not cut whatever its image's label is, or ""."""
    if found.category != ANIMAL:
        return f"category {found.category}"
    if found.confidence < rules.threshold:
        return f"below the threshold {rules.threshold:g}"
    if box and any(compute_iou(box, other) >= rules.iou for other in boxes):
        return "overlaps a box of the export, which wins"
    return ""


def box_id(annotation_id: str, category: str, box: Box) -> str:
    """Return what names a box's crop: the annotation's id, or a hash where it has none to use.

    >>> box_id("bc21fd1feac35a4eaf62d07e", "fox", (0.1, 0.1, 0.2, 0.2))
    'bc21fd1feac35a4eaf62d07e'
    >>> box_id("../../id", "fox", (0.1, 0.1, 0.2, 0.2))
    'box-0a0df244b12c'
    """
    if PLAIN_ID.fullmatch(annotation_id):
        return annotation_id
    identity = annotation_id or f"{category} {box}"
    return f"box-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
