"""What comes home on the cards of new cameras: images with EXIF, empties, a video, a broken file.

Boxes lie beside them as MegaDetector would write them, since the demo has no network to fetch it.
"""

import argparse
import io
import json
import tempfile
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from drawing import half_jpeg
from PIL import Image
from world import World, make_world

CAMERAS = ("East Gully", "Old Orchard", "Water Tank", "Windmill")
FOLDER = "100MEDIA"
DATETIME_ORIGINAL, EXIF_FOLDER = 0x9003, 0x8769
CATEGORIES = {"person": "2", "vehicle": "1"}  # a detector takes a car for an animal now and then


def make_cards(folder: Path, *, sequences: int, seed: int) -> tuple[Path, Path]:
    """Writes the folder `card`, a folder per camera in it, and `detections.json`; returns both."""
    card, rng = folder / "card", np.random.default_rng([seed, 9])
    with tempfile.TemporaryDirectory() as drawn:
        world = make_world(
            Path(drawn), locations=len(CAMERAS), sequences=sequences, seed=seed, broken=False
        )
        results = copy_images(world, card, rng)
    first = card / CAMERAS[0] / FOLDER / "IMG_0001.JPG"
    with Image.open(first) as picture:
        broken = first.with_name("IMG_9001.JPG")
        broken.write_bytes(half_jpeg(picture))
    box = {"category": "1", "conf": 0.8, "bbox": [0.3, 0.3, 0.2, 0.2]}
    results.append({"file": broken.relative_to(card).as_posix(), "detections": [box]})
    (first.parent / "VID_0001.AVI").write_bytes(b"RIFF")
    detections = folder / "detections.json"
    info = {"detector": "drawn boxes, as of MegaDetector", "format_version": "1.4"}
    categories = {"1": "animal", "2": "person", "3": "vehicle"}
    content = {"info": info, "detection_categories": categories, "images": results}
    detections.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return card, detections


def copy_images(world: World, card: Path, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Writes each image as its camera would, and returns its boxes."""
    export = json.loads(world.coco_file.read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in export["categories"]}
    boxes: dict[str, list[dict[str, Any]]] = {image["id"]: [] for image in export["images"]}
    for row in export["annotations"]:
        name, (x, y, wide, high) = names[row["category_id"]], row["bbox"]
        if name != "empty":
            bbox = [x / 640, y / 480, wide / 640, high / 480]
            box = {"category": CATEGORIES.get(name, "1"), "conf": round(rng.uniform(0.4, 0.97), 3)}
            boxes[row["image_id"]].append(box | {"bbox": [round(side, 4) for side in bbox]})
    cameras = dict(zip(world.locations, CAMERAS, strict=True))
    results = []
    taken: Counter[str] = Counter()  # by each camera; not what lies there, so that twice is as once
    for image in sorted(export["images"], key=lambda row: (row["location"], row["datetime"])):
        camera = cameras[image["location"]]
        taken[camera] += 1
        path = card / camera / FOLDER / f"IMG_{taken[camera]:04}.JPG"
        path.parent.mkdir(parents=True, exist_ok=True)
        when = datetime.fromisoformat(image["datetime"])
        with Image.open(world.bucket_dir / image["serving_bucket_key"]) as picture:
            path.write_bytes(encode(picture, when))
        file = path.relative_to(card).as_posix()
        results.append({"file": file, "detections": boxes[image["id"]]})
    return results


def encode(picture: Image.Image, when: datetime) -> bytes:
    """Returns the picture as a JPEG that says when it was taken, as cameras do."""
    exif = Image.Exif()
    exif.get_ifd(EXIF_FOLDER)[DATETIME_ORIGINAL] = when.strftime("%Y:%m:%d %H:%M:%S")
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sequences", type=int, default=80)
    parser.add_argument("--seed", type=int, default=101)
    card, detections = make_cards(**vars(parser.parse_args()))
    images = len(list(card.rglob("*.JPG")))
    print(f"{images} images of {len(CAMERAS)} cameras: {card}; their boxes: {detections}")


if __name__ == "__main__":
    main()
