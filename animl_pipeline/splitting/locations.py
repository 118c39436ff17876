"""Which location a crop is of: nameless ones told apart, spellings merged, variants named."""

from pathlib import Path

import pandas as pd

from animl_pipeline.catalogue import animl
from animl_pipeline.catalogue.locations import Location, find_variants
from animl_pipeline.errors import InputInvalid
from animl_pipeline.formats import csv_file
from animl_pipeline.splitting.labels.spec import ANY_DATASET, covers

COLUMNS = ["dataset", "location"]  # that name a location
MAP_COLUMNS = ("dataset", "location", "same_as")


def clean_locations(
    crops: pd.DataFrame, same_as: dict[Location, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the crops with the location they are of, and a sentence for all that is odd."""
    crops, cameras = tell_cameras_apart(crops)
    odd = [f"location {animl.UNNAMED!r} told apart by camera: {cameras} of them"] if cameras else []
    crops, absent = merge_locations(crops, same_as)
    return crops, odd + absent + describe_variants(crops)


def tell_cameras_apart(crops: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the crops with each `default` of Animl as `<camera>-default`, and how many cameras.

    Animl's picture lies in the folder `<project>/<camera>/default`, of before September 2023 in
    `<camera>`. Since May 2024 Animl writes `<camera>-default` itself.
    """
    unnamed = crops["location"] == animl.UNNAMED
    if not unnamed.any():
        return crops, 0
    unnamed &= crops["image_id"].str.fullmatch(animl.ID)
    cameras = crops["image"][unnamed].map(_find_camera)
    names = (cameras + f"-{animl.UNNAMED}").where(cameras != "", animl.UNNAMED)
    crops = crops.assign(location=crops["location"].mask(unnamed, names))
    return crops, cameras[cameras != ""].nunique()


def _find_camera(image: str) -> str:
    folders = image.split("/")[:-1]
    return next((name for name in reversed(folders) if name != animl.UNNAMED), "")


def merge_locations(
    crops: pd.DataFrame, same_as: dict[Location, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the crops with the locations of a map merged, and a sentence for each it cannot find.

    A dataset of the map may be `*`, or hold one: it then stands for anything.
    """
    locations = list(crops[COLUMNS].drop_duplicates().itertuples(index=False, name=None))
    new, used = {}, set()
    for dataset, location in locations:
        for (pattern, name), target in same_as.items():
            if name == location and covers(pattern, dataset):
                new[dataset, location] = target
                used.add((pattern, name))
    absent = [
        f"no crop is at {name!r} of {dataset!r} (--location-map)"
        for dataset, name in same_as
        if (dataset, name) not in used
    ]
    if not new:
        return crops, absent
    rows = zip(crops["dataset"], crops["location"], strict=True)
    return crops.assign(location=[new.get(row, row[1]) for row in rows]), absent


def describe_variants(crops: pd.DataFrame) -> list[str]:
    """Return a sentence for each set of locations that may be one in several spellings."""
    return [
        f"{sentence}: merge them with --location-map if so, since they may be in two splits now"
        for sentence in find_variants(set(zip(crops["dataset"], crops["location"], strict=True)))
    ]


def read_map(path: Path) -> dict[Location, str]:
    """Return a location map: which (dataset, location) is the same as which location.

    Raises:
        InputMissing, InputInvalid: with the row and what is wrong.
    """
    same_as: dict[Location, str] = {}
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
        for name in {dataset, ANY_DATASET}:
            if same_as.get((name, target), target) != target:
                raise InputInvalid(
                    f"{path}: {location!r} is the same as {target!r}, which is the same as "
                    f"{same_as[name, target]!r}: write that for both."
                )
    return same_as


def read_locations(path: Path) -> set[Location]:
    """Return the locations that a CSV with the columns dataset and location lists."""
    rows = csv_file.read_rows(path, ("dataset", "location"))
    return {(dataset, location) for _, (dataset, location) in rows}
