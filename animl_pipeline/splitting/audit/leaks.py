"""What is in two splits that should be in one: locations, sequences, images, bytes."""

from pathlib import Path
from typing import Any

import pandas as pd

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.artifacts.splits import SEEN_TEST
from animl_pipeline.catalogue.animl import MD5_OF_ID
from animl_pipeline.formats import classification_ds
from animl_pipeline.splitting.audit import likeness
from animl_pipeline.splitting.audit.likeness import Fingerprint
from animl_pipeline.splitting.settings import GroupBy, SplitRule
from animl_pipeline.splitting.times import name_sequences

EXAMPLES = 20  # of each kind of leak in the report
DIVIDED_BY_CHOICE: dict[GroupBy, tuple[str, ...]] = {
    GroupBy.LOCATION: (),
    GroupBy.SEQUENCE: ("locations",),
    GroupBy.IMAGE: ("locations", "sequences"),
}
REMEDY = (
    "Merge what is one location under two names with --location-map; find sequences that span "
    "locations anew with --sequence-gap; remove the second of two same pictures. Then split again"
)


def audit_split(dataset: pd.DataFrame, prints: dict[str, Fingerprint] | None) -> dict[str, Any]:
    """Return what is in two splits at once, and with fingerprints of the crops what they say."""
    audit = find_leaks(dataset)
    audit["near_duplicates"] = []
    audit["pictures"] = "No picture was opened: bytes and near-duplicates were not compared."
    if prints is None:
        return audit
    compared = likeness.compare(dataset, prints)
    same = sorted({*audit["examples"].get("bytes", []), *compared["bytes"]})
    audit["in_two_parts"]["bytes"] += len(compared["bytes"])
    if same:
        audit["examples"]["bytes"] = same[:EXAMPLES]
    audit["near_duplicates"] = compared["near_duplicates"]
    audit["pictures"] = f"{compared['compared']:,} crops were compared, by bytes and by likeness."
    if compared["absent"]:
        audit["pictures"] += f" The files of {compared['absent']:,} are not there."
    return audit


def find_leaks(dataset: pd.DataFrame) -> dict[str, Any]:
    """Return what is in two splits at once; of a clean split by location nothing is.

    `seen_test` shares its locations with train by design, but no sequence. Animl's image ids tell
    of equal bytes without a look at them.
    """
    located = dataset[(dataset["location"] != "") & (dataset["split"] != SEEN_TEST)]
    keyed = dataset.assign(sequence=name_sequences(dataset))
    md5 = dataset["image_id"].str.extract(MD5_OF_ID, expand=False)
    in_two = {
        "locations": _list_in_two(located, ["dataset", "location"]),
        "sequences": _list_in_two(keyed, ["dataset", "sequence"]),
        "images": _list_in_two(dataset, ["dataset", "image_id"]),
        "bytes": _list_in_two(dataset.assign(md5=md5).dropna(subset="md5"), ["md5"]),
    }
    return {
        "in_two_parts": {name: len(values) for name, values in in_two.items()},
        "examples": {name: values[:EXAMPLES] for name, values in in_two.items() if values},
        "crops_without_location": int((dataset["location"] == "").sum()),
    }


def describe_leaks(audit: dict[str, Any], rule: SplitRule | None = None) -> str:
    """Return the leaks in words, or "": all that is in two splits, less what a rule divides."""
    by_choice: tuple[str, ...] = ()
    if rule:
        by_choice = ("locations",) if rule.time_cutoff else DIVIDED_BY_CHOICE[rule.group_by]
    return ", ".join(
        f"{count:,} {name} (such as {audit['examples'][name][0]})"
        for name, count in audit["in_two_parts"].items()
        if count and name not in by_choice
    )


def read_split(folder: Path) -> tuple[pd.DataFrame, int]:
    """Return the crops of a split, ours or MegaDetector's, and how many crops are in none.

    A location that splits.json has in two splits has its crops in both.
    """
    ours = folder / tables.DATASET.name
    if ours.exists():
        return table_io.read(tables.DATASET, ours), 0
    dataset = classification_ds.read(folder)
    return dataset[dataset["split"] != ""], int((dataset["split"] == "").sum())


def _list_in_two(dataset: pd.DataFrame, key: list[str]) -> list[str]:
    """Return, in words, each key with more than one split."""
    pairs = dataset[[*key, "split"]].drop_duplicates()
    twice = pairs[pairs.duplicated(key, keep=False)].sort_values([*key, "split"])
    if twice.empty:
        return []
    return [
        f"{' / '.join(map(str, name))}: {', '.join(rows['split'])}"
        for name, rows in twice.groupby(key)
    ]
