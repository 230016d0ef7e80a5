"""Censored demand: refused calls counted once, redials taken out, hidden ones estimated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.models.demand.fitting.conftest import Truth, counts_only, grid_of, make_history

from trunkproof.models.demand.fitting.censoring import censoring, fresh_counts, hides_refusals, saturated, uncensor
from trunkproof.models.demand.fitting.fit import fit_history
from trunkproof.models.demand.fitting.grid import lay_out
from trunkproof.models.demand.fitting.redials import chains, fit_redials
from trunkproof.models.demand.fitting.settings import Assumed
from trunkproof.models.demand.history.table import History
from trunkproof.models.traffic import Redial


def carried_only(history: History) -> History:
    """A history that forgot its refused attempts."""
    counts = history.counts.with_columns(
        pl.col("attempts") - pl.col("refused"), pl.lit(0, dtype=pl.Int64).alias("refused")
    )
    return replace(history, calls=None, counts=counts)


@pytest.fixture(scope="module")
def crowded() -> History:
    """Demand well beyond the limit in the busy hours of most days."""
    return make_history(Truth(peak_per_minute=33.0, day_cv=0.15), seed=4)


def test_fresh_calls_are_first_attempts(crowded: History) -> None:
    assert crowded.calls is not None
    found = chains(crowded.calls)
    counts, column = fresh_counts(crowded, found, fit_redials(found, Assumed()))
    assert counts[column].sum() == pytest.approx(crowded.calls["caller"].n_unique())
    refused = crowded.counts["refused"].sum()
    state = censoring(crowded, found, fit_redials(found, Assumed()), grid_of(crowded), 0)
    assert state.refused_share == pytest.approx(refused / crowded.attempts)
    last = crowded.calls.sort("start_utc", "row").group_by("caller").agg(pl.col("status").last())
    assert state.recovered_calls == pytest.approx(last.filter(pl.col("status") == "refused").height, rel=0.001)
    assert state.hours_above_limit > 100


def test_calls_without_numbers_keep_their_instants() -> None:
    """They were counted at the begin of each minute once, and replayed there all together."""
    history = make_history(Truth(peak_per_minute=33.0), seed=4, pairs=False)
    assert history.calls is not None
    found = chains(history.calls)
    redial = fit_redials(found, Assumed())
    fresh, column = fresh_counts(history, found, redial)
    assert fresh.height == history.attempts
    assert fresh["start_local"].to_list() == history.calls["start_local"].sort().to_list()
    redials = redial.probability.value * history.counts["refused"].sum()
    assert redials > 0
    assert fresh[column].sum() == pytest.approx(history.attempts - redials)


def test_calls_whose_instants_were_rounded_to_minutes_are_spread_over_them() -> None:
    exact = make_history(Truth(peak_per_minute=10.0), seed=4)
    assert exact.calls is not None
    rounded = replace(exact, calls=exact.calls.with_columns(pl.col("start_utc", "start_local").dt.truncate("1m")))
    fits = [fit_history(history, limit_per_minute=1000) for history in (exact, rounded)]
    assert [fit.fresh.interval_s for fit in fits] == [None, 60.0]
    assert [fit.days.within_minutes for fit in fits] == [None, None]


def test_redials_are_divided_out_of_counts(crowded: History) -> None:
    assert crowded.calls is not None
    plain = counts_only(crowded)
    assumed = Assumed(redial=Redial(probability=Truth().redial))
    fit = fit_history(plain, limit_per_minute=30, assumed=assumed)
    callers = crowded.calls["caller"].n_unique()
    fresh = fresh_counts(plain, None, fit.redial)[0]["fresh"].sum()
    # Redials after rejections (2 % of what passed) and the end of a chain at five attempts are beyond counts.
    assert fresh == pytest.approx(callers, rel=0.03)
    assert fit.censoring.recovered_calls == pytest.approx(0.4 * crowded.counts["refused"].sum())
    assert not fit.redial.observed
    assert any("assumed" in warning for warning in fit.warnings)


def test_hours_at_the_limit_are_found_and_filled_in(crowded: History) -> None:
    assert crowded.calls is not None
    history = carried_only(crowded)
    assert hides_refusals(history)
    assert not hides_refusals(crowded)
    seen = grid_of(history)
    at_limit = saturated(history, seen, 30)
    refused = lay_out(crowded.counts, "refused", crowded.counts, 60)
    assert at_limit.sum() > 30
    assert (refused.hours[at_limit] > 0).all()
    assert not saturated(history, seen, 60).any()
    truth = grid_of(replace(crowded, counts=_fresh(crowded)))
    filled = uncensor(seen, at_limit).grid
    before = np.log(seen.hours[at_limit] / truth.hours[at_limit]).mean()
    after = np.log(filled.hours[at_limit] / truth.hours[at_limit]).mean()
    assert before < -0.1
    assert abs(after) < abs(before) / 2
    assert (filled.hours[~at_limit] == seen.hours[~at_limit]).all()


def _fresh(history: History) -> pl.DataFrame:
    assert history.calls is not None
    first = history.calls.unique("caller", keep="first", maintain_order=True)
    made = first.group_by(pl.col("start_local").dt.truncate("1m")).agg(pl.len().cast(pl.Int64).alias("attempts"))
    return (
        history.counts.drop("attempts")
        .join(made, on="start_local", how="left")
        .with_columns(pl.col("attempts").fill_null(0))
        .sort("start_local")
    )


def test_hidden_refusals_are_warned_of_and_refused_where_nothing_can_be_told() -> None:
    some = fit_history(carried_only(make_history(Truth(peak_per_minute=30.0, day_cv=0.2), seed=5)), limit_per_minute=30)
    assert any("were at the limit" in warning for warning in some.warnings)
    flat = fit_history(carried_only(make_history(Truth(peak_per_minute=60.0, days=14), seed=5)), limit_per_minute=30)
    assert any("cannot be told" in reason for reason in flat.refusals)
    assert not flat.is_enough


def test_a_quiet_history_without_refusals_is_left_alone() -> None:
    quiet = make_history(Truth(peak_per_minute=10.0, days=10), seed=6)
    fit = fit_history(quiet, limit_per_minute=30)
    assert not any("limit" in warning for warning in fit.warnings)
    assert fit.censoring.hours_above_limit == 0


def test_how_numbers_are_masked_changes_nothing() -> None:
    """Each reading of a file masks them anew. Fresh calls come in their order in time, whatever the numbers are."""
    seen = make_history(Truth(days=7))
    assert seen.calls is not None
    other = seen.calls.with_columns((pl.col("caller") * 11400714819323198485) % 1_000_003, pl.col("callee") ^ 12345)
    tables = []
    for calls in (seen.calls, other):
        found = chains(calls)
        table, _ = fresh_counts(replace(seen, calls=calls), found, fit_redials(found, Assumed()))
        tables.append(table)
        assert table["start_local"].is_sorted()
    assert tables[0].equals(tables[1])
