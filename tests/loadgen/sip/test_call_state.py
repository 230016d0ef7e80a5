"""The table itself: nothing leaves the end, and every state can reach it."""

from __future__ import annotations

from trunkproof.loadgen.sip.call_state import TRANSITIONS, CallState


def test_ended_is_final() -> None:
    assert not [state for state, _ in TRANSITIONS if state is CallState.ENDED]


def test_every_state_reaches_the_end() -> None:
    reaching = {CallState.ENDED}
    for _ in CallState:
        reaching |= {state for (state, _), following in TRANSITIONS.items() if following in reaching}
    assert reaching == set(CallState)
