"""Crops on their way into splits: what is never divided, and what is decided of each crop."""

import dataclasses
from dataclasses import dataclass

import pandas as pd

OPEN = ""  # the split of a crop for which one is still to be chosen


@dataclass(frozen=True)
class Unit:
    """What is never divided: the columns that name one, and the word for several."""

    columns: list[str]
    plural: str


@dataclass(frozen=True)
class Allocation:
    """Labelled crops, and what is decided of each so far.

    `crops` has the columns of crops.csv, `label` and those of the unit, and an index from 0.
    `split` is the split of each crop, or OPEN. `is_only_train` says which crops are learned from
    and never judged by: their label is rare.
    """

    crops: pd.DataFrame
    unit: Unit
    split: "pd.Series[str]"
    is_only_train: "pd.Series[bool]"

    @classmethod
    def start(cls, crops: pd.DataFrame, unit: Unit) -> "Allocation":
        """Return the crops with nothing decided."""
        crops = crops.reset_index(drop=True)
        return cls(
            crops,
            unit,
            split=pd.Series(OPEN, index=crops.index, dtype=object),
            is_only_train=pd.Series(False, index=crops.index),
        )

    @property
    def is_open(self) -> "pd.Series[bool]":
        """Which crops have no split yet."""
        return self.split == OPEN

    @property
    def dataset(self) -> pd.DataFrame:
        """The crops with their split as a column."""
        return self.crops.assign(split=self.split)

    def keep(self, rows: "pd.Series[bool]") -> "Allocation":
        """Return these crops alone."""
        return Allocation(
            self.crops[rows].reset_index(drop=True),
            self.unit,
            self.split[rows].reset_index(drop=True),
            self.is_only_train[rows].reset_index(drop=True),
        )

    def fix(self, rows: "pd.Series[bool]", split: str) -> "Allocation":
        """Return the crops with these in a split."""
        return dataclasses.replace(self, split=self.split.mask(rows, split))

    def is_in(self, units: pd.DataFrame) -> "pd.Series[bool]":
        """Return which crops are of these units, given by the unit's columns."""
        keys = self.unit.columns
        merged = self.crops[keys].merge(units[keys], how="left", on=keys, indicator=True)
        return merged["_merge"] == "both"
