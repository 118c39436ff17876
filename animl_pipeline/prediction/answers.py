"""What is answered of an image: its boxes, and what the classifier gives for each of them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from animl_pipeline.catalogue.records import Detection, Facts

Floats32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class BoxAnswer:
    """A detector's box and what the network gives for its crop.

    `logits` (labels,) are not yet calibrated, so that a new policy needs no network; None where the
    box was not classified, as that of a person. `unknown` is the unknown score, the higher the less
    like train, NaN where the run has no reference of it; `traits` (k,) place the crop among those
    that the run was tested on, and are empty where it has none. `is_grey`: the crop has no colour.
    """

    detection: Detection
    logits: Floats32 | None
    unknown: float
    traits: Floats32
    is_grey: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ImageAnswer:
    """An image with its boxes, or the reason why it could not be read.

    `time_ns` and `size_bytes` are those of the file when it was read: a file that has others is
    another image. `facts` hold its location, datetime and size in pixels.
    """

    file_name: str
    time_ns: int
    size_bytes: int
    boxes: list[BoxAnswer]
    failure: str = ""
    facts: Facts = field(default_factory=Facts)
