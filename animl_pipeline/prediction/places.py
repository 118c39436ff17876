"""Where each image was taken: by its folder, by a CSV, or as a COCO file says."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from animl_pipeline.catalogue.records import Facts
from animl_pipeline.catalogue.sequences import parse_datetime
from animl_pipeline.errors import InputInvalid
from animl_pipeline.formats import csv_file, readers

IMAGE, FOLDER, LOCATION = "image", "folder", "location"
LIKENESS_MIN, COMPARED_MAX = 0.6, 5_000  # names that a misspelt one is compared with


@dataclass(frozen=True)
class Places:
    """What is known of the images beside their pixels.

    `by_image` and `by_folder` are locations of the CSV; `records` are the COCO file's, by file
    name. `notes` say what matched nothing.
    """

    level: int = 1
    by_image: Mapping[str, str] = field(default_factory=dict)
    by_folder: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, Facts] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def find_facts(self, file_name: str, taken: str) -> Facts:
        """Return what is known of an image; `taken` is the datetime that is in it, or "".

        The CSV goes before the COCO file, and that before the folder and what is in the image.
        """
        facts = self.records.get(file_name, Facts())
        location = self._find_given(file_name) or facts.location or self._name_by_folder(file_name)
        known = facts.datetime if parse_datetime(facts.datetime) else taken
        return facts._replace(location=location, datetime=known)

    def _find_given(self, file_name: str) -> str:
        if location := self.by_image.get(file_name):
            return location
        if not self.by_folder:
            return ""
        folders = (str(folder) for folder in PurePosixPath(file_name).parents)
        return next((self.by_folder[name] for name in folders if name in self.by_folder), "")

    def _name_by_folder(self, file_name: str) -> str:
        return "/".join(file_name.split("/")[:-1][: self.level])


def read_places(
    names: Collection[str],
    *,
    level: int = 1,
    locations: Path | None = None,
    coco_file: Path | None = None,
) -> Places:
    """Return what is known of these images: file names relative to their folder.

    Args:
        names: of all images.
        level: how many folders, from the first on, are the location; 0: there is none.
        locations: a CSV with the columns `image` or `folder`, and `location`.
        coco_file: with the images' locations, datetimes and sequences.

    Raises:
        InputMissing, InputInvalid: with the row and what is wrong in it.
    """
    by_image: dict[str, str] = {}
    by_folder: dict[str, str] = {}
    records: dict[str, Facts] = {}
    notes: list[str] = []
    if locations:
        column, known = _read_locations(locations)
        there = set(names) if column == IMAGE else _list_folders(names)
        notes += _describe_absent(f"{column}s of {locations}", known, there)
        if known.keys().isdisjoint(there):
            raise InputInvalid(_explain_strangers(locations, known, there))
        by_image, by_folder = (known, {}) if column == IMAGE else ({}, known)
    if coco_file:
        records = _read_records(coco_file)
        if records.keys().isdisjoint(names):
            raise InputInvalid(_explain_strangers(coco_file, records, names))
        missing = [name for name in names if name not in records]
        if missing:
            notes.append(
                f"{len(missing):,} of {len(names):,} images are not in {coco_file}, as {missing[0]}"
            )
    return Places(level, by_image, by_folder, records, tuple(notes))


def _read_locations(path: Path) -> tuple[str, dict[str, str]]:
    """Return which column names the images, and the location of each name in it."""
    column = IMAGE if IMAGE in csv_file.read_header(path) else FOLDER
    known: dict[str, str] = {}
    for number, (name, location) in csv_file.read_rows(path, (column, LOCATION)):
        path_text = _normalise(name)
        if not name.strip():
            raise InputInvalid(f"{path}: row {number} names no {column}.")
        if not location.strip():
            raise InputInvalid(f"{path}: row {number}: {name} has no location.")
        if path_text in known:
            raise InputInvalid(f"{path}: row {number}: {column} {name} is there twice.")
        known[path_text] = location.strip()
    return column, known


def _normalise(name: str) -> str:
    r"""Return a path as images are named here.

    >>> _normalise(".\\pier\\2024\\"), _normalise("")
    ('pier/2024', '.')
    """
    return PurePosixPath(name.strip().replace("\\", "/")).as_posix()


def _list_folders(names: Iterable[str]) -> set[str]:
    """Return every folder that has images in it or below."""
    direct = {name.rpartition("/")[0] for name in names}
    return {str(parent) for folder in direct for parent in PurePosixPath(folder, "_").parents}


def _describe_absent(what: str, given: Collection[str], there: Collection[str]) -> list[str]:
    """Return a note on the given names that are of nothing there, if there are any."""
    absent = [name for name in given if name not in there]
    if not absent:
        return []
    near = _find_near(absent[0], there)
    hint = f"; did you mean {near}?" if near else ""
    return [f"{len(absent):,} of {len(given):,} {what} are not there, as {absent[0]}{hint}"]


def _find_near(name: str, there: Collection[str]) -> str:
    """Return the name there that is most like one, or ""."""
    last = PurePosixPath(name).name.casefold()
    alike = [other for other in there if PurePosixPath(other).name.casefold() == last]
    compared = alike or sorted(there)[:COMPARED_MAX]
    return next(iter(difflib.get_close_matches(name, compared, 1, LIKENESS_MIN)), "")


def _read_records(path: Path) -> dict[str, Facts]:
    """Return what a COCO file says of each file name; of two records of one name, the first."""
    images, _, _ = readers.read_images(path)
    records: dict[str, Facts] = {}
    for image in images:
        facts = Facts(image.image_id, image.location, image.datetime, image.sequence)
        records.setdefault(image.file_name, facts)
    return records


def _explain_strangers(path: Path, given: Collection[str], there: Iterable[str]) -> str:
    """Return why a file cannot be used that names none of what is there."""
    if not given:
        return f"{path} has no rows."
    first = min(there)
    theirs = _find_near(first, given) or next(iter(given))
    return (
        f"{path} names none of the images: it has {theirs}, and there is {first}. Its names are to "
        "be relative to the folder of the images."
    )
