"""Apply a label spec to the crops: which get a label, which are over a cap, which are left out."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from animl_pipeline.labels import LabelSpec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def labelled(
    crops: "pd.DataFrame", spec: LabelSpec, seed: int
) -> tuple["pd.DataFrame", list[dict[str, Any]]]:
    """Return the crops with a label, and a record for each category (or part of one) without."""
    pairs = sorted(set(zip(crops["dataset"], crops["category"], strict=True)))
    label_of = {pair: spec.label(*pair) for pair in pairs}
    counts = Counter(zip(crops["dataset"], crops["category"], strict=True))
    left_out = [
        {"dataset": pair[0], "category": pair[1], "crops": counts[pair], "reason": "in no label"}
        for pair in pairs
        if label_of[pair] is None
    ]
    crops = crops.assign(
        label=[
            label_of[pair] or "" for pair in zip(crops["dataset"], crops["category"], strict=True)
        ]
    )
    crops = crops[crops["label"] != ""]
    crops, over = _capped(crops, spec, seed)
    return crops.reset_index(drop=True), left_out + over


def _capped(
    crops: "pd.DataFrame", spec: LabelSpec, seed: int
) -> tuple["pd.DataFrame", list[dict[str, Any]]]:
    """Return the crops within each label's max_count of images, and a record of what is over."""
    import numpy as np

    rng = np.random.default_rng(seed)
    records = []
    for label, rule in spec.rules.items():
        of_label = crops[crops["label"] == label]
        images = of_label.drop_duplicates(["dataset", "image_id"])
        if rule.max_count is None or len(images) <= rule.max_count:
            continue
        kept = _spread(of_label, rule.max_count, rng)
        over = of_label[~of_label.index.isin(kept.index)]
        crops = crops.drop(over.index)
        reason = f"{label}: over max_count {rule.max_count}"
        counts = Counter(zip(over["dataset"], over["category"], strict=True))
        records += [
            {"dataset": dataset, "category": category, "crops": count, "reason": reason}
            for (dataset, category), count in sorted(counts.items())
        ]
    return crops, records


def _spread(crops: "pd.DataFrame", count: int, rng: "np.random.Generator") -> "pd.DataFrame":
    """Return the crops of `count` images: as many locations, then as many sequences, as can be.

    Ten frames of a burst are one observation, so the second image of a sequence comes after the
    first of every other, and the second sequence of a location after the first of every other.
    """
    keys = ["dataset", "location", "sequence", "image_id"]
    images = crops[keys].drop_duplicates().sort_values(keys)
    images = images.iloc[rng.permutation(len(images))]
    burst = images["sequence"].where(images["sequence"] != "", images["image_id"])
    images = images.assign(burst=burst)
    images["in_burst"] = images.groupby(["dataset", "location", "burst"]).cumcount()
    images = images.sort_values("in_burst", kind="stable")
    images["in_location"] = images.groupby(["dataset", "location", "in_burst"]).cumcount()
    images = images.sort_values(["in_burst", "in_location"], kind="stable").head(count)
    kept = set(zip(images["dataset"], images["image_id"], strict=True))
    mine = [pair in kept for pair in zip(crops["dataset"], crops["image_id"], strict=True)]
    return crops[mine]
