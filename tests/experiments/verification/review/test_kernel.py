"""The played day against exact theory, and against itself."""

from __future__ import annotations

import numpy as np
import pytest

from trunkproof.experiments.verification.review.callers import Callers, lognormal_table
from trunkproof.experiments.verification.review.enforced import NO_THROTTLE, Policy
from trunkproof.experiments.verification.review.kernel import (
    N_ATTEMPTS,
    N_CALLERS,
    N_LOST,
    N_REFUSED,
    THROTTLED,
    refuses_any,
)
from trunkproof.models.arrays import FloatArray
from trunkproof.models.teletraffic import (
    erlang_b,
    fixed_window_refused,
    shaper_refused,
    sliding_attempts_refused,
    token_bucket_refused,
)

LIMIT, OFFERED = 20, 19.0
HOURS = 400
Z = 4.5


def plain_callers(redial: float = 0.0, attempts: int = 2) -> Callers:
    chances = np.zeros((7, attempts))
    chances[THROTTLED:, :-1] = redial
    durations = np.array([lognormal_table(mean, 1.0) for mean in (60.0, 1e-6, 1e-6)])
    delays = np.tile(lognormal_table(300.0, 1.0), (7, 1))
    return Callers(np.array([1.0, 1.0, 1.0, 1.0, 1.0]), durations, chances, delays)


def fresh(per_minute: float, hours: float, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0, 3600 * hours, rng.poisson(60 * per_minute * hours)))


def refused_shares(throttle: FloatArray, channels: int, per_minute: float) -> tuple[float, float]:
    """Mean over hours and its standard error."""
    shares = []
    for hour in range(HOURS):
        counts = plain_callers().play(fresh(per_minute, 1.5, hour), hour, throttle, channels, (1800.0, 5400.0))
        shares.append(counts[N_REFUSED] / (60 * per_minute))
    return float(np.mean(shares)), float(np.std(shares, ddof=1) / np.sqrt(HOURS))


@pytest.mark.parametrize(
    ("throttle", "channels", "exact"),
    [
        (Policy("fixed_window").at(LIMIT, 17.0), -1, fixed_window_refused(OFFERED, LIMIT)),
        (Policy("sliding_window_admitted").at(LIMIT), -1, erlang_b(OFFERED, LIMIT)),
        (Policy("sliding_window_attempts").at(LIMIT), -1, sliding_attempts_refused(OFFERED, LIMIT)),
        (Policy("token_bucket", burst=5).at(LIMIT), -1, token_bucket_refused(OFFERED, LIMIT, 5)),
        (Policy("shaper", max_delay_s=8.0).at(LIMIT), -1, shaper_refused(OFFERED, LIMIT, 8.0)),
        (NO_THROTTLE, 20, erlang_b(OFFERED, 20)),
    ],
    ids=["fixed window", "sliding, admitted", "sliding, attempts", "token bucket", "shaper", "channels"],
)
def test_refused_share_is_exact(throttle: FloatArray, channels: int, exact: float) -> None:
    mean, error = refused_shares(throttle, channels, OFFERED)
    assert error < 0.05 * exact
    assert abs(mean - exact) < Z * error


def test_callers_are_lost_who_do_not_call_again() -> None:
    """Nothing is let in: of callers who make four attempts at most, each has made as many as its luck allows."""
    callers = plain_callers(redial=0.7, attempts=4)
    counts = callers.play(fresh(30, 100, 1), 1, Policy("shaper", max_delay_s=-1.0).at(1), -1, (0.0, 360000.0))
    assert counts[N_LOST] == counts[N_CALLERS]
    assert counts[N_REFUSED] == counts[N_ATTEMPTS]
    made = counts[N_ATTEMPTS] / counts[N_CALLERS]
    assert made == pytest.approx(1 + 0.7 + 0.49 + 0.343, abs=Z * 1.3 / np.sqrt(counts[N_CALLERS]))


@pytest.mark.parametrize("name", ["fixed_window", "sliding_window_admitted", "token_bucket", "shaper"])
def test_what_refuses_none_changes_nothing(name: str) -> None:
    callers = plain_callers(redial=0.7)
    asked_s = fresh(10, 5, 3)
    for limit in (12, 60):
        throttle = Policy(name, burst=10, max_delay_s=5.0).at(limit)
        counts = callers.play(asked_s, 3, throttle, -1, (0.0, 18000.0))
        assert refuses_any(throttle, asked_s) == (counts[N_REFUSED] > 0)


def test_draws_have_the_mean_of_their_table() -> None:
    table = lognormal_table(60.0, 1.2)
    assert ((table[1:] + table[:-1]) / 2).mean() == pytest.approx(60.0)
