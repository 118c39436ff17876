"""Labels at too few locations to be learned, chosen by and judged: named, and handled as wished."""

import dataclasses
from typing import Any

import pandas as pd

from animl_pipeline.artifacts.splits import TRAIN
from animl_pipeline.errors import InputInvalid
from animl_pipeline.splitting import locations
from animl_pipeline.splitting.allocation import Allocation
from animl_pipeline.splitting.labels.labelling import merge_into_parents
from animl_pipeline.splitting.labels.spec import LabelSpec
from animl_pipeline.splitting.settings import LabelRules, Rare

Record = dict[str, Any]


def handle_rare_labels(
    allocation: Allocation, spec: LabelSpec, rules: LabelRules, unmatched: list[str]
) -> tuple[Allocation, list[Record]]:
    """Return the crops whose label is kept, and a record of each rare label.

    `unmatched` says which names of the spec no crop has.

    Raises:
        InputInvalid: there are rare labels and they are an error; or no label, or only one of
            several, is left.
    """
    least, records = rules.min_locs, list[Record]()
    if rules.rare is Rare.PARENT:
        allocation, records = _merge_rare_labels(allocation, spec, least)
    rare = _list_rare(allocation, spec, least)
    if rules.rare is Rare.ERROR:
        _refuse_rare(rare, allocation.unit.plural, least)
    names = {record["label"] for record in rare}
    is_rare = allocation.crops["label"].isin(names)
    if is_rare.all():
        _refuse_no_label(rare, allocation.unit.plural, least, unmatched)
    keep = rules.rare is Rare.TRAIN_ONLY
    for record in rare:
        record["handled"] = "train only" if keep and record["crops"] else "left out"
    if keep:
        allocation = dataclasses.replace(allocation, is_only_train=is_rare)
        return _fix_in_train(allocation), records + rare
    allocation = allocation.keep(~is_rare)
    _refuse_one_label(allocation, rare, unmatched)
    return allocation, records + rare


def _refuse_rare(rare: list[Record], units: str, least: int) -> None:
    present = [record for record in rare if record["crops"]]
    if present:
        named = ", ".join(f"{record['label']!r} ({record['locations']})" for record in present)
        raise InputInvalid(
            f"Labels at fewer than {least} {units} (--min-locs): {named}. Collect more, or say "
            "with --rare drop, train-only or parent what becomes of them."
        )


def _refuse_no_label(rare: list[Record], units: str, least: int, unmatched: list[str]) -> None:
    counted = ", ".join(f"{r['label']} ({r['locations']})" for r in rare) or "none"
    if unmatched and not any(record["crops"] for record in rare):
        raise InputInvalid(
            f"No label is at {least} {units} or more, for no crop has any label: "
            f"{'; '.join(unmatched)}. Write the categories in the --label-spec as crops.csv does."
        )
    hints = "".join(f" Beware: {sentence}." for sentence in unmatched)
    raise InputInvalid(
        f"No label is at {least} {units} or more; {units} of each: {counted}.{hints} Collect more, "
        "check the --label-spec, lower --min-locs, or use --group-by sequence (it then tells "
        "nothing about new cameras)."
    )


def _refuse_one_label(allocation: Allocation, rare: list[Record], unmatched: list[str]) -> None:
    """Raise InputInvalid if of several labels one is left: whatever is trained on it is perfect."""
    left = allocation.crops["label"].unique()
    if len(left) > 1 or not rare:
        return
    gone = ", ".join(
        f"{r['label']!r} ({r['crops']:,} crops at {r['locations']:,} {allocation.unit.plural})"
        for r in rare
    )
    hints = "".join(f" Beware: {sentence}." for sentence in unmatched)
    raise InputInvalid(
        f"Only the label {left[0]!r} is left, and a classifier of one label is always right, "
        f"whatever it has learned. Left out: {gone}.{hints} Collect more of them, "
        "lower --min-locs, say --rare train-only or parent, or mend the --label-spec."
    )


def _list_rare(allocation: Allocation, spec: LabelSpec, least: int) -> list[Record]:
    """Return a record of each label of the spec that has fewer units, in the spec's order.

    A crop without a location is at none.
    """
    crops, unit = allocation.crops, allocation.unit
    known = crops[crops["location"] != ""] if unit.columns == locations.COLUMNS else crops
    units = known.drop_duplicates(["label", *unit.columns]).groupby("label").size()
    sizes = crops.groupby("label").size()
    return [
        {
            "label": label,
            "crops": int(sizes.get(label, 0)),
            "locations": int(units.get(label, 0)),
            "reason": f"at fewer than {least} {unit.plural} (--min-locs)",
        }
        for label in spec.rules
        if units.get(label, 0) < least
    ]


def _merge_rare_labels(
    allocation: Allocation, spec: LabelSpec, least: int
) -> tuple[Allocation, list[Record]]:
    """Return the crops with rare labels as their parents, children first, and a record of each."""
    records: list[Record] = []
    while True:
        rare = [record for record in _list_rare(allocation, spec, least) if record["crops"]]
        crops, merged = merge_into_parents(allocation.crops, spec, {r["label"] for r in rare})
        allocation = dataclasses.replace(allocation, crops=crops)
        if not merged:
            return allocation, records
        for record in rare:
            if record["label"] in merged:
                parent = spec.rules[record["label"]].parent
                records.append(record | {"handled": f"merged into {parent}"})


def _fix_in_train(allocation: Allocation) -> Allocation:
    """Return the crops with one unit of each label that is only for training fixed in train.

    It is the one that the other labels need least: whose rarest label has the most units; then the
    one with most crops.
    """
    keys = allocation.unit.columns
    is_free = allocation.is_open | (allocation.split == TRAIN)
    others = allocation.crops[is_free & ~allocation.is_only_train]
    others = others.drop_duplicates(["label", *keys])
    units = others.groupby("label")[keys[0]].transform("size")
    spare = others.assign(spare=units).groupby(keys)["spare"].min().rename("spare").reset_index()
    rare = allocation.crops[is_free & allocation.is_only_train]
    sizes = rare.groupby(["label", *keys]).size().rename("crops")
    candidates = sizes.reset_index().merge(spare, how="left", on=keys)
    candidates["spare"] = candidates["spare"].fillna(len(allocation.crops))
    order, ascending = ["label", "spare", "crops"], [True, False, False]
    candidates = candidates.sort_values(
        [*order, *keys], ascending=[*ascending, *[True] * len(keys)]
    )
    chosen: pd.DataFrame = candidates.drop_duplicates("label")[keys].drop_duplicates()
    return allocation.fix(allocation.is_in(chosen) & allocation.is_open, TRAIN)
