"""The benchmark of the cockpit, in a size that only shows that everything runs."""

from __future__ import annotations

from trunkproof.experiments.benchmarks.cockpit import Sizes, measure
from trunkproof.experiments.benchmarks.result import Row


def test_the_cockpits_work_is_counted() -> None:
    found = measure(True, Sizes(per_minute=300, duration_s=2.0, hold_s=0.5, turns=1))
    rows = {result.name: result for result in found if isinstance(result, Row)}
    assert rows["cockpit.share_of_cpu"].value > 0
    assert rows["cockpit.cpu_s"].baseline
