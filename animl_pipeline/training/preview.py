"""A sheet of crops as training sees them, so that a person may judge the augmentation."""

from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.transforms.v2 import functional

from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.crops import Crops
from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.files import whole

NAME = "augmentation.jpg"
SIDE_PX, GAP_PX, LINE_PX = 112, 4, 16
VIEWS = 7  # after the crop as it is predicted
LABELS_MAX = 60  # a JPEG is 65,535 pixels high at most, and a person has patience for less
TRIES = 20


def write(path: Path, crops: Crops, card: Card, *, seed: int) -> None:
    """Write a row for each label: a crop as it is predicted, then as training sees it.

    Same seed, same crops, same bytes.
    """
    rows = []
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        for number, label in enumerate(card.labels[:LABELS_MAX]):
            picture = _read_first(crops, number)
            if picture is not None:
                plain = make_transform(card).finish(picture)
                shown = [plain, *(crops.transform.finish(picture) for _ in range(VIEWS))]
                rows.append((label, [_to_picture(view, card) for view in shown]))
    step = SIDE_PX + GAP_PX
    sheet = Image.new("RGB", ((VIEWS + 1) * step, max(1, len(rows)) * (step + LINE_PX)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, views) in enumerate(rows):
        top = row * (step + LINE_PX)
        draw.text((GAP_PX, top), label, fill="black", font_size=LINE_PX - 4)
        for column, view in enumerate(views):
            sheet.paste(view, (column * step, top + LINE_PX))
    with whole.whole(path) as part:
        sheet.save(part, "JPEG", quality=90)


def _read_first(crops: Crops, label: int) -> Tensor | None:
    """Return the first crop of a label that can be read, or None."""
    numbers = [number for number, truth in enumerate(crops.truth) if truth == label]
    for number in numbers[:TRIES]:
        try:
            return crops.read_prepared(number)
        except ImageUnusable:
            continue
    return None


def _to_picture(view: Tensor, card: Card) -> Image.Image:
    """Return what a network takes (3, side, side) as a small picture."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (card.mean, card.std))
    picture = functional.to_pil_image((view * std + mean).clamp(0, 1))
    small: Image.Image = picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    return small
