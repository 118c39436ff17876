"""Labels at too few locations to be learned, chosen by and judged: named, and handled as wished."""

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from animl_pipeline.artifacts.splits import TRAIN
from animl_pipeline.errors import InputInvalid
from animl_pipeline.splitting.division import NOT_CHOSEN
from animl_pipeline.splitting.labels import applying
from animl_pipeline.splitting.labels.spec import LabelSpec

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]


class Rare(StrEnum):
    """What becomes of a label at fewer locations than --min-locs."""

    ERROR = "error"
    DROP = "drop"
    TRAIN_ONLY = "train-only"
    PARENT = "parent"


def handled(
    dataset: "pd.DataFrame", spec: LabelSpec, unit: list[str], *, least: int, rare: Rare, units: str
) -> tuple["pd.DataFrame", list[Record]]:
    """Return the crops, with `only_train` and some `split` fixed, and a record of each rare label.

    `unit` are the columns of a unit, of which a label needs `least`; `units` is their name.

    Raises:
        InputInvalid: there are rare labels and they are an error, or nothing else.
    """
    records: list[Record] = []
    if rare is Rare.PARENT:
        dataset, records = _merged(dataset, spec, unit, least, units)
    found = _rare(dataset, spec, unit, least, units)
    present = [record for record in found if record["crops"]]
    if rare is Rare.ERROR and present:
        named = ", ".join(f"{record['label']!r} ({record['locations']})" for record in present)
        raise InputInvalid(
            f"Labels at fewer than {least} {units} (--min-locs): {named}. Collect more, or say "
            "with --rare drop, train-only or parent what becomes of them."
        )
    names = {record["label"] for record in found}
    keep = rare is Rare.TRAIN_ONLY
    if set(dataset["label"]) <= names:
        counted = ", ".join(f"{r['label']} ({r['locations']})" for r in found) or "none"
        raise InputInvalid(
            f"No label is at {least} {units} or more; {units} of each: {counted}. Collect more, "
            "check the --label-spec, lower --min-locs, or use --group-by sequence (it then tells "
            "nothing about new cameras)."
        )
    is_rare = dataset["label"].isin(names)
    dataset = (
        dataset.assign(only_train=is_rare) if keep else dataset[~is_rare].assign(only_train=False)
    )
    for record in found:
        record["handled"] = "train only" if keep and record["crops"] else "left out"
    dataset = dataset.reset_index(drop=True)
    return (_pinned(dataset, unit) if keep else dataset), records + found


def _rare(
    dataset: "pd.DataFrame", spec: LabelSpec, unit: list[str], least: int, units: str
) -> list[Record]:
    known = dataset[dataset["location"] != ""] if unit == ["dataset", "location"] else dataset
    places = known.drop_duplicates(["label", *unit]).groupby("label").size()
    crops = dataset.groupby("label").size()
    return [
        {
            "label": label,
            "crops": int(crops.get(label, 0)),
            "locations": int(places.get(label, 0)),
            "reason": f"at fewer than {least} {units} (--min-locs)",
        }
        for label in spec.rules
        if places.get(label, 0) < least
    ]


def _merged(
    dataset: "pd.DataFrame", spec: LabelSpec, unit: list[str], least: int, units: str
) -> tuple["pd.DataFrame", list[Record]]:
    """Return the crops with rare labels as their parents, children first, and a record of each."""
    records: list[Record] = []
    while True:
        found = _rare(dataset, spec, unit, least, units)
        found = [record for record in found if record["crops"]]
        dataset, merged = applying.with_parents(dataset, spec, {r["label"] for r in found})
        if not merged:
            return dataset, records
        for record in found:
            if record["label"] in merged:
                parent = spec.rules[record["label"]].parent
                records.append(record | {"handled": f"merged into {parent}"})


def _pinned(dataset: "pd.DataFrame", unit: list[str]) -> "pd.DataFrame":
    """Return the crops with one unit of each label only for train fixed there.

    It is the one that the other labels need least: whose rarest label has the most units; then the
    one with most crops.
    """
    open_ = dataset[dataset["split"].isin([NOT_CHOSEN, TRAIN])]
    others = open_[~open_["only_train"]].drop_duplicates(["label", *unit])
    units = others.groupby("label")[unit[0]].transform("size")
    spare = others.assign(spare=units).groupby(unit)["spare"].min().rename("spare").reset_index()
    sizes = open_[open_["only_train"]].groupby(["label", *unit]).size().rename("crops")
    found = sizes.reset_index().merge(spare, how="left", on=unit)
    found["spare"] = found["spare"].fillna(len(dataset))
    order = ["label", "spare", "crops"]
    found = found.sort_values([*order, *unit], ascending=[True, False, False, *[True] * len(unit)])
    pins = found.drop_duplicates("label")[unit].drop_duplicates()
    here = dataset[unit].merge(pins, how="left", on=unit, indicator=True)["_merge"] == "both"
    fixed = here.to_numpy() & (dataset["split"] == NOT_CHOSEN).to_numpy()
    return dataset.assign(split=dataset["split"].mask(fixed, TRAIN))
