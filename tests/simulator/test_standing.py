"""The standing calls of a stationary start: their number, how long they last, and the blocking that newcomers meet.

Tolerances: z = 4.5 with standard errors from theory, or between independent repetitions.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from trunkproof.models.study import Study
from trunkproof.models.teletraffic import erlang_b
from trunkproof.simulator.run import Start, simulate
from trunkproof.simulator.standing import poisson_quantile, residual_times

Z = 4.5
LIFE = {
    "holding": {"kind": "lognormal", "mean_s": 20, "cv": 2},
    "ringing": 6,
    "patience": {"kind": "exponential", "mean_s": 4},
    "outcomes": {"no_answer": 0.3, "abandoned": 0.2, "busy": 0.1},
}
SETUP_S, OFFERED_PER_S = 0.5, 5.0
# 0.4 are answered; those and 0.3 more ring to the end, 0.2 until patience ends.
MEAN_LIFE_S = SETUP_S + (0.4 + 0.3) * 6 + 0.2 * 4 + 0.4 * 20
ERLANGS = OFFERED_PER_S * MEAN_LIFE_S


def study(seed: int, *, channels: int | None = None, duration_s: float = 100) -> Study:
    traffic = {"arrivals": {"kind": "poisson", "rate_per_minute": 60 * OFFERED_PER_S}} | LIFE
    pop = {"carrier": {"setup": SETUP_S, "channels": channels}}
    trunks = [{"traffic": traffic, "throttle": {"policy": "none"}}]
    return Study.model_validate({"name": "t", "seed": seed, "duration_s": duration_s, "pop": pop, "trunks": trunks})


def test_their_number_is_poisson_with_the_erlangs_of_all_outcomes() -> None:
    runs = 2000
    numbers = np.array([len(residual_times(study(seed), 0)) for seed in range(runs)])
    assert abs(numbers.mean() - ERLANGS) < Z * math.sqrt(ERLANGS / runs)
    # Variance of a Poisson sample's variance: (mu4 - variance²) / n, with mu4 = E + 3 E².
    assert abs(numbers.var(ddof=1) - ERLANGS) < Z * math.sqrt((ERLANGS + 2 * ERLANGS**2) / runs)


def test_they_never_stand_in_more_channels_than_there_are() -> None:
    numbers = [len(residual_times(study(seed, channels=50), 0)) for seed in range(200)]
    assert max(numbers) == 50


def test_they_last_as_long_as_renewal_theory_says() -> None:
    found = np.concatenate([residual_times(study(seed), 0) for seed in range(300)])
    # E[X²] by outcome; lognormal: mean² (1 + cv²); exponential: 2 mean².
    answered = (SETUP_S + 6 + 20) ** 2 + (20 * 2) ** 2
    no_answer = (SETUP_S + 6) ** 2
    abandoned = (SETUP_S + 4) ** 2 + 4**2
    busy = SETUP_S**2
    second_moment = 0.4 * answered + 0.3 * no_answer + 0.2 * abandoned + 0.1 * busy
    assert abs(found.mean() - second_moment / (2 * MEAN_LIFE_S)) < Z * found.std() / math.sqrt(len(found))


def test_newcomers_meet_erlang_b_from_the_first_second() -> None:
    channels, refused, offered = 70, [], []
    for seed in range(300):
        records = simulate(study(seed, channels=channels, duration_s=4), start=Start.STATIONARY)
        offered.append(records.height)
        refused.append(records.filter(pl.col("disposition") == "no_channel").height)
    exact = erlang_b(ERLANGS, channels)
    # Poisson arrivals see time averages: of every study, refused - exact * offered has mean 0.
    surplus = np.array(refused) - exact * np.array(offered)
    assert abs(surplus.mean()) < Z * surplus.std(ddof=1) / math.sqrt(len(surplus))


@pytest.mark.parametrize("mean", [1e-3, 0.7, 12.0, 525.0, 40_000.0])
def test_the_number_of_standing_calls_is_the_poisson_quantile(mean: float) -> None:
    for share in (1e-12, 0.01, 0.3, 0.5, 0.99, 1 - 1e-12):
        assert poisson_quantile(share, mean) == int(stats.poisson.ppf(share, mean))
    # At a probability that a count reaches exactly, it is that count.
    count = int(mean)
    assert poisson_quantile(float(stats.poisson.cdf(count, mean)), mean) == count


def test_trunks_that_share_a_limit_stand_in_parts_of_what_it_passes() -> None:
    # 4 calls a second are offered together and 2 pass, so half of each trunk's.
    rates, limit = (180, 60), {"policy": "fixed_window", "limit": 120}
    trunks = [
        {
            "name": str(rate),
            "customer_address": f"127.0.0.{2 + number}",
            "throttle": {"shared": "line"},
            "traffic": {"arrivals": {"kind": "poisson", "rate_per_minute": rate}, "holding": 50, "ringing": 0},
        }
        for number, rate in enumerate(rates)
    ]
    pop = {"throttles": {"line": limit}, "carrier": {"setup": 0}}
    runs = 400
    for number, rate in enumerate(rates):
        written = {"name": "t", "duration_s": 100, "pop": pop, "trunks": trunks}
        numbers = [len(residual_times(Study.model_validate(written | {"seed": seed}), number)) for seed in range(runs)]
        erlangs = rate / 60 / 2 * 50
        assert abs(np.mean(numbers) - erlangs) < Z * math.sqrt(erlangs / runs)


def test_calls_to_listed_numbers_stand_as_long_as_their_own_far_ends_say() -> None:
    destinations = [
        {"number": "+918040005551", "far_end": "echo", "share": 0.25, "ringing": 2, "holding": 30},
        {"number": "+918040005552", "far_end": "rings", "share": 0.25},
        {"number": "+918040005553", "far_end": "rejects", "share": 0.25},
        {"far_end": "plan"},
    ]
    # A fifth is inbound, and plays the plan.
    listed_s = (SETUP_S + 2 + 30) + (SETUP_S + 4) + SETUP_S
    erlangs = OFFERED_PER_S * (0.8 * 0.25 * listed_s + (0.2 + 0.8 * 0.25) * MEAN_LIFE_S)
    runs, numbers = 2000, []
    for seed in range(runs):
        base = study(seed)
        traffic = base.trunks[0].traffic.model_dump() | {"destinations": destinations, "inbound_share": 0.2}
        trunk = base.trunks[0].model_dump() | {"traffic": traffic}
        numbers.append(len(residual_times(Study.model_validate(base.model_dump() | {"trunks": [trunk]}), 0)))
    assert abs(np.mean(numbers) - erlangs) < Z * math.sqrt(erlangs / runs)
