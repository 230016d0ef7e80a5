"""Play one day of attempts under one throttle, compiled: callers arrive, may be refused, and may call again.

These are all rules:

1. Attempts are handled in the order of time: fresh ones from their list, redials from a heap.
2. The throttle decides first. If it admits the attempt, a free channel is needed.
3. An attempt that gets a channel ends by chance. It holds its channel until then, ringing included.
4. Every random number is a hash of (seed, call, attempt, purpose). So the same caller draws the same numbers under
   every throttle, and differences between throttles come from the throttles alone.
"""

from __future__ import annotations

import heapq
import math

import numpy as np

from trunkproof.models.arrays import FloatArray
from trunkproof.models.compiled import compiled

OPEN, FIXED, ADMITTED, ATTEMPTS, BUCKET, SHAPER = range(6)
"""Policies."""
ANSWERED, BUSY, NO_ANSWER, ABANDONED, REJECTED, THROTTLED, NO_CHANNEL = range(7)
"""How an attempt ends."""
LOST_FROM = REJECTED
"""A caller whose last attempt ended by this code or a later one is lost."""
HOLD, RING, PATIENCE = range(3)
"""Rows of the table of durations."""
AT_S, CALL, ATTEMPT, ENDING, RING_S, HOLD_S = range(6)
"""Columns of records."""
N_ATTEMPTS, N_REFUSED, N_CALLERS, N_LOST, N_ATTEMPTS_THEN, N_REFUSED_THEN = range(6)
"""Counts of callers who arrive in the period, with all their attempts. The last two count attempts in the period."""
UNLIMITED = -1
_REFUSED_AFTER_S, _FAILED_AFTER_S, _UNANSWERED_S = 0.05, 1.0, 30.0


@compiled
def uniform(seed: int, call: int, attempt: int, purpose: int) -> float:
    """Return a number in [0, 1) that depends on these four alone (SplitMix64; Steele, Lea, Flood 2014)."""
    mixed = np.uint64(seed) + np.uint64(call) * np.uint64(0x9E3779B97F4A7C15)
    mixed += np.uint64(attempt * 16 + purpose + 1) * np.uint64(0xD1342543DE82EF95)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return float(mixed >> np.uint64(11)) / 9007199254740992.0


@compiled
def drawn(table: FloatArray, share: float) -> float:
    """Return a quantile from an evenly spaced table, by linear interpolation."""
    place = share * (len(table) - 1)
    below = int(place)
    return float(table[below] + (place - below) * (table[below + 1] - table[below]))


@compiled
def admit(  # noqa: PLR0911  # one way out of each policy
    throttle: FloatArray, state: FloatArray, ring: FloatArray, now: float
) -> float:
    """Return by how many seconds the throttle delays an attempt; -1 where it refuses the attempt.

    Args:
        throttle: policy, limit, window in seconds, burst, longest delay, an instant at which a window begins.
        state: count, number of the window, next free slot, place in the ring; it is changed.
        ring: instants of the last `limit` attempts that counted; it is changed.
        now: not earlier than that of the attempt before.
    """
    policy, limit, window_s = int(throttle[0]), throttle[1], throttle[2]
    if policy == OPEN:
        return 0.0
    if policy == FIXED:
        number = math.floor((now - throttle[5]) / window_s)
        if number != state[1]:
            state[0], state[1] = 0.0, number
        if state[0] >= limit:
            return -1.0
        state[0] += 1.0
        return 0.0
    if policy in (ADMITTED, ATTEMPTS):
        place = int(state[3])
        is_full = now - ring[place] < window_s
        if is_full and policy == ADMITTED:
            return -1.0
        ring[place] = now
        state[3] = (place + 1) % len(ring)
        return -1.0 if is_full else 0.0
    slot = max(now, state[2])
    longest_s = (throttle[3] - 1.0) * window_s / limit + 1e-9 if policy == BUCKET else throttle[4]
    if slot - now > longest_s:
        return -1.0
    state[2] = slot + window_s / limit
    return 0.0 if policy == BUCKET else slot - now


@compiled
def refuses_any(throttle: FloatArray, asked_s: FloatArray) -> bool:
    """Tell whether the throttle refuses any of these attempts; instants must ascend."""
    state, ring = np.zeros(4), np.full(int(throttle[1]), -np.inf)
    state[1], state[2] = -np.inf, -np.inf
    for now in asked_s:  # noqa: SIM110  # Numba compiles no generators here
        if admit(throttle, state, ring, now) < 0:
            return True
    return False


@compiled
def ended(seed: int, call: int, attempt: int, endings: FloatArray, durations: FloatArray) -> tuple[int, float, float]:
    """Draw how an admitted attempt ends, how long it rings, and how long the call lasts."""
    luck, ending = uniform(seed, call, attempt, 0), ANSWERED
    while ending < REJECTED and luck >= endings[ending]:
        ending += 1
    if ending == ANSWERED:
        ring_s = drawn(durations[RING], uniform(seed, call, attempt, 1))
        return ending, ring_s, drawn(durations[HOLD], uniform(seed, call, attempt, 2))
    if ending == NO_ANSWER:
        return ending, _UNANSWERED_S, 0.0
    if ending == ABANDONED:
        return ending, drawn(durations[PATIENCE], uniform(seed, call, attempt, 1)), 0.0
    return ending, _FAILED_AFTER_S, 0.0


@compiled
def finds_channel(busy_until: list[float], channels: int, now: float) -> bool:
    """Tell whether a channel is free. Channels that are free by `now` leave the heap."""
    while len(busy_until) > 0 and busy_until[0] <= now:
        heapq.heappop(busy_until)
    return len(busy_until) < channels


@compiled
def play(  # noqa: PLR0917  # compiled functions have no keyword arguments
    fresh_s: FloatArray,
    seed: int,
    throttle: FloatArray,
    channels: int,
    endings: FloatArray,
    durations: FloatArray,
    redial: FloatArray,
    delays: FloatArray,
    period: FloatArray,
    records: FloatArray,
) -> tuple[FloatArray, int]:
    """Play a day. Return the counts of the period, and how many rows of `records` were filled.

    Args:
        fresh_s: instants at which callers arrive, ascending.
        seed: seed of all random numbers.
        throttle: as in `admit`.
        channels: calls possible at once, or `UNLIMITED`.
        endings: cumulated shares of the first five endings.
        durations: quantile tables, shape (3, any): talking, ringing, patience.
        redial: probability of another attempt by ending and number of attempts, shape (7, most); 0 in the last column.
        delays: quantile tables of the wait before a redial, by ending, shape (7, any).
        period: begin and end of the counted time.
        records: rows to fill, shape (any, 6); with no rows, attempts are not kept.
    """
    counts, filled = np.zeros(6), 0
    state, ring = np.zeros(4), np.full(int(throttle[1]), -np.inf)
    state[1], state[2] = -np.inf, -np.inf
    # Numba learns the types of the lists from an entry.
    again = [(0.0, 0, 0)]
    again.pop()
    busy_until = [0.0]
    busy_until.pop()
    next_fresh, last_column = 0, redial.shape[1] - 1
    while next_fresh < len(fresh_s) or len(again) > 0:
        if next_fresh < len(fresh_s) and (len(again) == 0 or fresh_s[next_fresh] <= again[0][0]):
            now, call, attempt = fresh_s[next_fresh], next_fresh, 0
            next_fresh += 1
        else:
            now, call, attempt = heapq.heappop(again)
        delay_s = admit(throttle, state, ring, now)
        ending, ring_s, hold_s = THROTTLED, _REFUSED_AFTER_S, 0.0
        if delay_s >= 0:
            placed_s = now + delay_s
            if channels != UNLIMITED and not finds_channel(busy_until, channels, placed_s):
                ending = NO_CHANNEL
            else:
                ending, ring_s, hold_s = ended(seed, call, attempt, endings, durations)
                if channels != UNLIMITED:
                    heapq.heappush(busy_until, placed_s + ring_s + hold_s)
            ring_s += delay_s
        if filled < len(records):
            row = records[filled]
            row[AT_S], row[CALL], row[ATTEMPT], row[ENDING] = now, call, attempt, ending
            row[RING_S], row[HOLD_S] = ring_s, hold_s
            filled += 1
        chance = redial[ending, min(attempt, last_column)]
        calls_again = chance > 0 and uniform(seed, call, attempt, 3) < chance
        if calls_again:
            wait_s = drawn(delays[ending], uniform(seed, call, attempt, 4))
            heapq.heappush(again, (now + ring_s + hold_s + wait_s, call, attempt + 1))
        is_refused = ending >= THROTTLED
        if period[0] <= now < period[1]:
            counts[N_ATTEMPTS_THEN] += 1
            counts[N_REFUSED_THEN] += is_refused
        if period[0] <= fresh_s[call] < period[1]:
            counts[N_ATTEMPTS] += 1
            counts[N_REFUSED] += is_refused
            counts[N_CALLERS] += attempt == 0
            counts[N_LOST] += ending >= LOST_FROM and not calls_again
    return counts, filled
