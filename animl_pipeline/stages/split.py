"""Divide the crops into train, val and test by location.

Reads   crops/crops.csv              the crops of every dataset
        --label-spec                 which categories make up each label (else: each is one)
Writes  dataset/dataset.csv          the crops that have a label, with label and split
        dataset/splits.json          the locations of each part
        dataset/label_index.json     the labels in order
        dataset/split_report.json    how good the split is, what was left out and why, the audit
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animl_pipeline import artifacts, audit, files, labelling, labels
from animl_pipeline.audit import PARTS
from animl_pipeline.errors import InputInvalid, OptionError
from animl_pipeline.stages import Counts, option

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from animl_pipeline.partition import Partition

TRAIN, TEST = 0, 2


class GroupBy(StrEnum):
    """What is never divided between two parts."""

    LOCATION = "location"
    SEQUENCE = "sequence"
    IMAGE = "image"


UNIT_COLUMNS = {
    GroupBy.LOCATION: ["dataset", "location"],
    GroupBy.SEQUENCE: ["dataset", "location", "unit"],
    GroupBy.IMAGE: ["dataset", "location", "unit"],
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The knobs of `pipeline split`."""

    crops_dir: Path = option(Path("crops"), help="Folder with crops.csv.")
    output_dir: Path = option(Path("dataset"), help="Folder for the dataset.")
    label_spec: Path | None = option(
        None, help="JSON of labels and their categories; default: every category is a label."
    )
    min_locs: int = option(
        3, min=1, help="Leave out labels at fewer locations (or groups of --group-by) than this."
    )
    val_frac: float = option(0.2, min=0.0, max=0.9, help="Fraction for choosing the best epoch.")
    test_frac: float = option(0.2, min=0.0, max=0.9, help="Fraction for the final evaluation.")
    group_by: GroupBy = option(
        GroupBy.LOCATION, help="What is never divided; only location tells of new cameras."
    )
    match_test: Path | None = option(
        None, help="Folder of an earlier split whose test locations are to stay the test set."
    )
    seed: int = option(0, min=0, max=2**31 - 1, help="Same seed, same split.")

    @property
    def folder(self) -> Path:
        """Where the dataset goes."""
        return self.output_dir

    @property
    def inputs(self) -> list[Path]:
        """The crops, the spec, the earlier split."""
        found = [self.crops_dir / artifacts.CROPS.name]
        found += [self.label_spec] if self.label_spec else []
        return found + ([self.match_test / "splits.json"] if self.match_test else [])


def run(options: Options) -> Counts:
    """Write the dataset, its split, and the proof beside it."""
    if options.val_frac + options.test_frac >= 1:
        raise OptionError("--val-frac and --test-frac leave nothing to train on.")
    crops = artifacts.read(artifacts.CROPS, options.crops_dir / artifacts.CROPS.name)
    if crops.empty:
        raise InputInvalid(
            f"{options.crops_dir} holds no crops: failures.csv there has the reason of each row."
        )
    present = set(zip(crops["dataset"], crops["category"], strict=True))
    spec = labels.read_spec(options.label_spec) if options.label_spec else None
    spec = spec or labels.categories_as_labels(present)
    dataset, left_out = labelling.labelled(crops, spec, options.seed)
    dataset = _with_units(dataset, options.group_by)
    dataset, rare = _without_rare(dataset, options, spec)
    units, table, names = _table(dataset, UNIT_COLUMNS[options.group_by])
    targets, allowed = _wishes(units, options)
    from animl_pipeline.partition import partition

    found = partition(table, targets, allowed, options.seed)
    units["split"] = [PARTS[part] for part in found.part]
    dataset = dataset.merge(units, how="left", on=UNIT_COLUMNS[options.group_by])
    _refuse_empty(dataset, targets, len(units), options)
    report = _report(options, dataset, found, _not_covered(table, found, targets, names))
    unmatched = spec.unmatched(present)
    report["left_out"] = {"categories": left_out, "labels": rare, "unmatched": unmatched}
    report["test_locations_gone"] = _gone(units, options)
    _write(options, dataset, units, names, report)
    return _counted(dataset, report, options)


def _with_units(dataset: "pd.DataFrame", group_by: GroupBy) -> "pd.DataFrame":
    if group_by is GroupBy.LOCATION:
        return dataset
    images, sequences = dataset["image_id"], dataset["sequence"]
    by_sequence = group_by is GroupBy.SEQUENCE
    return dataset.assign(unit=sequences.where(sequences != "", images) if by_sequence else images)


def _without_rare(
    dataset: "pd.DataFrame", options: Options, spec: labels.LabelSpec
) -> tuple["pd.DataFrame", list[dict[str, Any]]]:
    """Return the crops of the labels at enough locations, and a record for each other label."""
    columns = UNIT_COLUMNS[options.group_by]
    known = (
        dataset if options.group_by is not GroupBy.LOCATION else dataset[dataset["location"] != ""]
    )
    places = known.drop_duplicates(["label", *columns]).groupby("label").size()
    crops = dataset.groupby("label").size()
    rare = [
        {
            "label": label,
            "crops": int(crops.get(label, 0)),
            "locations": int(places.get(label, 0)),
            "reason": f"at fewer than {options.min_locs} {options.group_by}s (--min-locs)",
        }
        for label in spec.rules
        if places.get(label, 0) < options.min_locs
    ]
    names = {record["label"] for record in rare}
    kept = dataset[~dataset["label"].isin(names)].reset_index(drop=True)
    if kept.empty:
        found = ", ".join(f"{r['label']} ({r['locations']})" for r in rare) or "none"
        raise InputInvalid(
            f"No label is at {options.min_locs} {options.group_by}s or more; {options.group_by}s "
            f"of each: {found}. Collect more, check the --label-spec, lower --min-locs, or use "
            "--group-by sequence (it then tells nothing about new cameras)."
        )
    return kept, rare


def _table(
    dataset: "pd.DataFrame", columns: list[str]
) -> tuple["pd.DataFrame", "NDArray[np.int64]", list[str]]:
    """Return the units, their crops by label (units, labels), and the labels, all in order."""
    counts = dataset.groupby([*columns, "label"]).size().unstack("label", fill_value=0).sort_index()
    units = counts.index.to_frame(index=False)
    return units, counts.to_numpy(dtype="int64"), list(counts.columns)


def _wishes(
    units: "pd.DataFrame", options: Options
) -> tuple["NDArray[np.float64]", "NDArray[np.bool_]"]:
    """Return the wanted fraction of each part, and where each unit may go."""
    import numpy as np

    targets = np.array(
        [1 - options.val_frac - options.test_frac, options.val_frac, options.test_frac]
    )
    allowed = np.tile(targets > 0, (len(units), 1))
    if options.group_by is GroupBy.LOCATION:
        allowed[(units["location"] == "").to_numpy(), TRAIN + 1 :] = False
    if options.match_test:
        if options.group_by is not GroupBy.LOCATION:
            raise OptionError("--match-test keeps locations, so it goes with --group-by location.")
        frozen = _test_locations(options.match_test / "splits.json")
        here = [pair in frozen for pair in zip(units["dataset"], units["location"], strict=True)]
        if not any(here):
            raise InputInvalid(
                f"None of the test locations of {options.match_test} is among the crops."
            )
        allowed[:, TEST] = False
        allowed[here] = [False, False, True]
        targets = np.array([1 - options.val_frac, options.val_frac, 0.0])
    return targets, allowed


def _test_locations(path: Path) -> set[tuple[str, str]]:
    """Return the (dataset, location) pairs of an earlier test set."""
    earlier = files.read_json(path, written_by="`pipeline split`")
    try:
        return {(str(dataset), str(location)) for dataset, location in earlier["test"]}
    except (KeyError, TypeError, ValueError) as error:
        raise InputInvalid(f"{path} has no list of test locations: {error!r}.") from error


def _gone(units: "pd.DataFrame", options: Options) -> list[list[str]]:
    """Return the locations of the earlier test set that have no crops now."""
    if not options.match_test:
        return []
    here = set(zip(units["dataset"], units["location"], strict=True))
    return [list(p) for p in sorted(_test_locations(options.match_test / "splits.json") - here)]


def _refuse_empty(
    dataset: "pd.DataFrame", targets: "NDArray[np.float64]", units: int, options: Options
) -> None:
    for part, target in zip(PARTS, targets, strict=True):
        if target > 0 and not (dataset["split"] == part).any():
            raise InputInvalid(
                f"{part} would be empty: there are only {units} {options.group_by}s. Use "
                "--group-by sequence, or --val-frac 0 or --test-frac 0."
            )


def _not_covered(
    table: "NDArray[np.int64]",
    found: "Partition",
    targets: "NDArray[np.float64]",
    names: list[str],
) -> list[str]:
    import numpy as np

    from animl_pipeline.balance import Problem

    problem = Problem(table, targets, np.ones((len(table), len(targets)), dtype=bool))
    places = (table > 0).sum(axis=0)
    return [
        f"label {names[label]!r} has no crop in {PARTS[part]}: "
        + (
            f"it is at {places[label]} locations only"
            if places[label] < (targets > 0).sum()
            else "no choice of locations gives it one without taking one from another label"
        )
        for label, part in problem.uncovered(found.part)
    ]


def _report(
    options: Options,
    dataset: "pd.DataFrame",
    found: "Partition",
    not_covered: list[str],
) -> dict[str, Any]:
    bound = found.bound
    return {
        "format_version": "1",
        "seed": options.seed,
        "group_by": options.group_by,
        "method": found.method,
        "objective": round(found.objective, 9),
        "bound": None if bound is None else round(bound, 9),
        "gap": None if bound is None else round(found.objective - bound, 9),
        "targets": {"val": options.val_frac, "test": options.test_frac},
        "counts": audit.label_counts(dataset),
        "not_covered": not_covered,
        "audit": audit.leaks(dataset),
    }


def _write(
    options: Options,
    dataset: "pd.DataFrame",
    units: "pd.DataFrame",
    names: list[str],
    report: dict[str, Any],
) -> None:
    folder = options.output_dir
    columns = UNIT_COLUMNS[options.group_by]
    splits = {part: units[units["split"] == part][columns].to_numpy().tolist() for part in PARTS}
    table = dataset[list(artifacts.DATASET.columns)].sort_values("crop")
    artifacts.write(artifacts.DATASET, folder / artifacts.DATASET.name, table)
    files.write_json(folder / "splits.json", splits)
    files.write_json(folder / "label_index.json", {str(i): name for i, name in enumerate(names)})
    files.write_json(folder / "split_report.json", report)


def _counted(dataset: "pd.DataFrame", report: dict[str, Any], options: Options) -> Counts:
    sizes = {part: int((dataset["split"] == part).sum()) for part in PARTS}
    located = dataset[dataset["location"] != ""]
    places = {
        part: len(located[located["split"] == part].drop_duplicates(["dataset", "location"]))
        for part in PARTS
    }
    lines = [f"label {r['label']!r} left out: {r['reason']}" for r in report["left_out"]["labels"]]
    lines += [
        f"category {r['category']!r} of {r['dataset']!r}: {r['crops']:,} crops left out: "
        f"{r['reason']}"
        for r in report["left_out"]["categories"]
    ]
    lines += report["left_out"]["unmatched"] + report["not_covered"]
    lines += [
        f"test location {location!r} of {dataset!r} has no crops now"
        for dataset, location in report["test_locations_gone"]
    ]
    parts = ", ".join(f"{part} {sizes[part]:,} crops at {places[part]:,}" for part in PARTS)
    return Counts(
        items={"labels": len(report["counts"]), **sizes, "left out": len(lines)},
        summary=f"{len(report['counts'])} labels; {parts} locations; objective "
        f"{report['objective']:.3f} by {report['method']} -> {options.output_dir}"
        + "".join(f"\n  {line}" for line in lines),
    )
