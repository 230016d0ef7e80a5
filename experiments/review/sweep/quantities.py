"""Names of what a sweep counts in each span, and of the indicators that are computed from it.

Most names are words, such as `attempts`. A quantity that exists once per disposition or once per neighbour has a key
with fields instead, so that no code takes a name apart:

    "refused"                               attempts of the reviewed trunk that were refused
    Ending(Disposition.BUSY)                callers of the reviewed trunk whose last attempt met a busy line
    NeighbourSum(Counted.REFUSED, "sales")  attempts of the trunk `sales` that were refused
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trunkproof.models.arrays import FloatArray
from trunkproof.models.records import Disposition


class Counted(StrEnum):
    """What is counted for each neighbour."""

    ATTEMPTS = "attempts"
    REFUSED = "refused"
    BLOCKED = "blocked"
    """Found no free channel or no free port."""


@dataclass(frozen=True)
class Ending:
    """As a quantity: how many callers ended so. As an indicator: their share of all callers."""

    disposition: Disposition


@dataclass(frozen=True)
class NeighbourSum:
    """A quantity: one count of another trunk."""

    counted: Counted
    trunk: str


@dataclass(frozen=True)
class NeighbourShare:
    """An indicator: of another trunk's attempts the share `REFUSED`, or of those that its throttle admitted the share
    `BLOCKED`.
    """

    counted: Counted
    trunk: str


Quantity = str | Ending | NeighbourSum
Indicator = str | Ending | NeighbourShare
SpanValues = dict[Quantity, FloatArray]
"""Quantity -> its value in each span; NaN where a span has none, such as a delay without calls."""
