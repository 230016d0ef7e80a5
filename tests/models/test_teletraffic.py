"""Teletraffic formulas against published tables, 50-digit references (mpmath, computed here) and small simulations."""

from __future__ import annotations

import math
from functools import partial

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import gamma

from trunkproof.models.distributions import Constant, Exponential
from trunkproof.models.teletraffic import (
    call_congestion_standard_error,
    channels_needed,
    erlang_b,
    erlang_c,
    erlangs_carried,
    fixed_window_refused,
    fixed_window_standard_error,
    md1_wait_cdf,
    md1k_blocking,
    mean_wait_s,
    overdispersed_window_refused,
    poisson_tail,
    redial_load,
    shaper_refused,
    sinusoidal_load,
    sliding_admitted_refused,
    sliding_attempts_refused,
    time_congestion_standard_error,
    token_bucket_refused,
)

ERLANG_B = [
    (1, 1, 0.5),
    (1, 5, 0.00306748466257669),
    (10, 10, 0.214582343107347),
    (20, 30, 0.0084574983401947),
    (100, 117, 0.00979007112537136),
    (200, 220, 0.0110416237222527),
    (500, 527, 0.00953948621694932),
    (600, 600, 0.0318768963357037),
    (600, 644, 0.00337371332747441),
    (1000, 1000, 0.0248119176461604),
]


@pytest.mark.parametrize(("offered", "channels", "blocking"), ERLANG_B)
def test_erlang_b(offered: float, channels: int, blocking: float) -> None:
    assert erlang_b(offered, channels) == pytest.approx(blocking, rel=1e-13)


def test_erlang_b_at_its_edges() -> None:
    assert (erlang_b(0, 0), erlang_b(0, 3), erlang_b(5, 0)) == (1, 0, 1)
    for offered, channels in [(-1, 3), (1, -3)]:
        with pytest.raises(ValueError, match="no loss system"):
            erlang_b(offered, channels)


@pytest.mark.parametrize(
    ("offered", "channels", "waiting"),
    [
        (8, 10, 0.409180150796444),
        (18, 20, 0.550769004816118),
        (45, 50, 0.363864467206988),
        (95, 100, 0.506456853913021),
    ],
)
def test_erlang_c_and_its_mean_wait(offered: float, channels: int, waiting: float) -> None:
    assert erlang_c(offered, channels) == pytest.approx(waiting, rel=1e-13)
    assert mean_wait_s(offered, channels, 180) == pytest.approx(waiting * 180 / (channels - offered), rel=1e-13)


def test_an_overloaded_queue_makes_everyone_wait_for_ever() -> None:
    assert (erlang_c(10, 10), mean_wait_s(10, 10, 180)) == (1, math.inf)


@pytest.mark.parametrize(
    ("offered", "blocking", "channels"), [(600, 0.01, 628), (600, 0.001, 659), (900, 0.01, 929), (900, 0.001, 969)]
)
def test_channels_needed(offered: float, blocking: float, channels: int) -> None:
    assert channels_needed(offered, blocking) == channels


@given(offered=st.floats(0, 300), blocking=st.floats(1e-6, 0.9))
def test_one_channel_fewer_than_needed_blocks_too_much(offered: float, blocking: float) -> None:
    channels = channels_needed(offered, blocking)
    assert erlang_b(offered, channels) <= blocking
    assert channels == 0 or erlang_b(offered, channels - 1) > blocking


def test_600_channels_at_180_s_carry_191_calls_per_minute_at_one_percent() -> None:
    assert round(erlangs_carried(600, 0.01) / 3) == 191


@given(channels=st.integers(1, 500), blocking=st.floats(1e-6, 0.9))
def test_erlangs_carried_is_the_inverse_of_erlang_b(channels: int, blocking: float) -> None:
    assert erlang_b(erlangs_carried(channels, blocking), channels) == pytest.approx(blocking, rel=1e-6, abs=1e-11)


@pytest.mark.parametrize("blocking", [0.0, 1.0])
def test_no_number_of_channels_blocks_nothing_or_everything(blocking: float) -> None:
    for answer in (partial(channels_needed, 10.0), partial(erlangs_carried, 10)):
        with pytest.raises(ValueError, match="no answer"):
            answer(blocking)


@pytest.mark.parametrize(("channels", "hours"), [(628, 101), (659, 789)])
def test_hours_until_blocking_is_known_to_ten_percent(channels: int, hours: int) -> None:
    # 1.96 standard errors = 10 %; 200 calls a minute of 180 s.
    calls = (1.96 * time_congestion_standard_error(600, channels, 1) / (0.1 * erlang_b(600, channels))) ** 2
    assert round(calls / 200 / 60) == hours


def test_counting_calls_is_a_little_less_precise_than_measuring_time() -> None:
    by_call = call_congestion_standard_error(600, 628, 1.2e6)
    by_time = time_congestion_standard_error(600, 628, 1.2e6)
    assert by_time < by_call < 1.02 * by_time


@pytest.mark.parametrize(("offered", "channels"), [(3.0, 4), (20.0, 22), (0.5, 1)])
def test_standard_errors_of_a_loss_system_against_the_fundamental_matrix(offered: float, channels: int) -> None:
    weights = np.array([offered**i / math.factorial(i) for i in range(channels + 1)])
    busy = weights / weights.sum()
    stationary = np.tile(busy, (channels + 1, 1))
    blocked = (np.arange(channels + 1) == channels) - busy[-1]
    deaths = np.diag(-np.arange(channels + 1.0)) + np.diag(np.arange(1.0, channels + 1), -1)
    births = np.eye(channels + 1)[np.minimum(np.arange(channels + 1) + 1, channels)] - np.eye(channels + 1)

    # Channels busy as seen by one arrival after the other, a Markov chain: Kemeny, Snell (1960), theorem 4.6.1.
    seen = (births + np.eye(channels + 1)) @ np.linalg.inv(np.eye(channels + 1) - deaths / offered)
    fundamental = np.linalg.inv(np.eye(channels + 1) - seen + stationary)
    by_call = busy * blocked @ (2 * fundamental - np.eye(channels + 1)) @ blocked
    assert call_congestion_standard_error(offered, channels, 1) ** 2 == pytest.approx(by_call, rel=1e-9)

    # In continuous time, its deviation matrix; the time of one call is 1 / offered holding times.
    deviation = np.linalg.inv(stationary - deaths - offered * births) - stationary
    by_time = 2 * (busy * blocked @ deviation @ blocked) * offered
    assert time_congestion_standard_error(offered, channels, 1) ** 2 == pytest.approx(by_time, rel=1e-9)
    assert call_congestion_standard_error(offered, channels, 100) ** 2 == pytest.approx(by_call / 100, rel=1e-9)


@pytest.mark.parametrize(
    ("wait", "share"),
    [(0, 0.2), (1, 0.445108185698), (2, 0.63451993632), (5, 0.899502761754), (10, 0.988342891735)],
)
def test_md1_waiting_times_at_load_0_8(wait: float, share: float) -> None:
    assert md1_wait_cdf(0.8, wait) == pytest.approx(share, abs=5e-13)


def grown(load: float, wait: float) -> mpmath.mpf:
    """P(W <= wait) / P(W = 0) of M/D/1 by Erlang's alternating series, which needs hundreds of digits."""
    rho, x = mpmath.mpf(load), mpmath.mpf(wait)
    return mpmath.fsum(
        (-rho * (x - k)) ** k / mpmath.factorial(k) * mpmath.exp(rho * (x - k)) for k in range(math.floor(wait) + 1)
    )


@pytest.mark.parametrize("load", [1e-6, 0.1, 0.5, 0.85, 0.95, 0.999, 0.9999999, 1, 1.000001, 1.25, 3, 50])
@pytest.mark.parametrize("wait", [0, 0.5, 1, 4, 6.6666, 19, 199])
def test_md1k_keeps_twelve_digits_however_little_is_refused(load: float, wait: float) -> None:
    with mpmath.workdps(400):
        exact = 1 - grown(load, wait) / (1 + mpmath.mpf(load) * grown(load, wait))
    assert shaper_refused(load, 1.0, 60 * wait) == pytest.approx(float(exact), rel=1e-11, abs=1e-290)
    if wait == int(wait):
        assert md1k_blocking(load, int(wait) + 1) == shaper_refused(load, 1.0, 60 * wait)


@pytest.mark.parametrize("wait", [0.25, 1.5, 7.75, 40.5])
def test_md1_waiting_times_between_whole_service_times(wait: float) -> None:
    with mpmath.workdps(100):
        exact = float((1 - mpmath.mpf(0.8)) * grown(0.8, wait))
    assert md1_wait_cdf(0.8, wait) == pytest.approx(exact, rel=1e-12)


def test_extreme_queues_have_the_shares_that_their_limits_say() -> None:
    assert md1k_blocking(0, 1) == 0
    assert md1k_blocking(1e-3, 1) == pytest.approx(1e-3 / 1.001)
    assert md1k_blocking(0.5, 5000) == 0
    assert md1k_blocking(1.25, 5000) == pytest.approx(0.2)
    assert md1k_blocking(400, 50) == pytest.approx(1 - 1 / 400)
    assert md1k_blocking(1, 5000) == pytest.approx(1 / 10_000, rel=1e-3)


@pytest.mark.parametrize(("load", "capacity"), [(-0.1, 1), (401, 1), (0.5, 0)])
def test_queues_that_are_not_computed(load: float, capacity: int) -> None:
    with pytest.raises(ValueError, match=r"not computed|no room"):
        md1k_blocking(load, capacity)


@pytest.mark.parametrize(("load", "wait"), [(1, 1), (-0.1, 1), (0.5, -1)])
def test_waiting_times_that_do_not_exist(load: float, wait: float) -> None:
    with pytest.raises(ValueError, match="no waiting time"):
        md1_wait_cdf(load, wait)


THROTTLES = {
    170: ("3.448e-4", "2.3318e-3", ".013419", ".459459", "8.1679e-3", "3.295e-4", "5.8e-29"),
    190: (".010109168", ".027968164", ".243347", ".487179", ".0305956", "8.06865e-3", "7.8e-11"),
    200: (".028197728", ".054352423", ".509403", ".5", ".0508475", ".0252101", ".00250209"),
    250: (".200008", ".213715", ".999518", ".555556", ".202124", ".200020", ".2"),
}


@pytest.mark.parametrize("offered", THROTTLES)
def test_shares_refused_by_a_limit_of_200_calls_in_a_minute(offered: int) -> None:
    computed = (
        fixed_window_refused(offered, 200),
        sliding_admitted_refused(offered, 200),
        sliding_attempts_refused(offered, 200),
        *(token_bucket_refused(offered, 200, burst) for burst in (1, 10, 20, 200)),
    )
    for share, written in zip(computed, THROTTLES[offered], strict=True):
        digits = len(written.split("e", maxsplit=1)[0].replace(".", "").lstrip("0"))
        assert share == pytest.approx(float(written), rel=0.6 * 10 ** (1 - digits)), written


@pytest.mark.parametrize(
    ("window_s", "limit", "share"), [(1, 3, 0.224), (10, 33, 0.0344), (30, 100, 0.00833), (60, 200, 0.00241)]
)
def test_the_same_limit_over_a_shorter_window_refuses_more(window_s: float, limit: int, share: float) -> None:
    assert fixed_window_refused(180 * window_s / 60, limit) == pytest.approx(share, rel=2e-3)


@pytest.mark.parametrize(("offered", "hours"), [(180, 631), (200, 56.4), (220, 11.5)])
def test_hours_until_a_fixed_window_is_known_to_five_percent(offered: float, hours: float) -> None:
    relative = fixed_window_standard_error(offered, 200, 60, offered_is_known=True) / fixed_window_refused(offered, 200)
    assert (1.96 * relative / 0.05) ** 2 == pytest.approx(hours, rel=2e-3)


@pytest.mark.parametrize("offered_is_known", [True, False])
def test_standard_error_of_a_fixed_window_against_drawn_windows(offered_is_known: bool) -> None:
    windows = 200_000
    attempts = np.random.default_rng(5).poisson(220, windows)
    deviation = np.maximum(attempts - 200, 0) - fixed_window_refused(220, 200) * (220 if offered_is_known else attempts)
    expected = fixed_window_standard_error(220, 200, 1, offered_is_known=offered_is_known) * 220
    # The relative standard error of a sample variance is sqrt((kurtosis - 1) / n).
    kurtosis = (deviation**4).mean() / (deviation**2).mean() ** 2
    assert (deviation**2).mean() == pytest.approx(expected**2, rel=4.5 * math.sqrt((kurtosis - 1) / windows))


@pytest.mark.parametrize(
    ("cv", "share"), [(0, 2.68e-5), (0.05, 1.72e-4), (0.10, 1.73e-3), (0.20, 1.62e-2), (0.30, 4.32e-2)]
)
def test_overdispersed_traffic_of_160_a_minute(cv: float, share: float) -> None:
    assert overdispersed_window_refused(160, cv, 200) == pytest.approx(share, rel=3e-3)


def test_overdispersed_traffic_is_the_average_over_the_gamma_distributed_rate() -> None:
    rate = gamma(a=100, scale=1.6)

    def refused_at(a: float) -> float:
        return a * fixed_window_refused(a, 200) * rate.pdf(a)

    average, _ = quad(refused_at, 50, 400, epsrel=1e-10, limit=200)
    assert overdispersed_window_refused(160, 0.1, 200) == pytest.approx(average / 160, rel=1e-8)


def test_poisson_tail() -> None:
    with mpmath.workdps(50):
        exact = mpmath.gammainc(200, 0, 170, regularized=True)
    assert poisson_tail(170, 200) == pytest.approx(float(exact), rel=1e-12)
    assert poisson_tail(170, 0) == 1


def test_redial_of_220_fresh_calls() -> None:
    load = redial_load(220, 0.8, lambda offered: sliding_admitted_refused(offered, 200))
    assert (round(load.refused_share, 2), round(load.lost_share, 2)) == (0.35, 0.10)
    assert load.offered == pytest.approx(220 / (1 - 0.8 * load.refused_share))


def test_redial_loses_exactly_the_customers_that_are_not_admitted() -> None:
    load = redial_load(220, 0.8, lambda offered: fixed_window_refused(offered, 200))
    admitted = load.offered * (1 - load.refused_share)
    assert 220 * (1 - load.lost_share) == pytest.approx(admitted)


def test_without_redial_every_refused_attempt_is_a_lost_customer() -> None:
    load = redial_load(220, 0.0, lambda offered: fixed_window_refused(offered, 200))
    assert (load.offered, load.lost_share) == (220, load.refused_share)


def test_redial_for_ever_has_no_fixed_point() -> None:
    with pytest.raises(ValueError, match="no fixed point"):
        redial_load(220, 1.0, lambda offered: fixed_window_refused(offered, 200))


def test_a_sinusoidal_rate_of_one_hour() -> None:
    load = sinusoidal_load(3, 1, 3600, Exponential(mean_s=180))
    assert load.peak == pytest.approx(711.725, abs=1e-3)
    assert load.lag_s == pytest.approx(174.4, abs=0.05)


def test_a_sinusoidal_rate_with_constant_holding_times() -> None:
    load = sinusoidal_load(3, 1, 3600, Constant(value_s=180))
    # The integral of the sine over the last h: amplitude 2/w sin(w h / 2), half a holding time behind.
    omega = 2 * math.pi / 3600
    assert load.amplitude == pytest.approx(2 / omega * math.sin(omega * 90), rel=1e-9)
    assert load.lag_s == pytest.approx(90, rel=1e-9)
    assert load.mean == 540
