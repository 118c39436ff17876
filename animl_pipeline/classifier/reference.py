"""How unlike the crops it was trained on a crop is: the unknown score, and the traits of a crop.

The unknown score adds two simple baselines, each over its standard deviation on train: the distance
to the nearest feature of train (Sun et al. 2022, deep nearest neighbours), and the energy of the
logits (Liu et al. 2020). They were chosen over Mahalanobis distances (Lee et al. 2018), means of
labels and residuals (Wang et al. 2022) by `scripts/bench unknown`; see docs, Measured.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load
from safetensors.numpy import save as to_bytes
from scipy import special

from animl_pipeline.artifacts.names import REFERENCE
from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole

SCORE = "nearest neighbour + energy"
TRAITS_MAX = 32
SMALLEST = 1e-6  # a spread below it is none

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]


class NamesReference(Protocol):
    """A policy, as far as it is of the reference."""

    @property
    def reference(self) -> str | None:
        """Return the sha256 of reference.safetensors."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The features of crops of train, as far as they are needed to tell what is unlike them.

    `neighbours` (crops, width) are the features, of length 1, in half precision. `scales` (2,) are
    what distance and energy are divided by. `center` (width,) is the mean of the features, and
    `directions` (width, k) are the principal ones, of variance 1 over train.
    """

    neighbours: NDArray[np.float16]
    scales: Floats32
    center: Floats32
    directions: Floats32

    @cached_property
    def _neighbours(self) -> Floats32:
        """Return them in single precision, of length 1 again."""
        return _shorten(self.neighbours.astype(np.float32))

    def measure_traits(self, features: Floats32) -> Floats32:
        """Return where features (n, width) lie in the principal directions (n, k)."""
        return np.asarray((features - self.center) @ self.directions, dtype=np.float32)

    def score_unknown(self, features: Floats32, logits: Floats32) -> Floats:
        """Return the unknown score (n,) of features (n, width) and logits (n, labels).

        The higher, the less like train; it may be below 0.
        """
        likeness = _shorten(features) @ self._neighbours.T
        nearest = 1 - likeness.max(axis=1).astype(np.float64)
        return np.asarray(nearest / self.scales[0] + compute_energy(logits) / self.scales[1])


def learn_reference(features: Floats32, logits: Floats32, locations: list[str]) -> Reference:
    """Return the reference from crops of train: (n, width), (n, labels), (n,).

    How far apart crops are is told from those of other locations: those of one are often of one
    burst, and so more alike than a new crop is to any.
    """
    neighbours = _shorten(features)
    likeness = neighbours @ neighbours.T
    _, group = np.unique(locations, return_inverse=True)
    likeness[group[:, None] == group[None]] = -1
    scales = [np.std(likeness.max(axis=1)), np.std(compute_energy(logits))]
    center = features.mean(axis=0)
    _, spread, directions = np.linalg.svd(features - center, full_matrices=False)
    spread = spread[:TRAITS_MAX] / np.sqrt(len(features))
    kept = spread > SMALLEST
    return Reference(
        neighbours.astype(np.float16),
        np.array([scale if scale > SMALLEST else 1.0 for scale in scales], dtype=np.float32),
        center,
        np.ascontiguousarray((directions[:TRAITS_MAX][kept] / spread[kept, None]).T),
    )


def compute_energy(logits: Floats32) -> Floats:
    """Return the energy (n,) of logits (n, labels): low where any label is sure of the crop."""
    return np.asarray(-special.logsumexp(logits.astype(np.float64), axis=1))


def _shorten(features: Floats32) -> Floats32:
    """Return features (n, width) of length 1."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, SMALLEST))


def write_reference(folder: Path, reference: Reference, made_of: str) -> None:
    """Write it into the folder of a run, whole or not at all, with what it was `made_of`."""
    arrays = {field.name: getattr(reference, field.name) for field in fields(reference)}
    with whole.whole(folder / REFERENCE.name) as part:
        part.write_bytes(to_bytes(arrays, metadata={"made_of": made_of}))


def find_reference(folder: Path, made_of: str) -> Reference | None:
    """Return the reference in a folder if it was made of just that, else None."""
    try:
        with safe_open(folder / REFERENCE.name, "numpy") as file:
            if (file.metadata() or {}).get("made_of") != made_of:
                return None
        return _load(folder / REFERENCE.name)
    except (OSError, SafetensorError, KeyError):
        return None


def read_reference(run_folder: Path, policy: NamesReference | None) -> Reference | None:
    """Return the reference of a run; None where its policy names none.

    Raises:
        InputInvalid: the file is not there, or is another than the policy was chosen with.
    """
    if policy is None or policy.reference is None:
        return None
    path = run_folder / REFERENCE.name
    again = "Run `pipeline evaluate` again."
    try:
        if whole.digest(path, "sha256") != policy.reference:
            raise InputInvalid(f"{path} is not the one that policy.json names. {again}")
        return _load(path)
    except (OSError, SafetensorError, KeyError) as error:
        raise InputInvalid(f"{path} cannot be read ({error}). {again}") from error


def _load(path: Path) -> Reference:
    arrays = load(path.read_bytes())
    return Reference(**{field.name: arrays[field.name] for field in fields(Reference)})
