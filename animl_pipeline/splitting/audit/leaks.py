"""What a split made: its counts by label, and the proof that nothing is in two parts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from animl_pipeline.artifacts import tables
from animl_pipeline.artifacts.splits import SEEN_TEST, SPLITS
from animl_pipeline.catalogue.animl import MD5_OF_ID
from animl_pipeline.formats import classification_ds
from animl_pipeline.splitting.audit import likeness
from animl_pipeline.splitting.times import sequence_of

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 20  # of each kind of leak in the report
# What --group-by and --time-cutoff divide knowingly.
DIVIDED_BY_CHOICE: dict[str, tuple[str, ...]] = {
    "location": (), "time": ("locations",), "sequence": ("locations",),
    "image": ("locations", "sequences"),
}  # fmt: skip
REMEDY = (
    "Merge what is one place under two names with --location-map; find sequences that span "
    "locations anew with --sequence-gap; remove the second of two same pictures. Then split again"
)


def label_counts(dataset: "pd.DataFrame") -> dict[str, dict[str, dict[str, int]]]:
    """Return crops, locations and sequences by label and split."""
    parts = [*SPLITS, *([SEEN_TEST] if (dataset["split"] == SEEN_TEST).any() else [])]
    by = ["label", "split"]
    keyed = dataset.assign(sequence=sequence_of(dataset))
    places = keyed.drop_duplicates([*by, "dataset", "location"])
    bursts = keyed.drop_duplicates([*by, "dataset", "sequence"])
    counts = {
        name: rows.groupby(by).size().to_dict()
        for name, rows in {"crops": dataset, "locations": places, "sequences": bursts}.items()
    }
    return {
        str(label): {
            part: {name: int(of.get((label, part), 0)) for name, of in counts.items()}
            for part in parts
        }
        for label in sorted(dataset["label"].unique())
    }


def leaks(dataset: "pd.DataFrame") -> dict[str, Any]:
    """Return what is in two parts at once; of a clean split by location nothing is.

    `seen_test` shares its locations with train by design, but no sequence. Animl's image ids tell
    of equal bytes without a look at them.
    """
    by_place = dataset[(dataset["location"] != "") & (dataset["split"] != SEEN_TEST)]
    keyed = dataset.assign(sequence=sequence_of(dataset))
    md5 = dataset["image_id"].str.extract(MD5_OF_ID, expand=False)
    found = {
        "locations": _in_two(by_place, ["dataset", "location"]),
        "sequences": _in_two(keyed, ["dataset", "sequence"]),
        "images": _in_two(dataset, ["dataset", "image_id"]),
        "bytes": _in_two(dataset.assign(md5=md5).dropna(subset="md5"), ["md5"]),
    }
    return {
        "in_two_parts": {name: len(values) for name, values in found.items()},
        "examples": {name: values[:EXAMPLES] for name, values in found.items() if values},
        "crops_without_location": int((dataset["location"] == "").sum()),
    }


def whole(
    dataset: "pd.DataFrame", prints: dict[str, likeness.Fingerprint] | None
) -> dict[str, Any]:
    """Return `leaks`, and with fingerprints of the crops what they say."""
    found = leaks(dataset)
    found["near_duplicates"] = []
    found["pictures"] = "No picture was opened: bytes and near-duplicates were not compared."
    if prints is None:
        return found
    compared = likeness.compare(dataset, prints)
    same = sorted({*found["examples"].get("bytes", []), *compared["bytes"]})
    found["in_two_parts"]["bytes"] += len(compared["bytes"])
    if same:
        found["examples"]["bytes"] = same[:EXAMPLES]
    found["near_duplicates"] = compared["near_duplicates"]
    found["pictures"] = f"{compared['compared']:,} crops were compared, by bytes and by likeness."
    if compared["absent"]:
        found["pictures"] += f" The files of {compared['absent']:,} are not there."
    return found


def fatal(found: dict[str, Any], *, but: tuple[str, ...] = ()) -> str:
    """Return what leaks, in words, or "": all that is in two parts, less what is so by choice."""
    return ", ".join(
        f"{count:,} {name} (such as {found['examples'][name][0]})"
        for name, count in found["in_two_parts"].items()
        if count and name not in but
    )


def read_split(folder: Path) -> tuple["pd.DataFrame", int]:
    """Return the crops of a split, ours or MegaDetector's, and how many are in no part.

    A location that splits.json has in two parts has its crops in both.
    """
    ours = folder / tables.DATASET.name
    if not ours.exists():
        dataset = classification_ds.read(folder)
        return dataset[dataset["split"] != ""], int((dataset["split"] == "").sum())
    dataset = tables.read(tables.DATASET, ours)
    return dataset, 0


def _in_two(dataset: "pd.DataFrame", key: list[str]) -> list[str]:
    """Return, in words, each key with more than one part."""
    pairs = dataset[[*key, "split"]].drop_duplicates()
    twice = pairs[pairs.duplicated(key, keep=False)].sort_values([*key, "split"])
    if twice.empty:
        return []
    return [
        f"{' / '.join(map(str, name))}: {', '.join(rows['split'])}"
        for name, rows in twice.groupby(key)
    ]
