"""What an evaluation can be told."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from animl_pipeline.artifacts.splits import ALL_SPLITS
from animl_pipeline.running.options import option, settings

Metric = Literal["precision", "recall"]


@settings
class Folders:
    """What is read, and where the results go."""

    panel: ClassVar[str] = "Inputs and outputs"
    run_dir: Annotated[Path, option("Folder of the trained run.")] = Path("runs/latest")
    dataset_dir: Annotated[Path | None, option("Folder of the dataset; default: as trained.")] = (
        None
    )
    crops_dir: Annotated[Path | None, option("Folder of the crops; default: as trained.")] = None
    output_dir: Annotated[Path | None, option("Default: evaluation/ in the run's folder.")] = None


@settings
class Scoring:
    """Which crops are scored, and as which labels."""

    panel: ClassVar[str] = "What is scored"
    splits: Annotated[
        str, option(f"Splits to score, with commas between: {', '.join(ALL_SPLITS)}.")
    ] = "test"
    target_mapping: Annotated[
        Path | None,
        option('JSON {"label of the dataset": ["label of the run", ...]}, where they differ.'),
    ] = None
    empty_label: Annotated[str, option("The label, if there is one, of crops without animals.")] = (
        "empty"
    )
    tolerate: Annotated[
        float,
        option(
            "Fraction of crops that may be unreadable before the exit code is 3.", ge=0.0, le=1.0
        ),
    ] = 0.01


@settings
class Targets:
    """What the thresholds are to reach."""

    panel: ClassVar[str] = "Thresholds"
    precision_target: Annotated[
        float, option("Find each label's threshold for this precision.", ge=0.0, le=1.0)
    ] = 0.9
    recall_target: Annotated[
        float, option("Find each label's threshold for this recall.", ge=0.0, le=1.0)
    ] = 0.9

    def name_targets(self) -> dict[Metric, float]:
        """Return what the thresholds are to reach, by metric."""
        return {"precision": self.precision_target, "recall": self.recall_target}


@settings
class Comparing:
    """What the run is compared with."""

    panel: ClassVar[str] = "Comparison"
    compare: Annotated[
        Path | None,
        option("Another run's folder, or a .json of MegaDetector results with classifications."),
    ] = None
    compare_mapping: Annotated[
        Path | None,
        option('JSON {"label": ["label of the other", ...]}; default: labels of equal name.'),
    ] = None


@settings
class Reporting:
    """What else is written."""

    panel: ClassVar[str] = "Report"
    md_files: Annotated[bool, option("Also write the files of MegaDetector's evaluator.")] = False
    grad_cam: Annotated[bool, option("Show in the report where the network looked.")] = False


@settings
class Settings(Folders, Scoring, Targets, Comparing, Reporting):
    """All that an evaluation can be told."""
