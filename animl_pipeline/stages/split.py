"""Divide the crops into train, val and test by location.

Reads   crops/crops.csv              the crops of every dataset
        crops/<crop>                 the pictures, to compare them across the parts
        --label-spec                 which categories make up each label (else: each is one)
Writes  dataset/dataset.csv          the crops that have a label, with label and split
        dataset/splits.json          the locations of each part
        dataset/label_index.json     the labels in order
        dataset/split_report.json    how good the split is, what was left out and why, the audit
        dataset/split_report.html    the same as a page to read
        With --folds all of these in dataset/fold_0, fold_1, ...; with --audit nothing.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from animl_pipeline.artifacts import tables
from animl_pipeline.artifacts.splits import SPLITS, TEST, TRAIN, VAL
from animl_pipeline.errors import InputInvalid, OptionError
from animl_pipeline.formats import classification_ds
from animl_pipeline.running.markers import refuse_unfinished
from animl_pipeline.running.options import option, settings
from animl_pipeline.running.stage import Counts
from animl_pipeline.splitting import division, locations, outputs, rarity, summary, times
from animl_pipeline.splitting import given as fixed
from animl_pipeline.splitting.audit import leaks as audit
from animl_pipeline.splitting.audit import likeness
from animl_pipeline.splitting.division import Divided
from animl_pipeline.splitting.given import GroupBy
from animl_pipeline.splitting.labels import applying, taxonomy
from animl_pipeline.splitting.labels import spec as labels
from animl_pipeline.splitting.rarity import Rare

if TYPE_CHECKING:
    import pandas as pd


@settings
class Options:
    """The knobs of `pipeline split`."""

    crops_dir: Annotated[Path, option("Folder with crops.csv.")] = Path("crops")
    output_dir: Annotated[Path, option("Folder for the dataset.")] = Path("dataset")
    label_spec: Annotated[
        Path | None,
        option("JSON of labels and their categories; default: every category is a label."),
    ] = None
    taxonomy: Annotated[
        Path | None, option("CSV in MegaDetector's format, for the taxa of the label spec.")
    ] = None
    min_locs: Annotated[
        int, option("A label at fewer locations (or groups of --group-by) than this is rare.", ge=1)
    ] = 3
    rare: Annotated[
        Rare, option("What becomes of rare labels; parent: as the label spec says.")
    ] = Rare.DROP
    val_frac: Annotated[float, option("Fraction for choosing the best epoch.", ge=0.0, le=0.9)] = (
        0.2
    )
    test_frac: Annotated[float, option("Fraction for the final evaluation.", ge=0.0, le=0.9)] = 0.2
    group_by: Annotated[
        GroupBy, option("What is never divided; only location tells of new cameras.")
    ] = GroupBy.LOCATION
    sequence_gap: Annotated[
        float | None,
        option("Seconds between two sequences of a camera; default: as in crops.csv.", ge=0.0),
    ] = None
    location_map: Annotated[
        Path | None, option("CSV (dataset,location,same_as) of spellings to merge.")
    ] = None
    match_test: Annotated[
        Path | None,
        option("Folder of an earlier split whose test locations are to stay the test set."),
    ] = None
    test_locations: Annotated[
        Path | None, option("CSV (dataset,location) of the locations that are to be the test set.")
    ] = None
    time_cutoff: Annotated[
        str | None, option("Date from which on all is test; what is before is train and val.")
    ] = None
    seen_test_frac: Annotated[
        float, option("Fraction of train set apart to test at known locations.", ge=0.0, le=0.9)
    ] = 0.0
    folds: Annotated[
        int | None,
        option("So many splits in fold_0, ...: a location is in test once.", ge=3, le=100),
    ] = None
    classification_ds: Annotated[
        bool, option("Also write classification_ds.csv for MegaDetector's own trainer.")
    ] = False
    compare_pictures: Annotated[
        bool, option("Open the crops to find the same or nearly the same picture in two parts.")
    ] = True
    audit: Annotated[
        Path | None, option("Only audit the split in this folder, ours or MegaDetector's.")
    ] = None
    seed: Annotated[int, option("Same seed, same split.", ge=0, le=2**31 - 1)] = 0

    @property
    def folder(self) -> Path:
        """Where the dataset goes."""
        return self.output_dir

    @property
    def dry_run(self) -> bool:
        """Whether nothing is written."""
        return self.audit is not None

    @property
    def inputs(self) -> list[Path]:
        """The crops, the spec, the maps, the earlier split."""
        given = [self.label_spec, self.taxonomy, self.location_map, self.test_locations]
        found = [self.crops_dir / tables.CROPS.name, *(path for path in given if path)]
        return found + ([self.match_test / "splits.json"] if self.match_test else [])

    @property
    def unit(self) -> list[str]:
        """Return the columns that make up what is never divided."""
        whole = self.group_by is GroupBy.LOCATION and self.time_cutoff is None
        return locations.PLACE if whole else [*locations.PLACE, "unit"]

    @property
    def targets(self) -> dict[str, float]:
        """Return the wanted fraction of each part that is chosen."""
        given = self.match_test or self.test_locations or self.time_cutoff
        test = {} if given else {TEST: self.test_frac}
        return {TRAIN: 1 - self.val_frac - sum(test.values()), VAL: self.val_frac} | test


def run(options: Options) -> Counts:
    """Write the dataset, its split, and the proof beside it."""
    if options.audit:
        return _audited(options, options.audit)
    _refuse(options)
    crops, warnings = _prepared(options)
    spec = _spec(options, crops)
    labelled, left_out = applying.labelled(crops, spec, options.seed)
    places = fixed.test_places(match_test=options.match_test, test_locations=options.test_locations)
    dataset, undated = fixed.given(
        labelled, options.group_by, cutoff=options.time_cutoff, places=places,
        source=options.match_test or options.test_locations,
    )  # fmt: skip
    dataset, rare = rarity.handled(
        dataset, spec, options.unit, least=options.min_locs, rare=options.rare,
        units=f"{options.group_by}s",
    )  # fmt: skip
    prints = None
    if options.compare_pictures:
        prints = likeness.fingerprints(options.crops_dir, list(dataset["crop"]))
    gone = places - set(zip(dataset["dataset"], dataset["location"], strict=True))
    told = {
        "rare": rare,
        "warnings": warnings,
        "left_out": {
            "categories": left_out + undated,
            "labels": [record for record in rare if record["handled"] == "left out"],
            "unmatched": spec.unmatched(applying.pairs(crops)),
        },
        "test_locations_gone": [list(place) for place in sorted(gone)],
    }
    made = []
    for folder, divided in _divided(dataset, options):
        report = _report(options, divided, prints) | told
        report["categories"] = applying.what_went_where(
            crops, labelled, divided.dataset, left_out + undated, rare
        )
        made.append((folder, divided.dataset, report))
    for folder, table, report in made:  # nothing is written before all is known to be well
        outputs.write(folder, table, options.unit, report, megadetector=options.classification_ds)
    outputs.remove_stale(
        options.output_dir, folds=options.folds, megadetector=options.classification_ds
    )
    return _counted(made, options)


def _refuse(options: Options) -> None:
    """Raise OptionError if options do not go together."""
    if options.val_frac + options.test_frac >= 1 and not options.folds:
        raise OptionError("--val-frac and --test-frac leave nothing to train on.")
    given = {"--match-test": options.match_test, "--test-locations": options.test_locations,
             "--time-cutoff": options.time_cutoff}  # fmt: skip
    used = [name for name, value in given.items() if value is not None]
    if len(used) > 1:
        raise OptionError(f"{used[0]} and {used[1]} both say what the test set is; give one.")
    if used and options.group_by is not GroupBy.LOCATION:
        raise OptionError(f"{used[0]} goes with --group-by location.")
    if used and options.folds:
        raise OptionError(f"{used[0]} fixes the test set, of which --folds makes several.")
    if options.classification_ds and len(options.unit) > len(locations.PLACE):
        raise OptionError("--classification-ds holds splits by location alone.")


def _prepared(options: Options) -> tuple["pd.DataFrame", list[str]]:
    """Return the crops with their locations and sequences as they are, and what is odd."""
    crops = tables.read(tables.CROPS, options.crops_dir / tables.CROPS.name)
    if crops.empty:
        raise InputInvalid(
            f"{options.crops_dir} holds no crops: failures.csv there has the reason of each row."
        )
    same_as = locations.read_map(options.location_map) if options.location_map else {}
    crops, warnings = locations.prepared(crops, same_as)
    if options.sequence_gap is not None:
        crops = times.with_gap(crops, options.sequence_gap)
    return crops, warnings


def _spec(options: Options, crops: "pd.DataFrame") -> labels.LabelSpec:
    if not options.label_spec:
        return labels.categories_as_labels(applying.pairs(crops))
    known = taxonomy.read(options.taxonomy) if options.taxonomy else None
    return labels.read_spec(options.label_spec, known)


def _divided(dataset: "pd.DataFrame", options: Options) -> Iterator[tuple[Path, Divided]]:
    """Yield each division of the crops and the folder it goes to."""
    import numpy as np

    if options.folds:
        val = options.val_frac > 0
        found = division.folds(dataset, options.unit, options.folds, options.seed, val=val)
        places = [options.output_dir / f"fold_{number}" for number in range(options.folds)]
    else:
        divided = division.divide(dataset, options.unit, options.targets, options.seed)
        found, places = iter([divided]), [options.output_dir]
    for folder, divided in zip(places, found, strict=True):
        table = divided.dataset
        table = table[~table["only_train"] | (table["split"] == TRAIN)].reset_index(drop=True)
        if options.seen_test_frac:
            rng = np.random.default_rng(options.seed)
            table = division.with_seen_test(table, options.seen_test_frac, rng)
        divided = dataclasses.replace(divided, dataset=table)
        division.refuse_empty(divided, options.unit, f"{options.group_by}s")
        yield folder, divided


def _report(
    options: Options, divided: Divided, prints: dict[str, likeness.Fingerprint] | None
) -> dict[str, Any]:
    bound, not_covered = divided.bound, division.not_covered(divided)
    if not_covered and options.rare is Rare.ERROR:
        raise InputInvalid(f"{'; '.join(not_covered)} (--rare error).")
    if options.classification_ds:
        classification_ds.refuse(divided.dataset["label"].unique())
    return {
        "format_version": "1",
        "seed": options.seed,
        "group_by": options.group_by,
        "method": divided.method,
        "objective": round(divided.objective, 9),
        "bound": None if bound is None else round(bound, 9),
        "gap": None if bound is None else round(divided.objective - bound, 9),
        "targets": {part: divided.targets.get(part, 0.0) for part in SPLITS},
        "counts": audit.label_counts(divided.dataset),
        "not_covered": not_covered,
        "audit": audit.whole(divided.dataset, prints),
    }


def _counted(made: list[tuple[Path, "pd.DataFrame", dict[str, Any]]], options: Options) -> Counts:
    """Return the parts of each split, then all that is left out or odd, and what leaks."""
    by_choice = audit.DIVIDED_BY_CHOICE["time" if options.time_cutoff else options.group_by]
    leaks = [audit.fatal(report["audit"], but=by_choice) for _, _, report in made]
    problem = next(filter(None, leaks), "")
    _, dataset, report = made[0]
    lines = summary.lines([report for _, _, report in made])
    sizes = {part: int((dataset["split"] == part).sum()) for part in SPLITS}
    return Counts(
        items={"labels": len(report["counts"]), **sizes, "left out": len(lines)},
        summary=summary.summary(made, lines),
        problem=f"in two parts at once: {problem}. {audit.REMEDY}" if problem else "",
    )


def _audited(options: Options, folder: Path) -> Counts:
    """Return what is in two parts of a split that is there."""
    refuse_unfinished(folder, but="")
    dataset, unplaced = audit.read_split(folder)
    prints = None
    if options.compare_pictures:
        prints = likeness.fingerprints(options.crops_dir, sorted(set(dataset["crop"])))
    found = audit.whole(dataset, prints)
    leaks = audit.fatal(found)
    lines = [f"{name} in two parts: {n:,}" for name, n in found["in_two_parts"].items()]
    lines.append(found["pictures"])
    lines += [f"nearly the same: {pair}" for pair in found["near_duplicates"]]
    lines += [f"{unplaced:,} crops are in no part"] * bool(unplaced)
    return Counts(
        items=found["in_two_parts"],
        summary=f"audit of {folder}: {summary.parts(dataset)}" + "".join(f"\n  {x}" for x in lines),
        problem=f"in two parts at once: {leaks}. {audit.REMEDY}" if leaks else "",
    )
