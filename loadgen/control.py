"""Control a run while it lasts: its rate up, down or to a value, pause, resume, drain.

A control changes the tempo of the run (`loadgen.schedule.tempo`): the plan's calls come faster or slower, in their
order. The plan has the calls that it has. A run that is made faster is over sooner. Stop is no change of the tempo: it
ends every call, and is `Run.stop`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np

from trunkproof.loadgen.schedule.tempo import Tempo, TempoChange
from trunkproof.models.plan import Plan
from trunkproof.models.rates import RatePath, rate_path
from trunkproof.models.traffic import ReplayedArrivals

LEAD_S = 0.3
"""A change holds from so long after its command: by then all workers know it, and it is the same instant for all."""
STEP = 1.1
"""What one step up or down multiplies or divides the rate by."""


class ControlKind(StrEnum):
    """What a user may ask of a run."""

    RATE = "rate"
    """So many calls per minute. It ends a pause too."""
    FASTER = "faster"
    """One step up."""
    SLOWER = "slower"
    """One step down."""
    PAUSE = "pause"
    """No first attempt until the run is resumed. The calls that are up go on."""
    RESUME = "resume"
    """Go on at the rate before the pause."""
    DRAIN = "drain"
    """No first attempt any more. The calls that are up end as planned, with their callers' redials."""
    STOP = "stop"
    """End every call now."""


class ControlError(Exception):
    """A control cannot be done. The message says why, and what to do."""


@dataclass(frozen=True)
class Control:
    """What a user asks of a run."""

    kind: ControlKind
    per_minute: float | None = None
    """First attempts per minute, of all trunks together. Only for `rate`."""


@dataclass(frozen=True)
class AppliedControl:
    """A control that holds from an instant on."""

    kind: ControlKind
    at_s: float
    """Seconds after plan zero."""
    speed: float
    """The tempo from then on. 0 for a pause."""
    per_minute: float
    """The first attempts per minute that are asked from then on, as long as the plan's own rate does not change."""

    @property
    def change(self) -> TempoChange | None:
        """Return the change of the tempo. None for a stop."""
        if self.kind is ControlKind.STOP:
            return None
        return TempoChange(self.at_s, self.speed, is_drained=self.kind is ControlKind.DRAIN)

    @property
    def words(self) -> str:
        """Return it in a few words, such as `rate 250 CPM`."""
        if self.kind in {ControlKind.PAUSE, ControlKind.DRAIN, ControlKind.STOP}:
            return self.kind.value
        return f"{self.kind.value} {self.per_minute:.4g} CPM"

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave."""
        return cls(**{**saved, "kind": ControlKind(saved["kind"])})


class PlannedRate:
    """The rate of a plan's first attempts, of all trunks together, over plan time."""

    def __init__(self, plan: Plan) -> None:
        study = plan.study
        self._paths: list[RatePath] = []
        self._replayed = 0.0
        for index, trunk in enumerate(study.trunks):
            arrivals = trunk.traffic.arrivals
            if isinstance(arrivals, ReplayedArrivals):
                # Instants have no rate of their own, so their mean stands for it.
                self._replayed += 60 * len(arrivals.instants_s) / study.duration_s
            else:
                self._paths.append(rate_path(arrivals, study.duration_s, study.seed, index))
        self._duration_s = study.duration_s

    def per_minute(self, plan_s: float) -> float:
        """Return the rate at an instant of plan time. After the end of the plan it is 0."""
        if not 0 <= plan_s < self._duration_s:
            return 0.0 if plan_s > 0 else self.per_minute(0.0)
        at = np.array([plan_s])
        return self._replayed + sum(float(path.rate_per_minute(at)[0]) for path in self._paths)


class RunControls:
    """Turns controls into changes of the tempo. `approve` raises an error where the target may not get such a rate."""

    def __init__(self, plan: Plan, approve: Callable[[float], object]) -> None:
        self.tempo = Tempo()
        self._rate, self._approve = PlannedRate(plan), approve
        self._is_inbound = any(trunk.traffic.inbound_share > 0 for trunk in plan.study.trunks)
        self._before_pause = 1.0

    def decide(self, control: Control, now_s: float) -> AppliedControl:
        """Return what a control does, and take it as done.

        Raises:
            ControlError: it cannot be done.
            GuardError: the user has not confirmed so many calls per minute for this target.
        """
        if control.kind is ControlKind.STOP:
            return AppliedControl(control.kind, now_s, 0.0, 0.0)
        if self._is_inbound:
            raise ControlError(
                "the trunk places this study's calls from the PSTN by the plan's own clock, so only stop is possible; "
                "write inbound_share: 0 to control the rate"
            )
        if self.tempo.is_drained:
            raise ControlError("the run is drained: it places no new calls any more")
        earliest_s = max([0.0, *(change.at_s for change in self.tempo.changes[-1:])])
        at_s = max(now_s + LEAD_S, earliest_s)
        planned = self._rate.per_minute(self.tempo.plan_s(at_s))
        speed = self._speed(control, planned)
        if speed > self.tempo.speed:
            self._approve(planned * speed)
        applied = AppliedControl(control.kind, at_s, speed, planned * speed)
        if speed > 0:
            self._before_pause = speed
        assert applied.change is not None
        self.tempo.change(applied.change)
        return applied

    def _speed(self, control: Control, planned: float) -> float:
        match control.kind:
            case ControlKind.FASTER:
                return self._before_pause * STEP
            case ControlKind.SLOWER:
                return self._before_pause / STEP
            case ControlKind.RESUME:
                return self._before_pause
            case ControlKind.RATE:
                if control.per_minute is None or not 0 < control.per_minute <= 1_000_000:
                    raise ControlError("a rate is a number of calls per minute, above 0 and at most 1,000,000")
                if planned <= 0:
                    raise ControlError("the plan places no calls at this time, so it has no rate to be set; wait")
                return control.per_minute / planned
            case _:
                return 0.0

    def asked_per_minute(self, now_s: float) -> float:
        """Return the first attempts per minute that are asked for now."""
        return self._rate.per_minute(self.tempo.plan_s(now_s)) * self.tempo.speed_at(now_s)
