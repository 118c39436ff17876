"""The steps of a split, up to where each crop goes. Nothing is written here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.errors import InputInvalid, OptionError
from animl_pipeline.formats import classification_ds
from animl_pipeline.running.markers import require_inputs
from animl_pipeline.running.stage import Plan
from animl_pipeline.splitting import locations, times
from animl_pipeline.splitting.audit.existing import AuditPlan, read_existing
from animl_pipeline.splitting.division import Division, describe_gaps, divide
from animl_pipeline.splitting.given_splits import fix_given_splits, read_test_locations
from animl_pipeline.splitting.labels.labelling import label_crops, list_categories
from animl_pipeline.splitting.labels.spec import LabelSpec, make_spec_of_categories, read_spec
from animl_pipeline.splitting.labels.taxonomy import read_taxonomy
from animl_pipeline.splitting.rarity import handle_rare_labels
from animl_pipeline.splitting.settings import GroupBy, Inputs, LabelRules, Rare, Settings


@dataclass(frozen=True, kw_only=True)
class SplitPlan(Plan):
    """Where each crop goes, and what there is to say of it.

    `divisions` are by folder, several with folds. Of the `crops` some are `labelled`, and of these
    some are `kept`. `left_out` are records by category, `rare` by label. `unmatched` are sentences
    about names of the spec that no crop has; `absent` are its labels without a crop.
    """

    options: Settings
    divisions: dict[Path, Division]
    crops: pd.DataFrame
    labelled: pd.DataFrame
    kept: pd.DataFrame
    left_out: list[dict[str, Any]]
    rare: list[dict[str, Any]]
    warnings: list[str]
    unmatched: list[str]
    absent: list[str]
    test_locations_gone: list[list[str]]


def make_plan(options: Settings) -> SplitPlan | AuditPlan:
    """Return where each crop goes, or with --audit the split that is there.

    Raises:
        OptionError: options do not go together.
        InputMissing, InputInvalid: an input is not there or none, or the crops cannot be divided
            as wished; with what to do.
    """
    if options.audit:
        return read_existing(options.audit, options)
    _refuse_options(options)
    inputs = require_inputs("split", list_inputs(options))
    crops, warnings = _read_crops(options)
    spec = _read_spec(options, crops)
    categories = list_categories(crops)
    unmatched = spec.describe_unmatched(categories)
    labelled, in_no_label = label_crops(crops, spec, options.seed)
    test = read_test_locations(options)
    allocation, undated = fix_given_splits(labelled, options, test)
    allocation, rare = handle_rare_labels(allocation, spec, options, unmatched)
    kept = allocation.crops
    gone = test - set(zip(kept["dataset"], kept["location"], strict=True))
    divisions = divide(allocation, options)
    for division in divisions:
        _refuse_division(division, options)
    return SplitPlan(
        folder=options.output_dir,
        inputs=inputs,
        options=options,
        divisions=dict(zip(list_folders(options), divisions, strict=True)),
        crops=crops,
        labelled=labelled,
        kept=kept,
        left_out=in_no_label + undated,
        rare=rare,
        warnings=warnings,
        unmatched=unmatched,
        absent=spec.list_absent(categories),
        test_locations_gone=[list(location) for location in sorted(gone)],
    )


def list_inputs(options: Settings) -> list[Path]:
    """Return the files that are read, but for the pictures."""
    named = [options.label_spec, options.taxonomy, options.location_map, options.test_locations]
    inputs = [options.crops_dir / tables.CROPS.name, *(path for path in named if path)]
    return inputs + ([options.match_test / "splits.json"] if options.match_test else [])


def list_folders(options: Settings) -> list[Path]:
    """Return the folder of each dataset that is written."""
    if not options.folds:
        return [options.output_dir]
    return [options.output_dir / f"fold_{number}" for number in range(options.folds)]


def _refuse_options(options: Settings) -> None:
    """Raise OptionError if options do not go together."""
    if options.val_frac + options.test_frac >= 1 and not options.folds:
        raise OptionError("--val-frac and --test-frac leave nothing to train on.")
    given = {
        "--match-test": options.match_test,
        "--test-locations": options.test_locations,
        "--time-cutoff": options.time_cutoff,
    }
    used = [name for name, value in given.items() if value is not None]
    if len(used) > 1:
        raise OptionError(f"{used[0]} and {used[1]} both say what the test set is; give one.")
    if used and options.group_by is not GroupBy.LOCATION:
        raise OptionError(f"{used[0]} goes with --group-by location.")
    if used and options.folds:
        raise OptionError(f"{used[0]} fixes the test set, of which --folds makes several.")
    is_by_location = options.group_by is GroupBy.LOCATION and options.time_cutoff is None
    if options.classification_ds and not is_by_location:
        raise OptionError("--classification-ds holds splits by location alone.")


def _read_crops(inputs: Inputs) -> tuple[pd.DataFrame, list[str]]:
    """Return the crops with their locations and sequences as they are, and what is odd."""
    crops = table_io.read(tables.CROPS, inputs.crops_dir / tables.CROPS.name)
    if crops.empty:
        raise InputInvalid(
            f"{inputs.crops_dir} holds no crops: failures.csv there has the reason of each row."
        )
    same_as = locations.read_map(inputs.location_map) if inputs.location_map else {}
    crops, warnings = locations.clean_locations(crops, same_as)
    if inputs.sequence_gap is not None:
        crops = times.regroup_sequences(crops, inputs.sequence_gap)
    return crops, warnings


def _read_spec(rules: LabelRules, crops: pd.DataFrame) -> LabelSpec:
    if not rules.label_spec:
        return make_spec_of_categories(list_categories(crops))
    return read_spec(rules.label_spec, read_taxonomy(rules.taxonomy) if rules.taxonomy else None)


def _refuse_division(division: Division, options: Settings) -> None:
    gaps = describe_gaps(division)
    if gaps and options.rare is Rare.ERROR:
        raise InputInvalid(f"{'; '.join(gaps)} (--rare error).")
    if options.classification_ds:
        classification_ds.refuse_commas(division.allocation.crops["label"].unique())
