"""Punctuality for real, in a size that only shows that everything runs; a generator without its core says so."""

from __future__ import annotations

import pytest

from trunkproof.experiments.benchmarks.pacer import Sizes, measure
from trunkproof.experiments.benchmarks.result import Row

SMALL = Sizes(per_minute=1200, duration_s=2.0, taken_duration_s=4.0, taken_s=2.0)


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return {result.name: result for result in measure(True, SMALL) if isinstance(result, Row)}


def test_lateness_is_of_all_calls(rows: dict[str, Row]) -> None:
    """`measure` raises where a call failed."""
    assert rows["pacer.lateness_p99_ms"].value >= rows["pacer.lateness_p50_ms"].value > 0


def test_a_generator_without_its_core_is_void(rows: dict[str, Row]) -> None:
    assert rows["pacer.void_without_core"].value == 1.0
