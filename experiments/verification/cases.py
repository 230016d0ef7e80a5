"""Studies with an exact answer from theory, and that answer: loss systems and every throttle.

The answers are computed by `models.teletraffic` from numbers given here, not from the study. So a wrong conversion
between the two would show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trunkproof.models.distributions import Constant, Distribution, Exponential, Lognormal, Mixture, MixturePart
from trunkproof.models.streams import generator
from trunkproof.models.study import Carrier, Pop, Study, Trunk
from trunkproof.models.teletraffic import (
    erlang_b,
    fixed_window_refused,
    shaper_refused,
    sliding_admitted_refused,
    sliding_attempts_refused,
    token_bucket_refused,
)
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.throttles.shaper import Shaper
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.token_bucket import TokenBucket
from trunkproof.models.traffic import PoissonArrivals, Redial, Traffic

_AT_ONCE, _SHORT = Constant(value_s=0), Constant(value_s=1)
_NO_REDIAL = Redial()
_HOLD_S = 60.0
HOLDING: dict[str, Distribution] = {
    "exponential": Exponential(mean_s=_HOLD_S),
    "constant": Constant(value_s=_HOLD_S),
    "lognormal": Lognormal(mean_s=_HOLD_S, cv=1.5),
    "mixture": Mixture(
        parts=(
            MixturePart(weight=1, of=Exponential(mean_s=_HOLD_S / 4)),
            MixturePart(weight=1, of=Lognormal(mean_s=_HOLD_S * 7 / 4, cv=0.5)),
        )
    ),
}
"""All have the same mean: where only channels limit, nothing but the mean may matter."""

_LOSS = ((2.0, 3, "exponential"), (10.0, 10, "constant"), (10.0, 10, "lognormal"), (20.0, 28, "mixture"),
         (20.0, 24, "exponential"), (50.0, 52, "lognormal"), (100.0, 108, "constant"))  # fmt: skip
"""Erlang, channels, holding time."""

_WINDOW_S = 10.0


@dataclass(frozen=True)
class Case:
    """A study, and the exact share of its attempts that is refused."""

    name: str
    study: Study
    exact: float


def question(
    name: str,
    throttle: ThrottleSettings,
    rate_per_minute: float,
    calls: int,
    *,
    holding: Distribution = _SHORT,
    channels: int | None = None,
    redial: Redial = _NO_REDIAL,
) -> Study:
    """Return a study of one trunk with Poisson traffic that lasts for about `calls` counted calls. Nothing rings."""
    traffic = Traffic(
        arrivals=PoissonArrivals(kind="poisson", rate_per_minute=rate_per_minute),
        holding=holding,
        ringing=_AT_ONCE,
        redial=redial,
    )
    return Study(
        name=name,
        seed=own_seed(name),
        duration_s=throttle.memory_s + 60 * calls / rate_per_minute,
        pop=Pop(carrier=Carrier(channels=channels, setup=_AT_ONCE)),
        trunks=(Trunk(throttle=throttle, traffic=traffic),),
    )


def own_seed(name: str, number: int = 0) -> int:
    """Return a seed of its own for every question: with a common seed all differences would be the same one."""
    return int(generator(1, "verification", name, number).integers(2**62))


def loss_cases(calls: int) -> list[Case]:
    """Return cases limited by channels alone: Erlang's formula holds for every distribution of holding times."""
    return [
        Case(name, loss_system(name, erlang, channels, holding, calls), erlang_b(erlang, channels))
        for erlang, channels, holding in _LOSS
        for name in (f"{erlang:g} E on {channels} channels, {holding}",)
    ]


def loss_system(name: str, erlang: float, channels: int, holding: str, calls: int) -> Study:
    """Return a study that only channels limit."""
    rate = 60 * erlang / _HOLD_S
    return question(name, NoThrottle(policy="none"), rate, calls, holding=HOLDING[holding], channels=channels)


def throttle_cases(calls: int) -> list[Case]:
    """Return cases of every throttle at two loads or more, one of them near its limit."""
    return [
        Case(name, question(name, throttle, rate, calls), exact)
        for throttle, rate, exact in _throttles()
        for name in (f"{throttle.describe()}, {rate:g} per minute",)
    ]


def _throttles() -> Iterator[tuple[ThrottleSettings, float, float]]:
    """Yield settings, rate offered per minute and exact share refused. The limit is always 120 per minute."""
    for rate in (100.0, 130.0, 180.0):
        offered = rate * _WINDOW_S / 60
        yield FixedWindow(limit=20, window_s=_WINDOW_S), rate, fixed_window_refused(offered, 20)
        yield SlidingWindowAdmitted(limit=20, window_s=_WINDOW_S), rate, sliding_admitted_refused(offered, 20)
    for rate in (80.0, 115.0):
        offered = rate * _WINDOW_S / 60
        yield SlidingWindowAttempts(limit=20, window_s=_WINDOW_S), rate, sliding_attempts_refused(offered, 20)
    for rate, burst in ((100.0, 1), (110.0, 5), (130.0, 10)):
        yield TokenBucket(limit=20, window_s=_WINDOW_S, burst=burst), rate, token_bucket_refused(rate, 120, burst)
    for rate, delay_s in ((100.0, 0.7), (130.0, 2.0)):
        yield Shaper(limit=20, window_s=_WINDOW_S, max_delay_s=delay_s), rate, shaper_refused(rate, 120, delay_s)
