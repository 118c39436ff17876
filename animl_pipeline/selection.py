"""Which boxes of an export become crops, and the reason for every row that does not."""

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, field

from animl_pipeline.boxes import Box
from animl_pipeline.formats.coco import Annotation, Export, Image, Problem
from animl_pipeline.formats.megadetector import Detection, Results

NOT_AN_ANIMAL = {"empty", "person", "vehicle"}
ANIMAL = "animal"  # MegaDetector's category of every animal
PLAIN_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


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
    """The boxes to cut by image id, and (image, annotation id, reason) of what is not cut."""

    boxes: dict[str, list[Chosen]] = field(default_factory=lambda: defaultdict(list))
    refused: list[Problem] = field(default_factory=list)


def select(
    export: Export, detections: Results | None, *, threshold: float, include_unvalidated: bool
) -> Selection:
    """Return every box that becomes a crop, and a reason for every other row of the export.

    People's boxes carry their own category. Where an image has none, its detections take the
    image's label if it has exactly one animal category; several are not guessed between.
    """
    selection = Selection(refused=[*export.image_problems, *export.annotation_problems])
    annotations: dict[str, list[Annotation]] = defaultdict(list)
    for row in export.annotations:
        annotations[row.image_id].append(row)
    for image in export.images:
        rows = annotations[image.image_id]
        if image.unsafe:
            reason = f"file_name {image.unsafe}"
            ids = [row.annotation_id for row in rows] or [""]
            selection.refused.extend((image.file_name, id_, reason) for id_ in ids)
        elif not rows:
            selection.refused.append((image.file_name, "", "no annotation"))
        else:
            _select_of_image(image, rows, detections, selection, threshold, include_unvalidated)
    return selection


def _select_of_image(
    image: Image,
    rows: list[Annotation],
    detections: Results | None,
    selection: Selection,
    threshold: float,
    include_unvalidated: bool,
) -> None:
    unboxed = []
    for row in rows:
        why_not = _policy(row, include_unvalidated)
        if why_not:
            selection.refused.append((image.file_name, row.annotation_id, why_not))
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
                selection.refused.append((image.file_name, row.annotation_id, reason))
            else:
                selection.boxes[image.image_id].append(chosen)
    if not unboxed:
        return
    why_not = ""
    if detections and image.image_id not in selection.boxes:
        found, why_not = _detected(image.file_name, unboxed, detections, threshold)
        if found:
            selection.boxes[image.image_id] = found
            return
    for row in unboxed:
        reason = f"{row.reason}; {why_not}" if why_not else row.reason
        selection.refused.append((image.file_name, row.annotation_id, reason))


def _policy(row: Annotation, include_unvalidated: bool) -> str:
    """Return why a row gives no crop whatever its box is, or ""."""
    if not row.category:
        return row.reason
    if not row.validated and not include_unvalidated:
        return "not validated by a person"
    if row.category.strip().lower() in NOT_AN_ANIMAL:
        return f"category {row.category} is not an animal"
    return ""


def _detected(
    file_name: str, unboxed: list[Annotation], results: Results, threshold: float
) -> tuple[list[Chosen], str]:
    """Return an image's detections under its one label, or why there are none."""
    if any(row.sequence_level for row in unboxed):
        return [], "a sequence's label says too little about one image for its detections"
    categories = sorted({row.category for row in unboxed})
    if len(categories) > 1:
        return [], f"several categories ({', '.join(categories)}): which detection is which?"
    if file_name in results.failures:
        return [], f"the detector failed on it: {results.failures[file_name]}"
    if file_name not in results.detections:
        return [], "the detector's results do not hold it"
    found = [
        _as_chosen(detection, categories[0])
        for detection in results.detections[file_name]
        if detection.category == ANIMAL and detection.confidence >= threshold
    ]
    found.sort(key=lambda one: one.confidence)  # of the same box twice the surer one stays
    boxes = {one.box_id: one for one in found if one.box[2] > 0 and one.box[3] > 0}
    return list(boxes.values()), "" if boxes else f"no animal detected at {threshold:g} or more"


def _as_chosen(detection: Detection, category: str) -> Chosen:
    x, y, width, height = detection.box
    left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + width, 1.0), min(y + height, 1.0)
    box = (left, top, right - left, bottom - top)
    return Chosen(box_id("", category, box), "", category, detection.confidence, box)


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
