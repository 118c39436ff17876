"""What a split made: its counts by label, and the proof that nothing is in two parts."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "val", "test")


def label_counts(dataset: "pd.DataFrame") -> dict[str, dict[str, dict[str, int]]]:
    """Return crops, locations and sequences by label and split."""
    counts = {}
    for label, of_label in dataset.groupby("label"):
        by_part = {part: of_label[of_label["split"] == part] for part in PARTS}
        counts[str(label)] = {
            part: {
                "crops": len(rows),
                "locations": len(rows.drop_duplicates(["dataset", "location"])),
                "sequences": len(_sequences(rows)),
            }
            for part, rows in by_part.items()
        }
    return counts


def _sequences(rows: "pd.DataFrame") -> set[tuple[str, str]]:
    """Return the sequences of the crops; an image without one is a sequence by itself."""
    sequence = rows["sequence"].where(rows["sequence"] != "", rows["image_id"])
    return set(zip(rows["dataset"], sequence, strict=True))


def leaks(dataset: "pd.DataFrame") -> dict[str, Any]:
    """Return what is in two parts at once; of a clean split by location nothing is."""
    located = dataset[dataset["location"] != ""]
    sequence = dataset["sequence"].where(dataset["sequence"] != "", dataset["image_id"])
    checks = {
        "locations": located.groupby(["dataset", "location"])["split"],
        "sequences": dataset.assign(sequence=sequence).groupby(["dataset", "sequence"])["split"],
        "images": dataset.groupby(["dataset", "image_id"])["split"],
    }
    found = {name: int((groups.nunique() > 1).sum()) for name, groups in checks.items()}
    return {
        "in_two_parts": found,
        "crops_without_location": int((dataset["location"] == "").sum()),
        "pictures": "not opened: bytes and near-duplicates were not compared",
    }
