"""Redials: found by pair, failure and time; probability, most attempts and delay are those of the callers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from tests.models.demand.fitting.conftest import Truth, make_history

from trunkproof.models.demand.fitting.redials import chains, fit_redials
from trunkproof.models.demand.fitting.settings import Assumed
from trunkproof.models.demand.history.table import CALLS_SCHEMA, History
from trunkproof.models.distributions import Empirical, Exponential

BEGAN = datetime(2025, 6, 2, tzinfo=UTC)


def table(rows: list[tuple[float, int | None, str]]) -> pl.DataFrame:
    """Calls at so many seconds, of that caller, with that status."""
    starts = [BEGAN + timedelta(seconds=at) for at, _, _ in rows]
    return pl.DataFrame(
        {
            "row": range(2, len(rows) + 2),
            "start_utc": starts,
            "start_local": [start.replace(tzinfo=None) for start in starts],
            "direction": "outbound",
            "status": [status for _, _, status in rows],
            "code": None,
            "ringing_s": None,
            "holding_s": None,
            "caller": [caller for _, caller, _ in rows],
            "callee": [caller for _, caller, _ in rows],
        },
        schema=CALLS_SCHEMA,
    )


def test_a_redial_is_the_same_pair_soon_after_a_failure() -> None:
    calls = table(
        [
            (0, 1, "refused"),
            (5, 2, "refused"),
            (10, 1, "refused"),
            (30, 1, "answered"),
            (40, 1, "answered"),
            (700, 2, "answered"),
            (800, 3, "busy"),
            (810, 3, "answered"),
            (900, None, "refused"),
            (901, None, "answered"),
        ]
    )
    found = chains(calls)
    by_row = found.attempts.sort("row")
    assert by_row["attempt"].to_list() == [1, 1, 2, 3, 1, 1, 1, 2, 1, 1]
    assert by_row["followed"].to_list() == [True, False, True, *[False] * 3, True, *[False] * 3]
    assert by_row["wait_s"].to_list()[:3] == [10, None, 20]
    assert found.background == pytest.approx(1 / 4)


def test_without_numbers_the_assumption_stands(month: History) -> None:
    assert month.calls is not None
    blind = month.calls.with_columns(pl.lit(None, dtype=pl.UInt64).alias("caller"))
    found = chains(blind)
    fit = fit_redials(found, Assumed())
    assert not found.shown
    assert not fit.observed
    assert fit.redial == Assumed().redial
    assert found.attempts["attempt"].unique().to_list() == [1]


def test_the_callers_behaviour_is_found(month: History) -> None:
    assert month.calls is not None
    truth = Truth()
    fit = fit_redials(chains(month.calls), Assumed())
    assert fit.observed
    assert fit.probability.low <= truth.redial <= fit.probability.high
    assert fit.probability.high - fit.probability.low < 0.1
    assert fit.redial.attempts == truth.most_attempts
    assert isinstance(fit.redial.delay, Exponential)
    assert fit.redial.delay.mean_s == pytest.approx(truth.delay_s, rel=0.05)


def test_a_wait_that_is_no_textbooks_is_taken_as_seen() -> None:
    rows = [(60.0 * n, n, "refused") for n in range(200)]
    rows += [(60.0 * n + (30 if n % 4 else 200), n, "answered") for n in range(180)]
    rows.append((60.0 * 300, 999, "answered"))
    fit = fit_redials(chains(table(sorted(rows))), Assumed())
    assert fit.probability.value == pytest.approx(0.9)
    assert isinstance(fit.redial.delay, Empirical)
    assert set(fit.redial.delay.values_s) == {30.0, 200.0}


def test_failures_whose_sequel_the_history_cannot_hold_are_not_counted() -> None:
    early = [(60.0 * n, n, "refused") for n in range(100)] + [(60.0 * n + 30, n, "answered") for n in range(100)]
    late = [(6600.0 + n, 1000 + n, "refused") for n in range(500)]
    fit = fit_redials(chains(table(sorted(early + late))), Assumed())
    assert fit.probability.value == 1


def test_chance_meetings_are_taken_off() -> None:
    # Fifty pairs only, calling each other at random all day: none of them redials on purpose.
    random = np.random.default_rng(1)
    at = np.sort(random.uniform(0, 864000, 20_000))
    status = np.where(random.random(20_000) < 0.3, "refused", "answered")
    pairs = random.integers(0, 50, 20_000)
    fit = fit_redials(
        chains(table([(float(a), int(p), str(s)) for a, p, s in zip(at, pairs, status, strict=True)])), Assumed()
    )
    assert fit.probability.low <= 0.0 + 1e-9 or fit.probability.value < 0.03


@pytest.mark.parametrize("redial", [0.2, 0.8])
def test_other_probabilities(redial: float) -> None:
    calls = make_history(Truth(redial=redial, days=14), seed=3).calls
    assert calls is not None
    chance = fit_redials(chains(calls), Assumed()).probability
    # Wider than the interval of 95 %: this is one seed, and must hold.
    reach = 2.3 * (chance.high - chance.low) / 2
    assert abs(chance.value - redial) < reach
