"""Identify on real calls through throttles that no study has rendered (`foreign`), in three phases each."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trunkproof.experiments.target.identify.live import probe_trunk
from trunkproof.experiments.target.identify.probe import Probe, ProbeBounds
from trunkproof.experiments.verification.identify.foreign import (
    CALLER,
    CUSTOMERS,
    DOMAIN,
    RINGS,
    Mechanism,
    foreign_trunk,
)
from trunkproof.experiments.verification.identify.grid import Outcome, Trial
from trunkproof.loadgen.options import DEFAULTS
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.pipelimit import PipeLimit
from trunkproof.models.throttles.policy import Limited
from trunkproof.models.throttles.token_bucket import TokenBucket

_PHASES = (0.1, 0.37, 0.81)
_MORE = ProbeBounds(calls=800, seconds=240, per_minute=500)
"""Two ends of a window of a minute, each seen only by who has filled it."""
TRUTH: dict[Mechanism, tuple[Limited, ProbeBounds]] = {
    Mechanism.BUCKET: (TokenBucket(limit=200, burst=20), ProbeBounds()),
    Mechanism.COUNTER: (FixedWindow(limit=200), _MORE),
    # As taildrop counts, it is a fixed window.
    Mechanism.PIPELIMIT: (FixedWindow(limit=200), _MORE),
    Mechanism.RED: (PipeLimit(limit=200, algorithm="red"), _MORE),
}


@dataclass(frozen=True)
class RealTrial(Trial):
    """One hand-written trunk to be identified by real calls."""

    mechanism: Mechanism = Mechanism.BUCKET

    def run(self, seed: int = 1) -> Outcome:
        """Start the trunk, wait for the phase, and identify it. There is nothing random to seed but the machine."""
        return asyncio.run(self._run())

    async def _run(self) -> Outcome:
        probe = Probe(self.bounds)
        plan = draw_plan(probing_study())
        with tempfile.TemporaryDirectory(prefix="trunkproof-identify-") as folder:
            async with foreign_trunk(Path(folder), self.mechanism) as (card, _):
                await asyncio.sleep(self._wait_s())
                begun_s = time.monotonic()
                found, _ = await probe_trunk(plan, card, DEFAULTS, probe)
        return Outcome(self, found, time.monotonic() - begun_s)

    def _wait_s(self) -> float:
        if self.mechanism is Mechanism.COUNTER:
            # Its windows are the minutes of the wall clock.
            return (self.phase * 60 - time.time()) % 60
        # The others count from the start of their process, or from the first call.
        return self.phase * 60 if self.mechanism is not Mechanism.BUCKET else self.phase


def real_trials() -> Iterator[Trial]:
    """Return each hand-written throttle of 200 calls a minute in each phase."""
    for mechanism, (truth, bounds) in TRUTH.items():
        for phase in _PHASES:
            is_known = mechanism is not Mechanism.RED
            name = f"{mechanism}: {truth.describe()}"
            yield RealTrial(name, (truth,), phase, bounds=bounds, is_known=is_known, mechanism=mechanism)


def probing_study() -> Study:
    """Return a study whose only number rings."""
    traffic = {
        "arrivals": {"kind": "constant", "rate_per_minute": 60},
        "holding": 1,
        "callers": [CALLER],
        "destinations": [{"number": RINGS, "far_end": "rings"}],
    }
    trunk = {
        "customer_address": CUSTOMERS[0],
        "from_domain": DOMAIN,
        "throttle": {"policy": "none"},
        "traffic": traffic,
    }
    return Study.model_validate({"name": "probe", "duration_s": 10, "trunks": [trunk]})
