"""What every reader of labels and of detections returns, whatever format it reads."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from animl_pipeline.boxes import Box
from animl_pipeline.catalogue.reasons import Reason, find_kind

EMPTY = "empty"  # the category of an image without an animal; its box, if any, is the whole frame
ANIMAL, PERSON, VEHICLE = DETECTOR_CATEGORIES = ("animal", "person", "vehicle")  # MegaDetector's
Size = tuple[int, int]  # width and height in pixels


class Refused(NamedTuple):
    """A row that cannot be used, by what is known of it, and why."""

    image: str
    annotation_id: str
    reason: str  # a Reason where it has particulars


class Image(NamedTuple):
    """An image record; what the source does not say is "" or, of a side, 0."""

    image_id: str
    file_name: str
    key: str  # in the bucket
    location: str
    datetime: str
    sequence: str
    width_px: int
    height_px: int
    unsafe: str  # why the image may not be written under its file_name, or ""
    corrupt: bool = False  # as the source says of the image

    @property
    def unsafe_reason(self) -> str:
        """Why the row is refused whose image is unsafe."""
        return Reason(f"file_name {find_kind(self.unsafe)}", f"file_name {self.unsafe}")


class Annotation(NamedTuple):
    """An annotation record; `reason` is why its box cannot be used, or "" where it can."""

    annotation_id: str
    image_id: str
    category: str  # "" where the source does not name it
    validated: bool
    sequence_level: bool
    confidence: float
    box: Box | None  # fractions of the record's width and height, clipped to 0..1
    reason: str
    warning: str


@dataclass(frozen=True)
class Catalogue:
    """The images of a dataset and their annotations; what could not become one is refused.

    `key_field` is the field of the source that held the images' keys in the bucket.
    """

    images: list[Image]
    annotations: list[Annotation]
    refused_images: list[Refused]
    refused_annotations: list[Refused]
    dataset: str
    key_field: str


@dataclass(frozen=True, slots=True)
class Detection:
    """A detector's box: category name, confidence, and fractions of the upright image.

    `classifications` are a classifier's names and probabilities. The rest is what results made of
    a COCO file hold beside: whose box it is, and whether a person validated it.
    """

    category: str
    confidence: float
    box: Box
    classifications: tuple[tuple[str, float], ...] = ()
    annotation_id: str = ""
    validated: bool = False


class Facts(NamedTuple):
    """What detection results may hold of an image beside its boxes."""

    image_id: str = ""
    location: str = ""
    datetime: str = ""
    sequence: str = ""
    width_px: int = 0
    height_px: int = 0


class DetectedImage(NamedTuple):
    """An image with its detections; one with a failure has none."""

    file_name: str
    detections: list[Detection]
    failure: str = ""
    facts: Facts = Facts()


@dataclass(frozen=True)
class Results:
    """Detections by file, and the reason for each file the detector could not look at.

    `classes` are the names of all labels a classifier had to choose from; `facts` what else is
    known of a file; `info` what the file says of how it was made.
    """

    detections: dict[str, list[Detection]]
    failures: dict[str, str]
    classes: tuple[str, ...] = ()
    facts: dict[str, Facts] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict, compare=False)
