"""The policies of `models.throttle` on records: the same decisions by the same arithmetic.

The docstrings there explain each policy. Change both sides together.
"""

from __future__ import annotations

from trunkproof.models.arrays import FloatArray
from trunkproof.models.compiled import inlined, lean
from trunkproof.models.throttle import SAME_INSTANT_S
from trunkproof.simulator.kernel.codes import (
    FIXED_WINDOW,
    NO_LIMIT,
    PIPE_LIMIT,
    SLIDING_ADMITTED,
    SLIDING_ATTEMPTS,
    TOKEN_BUCKET,
)
from trunkproof.simulator.kernel.memory import Records

REFUSES = -1.0
"""No delay: the call is refused."""


@lean
def try_admit(throttles: Records, rings: FloatArray, which: int, now: float) -> float:
    """Return for how many seconds a call that comes now is delayed, or `REFUSES`."""
    policy = throttles[which].policy
    if policy == NO_LIMIT:
        return 0.0
    if policy == FIXED_WINDOW:
        return _fixed_window(throttles, which, now)
    if policy == PIPE_LIMIT:
        return _pipe_limit(throttles, which, now)
    if policy in (SLIDING_ADMITTED, SLIDING_ATTEMPTS):
        return _sliding(throttles, rings, which, now)
    if policy == TOKEN_BUCKET:
        return _token_bucket(throttles, which, now)
    return _shaper(throttles, which, now)


@lean
def restart(throttles: Records, which: int, now: float) -> None:
    """Forget everything, and begin a fixed window now."""
    throttle = throttles[which]
    throttle.anchor_s, throttle.count, throttle.has_window, throttle.load = now, 0, 0, 0
    throttle.counted, throttle.oldest = 0, 0
    throttle.idle_at_s, throttle.taken = now, 0


@inlined
def _fixed_window(throttles: Records, which: int, now: float) -> float:
    throttle = throttles[which]
    # SAME_INSTANT_S: a call on the boundary belongs to the new window, even if floating point puts it just before.
    window = (now - throttle.anchor_s + SAME_INSTANT_S) // throttle.window_s
    if throttle.has_window == 0 or window != throttle.window:
        throttle.has_window, throttle.window, throttle.count = 1, window, 0
    if throttle.count >= throttle.limit:
        return REFUSES
    throttle.count += 1
    return 0.0


@inlined
def _pipe_limit(throttles: Records, which: int, now: float) -> float:
    throttle = throttles[which]
    window = (now - throttle.anchor_s + SAME_INSTANT_S) // throttle.window_s
    if throttle.has_window == 0 or window != throttle.window:
        follows = throttle.has_window == 1 and window == throttle.window + 1
        # A window in which nobody called leaves no load to the next.
        throttle.load = throttle.count // throttle.limit if follows else 0
        throttle.has_window, throttle.window, throttle.count = 1, window, 0
    throttle.count += 1
    if throttle.is_red:
        return 0.0 if throttle.load == 0 or throttle.count % throttle.load == 0 else REFUSES
    return 0.0 if throttle.count <= throttle.limit else REFUSES


@inlined
def _sliding(throttles: Records, rings: FloatArray, which: int, now: float) -> float:
    throttle = throttles[which]
    # The ring holds the instants of the last `limit` calls that count. The oldest decides: if it lies within the
    # window, `limit` calls have come in it.
    limit, ring, oldest = throttle.limit, throttle.ring, throttle.oldest
    is_full = throttle.counted == limit
    if is_full and now - rings[ring + oldest] < throttle.window_s - SAME_INSTANT_S:
        if throttle.policy == SLIDING_ATTEMPTS:
            _count(throttles, rings, which, now)
        return REFUSES
    _count(throttles, rings, which, now)
    return 0.0


@inlined
def _count(throttles: Records, rings: FloatArray, which: int, now: float) -> None:
    throttle = throttles[which]
    if throttle.counted < throttle.limit:
        rings[throttle.ring + throttle.counted] = now
        throttle.counted += 1
        return
    rings[throttle.ring + throttle.oldest] = now
    throttle.oldest += 1
    if throttle.oldest == throttle.limit:
        throttle.oldest = 0


@inlined
def _slot(throttles: Records, which: int, number: int) -> float:
    # From the idle instant and a count, never by adding up intervals: that would gather rounding errors.
    throttle = throttles[which]
    return float(throttle.idle_at_s + number * throttle.window_s / throttle.limit)


@inlined
def _start_again_if_idle(throttles: Records, which: int, now: float) -> None:
    throttle = throttles[which]
    # Exact, without SAME_INSTANT_S: a start before its slot would let the rate creep up.
    if throttle.taken == 0 or now >= _slot(throttles, which, throttle.taken):
        throttle.idle_at_s, throttle.taken = now, 0


@inlined
def _token_bucket(throttles: Records, which: int, now: float) -> float:
    throttle = throttles[which]
    _start_again_if_idle(throttles, which, now)
    if throttle.taken >= throttle.burst:
        free_at_s = _slot(throttles, which, throttle.taken - throttle.burst + 1)
        if now < free_at_s - SAME_INSTANT_S:
            return REFUSES
    throttle.taken += 1
    return 0.0


@inlined
def _shaper(throttles: Records, which: int, now: float) -> float:
    throttle = throttles[which]
    _start_again_if_idle(throttles, which, now)
    delay_s = _slot(throttles, which, throttle.taken) - now
    if delay_s > throttle.max_delay_s + SAME_INSTANT_S:
        return REFUSES
    throttle.taken += 1
    return delay_s if delay_s > SAME_INSTANT_S else 0.0
