"""What may differ in each file that the commands write; `difference` names the first that may not.

The bytes of every other file are to be equal.

    <stage>.json, metrics.json    version, seconds, order of options, where code and data lie
    model.json, model.safetensors the card: versions, order of options; the temperature that
                                  `evaluate` wrote, which `policy.json` holds now
    history.csv, the events       the time an epoch took
    last.pt                       the same, and the order in which it is stored
    *.html                        wording; not its tables, its metrics and its pictures
    failures.csv, warnings.csv    wording of the reasons, and so in split_report.json
    .cache/*.records              its name, which follows from the times of the crops, and whether a
                                  crop is in it: of two read at once one may be left
"""

import csv
import hashlib
import json
import math
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TIMES = {"seconds", "images_per_second"}
DROPPED = {*TIMES, "version", "endpoint_url", "animl-pipeline"}
WORDED = {"reason", "handled", "unmatched", "warnings", "failure", "pictures", "method"}


def difference(name: str, old: Path, new: Path) -> str:
    """Where two files first differ in what may not differ; "" is nowhere."""
    read = reader_of(Path(name))
    if read is None and name.endswith(".records") and old.stat().st_size == new.stat().st_size:
        return ""
    if read is None:
        return f"{old.stat().st_size:,} and {new.stat().st_size:,} bytes"
    return next(differences(read(old), read(new)), "")


def reader_of(name: Path) -> Callable[[Path], Any] | None:
    """What reads the part of a file that may not differ."""
    by_suffix: dict[str, Callable[[Path], Any]] = {
        ".json": read_json, ".csv": read_table, ".html": read_page, ".pt": read_state,
        ".safetensors": read_weights,
    }  # fmt: skip
    return read_events if name.name.startswith("events.out") else by_suffix.get(name.suffix)


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Each place where two values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        if list(old) != list(new):
            only = sorted(map(str, old.keys() ^ new.keys()))
            yield f"{where}: {f'only on one side: {only}' if only else 'another order of keys'}"
        for key in old.keys() & new.keys():
            yield from differences(old[key], new[key], f"{where}.{key}")
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{where}: {len(old)} and {len(new)} values"
        for number, pair in enumerate(zip(old, new, strict=False)):
            yield from differences(*pair, f"{where}[{number}]")
    elif old != new and not (is_nan(old) and is_nan(new)):
        yield f"{where}: {str(old)[:120]!r} and {str(new)[:120]!r}"


def is_nan(value: Any) -> bool:
    """Whether it is the float that does not equal itself."""
    return isinstance(value, float) and math.isnan(value)


def tidy(value: Any, key: str = "") -> Any:
    """A value of a JSON file without what may differ."""
    if key in WORDED and value:
        return numbers(json.dumps(value))
    if isinstance(value, dict):
        kept = {name: tidy(inner, name) for name, inner in value.items() if name not in DROPPED}
        kept = {in_place(name): inner for name, inner in kept.items()}
        if key == "inputs":  # the card in the weights has a version
            kept = {n: "" if n.endswith(".safetensors") else v for n, v in kept.items()}
        return dict(sorted(kept.items())) if key in {"options", "inputs"} else kept
    if isinstance(value, list):
        return [tidy(inner, key) for inner in value]
    if key == "commands":
        return sorted(in_place(value).split())
    return in_place(value) if isinstance(value, str) else value


def in_place(text: str) -> str:
    """Text without the folder of the code or of the data."""
    return re.sub(r"/[^\s\"']*/(label_specs/|cct\.json)", r"\1", text)


def numbers(text: str) -> list[str]:
    """The numbers of a text."""
    return re.findall(r"\d+(?:\.\d+)?", text)


def read_json(path: Path) -> Any:
    """The content; where a policy lies beside it, the temperature is the policy's."""
    content = tidy(json.loads(path.read_text(encoding="utf-8")))
    policy = path.with_name("policy.json")
    if path.name == "model.json" and policy.exists():
        chosen = json.loads(policy.read_text(encoding="utf-8"))["temperature"]
        content["temperature"] = chosen and chosen["value"]
    return content


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows, without times; of a reason its numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: numbers(v) if name in WORDED else v for name, v in row.items() if name not in TIMES}
        for row in rows
    ]


def read_page(path: Path) -> Any:
    """The pictures, and the numbers in the cells of tables, in facts and in what is emphasised."""
    page = path.read_text(encoding="utf-8")
    pictures = re.findall(r"base64,([A-Za-z0-9+/=]+)", page)
    page = re.sub(r"\d+\.\d+\.\d\w*", "", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page))  # versions
    cells = re.findall(r"<(td|dd|strong|b|i|s)\b([^>]*)>(.*?)(?=<)", page, re.S)
    return {
        "pictures": [hashlib.sha256(picture.encode()).hexdigest() for picture in pictures],
        # In any order: the options stand in that of their groups now.
        "cells": sorted(numbers(style + text) for _, style, text in cells),
    }


def read_weights(path: Path) -> Any:
    """The bytes of each tensor, and the card."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + size]), memoryview(content)[8 + size :]
    card = json.loads(header.pop("__metadata__")["card"])
    tensors = {
        name: [t["dtype"], t["shape"], hashlib.sha256(data[slice(*t["data_offsets"])]).hexdigest()]
        for name, t in sorted(header.items())
    }
    return [tidy(card), tensors]


def read_state(path: Path) -> Any:
    """What a run goes on from, each tensor as the digest of its bytes."""
    import torch

    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            flat = value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
            return [str(value.dtype), list(value.shape), hashlib.sha256(flat).hexdigest()]
        if isinstance(value, dict):
            return {str(k): plain(v) for k, v in sorted(value.items(), key=lambda i: str(i[0]))}
        return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value

    return tidy(plain(torch.load(path, map_location="cpu", weights_only=True)))


def read_events(path: Path) -> Any:
    """The values of each curve and the bytes of each picture in a TensorBoard file."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    curves: dict[str, Any] = {
        tag: [[event.step, event.value] for event in events.Scalars(tag)]
        for tag in sorted(tags["scalars"])
        if not any(word in tag for word in ("second", "speed"))
    }
    for tag in sorted(tags["images"]):
        digests = [hashlib.sha256(e.encoded_image_string).hexdigest() for e in events.Images(tag)]
        curves[tag] = digests
    return curves
