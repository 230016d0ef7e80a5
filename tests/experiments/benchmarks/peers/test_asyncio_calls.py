"""The asyncio way does the work that it is compared by: every packet out in time, back, and authenticated."""

from __future__ import annotations

import pytest

from trunkproof.experiments.benchmarks.peers.asyncio_calls import asyncio_calls
from trunkproof.experiments.benchmarks.peers.reflector import reflecting
from trunkproof.experiments.benchmarks.running import apart


@pytest.mark.parametrize("uvloop", [False, True])
def test_all_packets_are_authentic(uvloop: bool) -> None:
    with reflecting() as ports:
        window, _ = apart(asyncio_calls, 5, 0.5, ports, uvloop)
    assert window.heard.sent > 5 * 10
    assert window.heard.authenticated == window.heard.received > 5 * 10
    assert window.cost.cpu_s > 0
