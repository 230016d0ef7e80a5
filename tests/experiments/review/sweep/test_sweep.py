"""Both witnesses simulate what each day had: the fitted rates drawn anew, and the recorded calls as they came."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from tests.experiments.review.known_fit import judged, known_fit
from tests.experiments.review.known_sweep import demand_of

from trunkproof.experiments.review.periods.busy import BusyPeriods
from trunkproof.experiments.review.periods.horizon import Demand
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.request_file import parse_request
from trunkproof.experiments.review.sweep.quantities import Counted, NeighbourSum
from trunkproof.experiments.review.sweep.sweep import Sweep, Witness, lead_s, levels_for, prepare
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.distributions import Constant
from trunkproof.models.teletraffic import fixed_window_refused, sliding_admitted_refused

DAYS = 5
RATES = np.array([170.0, 180.0, 190.0, 200.0, 210.0])
"""By day, all day long."""


def request(more: str = "") -> Request:
    return parse_request(
        f"history: calls.csv\nrequested_per_minute: 400\n{more}\n"
        "interpretations: [{policy: fixed_window}, {policy: sliding_window_admitted}]\n"
    )


def fit_of(scale: float = 1.0) -> Fit:
    return known_fit(np.tile(scale * RATES[:, None], 24), days=DAYS)


def demand(levels: tuple[float, ...] = (0.9, 1.0, 1.1), scale: float = 1.0) -> Demand:
    relative = np.repeat(np.array(levels)[:, None], DAYS, axis=1)
    return Demand(scale * RATES, np.ones(DAYS), relative, np.full(relative.shape, 1 / DAYS))


def small(more: str = "") -> Sweep:
    """A tenth of the calls, for what is not about their number."""
    return prepare(request(more), fit_of(0.1), judged_days(), demand(scale=0.1))


def judged_days() -> BusyPeriods:
    return judged(DAYS)


@pytest.fixture(scope="module")
def swept() -> Sweep:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trunkproof.experiments.review.sweep.sweep.CALLS_WANTED", 300_000)
        sweep = prepare(request(), fit_of(), judged_days(), demand())
    sweep.extend([(interpretation, 200) for interpretation in (0, 1)])
    return sweep


def at_one(sweep: Sweep, name: str, interpretation: int, witness: Witness) -> tuple[np.ndarray, np.ndarray]:
    """By span, at the level nearest to 1; and each span's day."""
    response = sweep.response(interpretation, 200, witness)
    level = int(np.abs(response.runs.levels - 1).argmin())
    assert response.runs.levels[level] == pytest.approx(1, abs=0.02)
    return response.values[name][level], response.runs.day


def test_every_day_has_its_own_calls_by_both_witnesses(swept: Sweep) -> None:
    calls, day = at_one(swept, "calls", 0, Witness.MODEL)
    level = min(swept.response(0, 200).runs.levels, key=lambda level: abs(level - 1))
    expected = 60 * RATES[day] * level
    assert (np.abs(calls - expected) <= 4.5 * np.sqrt(expected) * 1.1).all()
    assert set(day.tolist()) == set(range(DAYS))
    recorded, day = at_one(swept, "calls", 0, Witness.RECORD)
    assert recorded == pytest.approx(60 * RATES[day])
    assert day.tolist() == list(range(DAYS))


@pytest.mark.parametrize(("interpretation", "exact"), [(0, fixed_window_refused), (1, sliding_admitted_refused)])
def test_each_day_is_refused_what_theory_says_of_its_rate(swept: Sweep, interpretation: int, exact: object) -> None:
    refused, day = at_one(swept, "refused", interpretation, Witness.MODEL)
    level = min(swept.response(0, 200).runs.levels, key=lambda level: abs(level - 1))
    for number in range(DAYS):
        mine = refused[day == number] / (60 * RATES[number] * level)
        expected = exact(RATES[number] * level, 200)  # type: ignore[operator]
        t = stats.t.ppf(stats.norm.cdf(4.5), len(mine) - 1)
        assert len(mine) >= 4
        assert abs(mine.mean() - expected) <= t * mine.std(ddof=1) / math.sqrt(len(mine)) + 1e-12


def test_the_record_is_refused_about_the_same(swept: Sweep) -> None:
    """Its calls are spread over quarters of an hour by chance, and so are nearly those of the model."""
    said = [swept.response(0, 200, witness).estimate("refused_share", demand((1.0, 1.0))) for witness in Witness]
    assert said[0].value == pytest.approx(said[1].value, rel=0.25)
    assert said[0].value > 0.02


def test_levels_thin_the_record_or_put_calls_of_other_days_on_top(swept: Sweep) -> None:
    response = swept.response(0, 200, Witness.RECORD)
    for level, calls in zip(response.runs.levels, response.values["calls"], strict=True):
        expected = 60 * RATES * level
        changed = 60 * RATES * abs(level - 1)
        assert (np.abs(calls - expected) <= 4.5 * np.sqrt(changed) + 1).all()


def test_interpretations_and_limits_have_the_same_callers_and_come_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trunkproof.experiments.review.sweep.sweep.CALLS_WANTED", 10_000)
    cells = [(0, 18), (1, 18), (0, 23)]
    together, later = small(), small()
    together.extend(cells)
    for cell in reversed(cells):
        later.extend([cell])
    before = later.simulations
    later.extend(cells)
    assert later.simulations == before
    assert later.responses.keys() == together.responses.keys()
    for key, response in together.responses.items():
        for name, values in response.values.items():
            np.testing.assert_array_equal(values, later.responses[key].values[name])
    calls = [one.values["calls"] for (witness, _), one in together.responses.items() if witness is Witness.MODEL]
    for other in calls[1:]:
        np.testing.assert_array_equal(calls[0], other)
    assert together.response(0, 18).values["refused"].sum() > together.response(0, 23).values["refused"].sum()


def test_what_spans_come_to_without_a_throttle_is_simulated_once_for_all_that_are_tried_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trunkproof.experiments.review.sweep.sweep.CALLS_WANTED", 10_000)
    sweep, afresh = small(), small()
    sweep.extend([(0, 1000)])
    before = sweep.simulations
    sweep.extend([(1, 900)])
    afresh.extend([(1, 900)])
    assert sweep.simulations == before > 0
    for name, values in afresh.response(1, 900).values.items():
        np.testing.assert_array_equal(values, sweep.response(1, 900).values[name])


def test_another_seed_is_another_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkproof.experiments.review.sweep.sweep.CALLS_WANTED", 10_000)
    made = [small(f"seed: {seed}") for seed in (1, 1, 2)]
    calls = []
    for sweep in made:
        sweep.extend([(0, 200)])
        calls.append(sweep.response(0, 200).values["calls"])
    assert (calls[0] == calls[1]).all()
    assert not (calls[0] == calls[2]).all()


def test_a_history_that_was_multiplied_has_no_record_to_replay() -> None:
    sweep = prepare(request(), fit_of().times(2.0), judged_days(), demand())
    assert sweep.witnesses == (Witness.MODEL,)
    assert prepare(request(), fit_of(), judged_days(), demand()).witnesses == (Witness.MODEL, Witness.RECORD)


def test_of_a_long_history_the_busiest_days_are_replayed_and_others_by_chance() -> None:
    days = 100
    loads = np.linspace(100, 300, days)
    fit = known_fit(np.tile(loads[:, None], 24), days=days)
    relative = np.ones((3, days))
    wanted = Demand(loads, np.ones(days), relative, relative / days)
    record = prepare(request(), fit, judged(days), wanted).benches[Witness.RECORD].runs
    assert len(record.day) == 60
    assert set(range(70, 100)) <= set(record.day.tolist())
    assert (record.day < 70).sum() == 30


def test_levels_lie_where_demand_is_and_a_little_beyond() -> None:
    random = np.random.default_rng(1)
    levels = levels_for(demand_of(200 * np.exp(0.1 * random.standard_normal(400))), (0.8, 1.3))
    assert (np.diff(levels) > 0).all()
    inner = levels[1:-1]
    assert (inner[1:] / inner[:-1] <= 1.2).all()
    assert levels[0] == pytest.approx(0.8 * levels[1])
    assert levels[-1] == pytest.approx(1.3 * levels[-2])
    # 0.2 and 99.8 % of a lognormal factor.
    assert inner[0] == pytest.approx(math.exp(-2.88 * 0.1), rel=0.08)
    assert inner[-1] == pytest.approx(math.exp(2.88 * 0.1), rel=0.08)
    constant = levels_for(Demand.constant(10.0))
    assert len(constant) >= 3
    assert (np.diff(constant) > 0).all()


@pytest.mark.parametrize(
    ("more", "hold_s", "expected"),
    [
        ("", 100.0, 900),
        ("", 400.0, 1200),
        ("", 5000.0, 2700),
        (
            "neighbours: [{name: n, per_minute: 1, throttle: {policy: sliding_window_admitted, window_s: 3601}}]",
            1,
            3660,
        ),
    ],
)
def test_a_trunk_is_filled_long_enough(more: str, hold_s: float, expected: int) -> None:
    assert lead_s(request(more), known_fit(holding=Constant(value_s=hold_s))) == expected


def test_a_trunk_that_nobody_calls_is_no_crash() -> None:
    nobody = known_fit(0.0, days=DAYS)
    wanted = Demand(np.zeros(DAYS), np.ones(DAYS), np.ones((2, DAYS)), np.full((2, DAYS), 1 / DAYS))
    sweep = prepare(request(), nobody, judged_days(), wanted)
    sweep.extend([(0, 200)])
    assert math.isnan(sweep.response(0, 200).estimate("refused_share", wanted).value)
    assert sweep.response(0, 200).estimate("peak_concurrency", wanted).value == 0


def test_neighbours_and_growth_of_the_base_are_simulated_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkproof.experiments.review.sweep.sweep.CALLS_WANTED", 10_000)
    grown = replace(demand(scale=0.1), base=np.full(DAYS, 1.5))
    asked = request("neighbours: [{name: other, per_minute: 30}]")
    sweep = prepare(asked, fit_of(0.1), judged_days(), grown)
    sweep.extend([(0, 1000)])
    expected = 1.5 * 60 * 0.1 * RATES.mean()
    for witness in Witness:
        response = sweep.response(0, 1000, witness)
        calls = response.estimate("calls", replace(grown, relative=np.ones((3, DAYS)))).value
        assert calls == pytest.approx(expected, abs=4.5 * math.sqrt(expected / DAYS))
        assert response.values[NeighbourSum(Counted.ATTEMPTS, "other")].mean() == pytest.approx(1800, rel=0.05)
