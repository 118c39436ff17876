"""Which location a crop is of: nameless ones told apart, spellings merged, variants named."""

import re
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from animl_pipeline.errors import InputInvalid
from animl_pipeline.formats import csv_file
from animl_pipeline.splitting.labels.spec import ANY_DATASET, covers

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["dataset", "location"]
MAP_COLUMNS = ("dataset", "location", "same_as")
UNNAMED = "default"  # what Animl wrote until May 2024 for every camera's unnamed deployment
ANIML_ID = r"(?:.*:)?[0-9a-f]{32}"  # an image's: its md5, after the project since June 2023

Place = tuple[str, str]  # dataset, location


def prepared(crops: "pd.DataFrame", same_as: dict[Place, str]) -> tuple["pd.DataFrame", list[str]]:
    """Return the crops with the location they are of, and a sentence for all that is odd."""
    crops, cameras = told_apart(crops)
    odd = [f"location {UNNAMED!r} told apart by camera: {cameras} of them"] if cameras else []
    crops, absent = merged(crops, same_as)
    return crops, odd + absent + variants(crops)


def told_apart(crops: "pd.DataFrame") -> tuple["pd.DataFrame", int]:
    """Return the crops with each `default` of Animl as `<camera>-default`, and how many cameras.

    Animl's picture lies in the folder `<project>/<camera>/default`, of before September 2023 in
    `<camera>`. Since May 2024 Animl writes `<camera>-default` itself.
    """
    unnamed = crops["location"] == UNNAMED
    if not unnamed.any():
        return crops, 0
    unnamed &= crops["image_id"].str.fullmatch(ANIML_ID)
    cameras = crops["image"][unnamed].map(_camera)
    names = (cameras + f"-{UNNAMED}").where(cameras != "", UNNAMED)
    crops = crops.assign(location=crops["location"].mask(unnamed, names))
    return crops, cameras[cameras != ""].nunique()


def _camera(image: str) -> str:
    folders = image.split("/")[:-1]
    return next((name for name in reversed(folders) if name != UNNAMED), "")


def merged(crops: "pd.DataFrame", same_as: dict[Place, str]) -> tuple["pd.DataFrame", list[str]]:
    """Return the crops with the locations of a map merged, and a sentence for each it cannot find.

    A dataset of the map may be `*`, or hold one: it then stands for anything.
    """
    places = list(crops[PLACE].drop_duplicates().itertuples(index=False, name=None))
    new, used = {}, set()
    for dataset, location in places:
        for (pattern, name), target in same_as.items():
            if name == location and covers(pattern, dataset):
                new[dataset, location] = target
                used.add((pattern, name))
    absent = [f"no crop is at {n!r} of {d!r} (--location-map)" for d, n in same_as
              if (d, n) not in used]  # fmt: skip
    if not new:
        return crops, absent
    rows = zip(crops["dataset"], crops["location"], strict=True)
    return crops.assign(location=[new.get(place, place[1]) for place in rows]), absent


def variants(crops: "pd.DataFrame") -> list[str]:
    """Return a sentence for each set of locations that may be one place in several spellings."""
    return [
        f"{sentence}: merge them with --location-map if so, since they may be in two parts now"
        for sentence in variants_of(set(zip(crops["dataset"], crops["location"], strict=True)))
    ]


def variants_of(places: set[Place]) -> list[str]:
    """Return, for each set of locations that may be one place, which they are."""
    alike: dict[Place, list[str]] = defaultdict(list)
    for dataset, location in sorted(places):
        plain = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", location).casefold())
        if plain:
            alike[dataset, plain].append(location)
    return [
        f"{dataset}: {', '.join(map(repr, names))} may be one location"
        for (dataset, _), names in alike.items()
        if len(names) > 1
    ]


def read_map(path: Path) -> dict[Place, str]:
    """Return a location map: which (dataset, location) is the same as which location.

    Raises:
        InputMissing, InputInvalid: with the row and what is wrong.
    """
    same_as: dict[Place, str] = {}
    for number, (dataset, location, target) in csv_file.read_rows(path, MAP_COLUMNS):
        if not (dataset and location and target):
            raise InputInvalid(f"{path}: row {number} has an empty cell; `*` is every dataset.")
        if same_as.setdefault((dataset, location), target) != target:
            raise InputInvalid(
                f"{path}: row {number}: {location!r} of {dataset!r} is the same as "
                f"{same_as[dataset, location]!r} above, and {target!r} here."
            )
    if not same_as:
        raise InputInvalid(f"{path} has no rows.")
    for (dataset, location), target in same_as.items():
        for of in {dataset, ANY_DATASET}:
            if same_as.get((of, target), target) != target:
                raise InputInvalid(
                    f"{path}: {location!r} is the same as {target!r}, which is the same as "
                    f"{same_as[of, target]!r}: write that for both."
                )
    return same_as


def read_places(path: Path) -> set[Place]:
    """Return the locations that a CSV with the columns dataset and location lists."""
    rows = csv_file.read_rows(path, ("dataset", "location"))
    return {(dataset, location) for _, (dataset, location) in rows}
