"""Customers whom no trunk could bring through, by hand and against the simulation."""

from __future__ import annotations

import math

import polars as pl
import pytest
from tests.experiments.review.known_fit import known_fit

from trunkproof.experiments.review.theory.lost import lost_anyway
from trunkproof.models.distributions import Constant
from trunkproof.models.study import Study
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.traffic import Outcomes, PoissonArrivals, Redial, Rejection, Traffic
from trunkproof.simulator.run import simulate


def test_the_share_of_callers_who_are_rejected_each_time() -> None:
    outcomes = Outcomes(rejected=(Rejection(status=404, share=0.1), Rejection(status=502, share=0.1)))
    fit = known_fit(outcomes=outcomes, redial=Redial(probability=0.5, attempts=3))
    # 0.2 gives up at once half of the time; 0.2 x 0.5 tries again and is rejected with 0.2, and so on, three times.
    expected = 0.2 * 0.5 + 0.1 * 0.2 * 0.5 + 0.1 * 0.1 * 0.2
    assert lost_anyway(fit.traffic()) == pytest.approx(expected)
    assert lost_anyway(known_fit().traffic()) == 0.0


def test_callers_come_to_be_rejected_after_other_failures_too() -> None:
    redial = Redial.model_validate(
        {"attempts": 4, "delay": 5, "by_reason": {"busy": [0.9, 0.5], "carrier_rejected": 0.4}}
    )
    traffic = Traffic(
        arrivals=PoissonArrivals(kind="poisson", rate_per_minute=1200),
        holding=Constant(value_s=1.0),
        outcomes=Outcomes(busy=0.4, no_answer=0.1, rejected=(Rejection(status=404, share=0.2),)),
        redial=redial,
    )
    trunk = {"traffic": traffic.model_dump(), "throttle": NoThrottle().model_dump()}
    records = simulate(Study.model_validate({"name": "t", "duration_s": 600, "trunks": [trunk]}))
    last = records.sort("attempt").group_by("call").agg(pl.col("disposition").last())
    seen = float((last["disposition"] == "carrier_rejected").mean() or 0.0)  # type: ignore[arg-type]
    expected = lost_anyway(traffic)
    assert 0.15 < expected < 0.3
    assert abs(seen - expected) < 4.5 * math.sqrt(expected * (1 - expected) / last.height)
