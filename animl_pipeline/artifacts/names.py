"""The files that one stage writes and another reads, and which stage writes each."""

from dataclasses import dataclass

from animl_pipeline.artifacts import tables

# What lies among the images that `download` fetches, in lower case.
DOWNLOAD_FILES = frozenset({"cct.json", "download.csv", "download.json", ".download.unfinished"})


@dataclass(frozen=True)
class Artifact:
    """A file by its name, the stage that writes it, and what it holds."""

    name: str
    stage: str
    description: str


COCO_FILE = Artifact("cct.json", "download", "The COCO file, byte for byte.")
DETECTIONS = Artifact("detections.json", "detect", "A detector's boxes, as MegaDetector results.")
WARNINGS = Artifact("warnings.csv", "crop", "Crops that were cut although something was odd.")
SPLITS = Artifact("splits.json", "split", "The locations of each split.")
LABELS = Artifact("label_index.json", "split", "The labels, in the order of their numbers.")
SPLIT_REPORT = Artifact("split_report.json", "split", "How the split was made, and its audit.")
SPLIT_PAGE = Artifact("split_report.html", "split", "The same as a page to read.")
CARD = Artifact("model.json", "train", "All that is needed to use a run's network.")
WEIGHTS = Artifact("model.safetensors", "train", "The weights of a run's network.")
STATE = Artifact("last.pt", "train", "What training goes on from after an interruption.")
POLICY = Artifact("policy.json", "evaluate", "What was chosen on val and is applied.")
REFERENCE = Artifact("reference.safetensors", "evaluate", "What the crops of train are like.")
METRICS = Artifact("metrics.json", "evaluate", "All metrics of the splits, with intervals.")
PAGE = Artifact("report.html", "evaluate", "The same as a page to read.")
RESULTS = Artifact("results.json", "predict", "The answers, as MegaDetector results.")
OVERVIEW = Artifact("overview.html", "predict", "What was seen, as a page to look at.")
ARTIFACTS = (
    *(Artifact(table.name, table.stage, table.description) for table in tables.TABLES),
    COCO_FILE,
    DETECTIONS,
    WARNINGS,
    SPLITS,
    LABELS,
    SPLIT_REPORT,
    SPLIT_PAGE,
    CARD,
    WEIGHTS,
    STATE,
    POLICY,
    REFERENCE,
    METRICS,
    PAGE,
    RESULTS,
    OVERVIEW,
)


def explain_origin(file_name: str) -> str:
    """Return a sentence on where a file comes from: the command that writes it, if there is one."""
    for artifact in ARTIFACTS:
        if artifact.name == file_name:
            return f"`pipeline {artifact.stage}` writes it."
    return "Check the path."
