"""Compiled throttles against `models.throttle`: every policy decides alike, at equal instants and after restarts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.models.costs import costs_of
from trunkproof.models.study import Study
from trunkproof.models.throttles.decision import REFUSES, Admitted
from trunkproof.simulator.kernel.encoding import world_of
from trunkproof.simulator.kernel.throttles import restart, try_admit

POLICIES = [
    {"policy": "none"},
    {"policy": "fixed_window", "limit": 3, "window_s": 0.7},
    {"policy": "pipelimit", "limit": 3, "window_s": 2},
    {"policy": "pipelimit", "limit": 2, "window_s": 2, "algorithm": "red"},
    {"policy": "sliding_window_admitted", "limit": 3, "window_s": 1.5},
    {"policy": "sliding_window_attempts", "limit": 3, "window_s": 1.5},
    {"policy": "token_bucket", "limit": 3, "window_s": 1.1, "burst": 2},
    {"policy": "shaper", "limit": 3, "window_s": 1.1, "max_delay_s": 0.8},
]


@pytest.mark.parametrize("settings", POLICIES, ids=lambda settings: "-".join(map(str, settings.values())))
@given(
    gaps_s=st.lists(st.sampled_from([0.0, 0.1, 0.35, 1.1, 5.0]) | st.floats(0, 3), max_size=80),
    anchor_s=st.sampled_from([0.0, -0.3]),
    restarts=st.sets(st.integers(0, 79), max_size=2),
)
def test_decisions_are_the_same(
    settings: dict[str, object], gaps_s: list[float], anchor_s: float, restarts: set[int]
) -> None:
    traffic = {"arrivals": {"kind": "constant", "rate_per_minute": 1}, "holding": 1}
    study = Study.model_validate({"name": "t", "trunks": [{"throttle": settings, "traffic": traffic}]})
    world = world_of(study, costs_of(study.pop), {"trunk": anchor_s}, batch=1)
    throttle, now = study.trunks[0].throttle.make_throttle(anchor=anchor_s), 0.0
    for number, gap_s in enumerate(gaps_s):
        now += gap_s
        if number in restarts:
            throttle.restart(now)
            restart(world, 0, now)
        decision = throttle.try_admit(now)
        expected = decision.delay_s if isinstance(decision, Admitted) else REFUSES
        assert try_admit(world.throttles, world.rings, 0, now) == expected
