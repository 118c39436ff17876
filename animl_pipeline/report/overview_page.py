"""The page of `predict`: what was seen, where and when, and what a person has to look at first."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isnan, sqrt
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

from animl_pipeline.files import whole
from animl_pipeline.prediction.cameras import CameraVerdict
from animl_pipeline.report.gallery import encode_boxes
from animl_pipeline.report.overview import HOURS, OF_A_LABEL_SHOWN, Overview, Place, Tally, Tile
from animl_pipeline.report.rendering import load_template

DECISIONS = {
    "alarm": "may be an alarm label",
    "accept": "accepted",
    "review": "for a person to review",
    "empty": "empty",
    "failure": "could not be read",
}
LABELS_MAX, COLUMNS_MAX, GALLERIES_MAX, GALLERY_PICTURES_MAX = 300, 10, 48, 192
LOCATIONS_OPEN, LOCATIONS_MAX = 40, 500
NAMES_MAX = 20  # of videos
HEAT_LEVELS = 5
BAR_PX, BARS_PX = 4, 22  # of an hour; the height of all


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the page says that follows from no image.

    `made` are what it was made with, by what they are called: run, labels, temperature and so on.
    `beware`: sentences that a reader must not miss. `unknown_threshold` is None where the run has
    no reference of what it learned. `cameras` are the verdicts on all locations.
    """

    images_dir: Path
    run_name: str
    made: Mapping[str, str]
    beware: Sequence[str] = ()
    cameras: Sequence[CameraVerdict] = ()
    videos: Sequence[str] = ()
    unknown_threshold: float | None = None


def write_overview(path: Path, overview: Overview, context: Context) -> None:
    """Write the page, whole or not at all; only the images of the tiles shown are opened."""
    whole.write_text(path, render(overview, context, folder=path.parent))


def render(overview: Overview, context: Context, *, folder: Path) -> str:
    """Return the page as HTML that needs no other file and no network; it links to the images.

    `folder` is where the page is to lie: the links start there.
    """
    order = order_labels(overview)
    least = inf if context.unknown_threshold is None else context.unknown_threshold
    review = overview.review.choose()
    unlike = [tile for tile in overview.unlike.choose() if tile.unknown > least]
    shown = order[:GALLERIES_MAX]
    each = max(2, min(OF_A_LABEL_SHOWN, GALLERY_PICTURES_MAX // max(len(shown), 1)))
    galleries = {label: overview.labels[label].tiles.choose()[:each] for label in shown}
    every = [tile for gallery in (review, unlike, *galleries.values()) for tile in gallery]
    pictures = encode_boxes(context.images_dir, {(tile.file_name, tile.box) for tile in every})
    base = relpath(context.images_dir, folder).replace("\\", "/")

    def dress(gallery: Iterable[Tile]) -> list[dict[str, Any]]:
        return [
            {
                "tile": tile,
                "picture": pictures.get((tile.file_name, tile.box)),
                "rest": tile.file_name.removeprefix(f"{tile.location}/"),
                "link": quote(f"{base}/{tile.file_name}"),
            }
            for tile in gallery
        ]

    labels = [make_row(label, overview) for label in order[:LABELS_MAX]]
    return load_template("overview.html.j2").render(
        context=context,
        overview=overview,
        title=context.images_dir.resolve().name,
        cameras=order_cameras(context.cameras),
        shares=list_shares(overview),
        total=sum(overview.images.values()) + sum(overview.failures.values()),
        failed=sum(overview.failures.values()),
        locations=sum(1 for name in overview.places if name),
        labels=labels,
        timed=any(row["hours"] for row in labels),
        labels_left_out=len(order[LABELS_MAX:]),
        where=show_locations(overview, order),
        review=dress(review),
        unlike=dress(unlike),
        galleries={label: dress(of_label) for label, of_label in galleries.items() if of_label},
        galleries_left_out=len(order[GALLERIES_MAX:]),
        videos=context.videos[:NAMES_MAX],
        height=BARS_PX,
        width=HOURS * BAR_PX,
    )


def order_cameras(verdicts: Sequence[CameraVerdict]) -> dict[str, list[CameraVerdict]]:
    """Return the locations unlike those that were tested on, the farthest first, and the others."""
    unlike = [row for row in verdicts if row.is_unlike]
    unlike.sort(key=lambda row: (-row.distance, row.location))
    others = [row for row in verdicts if not row.is_unlike]
    others.sort(key=lambda row: (not isnan(row.distance), _split_digits(row.location)))
    return {"unlike": unlike[:LOCATIONS_MAX], "others": others[:LOCATIONS_MAX]}


def order_labels(overview: Overview) -> list[str]:
    """Return the labels that were seen, those of the most sequences first."""
    seen = {
        label: (tally.sure + tally.unsure, sum(tally.boxes.values()) - tally.boxes["empty"])
        for label, tally in overview.labels.items()
    }
    return sorted((name for name in seen if any(seen[name])), key=lambda of: (*_less(seen[of]), of))


def _less(counts: tuple[int, int]) -> tuple[int, int]:
    return -counts[0], -counts[1]


def list_shares(overview: Overview) -> list[dict[str, Any]]:
    """Return a row for each decision of an image that occurs: its number and share of all."""
    counts = {**overview.images, "failure": sum(overview.failures.values())}
    total = sum(counts.values())
    return [
        {"decision": decision, "words": words, "n": counts[decision], "share": n / total}
        for decision, words in DECISIONS.items()
        if (n := counts.get(decision, 0))
    ]


def make_row(label: str, overview: Overview) -> dict[str, Any]:
    """Return what the table says of a label, with its bars by hour of day."""
    tally = overview.labels[label]
    places = overview.places.values()
    return {
        "label": label,
        "sure": tally.sure,
        "unsure": tally.unsure,
        "boxes": sum(tally.boxes.values()),
        "alarms": tally.boxes["alarm"],
        "locations": sum(1 for place in places if place.sure[label] or place.unsure[label]),
        "hours": draw_hours(tally),
    }


def draw_hours(tally: Tally) -> dict[str, str] | None:
    """Return the bars of a label's sequences by hour, as SVG paths, and the same in words."""
    both = [
        sure + unsure for sure, unsure in zip(tally.sure_hours, tally.unsure_hours, strict=True)
    ]
    most = max(both)
    if not most:
        return None
    paths = {"sure": "", "unsure": ""}
    for hour, sure in enumerate(tally.sure_hours):
        low, high = BARS_PX * sure / most, BARS_PX * both[hour] / most
        for name, bottom, top in (("sure", 0.0, low), ("unsure", low, high)):
            if top > bottom:
                left, width = hour * BAR_PX, BAR_PX - 1
                y, height = BARS_PX - top, top - bottom
                paths[name] += f"M{left} {y:.1f}h{width}v{height:.1f}h-{width}z"
    peak = both.index(most)
    words = (
        f"{most:,} of {sum(both):,} from {peak}:00 to {peak + 1}:00, more than in any other hour"
    )
    return paths | {"words": words}


def show_locations(overview: Overview, order: list[str]) -> dict[str, Any]:
    """Return the table of locations and labels; the colour of a cell follows its sequences."""
    columns = order[:COLUMNS_MAX] if len(order) > COLUMNS_MAX + 1 else order
    others = order[len(columns) :]
    largest = sorted(
        overview.places, key=lambda name: (-sum(overview.places[name].images.values()), name)
    )
    names = sorted(largest[:LOCATIONS_MAX], key=_split_digits)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "images": overview.places[name].images,
            "cells": _count_cells(overview.places[name], columns, others),
        }
        for name in names
    ]
    most = max((sure + unsure for row in rows for sure, unsure in row["cells"]), default=0)
    for row in rows:
        row["heat"] = [
            ceil(HEAT_LEVELS * sqrt((sure + unsure) / max(most, 1)))
            for sure, unsure in row["cells"]
        ]
    return {
        "columns": columns,
        "others": len(others),
        "rows": rows,
        "open": LOCATIONS_OPEN,
        "left_out": len(largest) - len(names),
    }


def _count_cells(place: Place, columns: list[str], others: list[str]) -> list[tuple[int, int]]:
    """Return the sequences of each label, accepted and not, and of all others together."""
    groups = [[label] for label in columns] + ([others] if others else [])
    return [
        (sum(place.sure[label] for label in group), sum(place.unsure[label] for label in group))
        for group in groups
    ]


def _split_digits(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts camera 2 before camera 10."""
    return [
        (int(part), "") if part.isascii() and part.isdigit() else (-1, part)
        for part in re.split(r"(\d+)", name)
    ]
