"""The throttle policies that Kamailio can enforce, and the settings that it cannot.

`macros.j2` has the script of each policy. A policy that is not in `RENDERED` cannot be played.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from trunkproof.loadgen.stacks.kamailio.bucket import Bucket
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.pipelimit import PipeLimit
from trunkproof.models.throttles.policy import Policy
from trunkproof.models.throttles.token_bucket import TokenBucket

_LONGEST_WINDOW_MS = 2**31 - 1
Unsupported = Iterator[tuple[str, str]]
"""Pairs of a key of the trunk and what is wrong with it."""


def _pipelimit(_: PipeLimit) -> Unsupported:
    return iter(())


def _fixed_window(throttle: FixedWindow) -> Unsupported:
    # The tolerance is for decimal fractions such as 0.3, which a float holds only nearly.
    window_ms = throttle.window_s * 1000
    if not math.isclose(window_ms, round(window_ms), abs_tol=1e-9) or window_ms > _LONGEST_WINDOW_MS:
        yield "throttle.window_s", f"is {throttle.window_s:g}: Kamailio's script counts whole milliseconds"


def _token_bucket(throttle: TokenBucket) -> Unsupported:
    yield from (("throttle", what) for what in Bucket.of(throttle).unsupported())


def _no_throttle(_: NoThrottle) -> Unsupported:
    return iter(())


RENDERED: dict[type[Policy], Callable[[Any], Unsupported]] = {
    PipeLimit: _pipelimit,
    FixedWindow: _fixed_window,
    TokenBucket: _token_bucket,
    NoThrottle: _no_throttle,
}
"""Policy -> a check that yields the settings that the script cannot enforce."""


def unsupported_throttle(throttle: Policy) -> Unsupported:
    """Yield everything in a trunk's throttle that Kamailio cannot enforce."""
    check = RENDERED.get(type(throttle))
    if check is None:
        names = ", ".join(policy.name() for policy in RENDERED)
        yield "throttle.policy", f"Kamailio has no {throttle.name()}; it can play {names}"
        return
    if throttle.is_shared:
        yield "throttle", f"is shared as {throttle.shared}: Kamailio's script counts each trunk's calls alone"
    yield from check(throttle)
