"""What a classifier said of some crops, beside what they are: the one type from network to page."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from animl_pipeline.artifacts import tables

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GROUPS_MAX = 500
DECIMALS = 9  # of a probability, as files hold it
FLOOR = 5e-10  # half of the last decimal of a written probability, for those written as 0


@dataclass(frozen=True, eq=False)
class Predictions:
    """The crops that could be read, and a probability per label of each.

    `rows` (n) are of dataset.csv; `labels` are those that were predicted, in the order of the
    columns of `probabilities` (n, labels), 0 to 1; every label of the rows is one of them. `grey`
    (n,) says which pictures have no colour, as infrared ones. `unreadable` names the other crops.
    Where they are known: `logits` (n, labels) up to a constant of the row, from which temperature
    makes the probabilities; the `unknown` score (n,); the `traits` (n, k) of the features.
    """

    rows: pd.DataFrame
    labels: list[str]
    probabilities: Floats
    grey: Bools
    unreadable: list[str]
    logits: Floats | Floats32 | None = None
    unknown: Floats | None = None
    traits: Floats32 | None = None

    @classmethod
    def from_arrays(
        cls,
        labels: list[str],
        probabilities: Floats,
        truth: Ints,
        locations: list[tuple[str, str]],
    ) -> "Predictions":
        """Return predictions of crops of which nothing but label and location is known.

        `truth` (n,) numbers the labels; `locations` (n,) are of (dataset, location).
        """
        columns = {"label": [labels[index] for index in truth]}
        for column, name in enumerate(("dataset", "location")):
            columns[name] = [location[column] for location in locations]
        grey = np.zeros(len(truth), dtype=bool)
        return cls(pd.DataFrame(columns, dtype=object), labels, probabilities, grey, [])

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def truth(self) -> Ints:
        """Return the index of each row's own label (n,)."""
        number = {label: index for index, label in enumerate(self.labels)}
        return np.array([number[label] for label in self.rows["label"]], dtype=np.int64)

    @cached_property
    def predicted(self) -> Ints:
        """Return the index of each row's most probable label (n,), the first where two are."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def right(self) -> Bools:
        """Return whether each row's most probable label is its own (n,)."""
        return np.asarray(self.predicted == self.truth)

    @cached_property
    def locations(self) -> list[tuple[str, str]]:
        """Return the (dataset, location) of each row."""
        return list(zip(self.rows["dataset"], self.rows["location"], strict=True))

    @cached_property
    def group(self) -> Ints:
        """Return the number of each row's location (n,): what the intervals resample.

        Beyond GROUPS_MAX locations several share a number, dealt out in the order of their names,
        so that the work grows with the rows alone.
        """
        names = sorted(set(self.locations))
        number = {location: index % GROUPS_MAX for index, location in enumerate(names)}
        return np.array([number[location] for location in self.locations], dtype=np.int64)

    @cached_property
    def groups(self) -> int:
        """Return how many numbers `group` has."""
        return min(len(set(self.locations)), GROUPS_MAX)

    @property
    def images(self) -> list[tuple[str, str]]:
        """Return the (dataset, image) of each row."""
        return list(zip(self.rows["dataset"], self.rows["image"], strict=True))

    @property
    def sequences(self) -> list[str]:
        """Return the sequence of each row; an image without one is a sequence by itself."""
        named = self.rows["sequence"]
        return list(named.where(named != "", self.rows["image_id"]))

    def select(self, chosen: Bools | Ints) -> "Predictions":
        """Return some of the rows, by number or by a truth value each (n,)."""
        kept = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        rows = self.rows.iloc[kept].reset_index(drop=True)
        columns: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[kept]
            for name in ("probabilities", "grey", "logits", "unknown", "traits")
        }
        return replace(self, rows=rows, **columns)

    def as_labels(self, members: dict[str, list[str]]) -> "Predictions":
        """Return the same crops with probabilities of other labels, which sum to 1 again.

        `members` holds of each new label the labels that make it up.
        """
        summed = sum_members(self.probabilities, self.labels, members)
        return replace(
            self,
            labels=list(members),
            probabilities=normalise(summed).round(DECIMALS),
            logits=to_logits(summed),
        )

    def get_logits(self) -> Floats:
        """Return the logits (n, labels), of the probabilities where they are not known."""
        known = to_logits(self.probabilities) if self.logits is None else self.logits
        return np.asarray(known, dtype=np.float64)

    def calibrate(self, temperature: float | None) -> "Predictions":
        """Return the same with the probabilities of the logits divided by a temperature.

        They are rounded as files hold them. Without a temperature they stay as they are.
        """
        if temperature is None:
            return self
        soft = calibrate(self.get_logits(), temperature)
        # By column, as a table holds them: the last digit of a sum over labels follows from it.
        return replace(self, logits=self.get_logits(), probabilities=np.asfortranarray(soft))

    def as_one_location(self) -> "Predictions":
        """Return the same crops as if one camera had taken all: metrics then sum them in one go."""
        return replace(self, rows=self.rows.assign(dataset="", location=""))

    def to_table(self) -> pd.DataFrame:
        """Return the rows of predictions_<split>.csv (`artifacts.tables.PREDICTIONS`)."""
        table = self.rows[["crop", "image", "dataset", "location", "label"]].assign(
            predicted=[self.labels[index] for index in self.predicted]
        )
        columns = [tables.PROBABILITY + label for label in self.labels]
        return pd.concat([table, pd.DataFrame(self.probabilities, columns=columns)], axis=1)


def to_logits(probabilities: Floats) -> Floats:
    """Return log(probability), kept off minus infinity."""
    return np.asarray(np.log(np.maximum(probabilities, FLOOR)))


def calibrate(logits: NDArray[np.floating[Any]], temperature: float) -> Floats:
    """Return the probabilities (n, labels) of logits divided by the temperature, as files hold."""
    soft = special.softmax(logits.astype(np.float64) / temperature, axis=1)
    return np.asarray(soft.round(DECIMALS))


def sum_members(probabilities: Floats, labels: list[str], members: dict[str, list[str]]) -> Floats:
    """Return the probability of each new label (n, new labels): the sum over those it is made of.

    `probabilities` (n, labels). The log of a sum of probabilities is the logsumexp of their logits,
    up to a constant of the row.
    """
    column = {name: number for number, name in enumerate(labels)}
    sums = [
        probabilities[:, [column[name] for name in names]].sum(axis=1) for names in members.values()
    ]
    return np.stack(sums, axis=1)


def normalise(probabilities: Floats) -> Floats:
    """Return the probabilities (n, labels) with every row summing to 1, as of a softmax.

    A row of zeros becomes equal shares.
    """
    total = probabilities.sum(axis=1, keepdims=True)
    even = np.full_like(probabilities, 1 / probabilities.shape[1])
    return np.asarray(np.divide(probabilities, total, out=even, where=total > 0))
