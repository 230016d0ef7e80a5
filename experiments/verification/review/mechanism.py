"""One customer as they are: whoever calls, what they do then, and how their calls are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from trunkproof.experiments.verification.review.callers import Callers
from trunkproof.experiments.verification.review.enforced import FIXED_WINDOW, Policy
from trunkproof.experiments.verification.review.traffic import Traffic


@dataclass(frozen=True)
class Recording:
    """The file that the customer brings."""

    form: str = "columns"
    """`columns`: names of its own; `operator`: as the operator's export."""
    is_inbound: bool = False
    """Whether the far side calls; else the customer does."""
    shows_refusals: bool = True
    """Without, refused attempts are missing."""
    duplicates: float = 0.0
    """Share of rows that are written twice."""
    anonymous: float = 0.0
    """Share of callers who withhold their number; inbound only."""
    missing_ends: float = 0.0
    """Share of rows without an end."""
    second_clock_s: float = 0.0
    """Half of the attempts are recorded by a second machine, whose clock is so far ahead; 0: there is none."""


@dataclass(frozen=True, eq=False)
class Mechanism:
    """Traffic, callers and recorder, with all that is known of them."""

    kind: str
    traffic: Traffic
    callers: Callers
    enforced: Policy = FIXED_WINDOW
    """How the throttle works while the history is taken; the request does not say so."""
    limit_before: float | None = None
    """The limit of the history's first half over that of its second; none: the same."""
    recording: Recording = Recording()
    is_stationary: bool = True
    """Whether the days to come are like those of the history."""
    first_day: date = date(2026, 3, 2)
    """A Monday."""
    days: int = 28
    """Of the history."""
