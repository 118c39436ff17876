"""Crops of a few locations and labels, and what `split` makes of them."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from animl_pipeline.artifacts import tables
from animl_pipeline.running import perform
from animl_pipeline.running.perform import Counts
from animl_pipeline.stages.split import Options

COLUMNS = tables.CROPS.names
PARTS = ("train", "val", "test")
Row = dict[str, Any]


def crop_row(number: int, location: str, category: str, **more: Any) -> Row:
    image = f"{number:05}.jpg"
    row = {"image": image, "image_id": f"id {number}", "annotation_id": f"box {number}"}
    row |= {"dataset": "island", "location": location, "category": category, "sequence": ""}
    row |= {"datetime": "", "confidence": 1.0, "x": 0.1, "y": 0.1, "width": 0.5, "height": 0.5}
    row |= more
    return {"crop": f"{row['dataset']}/{image}___box{number}.jpg"} | row


def some_crops(
    locations: Iterable[str] = "ABCDEFGHIJ", categories: Iterable[str] = ("bird", "fox", "skunk")
) -> list[Row]:
    """More crops of the first categories than of the last; every category everywhere."""
    pairs = [
        (location, category)
        for place, location in enumerate(locations)
        for kind, category in enumerate(categories)
        for _ in range(1 + (place * 7 + kind * 3) % 5)
    ]
    return [crop_row(number, *pair) for number, pair in enumerate(pairs)]


def write_crops(folder: Path, rows: list[Row]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "crops.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    return folder


def split(tmp_path: Path, rows: list[Row], *, to: str = "dataset", **options: Any) -> Counts:
    crops_dir = write_crops(tmp_path / "crops", rows)
    wanted = Options(crops_dir=crops_dir, output_dir=tmp_path / to, **options)
    return perform.perform("split", wanted)


def read_dataset(tmp_path: Path, name: str = "dataset") -> list[dict[str, str]]:
    with (tmp_path / name / "dataset.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_json(tmp_path: Path, name: str, folder: str = "dataset") -> Any:
    return json.loads((tmp_path / folder / name).read_text(encoding="utf-8"))


def parts_of(rows: list[dict[str, str]], *columns: str) -> dict[tuple[str, ...], set[str]]:
    found: dict[tuple[str, ...], set[str]] = {}
    for row in rows:
        found.setdefault(tuple(row[column] for column in columns), set()).add(row["split"])
    return found


def contents(folder: Path, *names: str) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


THE_SAME = ("dataset.csv", "splits.json", "label_index.json", "split_report.json")


def spec_file(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
