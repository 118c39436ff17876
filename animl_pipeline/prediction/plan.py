"""All that `predict` reads before it looks at an image, and what it refuses."""

import difflib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.artifacts.names import CARD, OVERVIEW, POLICY, RESULTS, WEIGHTS
from animl_pipeline.catalogue.records import Results
from animl_pipeline.classifier import card as classifier
from animl_pipeline.classifier.card import Card
from animl_pipeline.classifier.engines import Engine, open_engine
from animl_pipeline.classifier.reference import Reference, read_reference
from animl_pipeline.crops.rule import CROP_MARK
from animl_pipeline.crops.settings import CropRule
from animl_pipeline.detection import megadetector, walking
from animl_pipeline.detection.megadetector import Detector
from animl_pipeline.detection.settings import DetectionRules
from animl_pipeline.detection.walking import Listing
from animl_pipeline.errors import InputInvalid, InputMissing, OptionError
from animl_pipeline.files import whole
from animl_pipeline.files.folders import follow
from animl_pipeline.formats import megadetector as results_format
from animl_pipeline.prediction import store
from animl_pipeline.prediction.places import Places, read_places
from animl_pipeline.prediction.settings import Settings
from animl_pipeline.running import devices
from animl_pipeline.running.markers import (
    find_marker,
    refuse_unfinished_stage,
    require_inputs,
)
from animl_pipeline.running.options import list_knobs
from animl_pipeline.running.stage import Plan
from animl_pipeline.runs.policy import Policy, read_policy

CURRENT, LATEST = Path("runs/current"), Path("runs/latest")
OURS = (
    RESULTS.name,
    OVERVIEW.name,
    tables.PREDICTED_BOXES.name,
    tables.PREDICTED_IMAGES.name,
    tables.PREDICTED_SEQUENCES.name,
    tables.UNREADABLE_IMAGES.name,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PredictionPlan(Plan):
    """The run, the images there are, and where their boxes come from.

    `detector` finds the boxes, or `results` has them; where both are None an image is one box.
    """

    options: Settings
    run_folder: Path
    card: Card
    rule: CropRule  # as the run's crops were cut
    listing: Listing
    results: Results | None
    detector: Detector | None
    engine: Engine
    policy: Policy | None
    reference: Reference | None
    places: Places
    label_thresholds: Mapping[str, float]  # those given, by label
    settings: dict[str, Any]  # all that decides what is answered of an image


def make_plan(options: Settings) -> PredictionPlan:
    """Return what is looked at, and by what; nothing is written.

    Raises:
        OptionError, InputMissing, InputInvalid: with what is wrong and what to do.
    """
    if options.detections and options.whole_images:
        raise OptionError("--detections names boxes, and --whole-images wants none: give one.")
    run_folder = _find_run(options.run_dir)
    card = classifier.read_card(run_folder)
    thresholds = parse_thresholds(options.label_threshold, card.labels)
    inputs = require_inputs("predict", _list_inputs(options, run_folder))
    if options.detections:
        refuse_unfinished_stage(options.detections.parent, "detect")
    _refuse_foreign(options.output_dir)
    listing = walking.list_files(options.images_dir)
    rule = read_rule(card, run_folder)
    results = _read_results(options, listing) if options.detections else None
    looks = not options.detections and not options.whole_images
    detector = _load_detector(options) if looks else None
    engine = open_engine(run_folder, wanted=options.engine, device=options.device)
    policy = read_policy(run_folder, card)
    places = read_places(
        listing.images.keys(),
        level=options.location_level,
        locations=options.locations,
        coco_file=options.coco_file,
    )
    _warn(run_folder, listing, places)
    return PredictionPlan(
        folder=options.output_dir,
        inputs=inputs,
        options=options,
        run_folder=run_folder,
        card=card,
        rule=rule,
        listing=listing,
        results=results,
        detector=detector,
        engine=engine,
        policy=policy,
        reference=read_reference(run_folder, policy),
        places=places,
        label_thresholds=thresholds,
        settings=_list_settings(options, run_folder, engine, policy, rule),
    )


def _find_run(run_dir: Path | None) -> Path:
    named = run_dir or (CURRENT if follow(CURRENT).is_dir() else LATEST)
    folder = follow(named)
    if not folder.is_dir():
        raise InputMissing(f"{named} is not there. `pipeline train` writes it; or name --run-dir.")
    return folder


def _list_inputs(options: Settings, run_folder: Path) -> list[Path]:
    policy = run_folder / POLICY.name
    given = [options.detections, options.coco_file, options.locations]
    return [
        run_folder / CARD.name,
        run_folder / WEIGHTS.name,
        *([policy] if policy.exists() else []),
        *(path for path in given if path),
    ]


def parse_thresholds(texts: tuple[str, ...], labels: list[str]) -> dict[str, float]:
    """Return the thresholds of LABEL=VALUE by label.

    Raises:
        OptionError: one is not of that form, or its label is none of the run's.
    """
    thresholds: dict[str, float] = {}
    for text in texts:
        label, _, value = text.rpartition("=")
        if label not in labels:
            near = difflib.get_close_matches(label, labels, n=1)
            raise OptionError(
                f"--label-threshold {text}: "
                + ("it is LABEL=VALUE." if not label else f"the run has no label {label!r}.")
                + (f" Did you mean {near[0]}?" if near else f" It has {', '.join(labels)}.")
            )
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1:
            raise OptionError(f"--label-threshold {text}: {value!r} is no number from 0 to 1.")
        if label in thresholds:
            raise OptionError(f"--label-threshold {text}: {label} is given twice.")
        thresholds[label] = number
    return thresholds


def _refuse_foreign(folder: Path) -> None:
    """Raise InputInvalid if files of our names are there that `predict` did not write."""
    if folder.exists() and not folder.is_dir():
        raise InputInvalid(f"{folder} is a file, not a folder. Name another --output-dir.")
    of_predict = (folder / "predict.json", find_marker(folder, "predict"), folder / store.NAME)
    if any(path.exists() for path in of_predict):
        return
    foreign = [name for name in OURS if (folder / name).exists()]
    if foreign:
        raise InputInvalid(
            f"{folder / foreign[0]} is there, and `pipeline predict` did not write it. Move it, or "
            "name another --output-dir."
        )


def read_rule(card: Card, run_folder: Path) -> CropRule:
    """Return how the crops were cut that a run was trained on; by default as `crop` cuts.

    Raises:
        InputInvalid: the card names a rule that cannot be.
    """
    names = [knob.name for knob in list_knobs(CropRule)]
    given = card.crop_rule if isinstance(card.crop_rule, dict) else {}
    try:
        return CropRule(**{name: given[name] for name in names if name in given})
    except OptionError as error:
        raise InputInvalid(f"{run_folder / CARD.name}: of its crop_rule: {error}") from None


def _read_results(options: Settings, listing: Listing) -> Results:
    assert options.detections
    results = results_format.read(options.detections)
    absent = [name for name in results.detections if name not in listing.images]
    if len(absent) == len(results.detections):
        example = f" It has {absent[0]}" if absent else " It is empty"
        raise InputInvalid(
            f"{options.detections} holds none of the images of {options.images_dir}.{example}, and "
            f"there is {next(iter(listing.images))}. Its names are to be relative to the folder."
        )
    if absent:
        logger.warning(
            "%d of %d images of %s are not in %s, as %s",
            len(absent), len(results.detections), options.detections, options.images_dir, absent[0],
        )  # fmt: skip
    return results


def _load_detector(options: Settings) -> Detector:
    weights = megadetector.find_weights(options.model)
    device = str(devices.make_fabric(options.device, "32-true").device)
    return megadetector.load_detector(weights, device=device)


def make_detection_rules(options: Settings) -> DetectionRules:
    """Return what `detect` would be told."""
    return DetectionRules(model=options.model, threshold=options.threshold)


def _list_settings(
    options: Settings, run_folder: Path, engine: Engine, policy: Policy | None, rule: CropRule
) -> dict[str, Any]:
    """Return all that decides what is answered of an image."""
    if options.whole_images:
        boxes: dict[str, Any] = {"whole images": True}
    elif options.detections:
        boxes = {"detections": whole.digest(options.detections, "sha256")}
    else:
        weights = megadetector.find_weights(options.model)
        boxes = {
            "detector": whole.digest(weights, "sha256"),
            "detector's package": megadetector.read_package_version(),
        }
    card = engine.card
    return {
        "engine": f"{engine.name} {engine.version}",
        "classifier": whole.digest(run_folder / WEIGHTS.name, "sha256"),
        "preprocessing": [card.image_size, card.mean, card.std, card.interpolation],
        "crop rule": asdict(rule) | {"version": card.crop_rule.get("version")},
        "reference": policy.reference if policy else None,
        "threshold": options.threshold,
        "boxes": boxes,
    }


def _warn(run_folder: Path, listing: Listing, places: Places) -> None:
    """Say what is odd, and yet no reason to stop."""
    for note in places.notes:
        logger.warning(note)
    known = count_trained_on(run_folder, listing)
    if known:
        logger.warning(
            "%d of %d images have the names of images that the run was trained on: what it says "
            "of them is no test of it",
            known, len(listing.images),
        )  # fmt: skip
    if listing.videos:
        logger.warning(
            "Not read, as videos: %d; the first is %s", len(listing.videos), listing.videos[0]
        )


def count_trained_on(run_folder: Path, listing: Listing) -> int:
    """Return how many images have the name of one that a run was trained on, as far as it knows."""
    table = run_folder / tables.TRAINED_ON.name
    if not table.exists():
        return 0
    rows = table_io.read(tables.TRAINED_ON, table)
    names = {find_image_name(crop) for crop in rows["crop"]}
    return sum(name in listing.images for name in names)


def find_image_name(crop: str) -> str:
    """Return the file name of the image that a crop was cut from, but where it was too long.

    >>> find_image_name("cct/pier/1.jpg___bc21.jpg")
    'pier/1.jpg'
    """
    parts = PurePosixPath(crop).parts[1:]
    return "/".join(parts).rpartition(CROP_MARK)[0]
