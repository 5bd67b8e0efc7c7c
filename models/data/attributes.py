"""Attributes of items as numbers: what texts say in words, said in columns that items share.

- A value may be a list ("Comedy, Drama"): each entry that at least two items share is a column,
  weighted by the square root of its inverse document frequency.
- A key whose values are all numbers becomes soft bins at their quantiles, so that near values
  share columns.
- Every key weighs the same, whatever its number of columns; a row is brought half-way to unit
  length within its key, so that a long cast counts more than a short one, but not in proportion.

Trade-off: columns come from the training catalogue; an entry first seen afterwards counts nothing
until the next training.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from models.data.arrays import Numbers

LEAST_ITEMS = 2
BINS = 16
LIST_WEIGHT, NUMBER_WEIGHT = 0.4, 0.3

Attributes = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class AttributeColumns:
    """The columns of each key: weights by entry for lists, knots for numbers, scales for both."""

    entries: dict[str, dict[str, float]]
    knots: dict[str, list[float]]
    scales: dict[str, float]

    @classmethod
    def fit(cls, attributes: Attributes) -> "AttributeColumns":
        """Choose the columns for the items of a training catalogue."""
        entries: dict[str, dict[str, float]] = {}
        knots: dict[str, list[float]] = {}
        for key in sorted({key for item in attributes for key in item}):
            values = [item[key] for item in attributes if item.get(key)]
            numbers = [_number(value) for value in values]
            found = [number for number in numbers if number is not None]
            if values and len(found) == len(values):
                knots[key] = np.unique(np.quantile(found, np.linspace(0, 1, BINS))).tolist()
            else:
                shared = _shared_entries(values, len(attributes))
                if shared:
                    entries[key] = shared
        plain = cls(entries, knots, dict.fromkeys([*entries, *knots], 1.0))
        scales = {}
        for key, block in plain._blocks(attributes).items():
            weight = NUMBER_WEIGHT if key in knots else LIST_WEIGHT
            mean_square = float(block.power(2).sum()) / max(len(attributes), 1)
            scales[key] = float(np.sqrt(weight / mean_square)) if mean_square else 0.0
        return cls(entries, knots, scales)

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(map(len, self.entries.values())) + sum(map(len, self.knots.values()))

    def encode(self, attributes: Attributes) -> sparse.csr_array:
        """Return the columns [n, c] of items, zero where a key or an entry is absent."""
        blocks = list(self._blocks(attributes).values())
        if not blocks:
            return sparse.csr_array((len(attributes), 0))
        return sparse.csr_array(sparse.hstack(blocks, format="csr"))

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` makes the same columns of."""
        return {"entries": self.entries, "knots": self.knots, "scales": self.scales}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "AttributeColumns":
        """Return the columns that `to_json` described."""
        return cls(dict(content["entries"]), dict(content["knots"]), dict(content["scales"]))

    def _blocks(self, attributes: Attributes) -> dict[str, sparse.csr_array]:
        blocks = {}
        for key, weights in self.entries.items():
            blocks[key] = self.scales[key] * _entry_block(attributes, key, weights)
        for key, knots in self.knots.items():
            blocks[key] = self.scales[key] * _number_block(attributes, key, np.array(knots))
        return blocks


def _entries_of(value: str) -> list[str]:
    return sorted({entry.strip() for entry in value.split(",")} - {""})


def _shared_entries(values: Sequence[str], n_items: int) -> dict[str, float]:
    counts = Counter(entry for value in values for entry in _entries_of(value))
    return {
        entry: float(np.sqrt(np.log(n_items / count))) if count < n_items else 0.0
        for entry, count in sorted(counts.items())
        if count >= LEAST_ITEMS
    }


def _entry_block(
    attributes: Attributes, key: str, weights: Mapping[str, float]
) -> sparse.csr_array:
    columns = {entry: column for column, entry in enumerate(weights)}
    rows, places, values = [], [], []
    for row, item in enumerate(attributes):
        known = [entry for entry in _entries_of(item.get(key) or "") if entry in columns]
        length = float(np.sqrt(sum(weights[entry] ** 2 for entry in known)))
        for entry in known:
            rows.append(row)
            places.append(columns[entry])
            values.append(weights[entry] / max(np.sqrt(length), 1e-9))
    return sparse.csr_array((values, (rows, places)), shape=(len(attributes), len(columns)))


def _number_block(attributes: Attributes, key: str, knots: Numbers) -> sparse.csr_array:
    rows, places, values = [], [], []
    for row, item in enumerate(attributes):
        number = _number(item.get(key) or "")
        if number is None:
            continue
        clipped = min(max(number, knots[0]), knots[-1])
        right = int(np.clip(np.searchsorted(knots, clipped, side="right"), 1, len(knots) - 1))
        left = max(right - 1, 0)
        share = 0.0 if left == right else (clipped - knots[left]) / (knots[right] - knots[left])
        rows += [row, row]
        places += [left, right]
        values += [1.0 - share, share]
    return sparse.csr_array((values, (rows, places)), shape=(len(attributes), len(knots)))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
