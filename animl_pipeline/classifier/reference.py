"""How unlike all that was learned a crop is: the unknown score, and the traits of a crop."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load
from safetensors.numpy import save as to_bytes
from scipy import special

from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole

NAME = "reference.safetensors"
TRAITS_MAX = 32

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]


class NamesReference(Protocol):
    """A policy, as far as it is of the reference."""

    @property
    def reference(self) -> str | None:
        """Return the sha256 of reference.safetensors."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The features of the crops of train, as far as they are needed to tell what is unlike them.

    `center` (width,) is their mean; `directions` (width, k) are the principal ones, of unit
    variance over train; `means` (labels, k) are the labels' in them.
    """

    center: Floats32
    directions: Floats32
    means: Floats32

    def measure_traits(self, features: Floats32) -> Floats32:
        """Return where features (n, width) lie in the first principal directions (n, k)."""
        return self._project(features)[:, :TRAITS_MAX]

    def score_unknown(self, features: Floats32, logits: Floats32) -> Floats:
        """Return the unknown score (n,), from 0 up, of features (n, width) and logits."""
        projected = self._project(features).astype(np.float64)
        gaps = projected[:, None] - self.means[None].astype(np.float64)
        nearest = np.sqrt((gaps**2).sum(axis=2)).min(axis=1)
        doubt = 1 - special.softmax(logits.astype(np.float64), axis=1).max(axis=1)
        return np.asarray(nearest * (1 + doubt))

    def _project(self, features: Floats32) -> Floats32:
        return np.asarray((features - self.center) @ self.directions)


def write_reference(folder: Path, reference: Reference) -> str:
    """Write it into the folder of a run, whole or not at all; return the file's sha256."""
    arrays = {field.name: getattr(reference, field.name) for field in fields(reference)}
    with whole.whole(folder / NAME) as part:
        part.write_bytes(to_bytes(arrays))
    return whole.digest(folder / NAME, "sha256")


def read_reference(run_folder: Path, policy: NamesReference | None) -> Reference | None:
    """Return the reference of a run; None where its policy names none.

    Raises:
        InputInvalid: the file is not there, or is another than the policy was chosen with.
    """
    if policy is None or policy.reference is None:
        return None
    path = run_folder / NAME
    again = "Run `pipeline evaluate` again."
    try:
        if whole.digest(path, "sha256") != policy.reference:
            raise InputInvalid(f"{path} is not the one that policy.json names. {again}")
        arrays = load(path.read_bytes())
        return Reference(**{field.name: arrays[field.name] for field in fields(Reference)})
    except (OSError, SafetensorError, KeyError) as error:
        raise InputInvalid(f"{path} cannot be read ({error}). {again}") from error
