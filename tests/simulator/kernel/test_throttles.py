"""Compiled throttles against `models.throttles`: every policy decides alike, at equal instants and after restarts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models.throttles.examples import EVERY_THROTTLE, words_of

from trunkproof.models.costs import costs_of
from trunkproof.models.study import Study
from trunkproof.models.throttles.decision import REFUSES, Admitted
from trunkproof.models.throttles.policy import Policy
from trunkproof.simulator.kernel.encoding import world_of
from trunkproof.simulator.kernel.throttles import restart, try_admit


@pytest.mark.parametrize("settings", EVERY_THROTTLE, ids=words_of)
@given(
    gaps_s=st.lists(st.sampled_from([0.0, 0.1, 0.35, 1.1, 5.0]) | st.floats(0, 3), max_size=80),
    anchor_s=st.sampled_from([0.0, -0.3]),
    restarts=st.sets(st.integers(0, 79), max_size=2),
)
def test_decisions_are_the_same(settings: Policy, gaps_s: list[float], anchor_s: float, restarts: set[int]) -> None:
    traffic = {"arrivals": {"kind": "constant", "rate_per_minute": 1}, "holding": 1}
    study = Study.model_validate({"name": "t", "trunks": [{"throttle": settings.model_dump(), "traffic": traffic}]})
    world = world_of(study, costs_of(study.pop), {"trunk": anchor_s}, batch=1)
    throttle, now = study.trunks[0].throttle.make_throttle(anchor=anchor_s), 0.0
    for number, gap_s in enumerate(gaps_s):
        now += gap_s
        if number in restarts:
            throttle.restart(now)
            restart(world, now)
        decision = throttle.try_admit(now)
        expected = decision.delay_s if isinstance(decision, Admitted) else REFUSES
        assert try_admit(world.throttles, world.rings, 0, now) == expected
