"""Histories whose redials are known, by reason and attempt, with people's delays: the fit finds them again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl
import pytest

from trunkproof.experiments.histories.generate import Generated, generate
from trunkproof.experiments.histories.truth import Truth
from trunkproof.experiments.review.periods.observed import by_hour
from trunkproof.models.demand.fitting.censoring import censoring
from trunkproof.models.demand.fitting.grid import lay_out
from trunkproof.models.demand.fitting.redials import Chains, chains, fit_redials, fresh_calls
from trunkproof.models.demand.fitting.result import RedialFit
from trunkproof.models.demand.fitting.settings import Assumed
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import Columns, HistorySettings
from trunkproof.models.demand.history.table import History
from trunkproof.models.records import Disposition
from trunkproof.models.traffic import Redial

Z = 4.5
DAY = (*[2.0] * 8, *[20.0] * 10, *[5.0] * 6)
CHANCES = {
    "throttled": [0.85, 0.78, 0.6],
    "carrier_rejected": 0.25,
    "busy": 0.3,
    "no_answer": 0.2,
    "abandoned": 0.5,
}
DELAY = {"kind": "lognormal", "mean_s": 90, "cv": 2.0}
REDIAL = {"by_reason": CHANCES, "delay": DELAY, "attempts": 6, "obeys_retry_after": False}
COLUMNS = Columns(
    start="began",
    answered="answered",
    end="ended",
    status="result",
    code="sip",
    caller="caller",
    callee="called",
    direction="direction",
)
Made = tuple[Generated, History, Chains, RedialFit]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """A week under a throttle of 24, read and fitted."""
    folder, known = tmp_path_factory.mktemp("redials"), dict[str, Made]()

    def make(**changed: object) -> Made:
        if str(changed) not in known:
            values: dict[str, object] = {
                "name": "redials",
                "seed": 3,
                "first_day": date(2026, 3, 2),
                "days": 7,
                "hourly_per_minute": (DAY,) * 7,
                "period_cv": 0.1,
                "holding": {"kind": "exponential", "mean_s": 60},
                "outcomes": {
                    "busy": 0.12,
                    "no_answer": 0.15,
                    "abandoned": 0.04,
                    "rejected": [{"status": 404, "share": 0.05}],
                },
                "redial": REDIAL,
                "throttle": {"policy": "fixed_window", "limit": 24, "window_s": 60},
                "format": "columns",
            }
            path = folder / f"{len(known)}.parquet"
            written = generate(Truth.model_validate(values | changed), path)
            history = read_history(HistorySettings(path=path, columns=COLUMNS))
            assert history.calls is not None
            found = chains(history.calls)
            known[str(changed)] = written, history, found, fit_redials(found, Assumed())
        return known[str(changed)]

    return make


@pytest.mark.parametrize(
    "changed",
    [{}, {"far_numbers": 500}, {"anonymous_share": 0.3}, {"redial": REDIAL | {"delay": DELAY | {"mean_s": 250}}}],
    ids=["plain", "pairs that meet by chance", "anonymous callers", "long delays"],
)
def test_every_reason_has_its_own_chance(made: Callable[..., Made], changed: dict[str, object]) -> None:
    _, _, found, fit = made(**changed)
    truth = Redial.model_validate(REDIAL)
    assert fit.observed
    assert fit.redial.attempts == truth.attempts
    assert (found.background > 0.005) == ("far_numbers" in changed)
    assert {each.reason.value for each in fit.chances} == set(CHANCES)
    rng = np.random.default_rng(1)
    for each in fit.chances:
        draws = np.array([each.draw(rng)[0] for _ in range(500)])
        expected = truth.chance(each.reason, 0)
        assert abs(draws.mean() - expected) < Z * draws.std(), each
        # Of long delays the part beyond the window is guessed, and widens the range.
        assert draws.std() < 0.07
    refused = next(each for each in fit.chances if each.reason is Disposition.THROTTLED)
    assert len(refused.value) >= 3
    assert fit.redial.chance(Disposition.THROTTLED, 2) < fit.redial.chance(Disposition.THROTTLED, 0) - 0.15
    assert fit.probability.low < 0.8 < fit.probability.high + 0.02


def test_anonymous_attempts_are_redials_as_often_as_the_others(made: Callable[..., Made]) -> None:
    written, history, found, fit = made(anonymous_share=0.3)
    fresh = fresh_calls(found, fit)
    known = fresh["caller"].is_not_null() & fresh["callee"].is_not_null()
    assert abs((~known).mean() - 0.3) < 0.05
    first = (found.attempts["attempt"] == 1).sum()
    # Every attempt without a number stands alone: demand would seem 6 % too high.
    assert first > 1.05 * written.fresh_calls
    # Failures of 30 % of the callers, each with a chance of its own: a binomial error, and that of the chances.
    error = np.sqrt(0.3 * written.redials) + 0.3 * written.redials * 0.02
    assert abs(fresh["fresh"].sum() - written.fresh_calls) < Z * error
    assert error < 0.01 * written.fresh_calls
    hours = by_hour(history)
    assert hours["calls"].sum() == pytest.approx(written.fresh_calls, rel=0.01)


def test_customers_lost_are_those_of_the_throttle_with_or_without_numbers(made: Callable[..., Made]) -> None:
    for changed in ({}, {"anonymous_share": 0.3}):
        written, history, found, fit = made(**changed)
        attempts = lay_out(history.counts, "attempts", history.counts, history.interval_s)
        hidden = censoring(history, found, fit, attempts, 0)
        # A refusal is also the end of those who were cut off at the file's end, or came back beyond the window.
        assert hidden.recovered_calls == pytest.approx(written.customers_lost, rel=0.12)


def test_fresh_calls_are_found_where_pairs_meet_by_chance(made: Callable[..., Made]) -> None:
    written, _, found, fit = made(far_numbers=60, redial=REDIAL | {"delay": {"kind": "exponential", "mean_s": 20}})
    fresh = fresh_calls(found, fit)["fresh"].sum()
    assert found.background > 0.05
    # Calls of their own that seem to follow a failure: demand would seem 2 % too low.
    assert (found.attempts["attempt"] == 1).sum() < 0.98 * written.fresh_calls
    assert fresh == pytest.approx(written.fresh_calls, rel=0.005)


def test_a_few_refusals_leave_a_wide_range(made: Callable[..., Made]) -> None:
    _, history, _, _ = made()
    assert history.calls is not None
    passed = history.calls.filter(pl.col("status") != "refused")
    some = history.calls.filter(pl.col("status") == "refused").head(15)
    fit = fit_redials(chains(pl.concat([passed, some]).sort("start_utc", "row")), Assumed())
    assert not fit.observed
    assert fit.probability.low < 0.8 < fit.probability.high
    assert fit.probability.high - fit.probability.low > 0.3
    rejected = fit.by_reason[Disposition.CARRIER_REJECTED]
    assert rejected.high - rejected.low < 0.1
    none = fit_redials(chains(passed), Assumed())
    assert none.probability.low < 0.1
    assert none.probability.high > 0.9
    said = fit_redials(chains(passed), Assumed(redial=Redial(probability=0.6)))
    # The request's own word counts as much as twenty failures.
    assert 0.3 < said.probability.low < 0.6 < said.probability.high < 0.85


def test_draws_are_alternatives_of_all_chances(made: Callable[..., Made]) -> None:
    *_, fit = made()
    one, two = (fit.draw(np.random.default_rng(seed)) for seed in (1, 2))
    assert one != two
    assert one == fit.draw(np.random.default_rng(1))
    assert one.delay == fit.redial.delay
    for reason in (Disposition.THROTTLED, Disposition.NO_CHANNEL, Disposition.BUSY):
        assert one.chance(reason, 0) != two.chance(reason, 0)
        assert abs(one.chance(reason, 0) - fit.redial.chance(reason, 0)) < 0.15
