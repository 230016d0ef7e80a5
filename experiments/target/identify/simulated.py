"""A trunk of known throttle, on a clock of its own: what probing and judging are tried on.

It can be made difficult: other callers, delays that vary, a second throttle behind the first, random drops, a penalty
after an excess, a clock that reads wrong.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from trunkproof.experiments.target.identify.attempts import Attempt
from trunkproof.experiments.target.identify.probe import Probe
from trunkproof.models.throttles.decision import Admitted
from trunkproof.models.throttles.policy import Policy


@dataclass(frozen=True)
class Conditions:
    """What makes a trunk difficult to tell. The default is easy: an idle trunk nearby."""

    jitter_s: float = 0.002
    """Each way takes up to this long."""
    setup_s: float = 0.1
    """From admission to the first ringing; varies by half as much again."""
    others_per_minute: float = 0.0
    """Calls of others through the same throttle (Poisson)."""
    drops: float = 0.0
    """Share of attempts that are refused at random, whatever the throttle says."""
    penalty_s: float = 0.0
    """After a refusal everything is refused for this long."""
    clock_s: float = 0.0
    """Each of the caller's instants is wrong by up to this, either way."""
    status: int = 503
    cause: int | None = None
    retry_after_s: float | None = 10


@dataclass
class SimulatedTrunk:
    """Decides on attempts by the policies' own code; a call must pass all of them, in their order."""

    policies: Sequence[Policy]
    anchor_s: float = 0.0
    conditions: Conditions = Conditions()
    seed: int = 1
    _now: float = field(default=0.0, init=False)
    _closed_until: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._throttles = [policy.make_throttle(self.anchor_s) for policy in self.policies]
        self._other = self._next_other(0.0)

    def call(self, sent_s: float) -> tuple[Attempt, float]:
        """Return what a caller sees of an attempt sent now, and when it sees it. `sent_s` never goes backwards."""
        conditions = self.conditions
        # One connection: what was sent first is decided first.
        self._now = max(self._now, sent_s + self._random.uniform(0, conditions.jitter_s))
        while self._other <= self._now:
            self._decide(self._other)
            self._other = self._next_other(self._other)
        delay_s = self._decide(self._now)
        responded_s = self._now + self._random.uniform(0, conditions.jitter_s)
        if delay_s is not None:
            responded_s += delay_s + conditions.setup_s * self._random.uniform(1, 1.5)
        wrong = conditions.clock_s
        seen = (sent_s + self._random.uniform(-wrong, wrong), responded_s + self._random.uniform(-wrong, wrong))
        if delay_s is not None:
            return Attempt(*seen, admitted=True), responded_s
        return Attempt(*seen, False, conditions.status, conditions.cause, conditions.retry_after_s), responded_s

    def _next_other(self, after_s: float) -> float:
        rate = self.conditions.others_per_minute / 60
        return after_s + self._random.expovariate(rate) if rate else float("inf")

    def _decide(self, now: float) -> float | None:
        """Return for how long the call is held. None: refused."""
        if now < self._closed_until or self._random.random() < self.conditions.drops:
            return None
        delay_s = 0.0
        for throttle in self._throttles:
            decision = throttle.try_admit(now)
            if not isinstance(decision, Admitted):
                self._closed_until = now + self.conditions.penalty_s
                return None
            delay_s += decision.delay_s
        return delay_s


def probe_it(probe: Probe, trunk: SimulatedTrunk, begins_s: float = 1.0) -> float:
    """Let a probe call a simulated trunk until it has enough. Return how many seconds that took."""
    now, waiting = begins_s, list[tuple[float, float, Attempt]]()
    while (at := probe.next_probe(now)) is not None:
        if waiting and waiting[0][0] <= max(at, now):
            now, placed_s, attempt = heapq.heappop(waiting)
            probe.observe(attempt, placed_s)
        elif at > now:
            now = at
        else:
            attempt, seen_s = trunk.call(now)
            probe.placed(now)
            heapq.heappush(waiting, (seen_s, now, attempt))
    return now - begins_s
