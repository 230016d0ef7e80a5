"""The plan: streams keyed by purpose and call, chunks that equal the whole, shares and rates as the study asks."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkproof.models.plan import PLAN_SCHEMA, ROWS_PER_TRUNK, Outcome, dialled_number, draw_plan, plan_chunks, row_of
from trunkproof.models.records import Direction
from trunkproof.models.study import Study

Z = 4.5
"""Two-sided chance of a false alarm: 7 in a million."""


def study(
    *, seed: int = 1, duration_s: float = 600, trunk: dict[str, object] | None = None, **traffic: object
) -> Study:
    settings: dict[str, object] = {
        "arrivals": {"kind": "poisson", "rate_per_minute": 600},
        "holding": {"kind": "exponential", "mean_s": 8},
    }
    trunks = [{"traffic": settings | traffic} | (trunk or {})]
    return Study.model_validate({"name": "t", "seed": seed, "duration_s": duration_s, "trunks": trunks})


def test_the_table_has_its_schema_and_one_row_per_potential_attempt() -> None:
    table = draw_plan(study(redial={"probability": 0.5, "attempts": 3})).table
    assert dict(table.schema) == PLAN_SCHEMA
    assert table["row"].is_unique().all()
    firsts = table.filter(pl.col("attempt") == 0)
    assert firsts["place_s"].null_count() == 0
    assert firsts["redial_delay_s"].null_count() == firsts.height
    redials = table.filter(pl.col("attempt") > 0)
    assert redials["place_s"].null_count() == redials.height
    assert redials["redial_delay_s"].null_count() == 0


def test_next_row_leads_to_the_next_attempt_of_the_same_caller() -> None:
    rows = draw_plan(study(redial={"probability": 0.7, "attempts": 4})).rows
    linked = [(row, rows[row.next_row]) for row in rows.values() if row.next_row is not None]
    assert linked
    assert all((after.call, after.attempt) == (row.call, row.attempt + 1) for row, after in linked)
    followed = {after.row for _, after in linked}
    assert followed == {row.row for row in rows.values() if row.attempt > 0}


def test_another_throttle_changes_no_caller() -> None:
    low = draw_plan(study(trunk={"throttle": {"policy": "fixed_window", "limit": 10}}))
    high = draw_plan(study(trunk={"throttle": {"policy": "token_bucket", "limit": 900}}))
    assert low.table.equals(high.table)


def test_another_redial_habit_changes_no_first_attempt() -> None:
    never, often = (
        draw_plan(study(redial={"probability": probability})).table.filter(pl.col("attempt") == 0)
        for probability in (0.0, 0.9)
    )
    linked = ("row", "next_row", "redial_after")
    assert never.drop(linked).equals(often.drop(linked))


def test_another_seed_is_another_plan_and_the_same_seed_the_same() -> None:
    assert draw_plan(study(seed=3)).table.equals(draw_plan(study(seed=3)).table)
    assert not draw_plan(study(seed=3)).table.equals(draw_plan(study(seed=4)).table)


@given(size=st.integers(1, 700))
@settings(deadline=None, max_examples=25)
def test_chunks_put_together_are_the_plan_whatever_their_size(size: int) -> None:
    question = study(duration_s=60, redial={"probability": 0.5}, inbound_share=0.3)
    pieces = pl.concat(list(plan_chunks(question, 0, calls_per_chunk=size)))
    assert pieces.equals(draw_plan(question).table)


@pytest.mark.parametrize("row", [0, 7, ROWS_PER_TRUNK - 1, 98 * ROWS_PER_TRUNK + 5])
def test_the_dialled_number_carries_the_row(row: int) -> None:
    number = dialled_number(row)
    assert len(number) == 13
    assert row_of(number) == row


@pytest.mark.parametrize("number", ["", "+91", "+9112345", "0000000007", "+92" + "0" * 10, "+91000000000x"])
def test_a_number_that_no_plan_dials_has_no_row(number: str) -> None:
    assert row_of(number) is None


def test_outcome_shares_are_the_asked_ones() -> None:
    shares = {"busy": 0.1, "no_answer": 0.2, "abandoned": 0.05}
    table = draw_plan(study(outcomes=shares | {"rejected": [{"status": 404, "share": 0.15}]})).table
    expected = shares | {"rejected": 0.15, "answered": 0.5}
    for name, share in expected.items():
        error = math.sqrt(share * (1 - share) / table.height)
        assert abs((table["outcome"] == name).mean() - share) < Z * error
    status = dict(table.select("outcome", "status").unique().iter_rows())
    assert status == {"busy": 486, "no_answer": 480, "abandoned": 487, "rejected": 404, "answered": 200}


def test_only_answered_calls_hold_and_refused_ones_do_not_ring() -> None:
    rows = draw_plan(study(outcomes={"busy": 0.3, "no_answer": 0.3})).rows.values()
    assert all((row.hold_s > 0) == (row.outcome is Outcome.ANSWERED) for row in rows)
    assert all((row.ring_s == 0) == (row.outcome is Outcome.BUSY) for row in rows)


def test_inbound_share_and_holding_mean() -> None:
    table = draw_plan(study(inbound_share=0.25)).table
    inbound = (table["direction"] == Direction.INBOUND.value).mean()
    assert abs(inbound - 0.25) < Z * math.sqrt(0.25 * 0.75 / table.height)
    assert abs(table["hold_s"].mean() - 8) < Z * 8 / math.sqrt(table.height)


def test_two_trunks_have_their_own_callers_and_row_numbers() -> None:
    traffic = {
        "arrivals": {"kind": "poisson", "rate_per_minute": 60},
        "holding": {"kind": "exponential", "mean_s": 8},
    }
    trunks = [
        {"name": "a", "traffic": traffic},
        {"name": "b", "customer_address": "127.0.0.3", "traffic": traffic},
    ]
    table = draw_plan(Study.model_validate({"name": "t", "trunks": trunks})).table
    first, second = table.filter(pl.col("trunk") == 0), table.filter(pl.col("trunk") == 1)
    assert second["row"].min() == ROWS_PER_TRUNK
    assert not np.isin(first["call"].to_numpy(), second["call"].to_numpy()).any()
    assert first["place_s"].to_list() != second["place_s"].to_list()


def test_an_empty_plan_is_a_plan() -> None:
    plan = draw_plan(study(arrivals={"kind": "constant", "rate_per_minute": 0}))
    assert plan.calls == 0
    assert dict(plan.table.schema) == PLAN_SCHEMA
