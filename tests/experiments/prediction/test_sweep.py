"""Sweeps and contrasts: the same callers at every point, so that differences are those of the keys."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from trunkproof.experiments.load.compare import compare
from trunkproof.experiments.prediction.predict import predict
from trunkproof.experiments.prediction.sweep import contrast, sweep
from trunkproof.models.errors import InputError
from trunkproof.models.study import Study
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.replicate import replicate

STUDY = parse_study("""\
name: three limits
duration_s: 120
traffic: {arrivals: {kind: poisson, rate_per_minute: 260}, holding: {kind: exponential, mean_s: 5}}
""")
LIMITS = {"trunk.throttle.limit": [200, 260, 400]}


def limited(limit: int) -> Study:
    return STUDY.but({"trunk.throttle": {"policy": "fixed_window", "limit": limit}})


def test_each_point_is_the_study_with_those_values() -> None:
    swept = sweep(limited(200), over=LIMITS, replications=4)
    assert swept.combinations == ((200,), (260,), (400,))
    assert [dict(point.samples) for point in swept.points] == [
        dict(replicate(limited(limit), replications=4).samples) for limit in (200, 260, 400)
    ]


def test_intervals_have_names_that_cannot_be_swapped() -> None:
    frame = sweep(limited(200), over=LIMITS, replications=4).to_frame()
    refused = frame.filter(kpi="refused_share").row(0, named=True)
    assert refused["prediction_low"] <= refused["confidence_low"] <= refused["mean"] <= refused["confidence_high"]
    assert refused["trunk.throttle.limit"] == 200
    shares = frame.filter(kpi="refused_share")["mean"].to_list()
    assert shares == sorted(shares, reverse=True)


def test_several_keys_make_all_combinations_and_a_picture_has_a_line_each() -> None:
    over = LIMITS | {"traffic.arrivals.rate_per_minute": [100, 300]}
    swept = sweep(limited(200), over=over, replications=2)
    figure = swept.plot()
    assert len(swept.points) == 6
    assert [line.name for line in figure.data] == [f"traffic.arrivals.rate_per_minute {rate}" for rate in (100, 300)]
    assert list(figure.data[0].x) == [200, 260, 400]
    assert "three limits" in swept._repr_html_() or "6 points" in swept._repr_html_()


def test_a_wrong_value_is_told_before_anything_is_simulated() -> None:
    with pytest.raises(InputError, match=r"trunk\.throttle\.limit"):
        sweep(limited(200), over={"trunk.throttle.limit": [200, -5]})


def test_a_difference_is_that_of_pairs_with_one_seed() -> None:
    found = contrast(limited(200), limited(260), replications=6)["refused_share"]
    sides = [replicate(limited(limit), replications=6).samples["refused_share"] for limit in (200, 260)]
    differences = np.array(sides[1], float) - np.array(sides[0], float)
    low, high = stats.t.interval(0.95, 5, differences.mean(), stats.sem(differences))
    assert found.confidence_interval == pytest.approx((low, high))
    assert found.is_certain
    independent = math.hypot(*(stats.sem(np.array(side, float)) for side in sides))
    assert stats.sem(differences) < independent


def test_a_study_does_not_differ_from_itself() -> None:
    same = contrast(STUDY, STUDY, replications=3)["refused_share"]
    assert (same.mean, same.is_certain) == (0.0, False)


def test_two_studies_are_compared_by_one_call() -> None:
    found = compare(limited(200), limited(260), replications=4)
    assert found == contrast(limited(200), limited(260), replications=4)
    assert found.to_frame().filter(pl.col("kpi") == "refused_share")["is_certain"].item()
    assert "certain" in found._repr_html_()
    with pytest.raises(InputError, match="the other one is a run"):
        compare(limited(200), "out/run")  # type: ignore[call-overload]


def test_a_prediction_shows_both_kinds_of_intervals_by_their_names() -> None:
    found = predict(limited(200), replications=4)
    assert set(found.confidence_intervals) == set(found.prediction_intervals)
    saved = found.to_json()["kpis"]["refused_share"]
    assert saved["prediction_interval"] != saved["confidence_interval"]
    shown = found._repr_html_()
    assert "95 % of further runs" in shown
    assert "mean over seeds, 95 % sure" in shown
    assert found.plot().data
