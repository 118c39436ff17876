"""What a detection has found so far, on disk: a crash loses the batch that it was at."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from animl_pipeline.catalogue.records import DetectedImage, Detection, Facts
from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole as files
from animl_pipeline.formats import megadetector

Settings = dict[str, Any]  # all that decides what is found in a picture
SETTINGS = "custom_metadata"  # where MegaDetector's package puts what else is to be said in `info`


class Unfinished:
    """A file of lines: the settings, then the results of a batch each."""

    def __init__(self, output_file: Path, settings: Settings) -> None:
        self.path = output_file.with_name(f".{output_file.name}.unfinished")
        self._header = json.dumps(settings, sort_keys=True).encode() + b"\n"
        self._begun = False

    def read(self) -> dict[str, tuple[int, DetectedImage]]:
        """Return what an interrupted run of the same settings found, with the pictures' times."""
        lines = self._whole_lines().splitlines()[1:]
        return {found.file_name: (time, found) for line in lines for time, found in _read(line)}

    def _whole_lines(self) -> bytes:
        """Return what is there, without what was cut off; of other settings nothing."""
        data = self.path.read_bytes() if self.path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        return whole if whole.startswith(self._header) else self._header

    def note(self, found: list[tuple[int, DetectedImage]]) -> None:
        """Keep the results of a batch, each with its picture's time of change in nanoseconds."""
        if not self._begun:
            with files.whole(self.path) as part:
                part.write_bytes(self._whole_lines())
            self._begun = True
        line = json.dumps([[time, *_plain(one)] for time, one in found]).encode() + b"\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line)
            os.fsync(file.fileno())

    def remove(self) -> None:
        """End it: the results are in their place."""
        self.path.unlink(missing_ok=True)


def _plain(image: DetectedImage) -> list[Any]:
    boxes = [[one.category, one.confidence, one.box] for one in image.detections]
    return [image.file_name, image.failure, image.facts.width_px, image.facts.height_px, boxes]


def _read(line: bytes) -> Iterator[tuple[int, DetectedImage]]:
    with contextlib.suppress(ValueError, TypeError):  # cut off by a full disk
        for time, name, failure, width_px, height_px, boxes in json.loads(line):
            found = [Detection(category, conf, tuple(box)) for category, conf, box in boxes]
            facts = Facts(width_px=width_px, height_px=height_px)
            yield time, DetectedImage(name, found, failure, facts)


def finished(output_file: Path, settings: Settings) -> dict[str, DetectedImage]:
    """Return the results of an earlier run that ended, if it had the same settings.

    Raises:
        InputInvalid: the file is there, and is not such a run's: it is not ours to replace.
    """
    if not output_file.exists():
        return {}
    results = megadetector.read(output_file)
    told = results.info.get(SETTINGS)
    if not isinstance(told, dict) or set(told) != set(settings):
        raise InputInvalid(
            f"{output_file} holds results that `pipeline detect` did not write. Move them, or "
            "name another --output-file."
        )
    if told != settings:
        return {}
    return {
        name: DetectedImage(name, found, facts=results.facts.get(name, Facts()))
        for name, found in results.detections.items()
        if name not in results.failures
    }
