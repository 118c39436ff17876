"""Apply a label spec to the crops: which get a label, which are over a cap, which are left out."""

from typing import Any

import numpy as np
import pandas as pd

from animl_pipeline.splitting.labels.spec import LabelSpec, Pair

CATEGORY = ["dataset", "category"]  # the columns that name a category
IN_NO_LABEL = "in no label"


def label_crops(
    crops: pd.DataFrame, spec: LabelSpec, seed: int
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return the crops with a label, and a record for each category (or part of one) without."""
    groups = crops.groupby(CATEGORY)
    counts = _count(crops)
    label_of = {pair: spec.find_label(*pair) or "" for pair in counts}
    left_out = [
        {"dataset": pair[0], "category": pair[1], "crops": count, "reason": IN_NO_LABEL}
        for pair, count in counts.items()
        if not label_of[pair]
    ]
    names = np.array(list(label_of.values()), dtype=object)
    crops = crops.assign(label=names[groups.ngroup().to_numpy()] if len(crops) else "")
    crops = crops[crops["label"] != ""]
    crops, over = _cap(crops, spec, seed)
    return crops.reset_index(drop=True), left_out + over


def _cap(
    crops: pd.DataFrame, spec: LabelSpec, seed: int
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return the crops within each label's max_count of images, and a record of what is over."""
    rng = np.random.default_rng(seed)
    records = []
    for label, rule in spec.rules.items():
        of_label = crops[crops["label"] == label]
        images = of_label.drop_duplicates(["dataset", "image_id"])
        if rule.max_count is None or len(images) <= rule.max_count:
            continue
        kept = _choose_images(of_label, rule.max_count, rule.prioritize, rng)
        over = of_label[~of_label.index.isin(kept.index)]
        crops = crops.drop(over.index)
        reason = f"{label}: over max_count {rule.max_count}"
        counts = _count(over)
        records += [
            {"dataset": dataset, "category": category, "crops": count, "reason": reason}
            for (dataset, category), count in counts.items()
        ]
    return crops, records


def _choose_images(
    crops: pd.DataFrame,
    count: int,
    prioritize: tuple[frozenset[str], ...],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the crops of `count` images: as many locations, then as many sequences, as can be.

    Images of the datasets of a level of `prioritize` come before those of the next. Ten frames of
    a burst are one observation, so the second image of a sequence comes after the first of every
    other, and the second sequence of a location after the first of every other.
    """
    keys = ["dataset", "location", "sequence", "image_id"]
    images = crops[keys].drop_duplicates().sort_values(keys)
    images = images.iloc[rng.permutation(len(images))]
    burst = images["sequence"].where(images["sequence"] != "", images["image_id"])
    images = images.assign(burst=burst)
    images["in_burst"] = images.groupby(["dataset", "location", "burst"]).cumcount()
    images = images.sort_values("in_burst", kind="stable")
    images["in_location"] = images.groupby(["dataset", "location", "in_burst"]).cumcount()
    level_of = {dataset: n for n, level in reversed([*enumerate(prioritize)]) for dataset in level}
    images["level"] = [level_of.get(dataset, len(prioritize)) for dataset in images["dataset"]]
    images = images.sort_values(["level", "in_burst", "in_location"], kind="stable").head(count)
    kept = set(zip(images["dataset"], images["image_id"], strict=True))
    mine = [pair in kept for pair in zip(crops["dataset"], crops["image_id"], strict=True)]
    return crops[mine]


def list_categories(crops: pd.DataFrame) -> list[Pair]:
    """Return each (dataset, category) of the crops, in order."""
    return list(_count(crops))


def _count(crops: pd.DataFrame) -> dict[Pair, int]:
    """Return the crops of each (dataset, category), in order."""
    sizes = crops.groupby(CATEGORY).size()
    return dict(zip(sizes.index.to_list(), sizes.to_list(), strict=True))


def merge_into_parents(
    crops: pd.DataFrame, spec: LabelSpec, rare: set[str]
) -> tuple[pd.DataFrame, set[str]]:
    """Return the crops with each rare label that has a parent as that parent, and these labels."""
    parents = {name: rule.parent for name, rule in spec.rules.items() if rule.parent is not None}
    merged = {name: parents[name] for name in rare if name in parents}
    return crops.assign(label=crops["label"].replace(merged)), set(merged)


def account_for_categories(
    crops: pd.DataFrame,
    labelled: pd.DataFrame,
    dataset: pd.DataFrame,
    left_out: list[dict[str, Any]],
    rare: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return a record for each category: its label (None: none), its crops, how many are kept, why.

    Of the `crops` some are `labelled`, and some of these in the `dataset`; `left_out` by category
    and `rare` by label have the reasons for the rest.
    """
    counts, kept = _count(crops), _count(dataset)
    first = labelled.drop_duplicates(CATEGORY)
    label_of = {(of, name): label for of, name, label in first[[*CATEGORY, "label"]].to_numpy()}
    last = dataset.drop_duplicates(CATEGORY)
    kept_as = {(of, name): label for of, name, label in last[[*CATEGORY, "label"]].to_numpy()}
    reasons: dict[Pair, list[str]] = {pair: [] for pair in counts}
    for record in left_out:
        reasons[record["dataset"], record["category"]].append(record["reason"])
    for record in rare:
        for pair in [pair for pair, label in label_of.items() if label == record["label"]]:
            reasons[pair].append(f"{record['label']}: {record['reason']}, {record['handled']}")
    return [
        {
            "dataset": pair[0],
            "category": pair[1],
            "label": kept_as.get(pair),
            "crops": count,
            "kept": kept.get(pair, 0),
            "reason": "; ".join(reasons[pair]),
        }
        for pair, count in counts.items()
    ]
