"""One customer: who calls, what callers do, and how their calls are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from trunkproof.experiments.verification.review.callers import Callers
from trunkproof.experiments.verification.review.enforced import FIXED_WINDOW, Policy
from trunkproof.experiments.verification.review.traffic import Traffic


@dataclass(frozen=True)
class Recording:
    """How the customer's file is written, with its defects."""

    form: str = "columns"
    """`columns`: the customer's own column names; `operator`: the operator's export."""
    is_inbound: bool = False
    """Whether the far side calls, and not the customer."""
    shows_refusals: bool = True
    """Whether refused attempts are in the file."""
    duplicates: float = 0.0
    """Share of rows that are written twice."""
    anonymous: float = 0.0
    """Share of callers who withhold their number; only for inbound calls."""
    missing_ends: float = 0.0
    """Share of rows without an end."""
    second_clock_s: float = 0.0
    """Half of the attempts are recorded by a second machine whose clock is ahead by this; 0: there is only one."""


@dataclass(frozen=True, eq=False)
class Mechanism:
    """One customer's traffic, callers and recorder."""

    kind: str
    traffic: Traffic
    callers: Callers
    enforced: Policy = FIXED_WINDOW
    """How the throttle works while the history is recorded. The request does not say it."""
    limit_before: float | None = None
    """The limit of the history's first half, divided by that of its second half; None: it did not change."""
    recording: Recording = Recording()
    is_stationary: bool = True
    """Whether future days are like those of the history."""
    first_day: date = date(2026, 3, 2)
    """A Monday."""
    days: int = 28
    """Length of the history."""
