"""How crops are named, and how those of a folder were cut."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

from animl_pipeline import boxes
from animl_pipeline.crops.settings import CropRule
from animl_pipeline.files import whole
from animl_pipeline.files.names import NAME_BYTES_MAX
from animl_pipeline.running.options import list_knobs

CROP_MARK = "___"  # between the name of the image and that of the box


def name_crop(dataset: str, file_name: str, box_id: str) -> str:
    """Return the path of a crop, relative to the crops folder.

    >>> name_crop("cct", "pier/1.jpg", "bc21")
    'cct/pier/1.jpg___bc21.jpg'
    """
    path = PurePosixPath(dataset, file_name)
    name = f"{path.name}{CROP_MARK}{box_id}.jpg"
    if len(name.encode()) > NAME_BYTES_MAX:
        name = f"{hashlib.sha256(path.name.encode()).hexdigest()[:32]}{CROP_MARK}{box_id}.jpg"
    return path.with_name(name).as_posix()


def read_crop_rule(crops_dir: Path) -> dict[str, Any]:
    """Return how the crops of a folder were cut, by the record of `crop`.

    It is the version of the rule, and the options of `CropRule` where there is a record.
    """
    rule: dict[str, Any] = {"version": boxes.CROP_RULE_VERSION}
    record = crops_dir / "crop.json"
    if record.exists():
        options = whole.read_json(record, written_by="`pipeline crop`")["options"]
        names = [knob.name for knob in list_knobs(CropRule)]
        rule |= {name: options[name] for name in names if name in options}
    return rule
