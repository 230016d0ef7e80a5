"""What each resource allows by itself, against the textbook; in words and in the order in which they bind."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.experiments.review.known_fit import known_fit

from trunkproof.experiments.review.request import Neighbour, Request
from trunkproof.experiments.review.result import Resource
from trunkproof.experiments.review.theory.formulas import Busyness
from trunkproof.experiments.review.theory.limits import binding, limits_of
from trunkproof.experiments.review.theory.needed import needed_for
from trunkproof.experiments.review.theory.per_call import Others
from trunkproof.experiments.review.theory.premises import MOST_CPU_SHARE, Premises, calls_of_ports, erlang_within
from trunkproof.models.costs import costs_of
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.distributions import Constant, Exponential
from trunkproof.models.packets import STREAM_MBIT_PER_S
from trunkproof.models.study import Carrier, Machine, MediaPorts, Pop, Quality
from trunkproof.models.teletraffic import channels_needed, erlangs_carried
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts

HOLD = Exponential(kind="exponential", mean_s=180.0)
NO_SETUP = Constant(value_s=0.0)
COSTS = costs_of(Pop(machine=Machine(calibration="kamailio")))


def request(**changes: object) -> Request:
    values: dict[str, object] = {
        "name": "known",
        "history": HistorySettings(path="none.csv"),
        "requested_per_minute": 400,
        "interpretations": (FixedWindow(), SlidingWindowAdmitted()),
        "pop": Pop(
            carrier=Carrier(channels=660, setup=NO_SETUP, calls_per_second=9),
            machine=Machine(cores=8, calibration="kamailio"),
        ),
        "bandwidth_mbit_per_s": 100.0,
        "quality": Quality(customers_lost_share_max=None),
    }
    return Request.model_validate(values | changes)


def premises(demand: float = 250.0, **changes: object) -> Premises:
    return Premises.of(request(**changes), known_fit(holding=HOLD), demand, Busyness())


def test_channels_are_erlang_b_turned_round() -> None:
    assert premises().without_throttle[Resource.CHANNELS] == pytest.approx(erlangs_carried(660, 0.01) / 3, rel=2e-3)


def test_a_neighbour_takes_its_erlangs_and_its_throttle_bounds_them() -> None:
    neighbour = Neighbour(name="other", per_minute=50.0, throttle=FixedWindow(limit=20), mean_hold_s=60.0)
    found = premises(neighbours=(neighbour,))
    assert found.others.erlang == pytest.approx(20.0)
    expected = (erlangs_carried(660, 0.01) - 20) / 3
    assert found.without_throttle[Resource.CHANNELS] == pytest.approx(expected, rel=2e-3)
    open_one = neighbour.model_copy(update={"throttle": NoThrottle()})
    assert Others.of(request(neighbours=(open_one,)), COSTS).per_minute == 50.0


def test_a_neighbour_takes_no_channel_where_every_account_has_its_own() -> None:
    neighbour = Neighbour(name="other", per_minute=50.0, mean_hold_s=60.0)
    pop = Pop(carrier=Carrier(channels=660, channels_per="account", setup=NO_SETUP))
    found = premises(neighbours=(neighbour,), pop=pop)
    assert found.without_throttle[Resource.CHANNELS] == pytest.approx(erlangs_carried(660, 0.01) / 3, rel=2e-3)
    assert found.others.port_erlang > 0


def test_ports_count_pairs_legs_and_quarantine() -> None:
    ports = MediaPorts(low=10000, high=10800, legs=2, quarantine_s=20.0)
    assert calls_of_ports(ports) == 200
    pop = Pop(ports=ports, carrier=Carrier(setup=NO_SETUP))
    found = premises(pop=pop).without_throttle[Resource.PORTS]
    assert found == pytest.approx(erlangs_carried(200, 0.01) / 200 * 60, rel=2e-3)
    assert calls_of_ports(MediaPorts()) == 15000


def test_a_carrier_that_refuses_loses_customers_and_no_attempts_of_the_trunk() -> None:
    quality = Quality(refused_share_max=1e-6, customers_lost_share_max=0.01)
    found = premises(quality=quality).without_throttle[Resource.CARRIER_RATE]
    assert found == pytest.approx(60 * erlangs_carried(9, 0.01), rel=2e-3)


def test_cores_are_used_up_to_the_share_that_is_named() -> None:
    found, costs = premises(), COSTS
    capacity = found.without_throttle[Resource.CORES]
    assert capacity is not None
    per_call = costs.invite_s + costs.bye_s + 180 * 100 * costs.packet_s
    assert costs.idle_share + capacity / 60 * per_call == pytest.approx(8 * MOST_CPU_SHARE)


def test_a_link_is_exceeded_in_a_thousandth_of_the_time() -> None:
    # P(Poisson(E) > 100) = 0.001 at E = 72.5, from the table of the normal approximation and a correction: known to 1.
    assert erlang_within(100, Busyness()) == pytest.approx(72.5, abs=1.0)
    assert erlang_within(100, Busyness(day_cv=0.2)) < erlang_within(100, Busyness())
    calls = int(100.0 / STREAM_MBIT_PER_S)
    found = premises().without_throttle[Resource.BANDWIDTH]
    assert found == pytest.approx(erlang_within(calls, Busyness()) / 3)


def test_the_strictest_interpretation_counts() -> None:
    found = premises(interpretations=(FixedWindow(), SlidingWindowAttempts()))
    by_interpretation = found.throttles(200)
    assert found.throttle(200) == min(value for value in by_interpretation.values() if value is not None)
    # 1 % of a fixed window of 200 is refused at 190 a minute, of a sliding one over attempts at 169.
    assert sorted(round(value) for value in by_interpretation.values() if value is not None) == [169, 190]


def test_the_throttle_binds_now_and_the_channels_after_the_raise() -> None:
    found = premises()
    limits = limits_of(found)
    assert binding(limits) is Resource.THROTTLE
    assert binding(limits, found.throttle(400)) is Resource.CHANNELS
    capacities = [limit.capacity_per_minute for limit in limits]
    assert capacities == sorted(capacities, key=lambda value: float("inf") if value is None else value)
    channels = next(limit for limit in limits if limit.resource is Resource.CHANNELS)
    assert channels.capacity == "660 channels"
    assert channels.used_now < channels.used_requested <= channels.used_wanted
    assert channels.used_wanted > 1


def test_what_is_not_known_does_not_bind_and_says_so() -> None:
    limits = limits_of(premises(pop=Pop(), bandwidth_mbit_per_s=None))
    unknown = [limit for limit in limits if limit.capacity == "not known to be limited"]
    assert {limit.resource for limit in unknown} == {
        Resource.CHANNELS,
        Resource.CARRIER_RATE,
        Resource.CORES,
        Resource.BANDWIDTH,
    }
    assert all(limit.capacity_per_minute is None and limit.used_wanted == 0 for limit in unknown)


@pytest.mark.parametrize("per_minute", [7.0, 200.0, 300.0])
def test_what_a_wish_needs_is_the_least_that_keeps_the_targets(per_minute: float) -> None:
    found = premises()
    needed = needed_for(found, per_minute)
    assert needed.channels == pytest.approx(channels_needed(per_minute * 3, 0.01), abs=1)
    assert needed.ports == needed.channels
    enough, short = found.throttle(needed.throttle_per_minute), found.throttle(max(1, needed.throttle_per_minute - 10))
    assert enough is not None
    assert short is not None
    assert short < per_minute <= enough
    assert needed.throttle_per_minute % 10 == 0
    costs = COSTS
    work = per_minute / 60 * found.per_call.cpu_s
    # Work on a stack that is nearly idle costs more.
    cpu = costs.idle_share + work * (1 + costs.idle_penalty * math.exp(-work / costs.idle_penalty_decay_load))
    assert needed.cores == pytest.approx(cpu / MOST_CPU_SHARE)
    assert needed.bandwidth_mbit_per_s >= per_minute * 3 * STREAM_MBIT_PER_S


def test_busier_days_need_more() -> None:
    calm = premises()
    restless = replace(calm, busyness=Busyness(day_cv=0.2, period_cv=0.1))
    assert needed_for(restless, 200).channels > needed_for(calm, 200).channels
    assert needed_for(restless, 200).throttle_per_minute > needed_for(calm, 200).throttle_per_minute


def test_a_wish_beyond_all_measure_is_answered_too() -> None:
    needed = needed_for(premises(), 1_000_000)
    assert needed.throttle_per_minute == 1_000_000
    assert needed.channels == pytest.approx(3_000_000 * 0.99, rel=0.01)
