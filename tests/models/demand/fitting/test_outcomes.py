"""Shares of outcomes: of what the throttle let pass, by the codes that a study may name."""

from __future__ import annotations

import polars as pl
import pytest
from tests.models.demand.fitting.conftest import Truth

from trunkproof.models.demand.fitting.outcomes import fit_outcomes, inbound_share, short_share
from trunkproof.models.demand.history.table import History


def calls(rows: list[tuple[str, int | None, float | None]]) -> pl.DataFrame:
    status, code, holding = zip(*rows, strict=True)
    schema = {"status": pl.String, "code": pl.Int16, "holding_s": pl.Float64}
    return pl.DataFrame({"status": status, "code": code, "holding_s": holding}, schema=schema)


def test_shares_leave_refused_attempts_out() -> None:
    found = fit_outcomes(
        calls(
            [
                ("refused", 503, None),
                ("answered", 200, 10.0),
                ("answered", 200, 3.0),
                ("busy", 486, None),
                ("no_answer", 480, None),
                ("abandoned", 487, None),
                ("rejected", 404, None),
                ("rejected", 404, None),
                ("rejected", None, None),
                ("rejected", 600, None),
                ("rejected", 408, None),
            ]
        )
    )
    assert (found.busy, found.no_answer, found.abandoned) == (0.2, 0.2, 0.1)
    assert {part.status: part.share for part in found.rejected} == {404: 0.2, 500: 0.1}
    assert found.answered == pytest.approx(0.2)


def test_rare_codes_are_merged_and_no_share_is_lost() -> None:
    found = fit_outcomes(calls([("rejected", 404, None)] * 5 + [("rejected", 500 + n, None) for n in range(20)]))
    assert len(found.rejected) == 8
    assert found.rejected[0].status == 404
    assert found.answered == pytest.approx(0, abs=1e-12)


def test_nothing_passed_is_everything_answered() -> None:
    assert fit_outcomes(calls([("refused", 503, None)])).answered == 1


def test_short_calls() -> None:
    share = short_share(calls([("answered", 200, 5.0)] * 20 + [("answered", 200, 6.0)] * 80 + [("busy", 486, None)]))
    assert share is not None
    assert share.value == 0.2
    # Jeffreys' interval of 20 in 100.
    assert (share.low, share.high) == pytest.approx((0.1308, 0.2864), abs=5e-4)
    assert short_share(calls([("answered", 200, None)])) is None


def test_a_months_shares_are_its_callers(month: History) -> None:
    assert month.calls is not None
    found, truth, count = fit_outcomes(month.calls), Truth(), month.attempts
    for share, expected in ((found.busy, truth.busy), (found.no_answer, truth.no_answer - truth.busy + 0.1)):
        assert abs(share - expected) < 4.5 * (expected * (1 - expected) / count) ** 0.5 * 1.1
    assert inbound_share(month.calls) == pytest.approx(0.2, abs=0.02)
