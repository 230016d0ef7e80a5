"""What a sweep simulates: one busy hour of the reviewed trunk and its neighbours, as a study.

Settings in, settings out; nothing is run here.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from experiments.review.request import Neighbour, Request
from models.distributions import Exponential
from models.fitting.result import Fit
from models.policies import NoThrottle, ThrottleSettings
from models.study import Study, Trunk
from models.traffic import PoissonArrivals

HOUR_S = 3600.0
_MOST_PER_MINUTE = 1_000_000
_FIRST_ADDRESS = IPv4Address("127.0.0.2")


def with_limit(reading: ThrottleSettings, limit_per_minute: int) -> ThrottleSettings:
    """A reading of the throttle at that limit, over the window that the reading has.

    All else stays: a token bucket's burst, a shaper's longest delay. A limit below one call per window is one.
    """
    if isinstance(reading, NoThrottle):
        return reading
    return reading.model_copy(update={"limit": max(1, round(limit_per_minute * reading.window_s / 60))})


def candidates_of(request: Request) -> tuple[int, ...]:
    """The throttles to look at, ascending: the present and the requested one, and those that the request names.

    Where it names none: three even steps between the two, and one beyond, rounded to tens.
    """
    now, wanted = request.now_per_minute, request.requested_per_minute
    others = request.candidates or _steps(now, wanted)
    return tuple(sorted({now, wanted, *others}))


def _steps(now: int, wanted: int) -> list[int]:
    between = [_tens(now + (wanted - now) * part / 4) for part in (1, 2, 3)]
    step = max(10, _tens((wanted - now) / 4))
    beyond = _tens(wanted) + step
    return [value for value in between if now < value < wanted] + [min(beyond, _MOST_PER_MINUTE)]


def _tens(value: float) -> int:
    return 10 * round(value / 10)


def study_at(  # noqa: PLR0917  # in the order in which one would say it
    request: Request,
    fit: Fit,
    reading: ThrottleSettings,
    limit_per_minute: int,
    load_per_minute: float,
    seed: int,
    *,
    warm_up_s: float = 60.0,
    hour_s: float = HOUR_S,
) -> Study:
    """One busy hour: the reviewed trunk first, then its neighbours.

    Args:
        request: the PoP, the neighbours and the customer's use of TLS.
        fit: the customer's callers; those of neighbours are taken to ring, fail and try again like them.
        reading: how the throttle works.
        limit_per_minute: its limit.
        load_per_minute: fresh calls per minute, the mean of the hour.
        seed: of all dice.
        warm_up_s: goes before the hour that counts.
        hour_s: how long that is.
    """
    traffic = fit.traffic(fit.hour(load_per_minute)).model_copy(update={"tls": request.tls})
    own = Trunk(
        name=request.trunk,
        customer_address=_FIRST_ADDRESS,
        throttle=with_limit(reading, limit_per_minute),
        traffic=traffic,
    )
    others = [_neighbour(number, other, own) for number, other in enumerate(request.neighbours, 1)]
    return Study(
        name=f"{request.name}: {limit_per_minute} at {load_per_minute:g}",
        seed=seed,
        duration_s=warm_up_s + hour_s,
        pop=request.pop,
        trunks=(own, *others),
        quality=request.quality,
    )


def _neighbour(number: int, neighbour: Neighbour, own: Trunk) -> Trunk:
    changed = {
        "arrivals": PoissonArrivals(kind="poisson", rate_per_minute=neighbour.per_minute),
        "holding": Exponential(kind="exponential", mean_s=neighbour.mean_hold_s),
        "inbound_share": 0.0,
    }
    return Trunk(
        name=neighbour.name,
        # Another customer: where channels belong to accounts, it has its own.
        account=f"neighbour-{number}",
        customer_address=_FIRST_ADDRESS + number,
        throttle=neighbour.throttle,
        traffic=own.traffic.model_copy(update=changed),
    )
