"""Signalling side by side, in a size that only shows that everything runs."""

from __future__ import annotations

import pytest

from trunkproof.experiments.benchmarks import signalling
from trunkproof.experiments.benchmarks.result import Missing, Row
from trunkproof.experiments.benchmarks.signalling import NAMES, Sizes, measure

SMALL = Sizes(calls=20, connections=10, at_once=5, growth=(2, 10), rounds=1)


def test_the_rows_that_were_asked_for_are_there(sipp: tuple[str, ...]) -> None:
    """`measure` raises where a call of either side failed."""
    results = measure(True, SMALL)
    rows = {result.name: result for result in results if isinstance(result, Row)}
    assert len(rows) == len(results)
    assert set(NAMES) <= set(rows)
    assert {"signalling.at_2_us_per_call", "signalling.at_10_us_per_call", "signalling.kib_per_call"} <= set(rows)
    assert all(rows[name].baseline is not None for name in NAMES)


def test_without_sipp_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signalling, "find_sipp", lambda: None)
    results = measure(True, SMALL)
    assert [result.name for result in results] == list(NAMES)
    assert all(isinstance(result, Missing) and "fetch-suite" in result.why for result in results)
