"""The attack of strangers, a small one: the customer's calls are completed, and the trunk tells what it refused."""

from __future__ import annotations

from trunkproof.experiments.benchmarks.result import Row
from trunkproof.experiments.benchmarks.strangers import Size, measure


def test_it_tells_of_calls_memory_and_refusals() -> None:
    size = Size(seconds=2.0, invites_per_s=500, idle=40, halves=10, before_s=1.0, after_s=0.2)
    rows = {result.name: result for result in measure(size) if isinstance(result, Row)}
    assert {"strangers.srd_p95_ms", "strangers.memory_peak_mib", "strangers.memory_after_mib"} <= set(rows)
    assert rows["strangers.srd_p95_ms"].note.count("4 of 4 calls completed") == 2
