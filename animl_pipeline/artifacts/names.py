"""Which stage writes which file: the one place that knows."""

WRITERS = {
    "cct.json": "download",
    "download.csv": "download",
    "detections.json": "detect",
    "crops.csv": "crop",
    "dataset.csv": "split",
    "splits.json": "split",
    "label_index.json": "split",
    "model.json": "train",
    "model.safetensors": "train",
    "trained_on.csv": "train",
    "history.csv": "train",
    "metrics.json": "evaluate",
}

# What lies among the pictures that `download` fetches, in lower case.
DOWNLOAD_FILES = frozenset({"cct.json", "download.csv", "download.json", ".download.unfinished"})


def writer_of(file_name: str) -> str:
    """Return a sentence on where a file comes from: the command that writes it, if there is one."""
    stage = WRITERS.get(file_name)
    return f"`pipeline {stage}` writes it." if stage else "Check the path."
