"""What a throttle still protects when all of it is used: against Erlang B where that is exact."""

from __future__ import annotations

import numpy as np
import pytest
from tests.experiments.review.known_fit import known_fit
from tests.experiments.review.theory.test_premises import NO_SETUP, request

from trunkproof.experiments.review.protection import protections
from trunkproof.experiments.review.request import Neighbour, Protects, Request
from trunkproof.experiments.review.result import Protection
from trunkproof.experiments.review.sweep.bench import Batch
from trunkproof.experiments.review.theory.formulas import Busyness
from trunkproof.experiments.review.theory.premises import Premises
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.distributions import Exponential
from trunkproof.models.study import Carrier, Machine, MediaPorts, Pop, Quality
from trunkproof.models.teletraffic import erlang_b
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.voice import MOUTH_TO_EAR_MS, mos, r_factor

HOLD_S = 140.0


def asked(channels: int | None, **changes: object) -> Request:
    values: dict[str, object] = {
        "interpretations": (FixedWindow(),),
        "quality": Quality(),
        "pop": Pop(carrier=Carrier(channels=channels, setup=NO_SETUP)),
        "bandwidth_mbit_per_s": None,
    }
    return request(**(values | changes))


def fit(per_minute: float = 233.0) -> Fit:
    return known_fit(per_minute, holding=Exponential(kind="exponential", mean_s=HOLD_S))


def protected(made: Request, *limits: int) -> dict[int, Protection]:
    premises = Premises.of(made, fit(), 233.0, Busyness())
    return {one.limit_per_minute: one for one in protections(made, fit(), premises, limits)}


@pytest.fixture
def no_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(batches: list[Batch], executor: object) -> list[object]:
        assert not batches
        return []

    monkeypatch.setattr("trunkproof.experiments.review.protection.run_batches", never)


@pytest.mark.usefixtures("no_simulation")
def test_channels_for_all_of_it_need_no_simulation() -> None:
    found = protected(asked(5000), 200, 400)
    for limit, one in found.items():
        assert one.holds is True
        assert one.worst.value < 1e-6
        assert one.peak_channels.value == pytest.approx(limit / 60 * HOLD_S)
        assert one.mos_p5.value == pytest.approx(mos(r_factor(MOUTH_TO_EAR_MS, 0.0)))
        assert list(one.blocked) == ["trunk"]
    assert protected(asked(None), 400)[400].holds is True


@pytest.mark.usefixtures("no_simulation")
def test_a_throttle_beyond_all_measure_is_told_by_its_mean_flow() -> None:
    found = protected(asked(660), 500_000)[500_000]
    assert found.holds is False
    assert found.worst.value == pytest.approx(1 - 660 / (500_000 / 60 * HOLD_S), abs=1e-3)
    assert found.peak_channels.value == pytest.approx(660)


def test_of_660_channels_400_a_minute_take_more_than_there_are_and_250_do_not() -> None:
    """400 a minute of 140 s are 933 E, of which 660 channels carry 71 %; 250 are 583 E, where Erlang B is a bound: a
    throttle that is full lets as many calls pass each minute.
    """
    found = protected(asked(660), 250, 400)
    at_250, at_400 = (limit / 60 * HOLD_S for limit in (250, 400))
    assert erlang_b(at_250, 660) < 0.01
    assert found[250].holds is True
    # Six hours of 15,000 calls may see a little more of it.
    assert found[250].worst.value <= erlang_b(at_250, 660) + 1e-3
    assert found[400].holds is False
    assert found[400].worst.value == pytest.approx(1 - 660 / at_400, abs=0.02)
    assert found[400].peak_channels.value == 660
    assert found[400].worst.low <= found[400].worst.value <= found[400].worst.high


def test_neighbours_are_named_and_take_their_demand_or_all_of_their_throttle() -> None:
    """The neighbour offers 10 a minute and may offer 100 of a minute: 10 or 100 E on top of 467."""
    other = Neighbour(name="small", per_minute=10.0, throttle=FixedWindow(limit=100), mean_hold_s=60.0)
    full = Protects(neighbours_use="their_throttle")
    found = protected(asked(500, neighbours=(other,), protects=full), 200)[200]
    assert list(found.blocked) == ["small"]
    assert found.holds is False
    # Both meet the same channels: 567 E on 500.
    assert found.blocked["small"].value == pytest.approx(1 - 500 / 567, abs=0.03)
    assert protected(asked(540, neighbours=(other,)), 200)[200].holds is True
    unthrottled = other.model_copy(update={"throttle": NoThrottle()})
    assert protected(asked(540, neighbours=(unthrottled,), protects=full), 200)[200].holds is True


def test_channels_of_an_account_are_not_taken_from_others() -> None:
    """An account that fills its own channels harms nobody else."""
    other = Neighbour(name="small", per_minute=10.0, throttle=FixedWindow(limit=20), mean_hold_s=60.0)
    pop = Pop(carrier=Carrier(channels=400, channels_per="account", setup=NO_SETUP))
    found = protected(asked(400, pop=pop, neighbours=(other,)), 300)[300]
    assert found.blocked["small"].value == 0
    assert found.holds is True


def test_more_may_be_blocked_where_the_request_allows_it() -> None:
    lenient = asked(660, protects=Protects(neighbours_blocked_max=0.5))
    assert protected(lenient, 400)[400].holds is True


def test_ports_and_cores_are_protected_too() -> None:
    few = Pop(ports=MediaPorts(low=10000, high=10800), carrier=Carrier(setup=NO_SETUP))
    assert protected(asked(None, pop=few), 400)[400].holds is False
    slow = Pop(carrier=Carrier(setup=NO_SETUP), machine=Machine(cores=1, calibration="kamailio"))
    found = protected(asked(None, pop=slow), 200, 600)
    # Nobody is turned away by cores that are too busy, but everybody's audio suffers.
    assert found[600].worst.value == 0
    assert found[600].mos_p5.high < 3.0
    assert found[200].mos_p5.low > 4.0
    assert (found[200].holds, found[600].holds) == (True, False)
    assert found[600].cores.value > found[200].cores.value


def test_the_carriers_calls_per_second_are_everybodys() -> None:
    """600 a minute pushed to 720 are 12 a second: of Poisson calls 22 % are beyond 10."""
    seconds = np.random.default_rng(1).poisson(12.0, 100_000)
    share = np.maximum(seconds - 10, 0).sum() / seconds.sum()
    pop = Pop(carrier=Carrier(channels=None, calls_per_second=10, setup=NO_SETUP))
    found = protected(asked(None, pop=pop), 200, 600)
    assert found[600].worst.value == pytest.approx(share, abs=0.01)
    assert (found[200].holds, found[600].holds) == (True, False)
