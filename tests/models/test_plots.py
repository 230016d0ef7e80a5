"""Figures of plans and record tables: what they draw is what the table has."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from trunkproof import draw_plan, parse_study, simulate
from trunkproof.models.plots import REFUSED, Banded, banded_lines, endings_over_time, planned_calls, rates_of_sides

STUDY = parse_study("""
name: half as much again
duration_s: 120
traffic: {arrivals: {kind: poisson, rate_per_minute: 300}, holding: 10}
""")
RECORDS = simulate(STUDY)


def test_every_attempt_is_in_one_column_of_the_figure() -> None:
    figure = endings_over_time(RECORDS)
    seen = {bar.name: float(np.sum(bar.y)) for bar in figure.data}
    width_min = (figure.data[0].x[1] - figure.data[0].x[0]) / 60
    assert sum(seen.values()) * width_min == pytest.approx(RECORDS.height)
    assert seen["refused by the trunk"] * width_min == pytest.approx(RECORDS.filter(REFUSED).height)


def test_a_table_without_attempts_has_an_empty_figure() -> None:
    assert not endings_over_time(RECORDS.clear()).data


def test_predicted_and_measured_are_drawn_over_what_was_offered() -> None:
    figure = rates_of_sides({"measured": RECORDS.head(100), "predicted": RECORDS}, REFUSED)
    assert [line.name for line in figure.data] == ["offered", "measured", "predicted"]
    assert figure.data[1].line.dash != figure.data[2].line.dash


def test_a_plan_shows_its_calls_and_how_many_are_up_at_once() -> None:
    plan = draw_plan(STUDY)
    bars, level = planned_calls(plan.table).data
    assert float(np.sum(bars.y)) * (bars.x[1] - bars.x[0]) / 60 == pytest.approx(plan.calls)
    answered = plan.table.filter((pl.col("attempt") == 0) & (pl.col("outcome") == "answered"))
    assert 0 < max(level.y) <= answered.height


def test_a_band_is_a_closed_outline_and_places_are_named() -> None:
    line = Banded("fixed window", [200, 300], [0.2, 0.1], [0.1, 0.05], [0.3, 0.15])
    band, middle = banded_lines([line], "throttle", "lost", {"now": 200, "requested": 300}).data
    assert list(band.x) == [200, 300, 300, 200]
    assert list(band.y) == [0.3, 0.15, 0.05, 0.1]
    assert middle.name == "fixed window"
