"""A small camera-trap world: drawn animals at locations of their own, with an Animl export."""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
from animl_export import (
    PROJECT,
    Camera,
    Export,
    Record,
    Row,
    add_image,
    annotate,
    list_rows,
    make_camera,
    next_time,
    object_file,
    write_export,
)
from drawing import draw_picture, grey_png, half_jpeg, jpeg, jpeg_on_its_side, make_subject, move
from PIL import Image
from places import Place, make_place

BUCKET = "animl-images-serving-prod"
# Share of the sequences, share of the locations where it lives, chance that it is night.
LABELS = {
    "fox": (0.32, 0.8, 0.45),
    "bird": (0.28, 0.75, 0.12),
    "skunk": (0.18, 0.55, 0.7),
    "rodent": (0.14, 0.5, 0.6),
    "lizard": (0.08, 0.4, 0.12),
}
# What some reviewers call them, at two locations each.
ALIASES = {"fox": "island fox", "bird": "scrub jay"}
# As people type them: an apostrophe, digits only, and one that many tools read as "no value".
LOCATIONS = (
    *("Prisoners Harbor", "Smuggler's Cove", "Scorpion Pier 2", "2041999-default", "007", "NA"),
    *("Pelican Bay", "Christy Beach", "Centinela", "Willows Canyon", "Valley Anchorage"),
    *("Laguna Road", "Coches Prietos", "Forney's Cove", "Sierra Blanca", "Platts Harbor"),
)


@dataclass(frozen=True)
class World:
    """What was made, and what a pipeline with its defaults should make of it."""

    folder: Path
    coco_file: Path
    bucket_dir: Path
    images: int
    annotations: int
    crops: int
    objects: int  # files in the bucket
    locations: tuple[str, ...]
    crops_by_category: dict[str, int]
    rows: tuple[Row, ...]  # every annotation, and every image without one

    @property
    def odd_rows(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.note)


@dataclass(frozen=True)
class Island:
    """Where the cameras stand, what they see, and who lives there."""

    export: Export
    size_px: tuple[int, int]
    cameras: tuple[Camera, ...]
    places: tuple[Place, ...]
    homes: dict[str, list[int]]  # label -> numbers of the cameras that meet it


def make_world(
    folder: Path,
    *,
    locations: int = 14,
    sequences: int = 220,
    size_px: tuple[int, int] = (640, 480),
    seed: int = 0,
    broken: bool = True,
) -> World:
    """Writes export_coco.json and bucket/<key> into the folder; the same seed, the same bytes."""
    rng = np.random.default_rng([seed, 0])
    names = [*LOCATIONS, *(f"Ridge {i}" for i in range(len(LOCATIONS), locations))][:locations]
    cameras = tuple(make_camera(name, i) for i, name in enumerate(names))
    places = tuple(
        make_place(np.random.default_rng([seed, 1, i]), size_px, camera.camera_id)
        for i, camera in enumerate(cameras)
    )
    homes = find_homes(rng, locations)
    island = Island(Export(folder / "bucket"), size_px, cameras, places, homes)
    for number, (label, camera) in enumerate(plan_sequences(rng, homes, sequences)):
        add_sequence(island, label, camera, np.random.default_rng([seed, 2, number]))
    add_people_and_empties(island, np.random.default_rng([seed, 3]))
    if broken:
        add_broken(island, np.random.default_rng([seed, 4]))
        add_strange(island, np.random.default_rng([seed, 5]))
    return finish(island.export, folder, tuple(names))


def finish(export: Export, folder: Path, locations: tuple[str, ...]) -> World:
    write_export(export, folder / "export_coco.json")
    rows = list_rows(export)
    crops = Counter(row.category for row in rows if row.expected == "crop")
    return World(
        folder=folder,
        coco_file=folder / "export_coco.json",
        bucket_dir=export.bucket_dir,
        images=len(export.images),
        annotations=len(export.annotations),
        crops=crops.total(),
        objects=sum(file.is_file() for file in export.bucket_dir.rglob("*")),
        locations=locations,
        crops_by_category=dict(crops.most_common()),
        rows=rows,
    )


def find_homes(rng: np.random.Generator, locations: int) -> dict[str, list[int]]:
    """Returns for each label the cameras that meet it: at least four, never all of five or more."""
    homes: dict[str, list[int]] = {}
    neighbours = np.zeros(locations)
    for label, (_, part, _) in LABELS.items():
        count = min(max(4, round(part * locations)), max(locations - 1, min(locations, 4)))
        loneliest = np.argsort(neighbours + rng.uniform(0, 1.5, locations))[:count]
        neighbours[loneliest] += 1
        homes[label] = loneliest.tolist()
    return homes


def plan_sequences(
    rng: np.random.Generator, homes: dict[str, list[int]], sequences: int
) -> list[tuple[str, int]]:
    """Returns label and camera of each sequence; a label visits each of its homes, some often."""
    plan: list[tuple[str, int]] = []
    shares = np.cumsum([0, *(share for share, _, _ in LABELS.values())])
    edges = np.round(shares / shares[-1] * sequences).astype(int)
    for (label, where), count in zip(homes.items(), np.diff(edges).tolist(), strict=True):
        often = rng.choice(where, count, p=rng.dirichlet(np.full(len(where), 1.5)))
        plan += [(label, int(camera)) for camera in [*where, *often][:count]]
    return [plan[i] for i in rng.permutation(len(plan))]


def add_sequence(island: Island, label: str, camera: int, rng: np.random.Generator) -> None:
    """Adds a burst of one to three images, a second or two apart, of one animal or two."""
    labels, spans = [label], [(0.1, 0.9)]
    if rng.random() < 0.1:
        others = [other for other, where in island.homes.items() if camera in where]
        labels.append(str(rng.choice(others)) if rng.random() < 0.5 else label)
        spans = [(0.12, 0.38), (0.62, 0.88)]
    place, night = island.places[camera], bool(rng.random() < LABELS[label][2])
    subjects = [
        make_subject(called(island, name, camera, rng), place, span, rng)
        for name, span in zip(labels, spans, strict=True)
    ]
    when = next_time(island.export, island.cameras[camera], night, rng)
    for _ in range(rng.choice([1, 2, 3], p=[0.36, 0.42, 0.22])):
        picture, boxes = draw_picture(place, subjects, night, when, rng)
        image = add_image(island.export, island.cameras[camera], when, jpeg(picture), picture.size)
        for subject, box in zip(subjects, boxes, strict=True):
            annotate(island.export, image["id"], subject.kind, box, rng)
        when += timedelta(seconds=int(rng.integers(1, 3)))
        subjects = [move(subject, island.size_px[0], rng) for subject in subjects]


def called(island: Island, label: str, camera: int, rng: np.random.Generator) -> str:
    """Returns the category: the label, or half the time its other name where that is in use."""
    homes = island.homes[label]
    in_use = label in ALIASES and len(homes) > 4 and camera in homes[:2]
    return ALIASES[label] if in_use and rng.random() < 0.5 else label


def add_shot(
    island: Island,
    kinds: Sequence[str],
    rng: np.random.Generator,
    *,
    place: Place | None = None,
    span: tuple[float, float] = (0.14, 0.86),
    encode: Callable[[Image.Image], bytes] = jpeg,
    suffix: str = "jpg",
) -> tuple[Record, list[Record]]:
    """Adds an image by day where the last of the kinds lives; returns its row and its boxes'."""
    homes = island.homes.get(kinds[-1] if kinds else "", range(len(island.cameras)))
    number = int(rng.choice(homes))
    place, camera = place or island.places[number], island.cameras[number]
    edges = np.linspace(*span, len(kinds) + 1)
    subjects = [
        make_subject(kind, place, (edges[i], edges[i + 1]), rng, cut=False)
        for i, kind in enumerate(kinds)
    ]
    when = next_time(island.export, camera, False, rng)
    picture, boxes = draw_picture(place, subjects, False, when, rng)
    image = add_image(island.export, camera, when, encode(picture), picture.size, suffix)
    boxed = zip(kinds, boxes, strict=True)
    return image, [annotate(island.export, image["id"], kind, box, rng) for kind, box in boxed]


def add_people_and_empties(island: Island, rng: np.random.Generator) -> None:
    """Adds the rows without an animal, and the odd ones that Animl writes every day."""
    for kinds in (["person"], ["person"], ["person"], ["vehicle"], ["person", "fox"]):
        add_shot(island, kinds, rng)
    for _ in range(4):
        image, _ = add_shot(island, [], rng)
        annotate(island.export, image["id"], "empty", (0, 0, *island.size_px), rng)
    image, _ = add_shot(island, [], rng)
    island.export.odd[image["id"]] = ("unlabelled", "an image without annotation")
    _, [annotation] = add_shot(island, ["rodent"], rng)
    annotation.update(confidence=0.7312, validated=False, validated_by="Not Reviewed")
    island.export.odd[annotation["id"]] = ("unvalidated", "no person has looked at it")


def add_broken(island: Island, rng: np.random.Generator) -> None:
    """Adds rows that can give no crop."""
    export, odd = island.export, island.export.odd

    image, [annotation] = add_shot(island, ["fox"], rng)
    object_file(export, image).unlink()
    odd[annotation["id"]] = ("missing", "no such object in the bucket")

    _, [annotation] = add_shot(island, ["bird"], rng, encode=half_jpeg)
    odd[annotation["id"]] = ("corrupt", "half a JPEG, uploaded as such")

    _, [annotation] = add_shot(island, ["skunk"], rng, encode=lambda _: b"")
    odd[annotation["id"]] = ("corrupt", "an object of zero bytes")

    image, [annotation] = add_shot(island, ["fox"], rng)
    del image["width"], image["height"]
    annotation["bbox"] = [None] * 4
    odd[annotation["id"]] = ("no_box", "neither width, height nor box")

    _, [annotation] = add_shot(island, ["rodent"], rng)
    annotation["bbox"][2:] = [0, 0]
    odd[annotation["id"]] = ("zero_area", "a box without area")

    _, [annotation] = add_shot(island, ["bird"], rng)
    annotation["category_id"] = 99
    odd[annotation["id"]] = ("unknown_category", "a category that is not in the list")

    annotation = annotate(export, f"{PROJECT}:{'0' * 32}", "fox", (1, 2, 30, 40), rng)
    odd[annotation["id"]] = ("unknown_image", "an image that is not in the list")

    image, [annotation] = add_shot(island, ["bird"], rng)
    image["file_name"] = f"{PROJECT}/../../outside/{Path(image['file_name']).name}"
    odd[annotation["id"]] = ("unsafe", "a file name that leaves the folder")


def add_strange(island: Island, rng: np.random.Generator) -> None:
    """Adds rows that look wrong and give a crop all the same."""
    odd = island.export.odd

    _, [annotation] = add_shot(island, ["skunk"], rng, span=(1, 1))
    annotation["bbox"][2] *= 2
    odd[annotation["id"]] = ("crop", "the box leaves the frame on the right")

    image, [annotation] = add_shot(island, ["lizard"], rng)
    image.update(width=image["width"] * 2, height=image["height"] * 2)
    annotation["bbox"] = [side * 2 for side in annotation["bbox"]]
    odd[annotation["id"]] = ("crop", "the row says twice the size of the file")

    width, height = island.size_px
    upright = make_place(rng, (height, width), "portrait")
    image, [annotation] = add_shot(island, ["fox"], rng, place=upright, encode=jpeg_on_its_side)
    image.update(width=width, height=height)  # as stored; Animl does not apply the orientation
    x, y, w, h = annotation["bbox"]
    across, down = width / height, height / width
    annotation["bbox"] = [round(x * across), round(y * down), round(w * across), round(h * down)]
    odd[annotation["id"]] = ("crop", "EXIF orientation 6, the box drawn on the upright picture")

    _, [annotation] = add_shot(island, ["rodent"], rng, encode=grey_png, suffix="png")
    odd[annotation["id"]] = ("crop", "a grey PNG")

    image, [annotation] = add_shot(island, ["fox"], rng)
    image["datetime"] = None
    odd[annotation["id"]] = ("crop", "no datetime")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sequences", type=int, default=220)
    parser.add_argument("--locations", type=int, default=14)
    world = make_world(**vars(parser.parse_args()))
    by_category = ", ".join(f"{n} {name}" for name, n in world.crops_by_category.items())
    print(
        f"{world.images} images and {world.annotations} annotations at {len(world.locations)} "
        f"locations: {by_category}; {len(world.odd_rows)} odd rows. {world.coco_file}"
    )


if __name__ == "__main__":
    main()
