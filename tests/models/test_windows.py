"""Indicators of windows: exact on made records, and fair to calls that are still under way."""

from __future__ import annotations

import pytest

from trunkproof.models.columns import Columns, columns_of
from trunkproof.models.kpis import compute_kpis
from trunkproof.models.records import Direction, Disposition, Record, to_frame
from trunkproof.models.study_file import parse_study
from trunkproof.models.targets import Operator, Target
from trunkproof.models.windows import WindowedKpi
from trunkproof.simulator.run import simulate

REFUSED = Target("refused_share", Operator.AT_MOST, 0.1)


def attempts(*instants_s: float, disposition: Disposition = Disposition.COMPLETED) -> Columns:
    known = {"trunk": "t", "direction": Direction.OUTBOUND, "disposition": disposition, "attempt": 0}
    return columns_of(
        to_frame(
            Record(row=row, call=row, intended_s=at_s, sent_s=at_s, **known)  # type: ignore[arg-type]
            for row, at_s in enumerate(instants_s)
        )
    )


def test_a_bad_half_minute_is_seen_that_the_whole_run_hides() -> None:
    windows = WindowedKpi(REFUSED, 30.0)
    windows.add(attempts(*range(300)))
    windows.add(attempts(*[100.5 + second for second in range(30)], disposition=Disposition.THROTTLED))
    found = list(windows.windows())
    worst = max(found, key=lambda window: window.value or 0.0)
    assert (worst.from_s, worst.until_s, worst.attempts, worst.value) == (99.0, 129.0, 59, 29 / 59)
    assert {window.until_s - window.from_s for window in found} == {30.0}
    assert (found[0].value, len(found)) == (0.0, 91)


def test_a_short_run_is_one_window() -> None:
    windows = WindowedKpi(REFUSED, 60.0)
    windows.add(attempts(1.0, 2.0, 8.0))
    assert [(window.from_s, window.attempts) for window in windows.windows()] == [(0.0, 3)]


def test_calls_under_way_count_as_good_until_they_end() -> None:
    windows = WindowedKpi(REFUSED, 10.0)
    windows.add(attempts(1.0, 2.0, disposition=Disposition.THROTTLED))
    # 18 more were placed in this window, and will be up for minutes.
    (window,) = windows.fresh(10.0, {3: 18})
    assert window.value == pytest.approx(0.1)
    assert REFUSED.holds(window.value or 1.0)
    assert list(windows.fresh(11.0, {})) == []
    windows.add(attempts(3.0, disposition=Disposition.THROTTLED))
    assert [window.value for window in windows.fresh(10.0, {3: 17})] == [pytest.approx(0.15)]


@pytest.mark.parametrize("kpi", ["srd_p95_ms", "mos_mean", "asr", "attempts", "customers_lost_share"])
def test_one_window_over_all_says_what_the_run_says(kpi: str) -> None:
    study = parse_study(
        "name: s\nduration_s: 60\nseed: 3\ntrunk: {throttle: {policy: fixed_window, limit: 80}}\n"
        "traffic:\n  arrivals: {kind: poisson, rate_per_minute: 200}\n  holding: 1\n"
        "  ringing: {kind: exponential, mean_s: 1}\n"
    )
    records = simulate(study)
    windows = WindowedKpi(Target(kpi, Operator.AT_LEAST if kpi in {"asr", "mos_mean"} else Operator.AT_MOST, 0.5), 600)
    windows.add(columns_of(records))
    (window,) = windows.windows()
    assert window.value == pytest.approx(compute_kpis(records)[kpi], rel=1e-3)
