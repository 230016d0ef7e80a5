"""Our audio, driven without signalling: each call hears its own voice, authentic."""

from __future__ import annotations

from trunkproof.experiments.benchmarks.peers.reflector import reflecting
from trunkproof.experiments.benchmarks.pumping import pumped_calls, soaked_calls
from trunkproof.experiments.benchmarks.running import apart


def test_all_packets_are_authentic_and_their_own() -> None:
    with reflecting() as ports:
        window, _ = apart(pumped_calls, 5, 0.5, ports)
    heard = window.heard
    assert heard.sent >= 5 * 10
    assert heard.authenticated == heard.received >= 5 * 10
    assert heard.odd == 0
    assert window.lateness_p99_ms is not None


def test_a_soak_looks_at_memory() -> None:
    with reflecting() as ports:
        (window, memory), _ = apart(soaked_calls, 2, 1.0, ports)
    assert len(memory) == 20
    assert min(memory) > 0
    assert window.heard.odd == 0
