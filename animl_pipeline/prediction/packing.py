"""The boxes of an image as text and bytes, and back, bit for bit."""

import json
import math

import numpy as np

from animl_pipeline.catalogue.records import Detection
from animl_pipeline.prediction.answers import BoxAnswer, Floats32

LITTLE_ENDIAN = "<f4"
NO_TRAITS = np.zeros(0, np.float32)


def pack_boxes(boxes: list[BoxAnswer]) -> tuple[str, bytes, bytes]:
    """Return the boxes as a line of JSON, and the bytes of all their logits and traits."""
    plain = [
        [
            [of.category, of.confidence, of.box, of.annotation_id, of.validated],
            -1 if box.logits is None else len(box.logits),
            len(box.traits),
            None if math.isnan(box.unknown) else box.unknown,
            box.is_grey,
        ]
        for box in boxes
        for of in [box.detection]
    ]
    logits = [_to_bytes(box.logits) for box in boxes if box.logits is not None]
    return json.dumps(plain), b"".join(logits), b"".join(_to_bytes(box.traits) for box in boxes)


def unpack_boxes(text: str, logits: bytes, traits: bytes) -> list[BoxAnswer]:
    """Return the boxes that `pack_boxes` made these of."""
    all_logits, all_traits = (np.frombuffer(data, LITTLE_ENDIAN) for data in (logits, traits))
    boxes, logits_at, traits_at = [], 0, 0
    for detection, n_logits, n_traits, unknown, is_grey in json.loads(text):
        category, confidence, box, annotation_id, validated = detection
        own = all_logits[logits_at : logits_at + max(n_logits, 0)]
        boxes.append(
            BoxAnswer(
                Detection(category, confidence, tuple(box), (), annotation_id, validated),
                None if n_logits < 0 else own,
                math.nan if unknown is None else unknown,
                all_traits[traits_at : traits_at + n_traits],
                is_grey,
            )
        )
        logits_at, traits_at = logits_at + len(own), traits_at + n_traits
    return boxes


def _to_bytes(numbers: Floats32) -> bytes:
    return numbers.astype(LITTLE_ENDIAN).tobytes()
