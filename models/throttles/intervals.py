"""What a pace can be: all intervals between slots, and all slacks, that explain what was observed.

A token bucket and a shaper decide alike (ITU-T I.371, the generic cell rate algorithm). A call is admitted if it comes
no earlier than `slack` before the next slot, and then moves the next slot on by one interval. The slack is `burst - 1`
intervals of a bucket, and the longest delay of a shaper. An interval fixes the slots, within the bounds of the
instants. Then every attempt bounds the slack. So intervals are searched in cells, from wide to narrow, and nothing that
fits is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.throttles.observed import KEPT_RANGES, Observed, Range

_SHORTEST_S = 1e-3
_RATIOS = (1.02, 1.005, 1.00125, 1.0003, 1.00008)
"""Of the longest to the shortest interval of a cell, from pass to pass."""


@dataclass(frozen=True, eq=False)
class Paces:
    """Cells of intervals that fit, ascending. All of shape (n, 2): least and most."""

    interval_s: FloatArray
    slack_s: FloatArray
    slot_s: FloatArray
    """The next slot after the last attempt."""

    @property
    def interval(self) -> Range:
        """Return the range of all intervals."""
        return Range(float(self.interval_s[0, 0]), float(self.interval_s[-1, 1]))

    @property
    def slack(self) -> Range:
        """Return the range of all slacks."""
        return Range(float(self.slack_s[:, 0].min()), float(self.slack_s[:, 1].max()))

    @property
    def reopens_s(self) -> FloatArray:
        """Return when the next attempt is admitted, by some of the cells, shape (m, 2)."""
        some = slice(None, None, max(1, len(self.slot_s) // KEPT_RANGES))
        return np.asarray(self.slot_s[some] - self.slack_s[some, ::-1])

    def groups(self) -> list[Paces]:
        """Return the cells in groups of neighbours."""
        cuts = np.flatnonzero(self.interval_s[1:, 0] > self.interval_s[:-1, 1] * (1 + 1e-6)) + 1
        return [self.where(part) for part in np.split(np.arange(len(self.interval_s)), cuts)]

    def where(self, chosen: IntArray | BoolArray) -> Paces:
        """Return the chosen cells."""
        return Paces(self.interval_s[chosen], self.slack_s[chosen], self.slot_s[chosen])


def bursts(paces: Paces) -> FloatArray:
    """Return the fewest and the most tokens that a bucket of each cell can have, shape (n, 2)."""
    fewest = np.ceil(paces.slack_s[:, 0] / paces.interval_s[:, 1] + 1 - 1e-9)
    most = np.floor(paces.slack_s[:, 1] / paces.interval_s[:, 0] + 1 + 1e-9)
    return np.stack([fewest, most], axis=1)


def find_paces(observed: Observed, *, holds: bool, whole: bool) -> list[Paces]:
    """Return the cells that explain every attempt, in groups of neighbours; none if no attempt was refused.

    Args:
        observed: the attempts.
        holds: admitted calls wait for their slots, so none can have gone on before its slot.
        whole: the slack is a whole number of intervals.
    """
    if bool(observed.admitted.all()) or not observed.admitted.any():
        return []
    from trunkproof.models.throttles.searches import search_intervals  # noqa: PLC0415  # as in `boundaries`

    went_on_s = observed.went_on_s if holds else np.full(len(observed), np.inf)
    span_s = float(observed.late_s[-1] - observed.early_s[0])
    edges = np.geomspace(_SHORTEST_S, 4 * span_s + 1, int(np.log((4 * span_s + 1) / _SHORTEST_S) / np.log(1.02)) + 2)
    cells = np.stack([edges[:-1], edges[1:]], axis=1)
    found: Paces | None = None
    for number, ratio in enumerate(_RATIOS):
        slack, slots = np.empty_like(cells), np.empty_like(cells)
        search_intervals(observed.early_s, observed.late_s, observed.admitted, went_on_s, cells, slack, slots)
        found = Paces(cells, slack, slots)
        fits = slack[:, 0] <= slack[:, 1]
        if whole:
            number_of = bursts(found)
            fits &= number_of[:, 0] <= number_of[:, 1]
        found = found.where(fits)
        if not len(found.interval_s):
            return []
        if number + 1 < len(_RATIOS):
            cells = _split(found.interval_s, round(np.log(ratio) / np.log(_RATIOS[number + 1])))
    return found.groups() if found is not None else []


def held(observed: Observed, interval_s: float) -> FloatArray:
    """Return for how long each admitted call waits for its slot, by the observed outcomes; 0 for refused ones."""
    waits, slot_s = np.zeros(len(observed)), -np.inf
    for number, (now, passed) in enumerate(zip(observed.middle_s, observed.admitted, strict=True)):
        if passed:
            slot_s = max(slot_s, now)
            waits[number] = slot_s - now
            slot_s += interval_s
    return waits


def _split(cells: FloatArray, parts: int) -> FloatArray:
    ratio = (cells[:, 1] / cells[:, 0])[:, None] ** (np.arange(parts + 1) / parts)[None, :]
    edges = cells[:, :1] * ratio
    return np.stack([edges[:, :-1].ravel(), edges[:, 1:].ravel()], axis=1)
