"""Exact formulas of teletraffic theory: what loss systems, queues and throttles refuse under Poisson traffic.

They are the analytic twin of the simulation: where a study's case has a formula here, the simulation must agree with
it. Nothing is simulated or approximated; a case without a closed form has no function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
from scipy.special import gammaln, pdtrc, xlogy

from trunkproof.models.arrays import FloatArray, IntArray
from trunkproof.models.distributions import Distribution


def _blocking_by_channels(offered_erlang: float) -> Iterator[float]:
    """Yield Erlang B for 0, 1, 2… channels: B(N) = E B(N-1) / (N + E B(N-1)), a recursion without cancellation."""
    blocking = 1.0
    yield blocking
    for channels in count(1):
        blocking = offered_erlang * blocking / (channels + offered_erlang * blocking)
        yield blocking


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def erlang_b(offered_erlang: float, channels: int) -> float:
    """Return the share of calls that find all channels busy and are lost, for any distribution of holding times.

    Raises:
        ValueError: a negative load or number of channels.
    """
    _require(offered_erlang >= 0 and channels >= 0, f"no loss system: {offered_erlang} E on {channels} channels")
    return next(islice(_blocking_by_channels(offered_erlang), channels, None))


def call_congestion_standard_error(offered_erlang: float, channels: int, calls: float) -> float:
    """Return the standard error of blocked over offered calls, for many `calls` offered and exponential holding times.

    From the Poisson equation of the birth-death chain: with d_i = B(E, N) / B(E, i), the variance per call is
    sum_{i<N} pi_i ((d_i - B)² + d_i²) + B (1 - B)². Unlike B itself it depends on the holding time's distribution.
    """
    blocking, below, ratios = _chain(offered_erlang, channels)
    per_call = below @ ((ratios - blocking) ** 2 + ratios**2) + blocking * (1 - blocking) ** 2
    return math.sqrt(per_call / calls)


def time_congestion_standard_error(offered_erlang: float, channels: int, calls: float) -> float:
    """Return the standard error of the share of time with all channels busy, while `calls` calls are offered.

    The same quantity (arrivals see time averages) and conditions as with `call_congestion_standard_error`, measured
    otherwise: the variance per call is 2 sum_{i<N} pi_i d_i².
    """
    _, below, ratios = _chain(offered_erlang, channels)
    return math.sqrt(2 * (below @ ratios**2) / calls)


def _chain(offered_erlang: float, channels: int) -> tuple[float, FloatArray, FloatArray]:
    """Return B, the probabilities pi_i, and B(E, N) / B(E, i). The last two are for i = 0 … N-1, shape (N,)."""
    by_channels = np.fromiter(islice(_blocking_by_channels(offered_erlang), channels + 1), np.float64)
    blocking = float(by_channels[-1])
    # Downwards from pi_N = B by detailed balance.
    steps: FloatArray = np.arange(channels, 0, -1, dtype=np.float64) / offered_erlang
    return blocking, blocking * np.cumprod(steps, dtype=np.float64)[::-1], blocking / by_channels[:-1]


def erlang_c(offered_erlang: float, channels: int) -> float:
    """Return the share of calls that must wait where calls wait for a channel; 1 where the load is `channels` or more.

    Raises:
        ValueError: a negative load or number of channels.
    """
    if offered_erlang >= channels:
        return 1.0
    # Erlang C follows from Erlang B, which is computed without factorials and so cannot overflow.
    blocking = erlang_b(offered_erlang, channels)
    return channels * blocking / (channels - offered_erlang * (1 - blocking))


def mean_wait_s(offered_erlang: float, channels: int, mean_hold_s: float) -> float:
    """Return the mean wait of all calls, with exponential holding times. It may be infinite."""
    if offered_erlang >= channels:
        return math.inf
    return erlang_c(offered_erlang, channels) * mean_hold_s / (channels - offered_erlang)


def channels_needed(offered_erlang: float, blocking: float) -> int:
    """Return the fewest channels with which at most this share of calls is blocked.

    Raises:
        ValueError: a negative load, or a share that is not between 0 and 1.
    """
    _require(offered_erlang >= 0 and 0 < blocking < 1, f"no answer for {offered_erlang} E at {blocking} blocking")
    reached = _blocking_by_channels(offered_erlang)
    # The recursion passes every smaller number of channels on its way, so no search is needed.
    return next(channels for channels, share in enumerate(reached) if share <= blocking)


def erlangs_carried(channels: int, blocking: float) -> float:
    """Return the load, in Erlang, at which exactly this share of calls is blocked: the inverse of `erlang_b`.

    Raises:
        ValueError: no channel, or a share that is not between 0 and 1.
    """
    _require(channels >= 1 and 0 < blocking < 1, f"no answer for {channels} channels at {blocking} blocking")
    from scipy.optimize import brentq  # noqa: PLC0415  # slow to load, and few studies ask

    # Carried traffic E (1 - B) cannot exceed the channels.
    return float(brentq(lambda offered: erlang_b(offered, channels) - blocking, 0.0, channels / (1 - blocking) + 1))


def md1_wait_cdf(load: float, wait: float) -> float:
    """Return P(W <= wait) in a queue with Poisson arrivals and one constant server. `wait` is in service times.

    Source: Franx, "A simple solution for the M/D/c waiting time distribution" (2001): sums of positive terms only.

    Raises:
        ValueError: `load` is not at least 0 and below 1, or a negative wait.
    """
    _require(0 <= load < 1 and wait >= 0, f"no waiting time at load {load}, wait {wait}")
    # 1 - load is P(none): it turns the ratios to that state into probabilities.
    return (1 - load) * _mixed(load, wait, np.cumsum(_queue_lengths(load, math.floor(wait) + 1)))


def md1k_blocking(load: float, capacity: int) -> float:
    """Return the share of calls lost in M/D/1 with room for `capacity` calls, including the one in service.

    Source: Brun, Garcia, "Analytical solution of finite capacity M/D/1 queues" (2000): 1 - b / (1 + load b).

    Raises:
        ValueError: a load that is negative or above 400, or no room.
    """
    _require(capacity >= 1, f"no room for a call: capacity {capacity}")
    return _refused_beyond(load, capacity - 1)


_LARGEST_LOAD = 400.0
_ENDLESS, _NOTHING = 1e200, 1e-300
"""Beyond these, at loads up to 400, the length of a queue decides no digit of the refused share any more."""
_STATES_TO_SETTLE = 64
"""So far beyond any state the queue's length falls off geometrically to the last digit of a float."""


def _refused_beyond(load: float, wait: float) -> float:
    """Return the share refused by a constant server that takes a call only if it waits at most `wait` service times.

    With G(x) = P(W <= x) / P(W = 0) of the queue without limit: P = (1 + (load - 1) G) / (1 + load G), because up to
    the limit both queues behave alike. Keeps its relative precision where next to nothing is refused.
    """
    _require(0 <= load <= _LARGEST_LOAD and wait >= 0, f"not computed here: load {load}, longest wait {wait}")
    lengths = _queue_lengths(load, math.floor(wait) + 1 + _STATES_TO_SETTLE)
    below = np.cumsum(lengths)
    # Overload: the server is busy at all times and serves one of every `load` calls.
    if below[math.floor(wait) + 1] > _ENDLESS:
        return 1 - 1 / load
    grown = _mixed(load, wait, below)
    # Also P(W > wait), for a load below 1. Where that is small it is not left over from 1 but summed up.
    lacking = 1 + (load - 1) * grown
    if lacking < 1e-3:
        lacking = _waits_beyond(load, wait, lengths)
    return lacking / (1 + load * grown)


def _queue_lengths(load: float, longest: int) -> FloatArray:
    """Return P(n calls in M/D/1) / P(none), n = 0 … longest: infinite beyond `_ENDLESS`, zero below `_NOTHING`.

    What goes up over a level between two departures must come down: q_{n+1} P(A = 0) = P(A > n) + sum_{i=1..n} q_i
    P(A > n + 1 - i), with A arrivals in a service time. All terms are positive.
    """
    exceeds = pdtrc(np.arange(longest + 1), load)
    # P(A > n) soon underflows to 0. Terms beyond that add nothing, and without them the work grows with `longest`
    # alone.
    memory = max(1, int(np.count_nonzero(exceeds)))
    lengths = np.zeros(longest + 1)
    lengths[0] = 1.0
    for n in range(longest):
        first = max(1, n + 1 - memory)
        up = float(exceeds[n]) + float(lengths[first : n + 1] @ exceeds[n + 1 - first : 0 : -1])
        lengths[n + 1] = up / math.exp(-load)
        # From here on the queue only vanishes (load below 1) or only grows, so the rest needs no computation.
        if not _NOTHING < lengths[n + 1] < _ENDLESS:
            lengths[n + 1 :] = 0.0 if lengths[n + 1] < 1 else math.inf
            break
    return lengths


def _mixed(load: float, wait: float, by_length: FloatArray) -> float:
    """Turn queue lengths into waits (Franx 2001): a Poisson mixture of `by_length[n … 1]`, n = floor(wait) + 1."""
    n = math.floor(wait) + 1
    arrivals = poisson_chances(np.arange(n), load * (n - wait))
    return float(arrivals @ by_length[n:0:-1])


def _waits_beyond(load: float, wait: float, lengths: FloatArray) -> float:
    """Return P(W > wait) for a load below 1, from the unnormalised `lengths` up to well beyond floor(wait) + 1."""
    n = math.floor(wait) + 1
    # The states beyond the last one fall off geometrically (`_STATES_TO_SETTLE`): their sum is known.
    ratio = lengths[-1] / lengths[-2] if lengths[-2] else 0.0
    rest = lengths[-1] * ratio / (1 - ratio)
    above = np.append(np.cumsum(lengths[:0:-1])[::-1], 0.0) + rest
    return (1 - load) * _mixed(load, wait, above) + poisson_tail(load * (n - wait), n)


def poisson_chances(counts: IntArray, mean: float) -> FloatArray:
    """Return P(X = counts), X Poisson."""
    # Here and below not by `scipy.stats`: that takes longer to load than all else that a study needs, and each call
    # of it takes 100 us. These are the functions that it calls, so the digits are the same.
    chances: FloatArray = np.exp(xlogy(counts, mean) - gammaln(counts + 1) - mean)
    return chances


def poisson_tail(mean: float, at_least: int) -> float:
    """Return P(X >= at_least), X Poisson."""
    return float(pdtrc(at_least - 1, mean)) if at_least > 0 else 1.0


def fixed_window_refused(offered: float, limit: int) -> float:
    """Return the share refused by a limit per fixed window, with `offered` Poisson attempts per window on average.

    E[(X - N)+] / a = P(X >= N) - (N/a) P(X >= N+1).
    """
    _require(offered > 0 and limit >= 1, f"nothing to refuse: {offered} offered, limit {limit}")
    return poisson_tail(offered, limit) - limit / offered * poisson_tail(offered, limit + 1)


def fixed_window_standard_error(offered: float, limit: int, windows: float, *, offered_is_known: bool = False) -> float:
    """Return the standard error of the refused share, measured in so many fixed windows.

    Windows are independent, so the variance of refused over *measured* attempts is Var((X - N)+ - p X) / (windows a²),
    summed exactly; over the *known* number of attempts expected, without the term p X, it is larger.
    """
    share = fixed_window_refused(offered, limit)
    # So far from the mean a Poisson number is too improbable to change a digit of the sum.
    spread = 40 * math.sqrt(offered) + 40
    attempts = np.arange(max(0, math.floor(offered - spread)), math.ceil(offered + spread) + 1)
    expected = offered if offered_is_known else attempts
    deviation = np.maximum(attempts - limit, 0) - share * expected
    return math.sqrt(float(poisson_chances(attempts, offered) @ deviation**2) / windows) / offered


def overdispersed_window_refused(offered: float, busyness_cv: float, limit: int) -> float:
    """Return the share refused by a fixed window whose rate is gamma distributed with this coefficient of variation.

    Attempts per window are then negative binomial, and E[X; X > N] = a P(X' >= N) with X' one shape higher.
    """
    if busyness_cv == 0:
        return fixed_window_refused(offered, limit)
    from scipy.stats import nbinom  # noqa: PLC0415  # slow to load

    shape = busyness_cv**-2
    success = shape / (shape + offered)
    # Two tails, and not a sum over all counts: it stays exact where next to nothing is refused.
    with_one_more = float(nbinom.sf(limit - 1, shape + 1, success))
    return with_one_more - limit / offered * float(nbinom.sf(limit, shape, success))


def sliding_admitted_refused(offered: float, limit: int) -> float:
    """Return the share refused by a limit on admitted calls in any window, with `offered` Poisson attempts per window.

    An admitted call holds one of `limit` places for exactly one window: Erlang's loss formula.
    """
    return erlang_b(offered, limit)


def sliding_attempts_refused(offered: float, limit: int) -> float:
    """Return the share refused where refused attempts count too: P(at least `limit` attempts in the window before)."""
    return poisson_tail(offered, limit)


def token_bucket_refused(offered_per_minute: float, limit_per_minute: float, burst: int) -> float:
    """Return the share that a token bucket refuses: the tokens missing from it are the queue of M/D/1/burst.

    Raises:
        ValueError: as `md1k_blocking`.
    """
    return md1k_blocking(offered_per_minute / limit_per_minute, burst)


def shaper_refused(offered_per_minute: float, limit_per_minute: float, max_delay_s: float) -> float:
    """Return the share that a shaper refuses: M/D/1 without the calls that would wait longer than `max_delay_s`.

    Raises:
        ValueError: as `md1k_blocking`.
    """
    return _refused_beyond(offered_per_minute / limit_per_minute, max_delay_s * limit_per_minute / 60)


@dataclass(frozen=True, slots=True)
class RedialLoad:
    """What refused callers who try again make of a load."""

    offered: float
    """Attempts, in the unit of the fresh calls."""
    refused_share: float
    """Of attempts."""
    lost_share: float
    """Of customers: refused, and then given up."""


def redial_load(fresh: float, probability: float, refused_share: Callable[[float], float]) -> RedialLoad:
    """Return the fixed point of offered = fresh / (1 - p(offered) r). Redials count as Poisson and independent.

    Args:
        fresh: first attempts, per any unit of time.
        probability: r, chance that a refused attempt is followed by another, however many came before.
        refused_share: p, share refused as a function of the attempts offered; does not fall.

    Raises:
        ValueError: no fresh calls, or a probability that is not at least 0 and below 1.
    """
    _require(fresh > 0 and 0 <= probability < 1, f"no fixed point: {fresh} fresh, redial probability {probability}")

    from scipy.optimize import brentq  # noqa: PLC0415  # slow to load, and few studies ask

    def missing(offered: float) -> float:
        return offered * (1 - probability * refused_share(offered)) - fresh

    # The bracket: nobody is refused, or everybody always is and makes 1 / (1 - r) attempts.
    offered = float(brentq(missing, fresh, fresh / (1 - probability))) if probability else fresh
    refused = refused_share(offered)
    # Lost is who is refused and gives up, at any attempt: the geometric series p (1 - r) (1 + r p + (r p)² + …).
    return RedialLoad(offered, refused, refused * (1 - probability) / (1 - refused * probability))


@dataclass(frozen=True, slots=True)
class SinusoidalLoad:
    """Calls at once when the rate swings: they swing about `mean`, by `amplitude`, `lag_s` after the rate."""

    mean: float
    amplitude: float
    lag_s: float

    @property
    def peak(self) -> float:
        """Return the largest expected number of calls at once."""
        return self.mean + self.amplitude


def sinusoidal_load(rate_per_s: float, swing_per_s: float, period_s: float, holding: Distribution) -> SinusoidalLoad:
    """Return the expected calls at once without limit, for the rate `rate_per_s + swing_per_s sin(2 pi t / period_s)`.

    Source: Eick, Massey, Whitt, "Mt/G/infinity queues with sinusoidal arrival rates" (1993): the swing is multiplied by
    E[S] E[exp(-i w S_e)] = (1 - E[exp(-i w S)]) / (i w). The expectation is averaged over 2^17 quantiles: five digits.
    """
    omega = 2 * math.pi / period_s
    levels = (np.arange(2**17) + 0.5) / 2**17
    transform = complex(np.exp(-1j * omega * holding.quantile(levels)).mean())
    response = swing_per_s * (1 - transform) / (1j * omega)
    lag_s = -math.atan2(response.imag, response.real) / omega
    return SinusoidalLoad(rate_per_s * holding.mean(), abs(response), lag_s)
