"""What a run looks like at one moment: the values that terminal, page, API and Prometheus show. JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

SRD_BOUNDS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""The upper bounds of the histogram of session request delay. What is longer is counted in one more bucket."""


class RunState(StrEnum):
    """What a run is doing."""

    WAITING = "waiting"
    """Plan zero is still to come."""
    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    """It places no new calls."""
    STOPPING = "stopping"
    """Every call is being ended."""


@dataclass(frozen=True)
class Health:
    """The generator's own health in the last seconds."""

    verdict: str = "valid"
    lateness_p99_ms: float = 0.0
    loop_lag_p99_ms: float = 0.0
    cpu_share: float = 0.0
    """Of one core, in the busiest window so far."""
    media_lateness_p99_ms: float = 0.0
    never_placed: int = 0


@dataclass(frozen=True)
class Bound:
    """A quality target or threshold, and how near the run is to its bound."""

    name: str
    bound: float
    value: float | None
    holds: bool | None
    shown: str
    """The value in words."""
    used: float | None
    """The share of the bound that is used: 1 is at the bound, more is missed. None: nothing was measured."""


@dataclass(frozen=True)
class ControlMark:
    """A control that was given, for the charts."""

    at_s: float
    words: str


@dataclass(frozen=True)
class Meters:
    """What one program of the trunk spends."""

    cpu_s: float = 0.0
    memory_bytes: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One moment of a run. Counts are those since plan zero."""

    study: str
    state: RunState = RunState.WAITING
    at_s: float = 0.0
    """Seconds after plan zero. Negative before it."""
    share: float = 0.0
    """The share of the plan that is over."""
    left_s: float | None = None
    """Until the last planned call is over, at the present rate. None: not known, because the run is paused."""
    asked_per_minute: float = 0.0
    """First attempts that are asked for now."""
    sent_per_minute: float = 0.0
    """Attempts of the last 10 s, redials included."""
    sent_per_minute_whole: float = 0.0
    begun: int = 0
    ended: int = 0
    answered: int = 0
    redials: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """SIP status of a refusal by the trunk -> how many."""
    failed: dict[str, int] = field(default_factory=dict)
    """Why an attempt failed otherwise -> how many."""
    unanswered: dict[str, int] = field(default_factory=dict)
    """Busy, no answer, abandoned -> how many. These are no failures."""
    srd_p50_ms: float | None = None
    """Session request delay of the attempts that ended in the last 30 s."""
    srd_p95_ms: float | None = None
    srd_counts: tuple[int, ...] = (0,) * (len(SRD_BOUNDS_S) + 1)
    """Attempts in each bucket of `SRD_BOUNDS_S`."""
    srd_sum_s: float = 0.0
    audio: dict[str, int] = field(default_factory=dict)
    """Answered calls that ended, by what was heard: good, late, silent, faulty."""
    health: Health = Health()
    bounds: tuple[Bound, ...] = ()
    controls: tuple[ControlMark, ...] = ()
    meters: dict[str, Meters] = field(default_factory=dict)
    """Program of the trunk -> what it spends."""

    @property
    def under_way(self) -> int:
        """Return the attempts that ring or talk now."""
        return self.begun - self.ended

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return what `to_json` gave."""
        values: dict[str, Any] = json.loads(text)
        return cls(
            **values
            | {
                "state": RunState(values["state"]),
                "health": Health(**values["health"]),
                "srd_counts": tuple(values["srd_counts"]),
                "bounds": tuple(Bound(**each) for each in values["bounds"]),
                "controls": tuple(ControlMark(**each) for each in values["controls"]),
                "meters": {name: Meters(**each) for name, each in values["meters"].items()},
            }
        )
