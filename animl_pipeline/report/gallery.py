"""Small pictures of crops for the pages, and where the network looked, as data URIs."""

import base64
import io
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image
from torch import nn

from animl_pipeline.boxes import Box, compute_crop
from animl_pipeline.classifier.card import Card
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.files.names import explain_unsafe
from animl_pipeline.images import opening
from animl_pipeline.report import gradcam
from animl_pipeline.running.workers import map_threads

THUMBNAIL_PX = 112
BOX_PX, BOX_MARGIN, BOX_QUALITY = 192, 0.1, 75  # of a box cut for a page, with some surroundings
THREADS = 8


@dataclass(frozen=True)
class Pictures:
    """Where the crops are, and the network that is to show where it looked, if any."""

    crops_dir: Path
    card: Card
    network: nn.Module | None = None

    def encode(self, crop: str, label: str) -> list[str]:
        """Return the crop, and where the network looked for the label; none if unreadable."""
        if explain_unsafe(crop):
            return []
        try:
            image = opening.open_upright(self.crops_dir / crop)
        except ImageUnusable:
            return []
        pictures = [image]
        if self.network is not None and label in self.card.labels:  # else the labels are mapped
            number = self.card.labels.index(label)
            pictures.append(gradcam.overlay_heat(self.network, self.card, image, number))
        return [_encode_uri(picture) for picture in pictures]


def encode_boxes(
    images_dir: Path, wanted: Collection[tuple[str, Box]]
) -> dict[tuple[str, Box], str]:
    """Return a small square picture of each box, by file name and box; none if unreadable."""
    boxes: dict[str, list[Box]] = defaultdict(list)
    for file_name, box in sorted(wanted):
        boxes[file_name].append(box)

    def cut(file_name: str) -> dict[tuple[str, Box], str]:
        try:
            with opening.opened(images_dir / file_name) as image:
                squares = [
                    compute_crop(box, *image.size_px, square=True, margin=BOX_MARGIN)
                    for box in boxes[file_name]
                ]
                pictures = opening.cut(image, squares)
        except ImageUnusable:
            return {}
        return {
            (file_name, box): _encode_uri(picture, BOX_PX, BOX_QUALITY)
            for box, picture in zip(boxes[file_name], pictures, strict=True)
        }

    safe = [name for name in boxes if not {"..", "/"} & set(PurePosixPath(name).parts)]
    encoded: dict[tuple[str, Box], str] = {}
    for of_image in map_threads(cut, safe, workers=THREADS):
        encoded |= of_image
    return encoded


def _encode_uri(picture: Image.Image, side_px: int = THUMBNAIL_PX, quality: int = 85) -> str:
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
