"""Small pictures of crops for the report, and where the network looked, as data URIs."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import nn

from animl_pipeline.classifier.card import Card
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.files.names import explain_unsafe
from animl_pipeline.images import opening
from animl_pipeline.report import gradcam

THUMBNAIL_PX = 112


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


def _encode_uri(picture: Image.Image) -> str:
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
