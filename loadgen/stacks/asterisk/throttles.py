"""The throttle policies that Asterisk's dialplan can enforce, with their values for `throttle.j2`.

A policy that is not in `RENDERED` cannot be played.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.policy import Policy
from trunkproof.models.throttles.token_bucket import TokenBucket

Values = dict[str, Any]


def _fixed_window(throttle: FixedWindow) -> Values:
    return {"limit": throttle.limit, "window_us": _decimal(throttle.window_s * 1e6)}


def _token_bucket(throttle: TokenBucket) -> Values:
    interval_us = throttle.window_s * 1e6 / throttle.limit
    return {
        "limit": throttle.limit,
        "interval_us": _decimal(interval_us),
        # The dialplan compares arrival times: a burst of n may come n - 1 intervals too early (the same as a bucket
        # of n).
        "tolerance_us": _decimal((throttle.burst - 1) * interval_us),
    }


def _no_throttle(_: NoThrottle) -> None:
    return None


RENDERED: dict[type[Policy], Callable[[Any], Values | None]] = {
    FixedWindow: _fixed_window,
    TokenBucket: _token_bucket,
    NoThrottle: _no_throttle,
}
"""Policy -> its values for the template, in microseconds, the unit of the dialplan. None: there is nothing to ask."""


def _decimal(value: float) -> str:
    """Return a number without an exponent, as the dialplan reads it."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
