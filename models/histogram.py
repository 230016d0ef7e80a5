"""A histogram with logarithmic bins, for quantiles of streams that are too long to keep; histograms merge exactly.

The idea of HdrHistogram with numpy underneath: the relative error of a quantile is at most half a bin, 0.05 %.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from trunkproof.models.arrays import FloatArray, IntArray

LOW, _HIGH = 1e-6, 1e6
BINS_PER_E = 1000
BINS = int(np.ceil(np.log(_HIGH / LOW) * BINS_PER_E))
"""Bin 0 is for what is below `LOW`; value v is counted in bin 1 + log(v / LOW) * BINS_PER_E, at most `BINS`."""


class LogHistogram:
    """Counts of non-negative values between 1e-6 and 1e6, of one unit of the caller's choice; smaller ones count as
    0.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(BINS + 1, dtype=np.int64)
        self.count = 0
        self.total = 0.0
        self.maximum: float | None = None

    def add(self, values: FloatArray) -> None:
        """Count values; NaN is an error of the caller."""
        if not len(values):
            return
        bins = np.zeros(len(values), dtype=np.int64)
        positive = values >= LOW
        bins[positive] = 1 + np.minimum(np.log(values[positive] / LOW) * BINS_PER_E, BINS - 1).astype(np.int64)
        # Not `+= 1` on the indices: several values of one batch fall into the same bin.
        np.add.at(self._counts, bins, 1)
        self.count += len(values)
        self.total += float(values.sum())
        largest = float(values.max())
        self.maximum = largest if self.maximum is None else max(self.maximum, largest)

    @classmethod
    def of(cls, counts: IntArray, total: float, maximum: float) -> Self:
        """Return the histogram of values that were counted elsewhere: per bin, their sum, and the largest."""
        made = cls()
        made._counts[:] = counts
        made.count, made.total = int(made._counts.sum()), total
        made.maximum = maximum if made.count else None
        return made

    def merge(self, other: LogHistogram) -> None:
        """Count all that the other histogram counted."""
        self._counts += other._counts
        self.count += other.count
        self.total += other.total
        if other.maximum is not None:
            self.maximum = other.maximum if self.maximum is None else max(self.maximum, other.maximum)

    def quantile(self, share: float) -> float | None:
        """Return the smallest value that a share of the counted values does not exceed. None if nothing was counted."""
        if not self.count:
            return None
        # In floating point 0.07 * 100 is a little more than 7, and would give the next rank.
        rank = max(1, int(np.ceil(share * self.count - 1e-9)))
        index = int(np.searchsorted(np.cumsum(self._counts), rank))
        if index == 0 or self.maximum is None:
            return 0.0
        # The middle of the bin halves the largest error. In the last bin it may lie above the largest value counted.
        return min(self.maximum, float(LOW * np.exp((index - 0.5) / BINS_PER_E)))

    def mean(self) -> float | None:
        """Return the exact arithmetic mean, or None if nothing was counted."""
        return self.total / self.count if self.count else None
