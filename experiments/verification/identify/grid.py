"""The grid: throttles, phases and conditions, and what identify makes of each.

Throttles of more than one policy, or with drops, a penalty or other callers, are of no family that we know. The right
answer there is not to be sure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from trunkproof.experiments.target.identify.judgement import Identification
from trunkproof.experiments.target.identify.probe import Probe, ProbeBounds
from trunkproof.experiments.target.identify.simulated import Conditions, SimulatedTrunk, probe_it
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.pipelimit import PipeLimit
from trunkproof.models.throttles.policy import Limited, Policy
from trunkproof.models.throttles.shaper import Shaper
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.token_bucket import TokenBucket

_TAILDROP = PipeLimit(limit=50, window_s=10)
"""A fixed window by another name: the two decide alike, so nothing can tell them apart."""
THROTTLES: tuple[Policy, ...] = (
    FixedWindow(limit=5, window_s=1),
    FixedWindow(limit=30, window_s=10),
    FixedWindow(limit=100, window_s=30),
    FixedWindow(limit=120, window_s=60),
    FixedWindow(limit=200, window_s=60),
    FixedWindow(limit=400, window_s=60),
    SlidingWindowAdmitted(limit=5, window_s=1),
    SlidingWindowAdmitted(limit=30, window_s=10),
    SlidingWindowAdmitted(limit=200, window_s=60),
    SlidingWindowAdmitted(limit=400, window_s=60),
    SlidingWindowAttempts(limit=5, window_s=1),
    SlidingWindowAttempts(limit=30, window_s=10),
    SlidingWindowAttempts(limit=200, window_s=60),
    TokenBucket(limit=200, burst=20),
    TokenBucket(limit=30, burst=5),
    TokenBucket(limit=400, burst=100),
    Shaper(limit=200, max_delay_s=2),
    Shaper(limit=60, max_delay_s=5),
    _TAILDROP,
    PipeLimit(limit=20, window_s=10, algorithm="red"),
    NoThrottle(),
)
PHASES = (0.0, 0.37, 0.81)
"""Where in its window a fixed window stands when the first call comes."""
EASY, USUAL = Conditions(), ProbeBounds()


@dataclass(frozen=True)
class Trial:
    """One simulated trunk to be identified."""

    name: str
    policies: tuple[Policy, ...]
    phase: float
    conditions: Conditions = EASY
    bounds: ProbeBounds = USUAL
    is_known: bool = True
    """One of our families, and nobody else calls: to be sure is right if the family is."""

    @property
    def anchor_s(self) -> float:
        """Return the anchor of the first throttle, for calls that begin at 1 s."""
        first = self.policies[0]
        return 1 - self.phase * first.window_s if isinstance(first, Limited) else 0.0

    def run(self, seed: int = 1) -> Outcome:
        """Identify it."""
        probe = Probe(self.bounds, clock_s=max(0.002, 2 * self.conditions.clock_s))
        seconds = probe_it(probe, SimulatedTrunk(self.policies, self.anchor_s, self.conditions, seed))
        return Outcome(self, probe.result(), seconds)


@dataclass(frozen=True)
class Outcome:
    """What came of a trial."""

    trial: Trial
    found: Identification
    seconds: float

    @property
    def left(self) -> tuple[str, ...]:
        """Return the names of the families left."""
        return tuple(family.policy.name() for family in self.found.families)

    @property
    def truth(self) -> tuple[str, ...]:
        """Return the names that are right."""
        first = self.trial.policies[0]
        own = (first.name(),)
        return (*own, FixedWindow.name()) if first == _TAILDROP else own

    @property
    def family_is_right(self) -> bool:
        """Tell whether one family is left, the right one."""
        return len(self.left) == 1 and self.left[0] in self.truth

    @property
    def values_are_right(self) -> bool:
        """Tell whether limit and burst are exact, and window and delay within 1 %."""
        settings, truth = self.found.settings, self.trial.policies[0]
        if not isinstance(truth, Limited) or not isinstance(settings, Limited):
            return self.family_is_right
        exact = settings.per_minute == truth.per_minute and getattr(settings, "burst", 0) == getattr(truth, "burst", 0)
        delays = (getattr(settings, "max_delay_s", 1.0), getattr(truth, "max_delay_s", 1.0))
        return exact and abs(settings.window_s / truth.window_s - 1) <= 0.01 and abs(delays[0] / delays[1] - 1) <= 0.01

    @property
    def is_sure_and_wrong(self) -> bool:
        """Tell whether it was sure of what is not so. Bounds that leave out the true value are wrong, too."""
        if not self.found.is_sure:
            return False
        if self.trial.is_known:
            return not self.family_is_right or not self._holds_truth()
        # Others' few calls, or a penalty while it was closed anyway, may leave no trace. Then being right is right.
        return not self.family_is_right or not self.values_are_right or len(self.trial.policies) > 1

    def _holds_truth(self) -> bool:
        truth = self.trial.policies[0]
        if not isinstance(truth, Limited):
            return True
        values = {**truth.model_dump(), "interval_s": truth.window_s / truth.limit}
        bounds = self.found.families[0].bounds
        # The boundary nearest to the first call is one of many, so the anchor is not compared.
        return all(low - 1e-6 <= values[name] <= high + 1e-6 for name, (low, high) in bounds.items() if name in values)


def known_trials() -> Iterator[Trial]:
    """Return every throttle in every phase, on an easy trunk, within the usual bounds."""
    for policy in THROTTLES:
        for phase in PHASES:
            yield Trial(policy.describe(), (policy,), phase)


def generous_trials() -> Iterator[Trial]:
    """Return the windows that 400 calls cannot show, with more calls and time."""
    for policy in THROTTLES:
        if isinstance(policy, Limited) and policy.full_window_s == 60:
            bounds = ProbeBounds(calls=3 * policy.limit + 200, seconds=240, per_minute=2 * policy.limit + 100)
            for phase in PHASES:
                yield Trial(f"{policy.describe()} (more calls)", (policy,), phase, bounds=bounds)


DIFFICULT: tuple[tuple[str, Conditions, bool], ...] = (
    ("jitter 20 ms", replace(EASY, jitter_s=0.02), True),
    ("clock 5 ms", replace(EASY, clock_s=0.005), True),
    ("5 other calls a minute", replace(EASY, others_per_minute=5), False),
    ("40 other calls a minute", replace(EASY, others_per_minute=40), False),
    ("5 % random drops", replace(EASY, drops=0.05), False),
    ("20 % random drops", replace(EASY, drops=0.2), False),
    ("penalty of 5 s", replace(EASY, penalty_s=5), False),
    ("penalty of 20 s", replace(EASY, penalty_s=20), False),
)
_TRIED = (1, 3, 7, 11, 13, 15, 16)
"""Throttles that are tried in each difficult condition."""


def difficult_trials() -> Iterator[Trial]:
    """Return some throttles under each difficult condition, and limits in tandem."""
    for name, conditions, is_known in DIFFICULT:
        for number in _TRIED:
            policy = THROTTLES[number]
            yield Trial(f"{policy.describe()}; {name}", (policy,), 0.37, conditions, is_known=is_known)
    tandems: tuple[tuple[Policy, ...], ...] = (
        (FixedWindow(limit=5, window_s=1), FixedWindow(limit=100, window_s=60)),
        (SlidingWindowAdmitted(limit=3, window_s=1), SlidingWindowAdmitted(limit=60, window_s=60)),
        (TokenBucket(limit=200, burst=20), FixedWindow(limit=100, window_s=60)),
        (TokenBucket(limit=300, burst=10), TokenBucket(limit=100, burst=60)),
    )
    for policies in tandems:
        yield Trial(" then ".join(policy.describe() for policy in policies), policies, 0.37, is_known=False)
