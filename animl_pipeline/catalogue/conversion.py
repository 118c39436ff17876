"""A COCO file as MegaDetector results, and results as a COCO file: all that both can hold.

Both hold images (id, name, location, datetime, sequence, size, whether it can be read) and boxes
(id, category, confidence, fractions, whether a person validated it). Only a COCO file holds a label
without a box. Only results hold why an image failed, and several classifications of a box.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from animl_pipeline.artifacts.names import DOWNLOAD_FILES
from animl_pipeline.boxes import Box, clip_box
from animl_pipeline.catalogue.reasons import Reason, explain_clash
from animl_pipeline.catalogue.records import (
    ANIMAL,
    DETECTOR_CATEGORIES,
    EMPTY,
    Annotation,
    Catalogue,
    DetectedImage,
    Detection,
    Facts,
    Image,
    Refused,
    Results,
)
from animl_pipeline.files.names import Names, explain_unsafe

CORRUPT = "the COCO file calls it corrupt"
NO_BOX_FOR_EMPTY = Reason("category empty", "category empty: results say it by having no detection")


class Boxed(Protocol):
    """A box with what is known of it."""

    @property
    def annotation_id(self) -> str: ...  # noqa: D102
    @property
    def category(self) -> str: ...  # noqa: D102
    @property
    def validated(self) -> bool: ...  # noqa: D102
    @property
    def confidence(self) -> float: ...  # noqa: D102
    @property
    def box(self) -> Box | None: ...  # noqa: D102


class Converted(NamedTuple):
    """Results, and the reason for each row of the COCO file that they cannot hold."""

    images: list[DetectedImage]
    left_out: list[Refused]


def convert_to_results(catalogue: Catalogue) -> Converted:
    """Return every box of a COCO file, whatever it is of and whoever drew it."""
    rows: dict[str, list[Annotation]] = defaultdict(list)
    for row in catalogue.annotations:
        rows[row.image_id].append(row)
    images, left_out = [], [*catalogue.refused_images, *catalogue.refused_annotations]
    for image in catalogue.images:
        if image.unsafe:
            left_out.append(Refused(image.file_name, "", image.unsafe_reason))
            continue
        failure, held = CORRUPT if image.corrupt else "", []
        for row in rows[image.image_id]:
            reason = failure or _explain_left_out(row)
            if reason:
                left_out.append(Refused(image.file_name, row.annotation_id, reason))
            else:
                held.append(row)
        images.append(convert_image(image, held, failure))
    return Converted(images, left_out)


def _explain_left_out(row: Annotation) -> str:
    """Return why results cannot hold a row of a COCO file, or ""."""
    if row.box is None or not row.category:
        return row.reason
    if row.category.strip().lower() == EMPTY:
        return NO_BOX_FOR_EMPTY
    return ""


def convert_image(image: Image, boxed: Iterable[Boxed], failure: str) -> DetectedImage:
    """Return an image of a COCO file with some of its boxes as results have it."""
    facts = Facts(
        image.image_id,
        image.location,
        image.datetime,
        image.sequence,
        image.width_px,
        image.height_px,
    )
    detections = [_make_detection(row, row.box) for row in boxed if row.box]
    return DetectedImage(image.file_name, detections, failure, facts)


def _make_detection(row: Boxed, box: Box) -> Detection:
    """Return a box as a detection of MegaDetector's category; other names are classifications."""
    plain = row.category.strip().lower()
    category = plain if plain in DETECTOR_CATEGORIES else ANIMAL
    names = () if row.category == category else ((row.category, 1.0),)
    return Detection(category, row.confidence, box, names, row.annotation_id, row.validated)


def convert_to_catalogue(results: Results, dataset: str) -> Catalogue:
    """Return results as a COCO file: a box has the category of its likeliest classification.

    A box that no person validated says so, so that none is taken for a person's.
    """
    images: dict[str, Image] = {}
    annotations: list[Annotation] = []
    refused_images: list[Refused] = []
    refused_annotations: list[Refused] = []
    names, taken = Names(DOWNLOAD_FILES), set[str]()
    for name, detections in results.detections.items():
        facts = results.facts.get(name, Facts())
        image_id = facts.image_id or name
        if image_id in images:
            sentence = f"its id {image_id} is another image's, too"
            reason = Reason("its id is another image's, too", sentence)
            refused_images.append(Refused(name, "", reason))
            continue
        images[image_id] = Image(
            image_id=image_id,
            file_name=name,
            key="",
            location=facts.location,
            datetime=facts.datetime,
            sequence=facts.sequence,
            width_px=facts.width_px,
            height_px=facts.height_px,
            unsafe=explain_unsafe(name) or explain_clash(names, name, image_id),
            corrupt=name in results.failures,
        )
        for detection in detections:
            row = _make_annotation(detection, image_id, taken)
            if row.reason:
                refused_annotations.append(Refused(name, row.annotation_id, row.reason))
            else:
                annotations.append(row)
    return Catalogue(
        list(images.values()), annotations, refused_images, refused_annotations, dataset, ""
    )


def _make_annotation(detection: Detection, image_id: str, taken: set[str]) -> Annotation:
    pairs = detection.classifications
    category = max(pairs, key=lambda pair: pair[1])[0] if pairs else detection.category
    box, reason, warning = clip_box(detection.box)
    row = Annotation(
        annotation_id=detection.annotation_id,
        image_id=image_id,
        category=category,
        validated=detection.validated,
        sequence_level=False,
        confidence=detection.confidence,
        box=box,
        reason=reason if category.strip() else "its category has no name",
        warning=warning,
    )
    return row._replace(annotation_id=_make_free_id(row, taken))


def _make_free_id(row: Annotation, taken: set[str]) -> str:
    """Return the row's id, or one of its image, category and box; no two rows have the same."""
    annotation_id, number = row.annotation_id, 0
    while not annotation_id or annotation_id in taken:
        identity = f"{row.image_id} {row.category} {row.box} {number}"
        annotation_id = hashlib.sha256(identity.encode()).hexdigest()[:24]
        number += 1
    taken.add(annotation_id)
    return annotation_id
