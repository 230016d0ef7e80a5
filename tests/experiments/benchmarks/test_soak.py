"""The soak, for a moment."""

from __future__ import annotations

from trunkproof.experiments.benchmarks.result import Row
from trunkproof.experiments.benchmarks.soak import measure


def test_it_tells_of_packets_and_memory() -> None:
    results = measure(3, 1.0)
    rows = {result.name: result for result in results if isinstance(result, Row)}
    assert set(rows) == {"soak.lateness_p99_ms", "soak.not_sent", "soak.not_back", "soak.memory_growth_mib"}
    assert "0 came back and were not authentic, 0 were another voice" in rows["soak.not_back"].note
