"""The reasons to believe a review: each of them can fail, and says what it compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tests.experiments.review.known_fit import known_fit
from tests.experiments.review.theory.test_premises import request

from trunkproof.experiments.review.checks import RESULTS, cheap_checks, checks_of, real_stacks
from trunkproof.models.demand.fitting.result import HeldOut


def test_the_sweep_agrees_with_exact_theory() -> None:
    throttle, channels, *_ = checks_of(request(), known_fit(period_cv=0.3), 15.0)
    assert throttle.holds
    assert channels.holds
    assert "z = " in throttle.said
    # 15 a minute, each on a channel for 0.1 s of set-up, 2 s of ringing and 60 s of talk: 15.5 E.
    assert "channels for 16 Erlang" in channels.name


def test_a_sweep_that_is_wrong_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkproof.experiments.review.checks._refused_in_sweep", lambda *_, **__: 0.2)
    throttle, channels, *_ = checks_of(request(), known_fit(), 15.0)
    assert throttle.holds is False
    assert channels.holds is False


def held(inside: int, outside: int) -> HeldOut:
    seen = [5] * inside + [50] * outside
    table = pl.DataFrame({"seen": seen, "low": [0] * len(seen), "high": [10] * len(seen)})
    return HeldOut(0.9, table, table.head(0))


@pytest.mark.parametrize(("inside", "outside", "holds"), [(9, 1, True), (3, 7, False), (1, 1, None)])
def test_days_kept_out_of_the_fit(inside: int, outside: int, holds: bool | None) -> None:
    first, *_ = cheap_checks(replace(known_fit(), held_out=held(inside, outside)))
    assert first.holds is holds
    assert f"of {inside + outside}" in first.said


def test_a_history_that_keeps_no_days_out_says_so() -> None:
    first, *_ = cheap_checks(known_fit())
    assert first.holds is None
    assert "too short" in first.said


def test_the_newest_real_calls_are_quoted() -> None:
    check = real_stacks(RESULTS)
    assert check.holds
    assert "attempts ended as predicted" in check.said


def test_disagreement_of_real_calls_is_quoted_too(tmp_path: Path) -> None:
    assert real_stacks(tmp_path).holds is None
    cell = {"stack": "kamailio", "title": "at", "attempts": 100, "agreement": 0.9, "agrees": False, "misses": ["CPU"]}
    for day, cells in (("2026-01-01", []), ("2026-01-02", [cell])):
        (tmp_path / day).mkdir()
        (tmp_path / day / "suite.json").write_text(json.dumps({"cells": cells}))
    check = real_stacks(tmp_path)
    assert check.holds is False
    assert check.said.startswith("2026-01-02: 90 of 100")
    assert "at on kamailio: CPU" in check.said
