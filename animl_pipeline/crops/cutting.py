"""Cut the boxes of images: which crops are out of date, and what is odd about them."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from animl_pipeline import boxes
from animl_pipeline.catalogue import records
from animl_pipeline.catalogue.reasons import Reason
from animl_pipeline.catalogue.records import Size
from animl_pipeline.crops.rule import CROP_MARK, name_crop
from animl_pipeline.crops.selection import ChosenBox
from animl_pipeline.crops.settings import CropRule
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.files import whole
from animl_pipeline.images import opening, writing
from animl_pipeline.running import workers
from animl_pipeline.running.budget import PixelBudget
from animl_pipeline.running.progress import progress

# Of all threads together: a few images for each core, and at least the largest there is.
PIXELS_PER_CORE, PIXELS_MIN = 25_000_000, 200_000_000


@dataclass(frozen=True, kw_only=True)
class Job:
    """Where images come from and crops go, and how they are cut."""

    images_dir: Path
    output_dir: Path
    dataset: str
    rule: CropRule
    # Why an image is not what the COCO file means, by image id and file name.
    distrusted: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of an image's boxes: all cut, or all failed for one reason."""

    image: records.Image
    boxes: list[ChosenBox]
    failure: str = ""
    warnings: tuple[tuple[str, str], ...] = ()  # annotation id, what is odd
    cut_now: int = 0


class Cut(NamedTuple):
    """A crop: where it goes, what it shows, and the fingerprint of all that decides its bytes."""

    target: Path
    rectangle: boxes.Rectangle
    comment: str


def cut_all(
    images: Iterable[records.Image],
    chosen: Mapping[str, list[ChosenBox]],
    job: Job,
    *,
    threads: int | None = None,
) -> list[Outcome]:
    """Return the outcome of every image with a box, in the order of the images.

    `chosen` has the boxes by image id. By default there are two threads for each core: one reads
    or writes while the other decodes.
    """
    todo = [(image, chosen[image.image_id]) for image in images if image.image_id in chosen]
    outcomes = {}
    threads = threads or 2 * (os.cpu_count() or 1)
    with sharing_memory() as memory, progress(len(todo), title="crop", unit="image") as bar:
        for outcome in workers.map_threads(
            lambda pair: cut_image(*pair, job, memory), todo, workers=threads
        ):
            outcomes[outcome.image.image_id] = outcome
            bar.update()
    return [outcomes[image.image_id] for image, _ in todo]


@contextmanager
def sharing_memory() -> Iterator[PixelBudget]:
    """Yield the pixels that threads may have in memory as long as the block lasts."""
    pixels = max(PIXELS_MIN, PIXELS_PER_CORE * (os.cpu_count() or 1))
    with opening.unwarned(), opening.keep_memory(pixels):
        yield PixelBudget(pixels)


def cut_image(
    image: records.Image, chosen: list[ChosenBox], job: Job, memory: PixelBudget
) -> Outcome:
    """Cut the boxes of one image that are not there as they should be."""
    source = job.images_dir / image.file_name
    try:
        with opening.opened(source) as picture:
            if reason := job.distrusted.get((image.image_id, image.file_name)):
                raise ImageUnusable("image is not the right one", reason)
            size_px, stat = picture.size_px, os.fstat(picture.file.fileno())
            cuts = [_plan_cut(image, box, size_px, stat.st_size, job) for box in chosen]
            todo = [cut for cut in cuts if not _is_current(cut, stat.st_mtime_ns)]
            if todo:
                _write_crops(picture, todo, job.rule, memory)
    except ImageUnusable as error:
        return Outcome(image, chosen, failure=Reason(error.kind, str(error)))
    odd = _list_oddities(image, chosen, size_px, job.rule)
    return Outcome(image, chosen, warnings=tuple(odd), cut_now=len(todo))


def _write_crops(
    picture: opening.Picture, todo: list[Cut], rule: CropRule, memory: PixelBudget
) -> None:
    crops = _make_crops(picture, [cut.rectangle for cut in todo], rule, memory)
    for crop, cut in zip(crops, todo, strict=True):
        writing.save_jpeg(crop, cut.target, quality=rule.quality, comment=cut.comment)


def _make_crops(
    picture: opening.Picture, rectangles: list[boxes.Rectangle], rule: CropRule, memory: PixelBudget
) -> Iterator[Image.Image]:
    """Yield the crops as they are stored, before their JPEG."""
    with memory.taking(opening.count_pixels(picture, rectangles)):
        for crop in opening.cut(picture, rectangles):
            yield writing.bound(crop, rule.max_side)


def cut_in_memory(
    picture: opening.Picture, chosen: Iterable[boxes.Box], rule: CropRule, memory: PixelBudget
) -> Iterator[Image.Image]:
    """Yield the crops of boxes as they are read where `cut_all` wrote them, without files.

    Raises:
        ImageUnusable: the message is the reason.
    """
    rectangles = [_find_rectangle(box, picture.size_px, rule) for box in chosen]
    for crop in _make_crops(picture, rectangles, rule, memory) if rectangles else ():
        yield writing.pass_through_jpeg(crop, quality=rule.quality)


def _find_rectangle(box: boxes.Box, size_px: Size, rule: CropRule) -> boxes.Rectangle:
    return boxes.compute_crop(box, *size_px, square=rule.square_crops, margin=rule.margin)


def _plan_cut(
    image: records.Image, box: ChosenBox, size_px: Size, source_bytes: int, job: Job
) -> Cut:
    rule = job.rule
    rectangle = _find_rectangle(box.box, size_px, rule)
    stored_px = writing.bound_size(boxes.measure(rectangle), rule.max_side)
    decides = [boxes.CROP_RULE_VERSION, rectangle, stored_px, rule.quality, source_bytes]
    fingerprint = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]
    target = job.output_dir / name_crop(job.dataset, image.file_name, box.box_id)
    return Cut(target, rectangle, f"animl-pipeline crop {fingerprint}")


def _is_current(cut: Cut, source_mtime_ns: int) -> bool:
    """Return whether a crop is there, whole, newer than its image and cut the same way."""
    try:
        is_newer = cut.target.stat().st_mtime_ns >= source_mtime_ns
    except FileNotFoundError:
        return False
    return is_newer and writing.read_comment(cut.target) == cut.comment


def _list_oddities(
    image: records.Image, chosen: list[ChosenBox], size_px: Size, rule: CropRule
) -> list[tuple[str, str]]:
    """Return (annotation id, what is odd) of crops that were made all the same."""
    recorded_px = (image.width_px, image.height_px)
    odd = []
    for box in chosen:
        if box.warning:
            odd.append((box.annotation_id, box.warning))
        if image.width_px and recorded_px not in (size_px, size_px[::-1]):
            sizes = "the record says {}x{}, the image is {}x{}".format(*recorded_px, *size_px)
            odd.append((box.annotation_id, f"{sizes}: placed by fractions"))
        width_px, height_px = boxes.measure(boxes.to_pixels(box.box, *size_px))
        side_px = max(width_px, height_px)
        if side_px < boxes.SMALL_SIDE_PX:
            odd.append((box.annotation_id, f"small: {width_px}x{height_px} px"))
        elif rule.square_crops and side_px > min(size_px):
            odd.append((box.annotation_id, "padded: the square is larger than the frame"))
    return odd


def remove_stale(output_dir: Path, dataset: str, crops: set[str]) -> None:
    """Remove crops of a dataset that are not among `crops`, and what a crash left half written."""
    for path in (output_dir / dataset).rglob(f"*{CROP_MARK}*"):
        is_ours = path.suffix in {".jpg", whole.PART} and path.is_file()
        if is_ours and path.relative_to(output_dir).as_posix() not in crops:
            path.unlink()
