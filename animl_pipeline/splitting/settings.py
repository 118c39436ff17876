"""The options of a split, grouped by what they decide."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

from animl_pipeline.running.options import option, settings


class Rare(StrEnum):
    """What becomes of a label at fewer locations than --min-locs."""

    ERROR = "error"
    DROP = "drop"
    TRAIN_ONLY = "train-only"
    PARENT = "parent"


class GroupBy(StrEnum):
    """What is never divided between two splits."""

    LOCATION = "location"
    SEQUENCE = "sequence"
    IMAGE = "image"


@settings
class Inputs:
    """Where the crops are, and how their locations and sequences are to be read."""

    panel: ClassVar[str] = "Inputs and outputs"
    crops_dir: Annotated[Path, option("Folder with crops.csv.")] = Path("crops")
    location_map: Annotated[
        Path | None, option("CSV (dataset,location,same_as) of spellings to merge.")
    ] = None
    sequence_gap: Annotated[
        float | None,
        option("Seconds between two sequences of a camera; default: as in crops.csv.", ge=0.0),
    ] = None


@settings
class Outputs:
    """Where the dataset goes, and in which shapes."""

    panel: ClassVar[str] = "Inputs and outputs"
    output_dir: Annotated[Path, option("Folder for the dataset.")] = Path("dataset")
    classification_ds: Annotated[
        bool, option("Also write classification_ds.csv for MegaDetector's own trainer.")
    ] = False


@settings
class LabelRules:
    """Which label each crop gets, and which labels are kept."""

    panel: ClassVar[str] = "Labels"
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


@settings
class SplitRule:
    """How the labelled crops are divided."""

    panel: ClassVar[str] = "How it is divided"
    val_frac: Annotated[float, option("Fraction for choosing the best epoch.", ge=0.0, le=0.9)] = (
        0.2
    )
    test_frac: Annotated[float, option("Fraction for the final evaluation.", ge=0.0, le=0.9)] = 0.2
    group_by: Annotated[
        GroupBy, option("What is never divided; only location tells of new cameras.")
    ] = GroupBy.LOCATION
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
    seed: Annotated[int, option("Same seed, same split.", ge=0, le=2**31 - 1)] = 0


@settings
class Checks:
    """What is checked of a split, a new one or one that is there."""

    panel: ClassVar[str] = "Audit"
    compare_pictures: Annotated[
        bool, option("Open the crops to find the same or nearly the same picture in two splits.")
    ] = True
    audit: Annotated[
        Path | None, option("Only audit the split in this folder, ours or MegaDetector's.")
    ] = None


@settings
class Settings(Inputs, Outputs, LabelRules, SplitRule, Checks):
    """All of them."""
