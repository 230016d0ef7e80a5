"""When calls are at quality, and what they cost."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from trunkproof.experiments.benchmarks.audio_window import AudioWindow, Cost, Heard, cost_of
from trunkproof.experiments.benchmarks.running import BenchmarkError

COST = Cost(cpu_s=0.5, wall_s=2.0)


def window(sent: int = 10_000, received: int = 10_000, authenticated: int = 10_000, odd: int = 0) -> AudioWindow:
    return AudioWindow(100, Heard(10_000, sent, received, authenticated, odd), COST)


def test_cost_per_call_and_calls_per_core() -> None:
    assert window().us_per_tick == pytest.approx(50.0)
    assert window().calls_per_core == pytest.approx(400.0)


def test_all_packets_are_quality() -> None:
    assert window().shortfall is None
    assert window().check("we") == window()


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (replace(window(), excuse="could not keep up"), "could not keep up"),
        (window(sent=9_900, received=9_900, authenticated=9_900), "1.00 % of the packets were not sent in time"),
        (window(received=9_900, authenticated=9_900), "1.00 % of the packets did not come back"),
    ],
)
def test_what_is_no_quality_is_no_measurement(bad: AudioWindow, why: str) -> None:
    assert bad.shortfall == why


def test_packets_that_were_under_way_are_not_lost() -> None:
    counted = replace(window().heard, authenticated=9_900, received=9_900, under_way=100)
    assert replace(window(), heard=counted).shortfall is None


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (window(authenticated=9_999), "we: 1 packets were not authentic"),
        (window(odd=2), "we: 2 packets were not the audio of their call"),
    ],
)
def test_wrong_packets_are_an_error(bad: AudioWindow, why: str) -> None:
    with pytest.raises(BenchmarkError, match=why):
        bad.check("we")


def test_only_the_window_is_timed() -> None:
    async def run() -> Cost:
        loop = asyncio.get_running_loop()
        # Before the window opens.
        loop.call_later(0.1, lambda: sum(range(3_000_000)))
        return await cost_of(0.2)

    before = time.process_time()
    cost = asyncio.run(run())
    assert cost.cpu_s < time.process_time() - before
    assert cost.wall_s >= 0.2
