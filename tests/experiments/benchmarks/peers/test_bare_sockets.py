"""Bare sockets do the work that they are compared by: every packet of every call out in time, and back."""

from __future__ import annotations

import pytest

from trunkproof.experiments.benchmarks.peers.bare_sockets import bare_sockets
from trunkproof.experiments.benchmarks.peers.reflector import reflecting
from trunkproof.experiments.benchmarks.running import apart


# With so many more, one waking serves several instants.
@pytest.mark.parametrize("calls", [5, 300])
def test_every_call_sends_every_frame_and_hears_it(calls: int) -> None:
    with reflecting() as ports:
        window, _ = apart(bare_sockets, calls, 0.5, ports)
    assert window.heard.sent > calls * 10
    assert window.heard.authenticated == window.heard.received > calls * 10
    assert window.cost.cpu_s > 0
