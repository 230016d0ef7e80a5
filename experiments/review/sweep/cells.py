"""What a sweep simulates: the reviewed trunk and its neighbours, as a study.

Settings in, settings out; nothing is run here.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from trunkproof.experiments.review.request import Neighbour, Request
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.distributions import Exponential
from trunkproof.models.study import Study, Trunk
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.traffic import Arrivals, PoissonArrivals

_FIRST_ADDRESS = IPv4Address("127.0.0.2")


def with_limit(interpretation: ThrottleSettings, limit_per_minute: int) -> ThrottleSettings:
    """Return that interpretation of the throttle at another limit; its window and all else stay."""
    return interpretation.with_limit(limit_per_minute)


def study_with(  # noqa: PLR0917  # in the order in which one would say it
    request: Request,
    fit: Fit,
    arrivals: Arrivals,
    duration_s: float,
    seed: int,
    throttle: ThrottleSettings,
) -> Study:
    """Return the reviewed trunk with these arrivals, then its neighbours, as a study.

    Args:
        request: the PoP, the neighbours and the customer's use of TLS.
        fit: the customer's callers; those of neighbours are taken to ring, fail and try again like them.
        arrivals: fresh calls.
        duration_s: of the simulation.
        seed: of all draws.
        throttle: of the reviewed trunk.
    """
    traffic = fit.traffic(arrivals).model_copy(update={"tls": request.tls})
    own = Trunk(name=request.trunk, customer_address=_FIRST_ADDRESS, throttle=throttle, traffic=traffic)
    others = [_neighbour(number, other, own) for number, other in enumerate(request.neighbours, 1)]
    return Study(
        name=request.name,
        seed=seed,
        duration_s=duration_s,
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
        # An address of its own, which its trunk admits: whitelists are not what a review asks about.
        customer_address=_FIRST_ADDRESS + number,
        throttle=neighbour.throttle,
        # Only rate and mean hold of a neighbour are known. All else is that of the customer's callers.
        traffic=own.traffic.model_copy(update=changed),
    )
