"""Run MegaDetector over a folder of pictures.

Reads   images/             the pictures, in all folders below
        --model             MegaDetector's weights: a name, or a file that you trust
Writes  detections.json     MegaDetector results (format 1.6)
        Beside it, until it is whole, .detections.json.unfinished: what was found so far.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from animl_pipeline.catalogue.records import ANIMAL, DetectedImage, Facts
from animl_pipeline.detection.unfinished import SETTINGS, Settings, Unfinished, finished
from animl_pipeline.errors import ImageUnusable, InputInvalid, InputMissing
from animl_pipeline.files import whole as files
from animl_pipeline.formats import json_file, megadetector
from animl_pipeline.images import opening
from animl_pipeline.running.options import option, settings
from animl_pipeline.running.progress import progress
from animl_pipeline.running.stage import Counts

if TYPE_CHECKING:
    from PIL.Image import Image

    from animl_pipeline.detection.megadetector import Detector

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif", ".bmp", ".webp"}
BATCH_ON_GPU = 16


@settings
class Options:
    """The knobs of `pipeline detect`."""

    images_dir: Annotated[Path, option("Folder of the pictures.")] = Path("images")
    model: Annotated[
        str,
        option(
            "MDV5A, MDV5B, redwood, spruce, larch, sorrel, cedar, or a weights file. A "
            "weights file can run code when it is loaded: only one that you trust."
        ),
    ] = "MDV5A"
    output_file: Annotated[Path, option("The results.")] = Path("detections.json")
    threshold: Annotated[
        float, option("Least confidence of a detection that is kept.", ge=0.0, le=1.0)
    ] = 0.1
    image_size: Annotated[
        int | None,
        option("Longer side of what the network sees; default: the model's.", ge=32, le=8192),
    ] = None
    device: Annotated[str, option("Where to compute: auto, cpu, cuda or mps.")] = "auto"
    batch_size: Annotated[
        int | None, option("Pictures at a time; default: 16, on a CPU 1.", ge=1, le=1024)
    ] = None
    workers: Annotated[int, option("Pictures opened at a time.", ge=1, le=256)] = 4
    tolerate: Annotated[
        float,
        option("Fraction of pictures that may fail before the exit code is 3.", ge=0.0, le=1.0),
    ] = 0.01

    @property
    def folder(self) -> Path:
        """Where the results go, and the record beside them."""
        return self.output_file.parent

    @property
    def inputs(self) -> list[Path]:
        """The weights, if they are a file."""
        return [Path(self.model)] if Path(self.model).is_file() else []


class _Picture(NamedTuple):
    """A picture that was opened, or why it cannot be."""

    file_name: str
    time: int  # of its last change, in nanoseconds
    image: "Image | None"
    reason: str


def run(options: Options) -> Counts:
    """Look at every picture that is new, changed or not yet looked at with these settings."""
    from animl_pipeline.detection import megadetector as detector

    times = _pictures(options.images_dir)
    weights = detector.weights_file(options.model)
    settings: Settings = {
        "weights_sha256": files.digest(weights, "sha256"),
        "threshold": options.threshold,
        "image_size": options.image_size,
        "package": detector.package_version(),
    }
    known = _still_true(options.output_file, settings, times)
    unfinished = Unfinished(options.output_file, settings)
    so_far = unfinished.read()
    known |= {name: found for name, (time, found) in so_far.items() if times.get(name) == time}
    todo = [name for name in times if name not in known]
    loaded = detector.load(weights, device=_device(options.device))
    with progress(len(times), title="detect", unit="image", done=len(known)) as bar:
        for batch in _opened(options.images_dir, todo, _batch_size(options, loaded), options):
            found = _look(batch, loaded, options)
            unfinished.note([(one.time, it) for one, it in zip(batch, found, strict=True)])
            known |= {one.file_name: one for one in found}
            bar.update(len(batch))
    megadetector.write(
        options.output_file,
        [known[name] for name in times],
        detector=loaded.name,
        detector_metadata=loaded.metadata,
        **{SETTINGS: settings},
    )
    unfinished.remove()
    return _counted([known[name] for name in times], len(todo), options)


def _pictures(folder: Path) -> dict[str, int]:
    """Return every picture below a folder, in order, with its time of change in nanoseconds.

    Links to folders are followed, once each.
    """
    if not folder.is_dir():
        raise InputMissing(f"{folder} is no folder of pictures. Check --images-dir.")
    found, seen = {}, set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for path in (Path(place, name) for name in names if Path(name).suffix.lower() in SUFFIXES):
            if not path.name.startswith("."):
                found[json_file.text(path.relative_to(folder).as_posix())] = _time(path)
    if not found:
        raise InputInvalid(f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))}).")
    return dict(sorted(found.items()))


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # a link to nowhere: opening it says so
        return 0


def _still_true(
    output_file: Path, settings: Settings, times: dict[str, int]
) -> dict[str, DetectedImage]:
    """Return what an earlier run found in pictures that did not change since."""
    found = finished(output_file, settings)
    written = _time(output_file)
    return {name: one for name, one in found.items() if times.get(name, written + 1) <= written}


def _device(name: str) -> str:
    from animl_pipeline.running import devices

    return str(devices.make_fabric(name, "32-true").device)


def _batch_size(options: Options, loaded: "Detector") -> int:
    return options.batch_size or (1 if loaded.device == "cpu" else BATCH_ON_GPU)


def _opened(
    folder: Path, names: list[str], batch_size: int, options: Options
) -> Iterator[list[_Picture]]:
    """Yield batches of pictures; while one is looked at the next is opened, and no more."""
    batches = [names[at : at + batch_size] for at in range(0, len(names), batch_size)]
    ahead: list[Future[_Picture]] = []
    with ThreadPoolExecutor(options.workers) as pool:
        for batch in [*batches, []]:
            ready, ahead = ahead, [pool.submit(_open, folder, name) for name in batch]
            if ready:
                yield [one.result() for one in ready]


def _open(folder: Path, name: str) -> _Picture:
    path = folder / name
    time = _time(path)
    try:
        return _Picture(name, time, opening.open_upright(path), "")
    except ImageUnusable as error:
        return _Picture(name, time, None, str(error))


def _look(batch: list[_Picture], loaded: "Detector", options: Options) -> list[DetectedImage]:
    """Return what is found in each picture of a batch, or why nothing can be."""
    from animl_pipeline.detection import megadetector as detector

    whole = [(one.file_name, one.image) for one in batch if one.image]
    results = detector.detect(
        loaded,
        [image for _, image in whole],
        [name for name, _ in whole],
        threshold=options.threshold,
        image_size=options.image_size,
    )
    found = {one.file_name: one for one in results}
    return [
        found[one.file_name]._replace(
            facts=Facts(width_px=one.image.width, height_px=one.image.height)
        )
        if one.image
        else detector.unreadable(one.file_name, one.reason)
        for one in batch
    ]


def _counted(results: list[DetectedImage], looked_at: int, options: Options) -> Counts:
    failed = sum(bool(one.failure) for one in results)
    animals = sum(any(box.category == ANIMAL for box in one.detections) for one in results)
    empty = sum(not one.detections and not one.failure for one in results)
    return Counts(
        items={"images": len(results), "failed": failed, "with an animal": animals,
               "without a detection": empty},
        summary=f"{len(results):,} images ({looked_at:,} looked at now): {animals:,} with an animal"
        f", {empty:,} without a detection, {failed:,} failed, at {options.threshold:g} or more -> "
        f"{options.output_file}",
        failed=failed,
        total=len(results),
        tolerate=options.tolerate,
    )  # fmt: skip
