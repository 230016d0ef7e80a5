"""Media side by side, in a size that only shows that everything runs."""

from __future__ import annotations

import pytest

from trunkproof.experiments.benchmarks.media import Sizes, measure
from trunkproof.experiments.benchmarks.result import Missing, Row

SMALL = Sizes(beside=10, window_s=0.5, rounds=1, growth=(2, 4), growth_window_s=0.5, lateness_at=4)


def test_the_rows_that_were_asked_for_are_there(sipp: tuple[str, ...]) -> None:
    """`measure` raises where a packet was not authentic; a machine too busy for a window is told as missing."""
    results = measure(True, SMALL)
    rows = {result.name: result for result in results if isinstance(result, Row)}
    busy = [result for result in results if isinstance(result, Missing)]
    if busy:
        pytest.skip(f"this machine is too busy for ten calls: {busy}")
    versus = {"media.vs_asyncio", "media.vs_uvloop", "media.vs_bare_sockets", "media.vs_sipp"}
    assert {"media.calls_per_core"} | versus <= set(rows)
    assert {"media.at_2_us_per_tick", "media.at_4_us_per_tick", "media.lateness_p99_ms", "media.kib_per_call"} <= set(
        rows
    )
    for name in versus:
        assert rows[name].note.startswith("10 calls;")
        assert rows[name].ratio is not None
    # What cannot be reached is told with it.
    assert "times the calls of asyncio, " in rows["media.vs_bare_sockets"].note
