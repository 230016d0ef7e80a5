"""The back-cast: simulate the days of a history again, at the throttle of the time, and compare with what it showed.

A model that does not reproduce the past cannot be trusted with the future. Each interpretation of the throttle is
tried, because the same calls are refused differently by each. An example for one interpretation:

    the busy periods    seen in the history    6 to 10 repetitions of the model    verdict
    attempts refused    8.4 %                  8.1 % (7.6 to 8.6 %)                reproduced
    admitted            19.8 per minute        19.7 (19.5 to 19.9)                 reproduced

A row is reproduced if what was seen lies close enough to the mean of the repetitions (`_ABSOLUTE`, `_RELATIVE`), or if
chance alone strays so far often enough (p-value of at least `SIGNIFICANT`). The rows of attempts refused and admitted
decide, in the busy periods and in other hours near the limit. The others are shown, so that a reader sees where a
model fails: the number of redials, calls at once, the worst periods.

An interpretation that fails a deciding row takes no part in the decision. If all fail, the review cannot tell. Source:
posterior predictive checks (Gelman et al., "Bayesian Data Analysis", chapter 6).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np
import polars as pl
from scipy.special import stdtr, stdtrit

from trunkproof.experiments.review.periods.busy import LENGTH_S, BusyPeriods
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import BackCast, BackCastRow
from trunkproof.experiments.review.sweep.bench import Batch, run_batches
from trunkproof.experiments.review.sweep.cells import study_with, with_limit
from trunkproof.experiments.review.sweep.quantities import SpanValues
from trunkproof.experiments.review.sweep.spans import Layout, from_rates
from trunkproof.experiments.review.sweep.sweep import lead_s
from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.demand.fitting.alternatives import alternative
from trunkproof.models.demand.fitting.censoring import hides_refusals
from trunkproof.models.demand.fitting.result import Fit, Ranged
from trunkproof.models.demand.history.table import CallStatus, History
from trunkproof.models.occupancy import steps
from trunkproof.models.streams import generator
from trunkproof.models.throttles.registry import ThrottleSettings

_CALLS_WANTED = 900_000
"""In all repetitions of one interpretation together."""
_CALLS_A_REPETITION = 160_000
"""Of a history with more calls, only a random sample of its periods is simulated."""
_LEAST_REPETITIONS, _MOST_REPETITIONS = 6, 10
_OTHER_CELLS = 3
_LEAST_PERIODS = 8
_NEAR_LIMIT = 0.75
_WORST = 3
"""Number of periods in the scope "the worst busy periods"."""
SIGNIFICANT = 0.003
"""Each interpretation has up to four deciding rows: together they are wrong once in a hundred."""
_ABSOLUTE = {"attempts refused": 0.002, "redials": 0.02}
"""A share that is off by less changes no decision, however significant the difference is."""
_ELSEWHERE = 2.0
"""In hours that are not judged, twice the difference is allowed: they only help to tell interpretations apart."""
_RELATIVE = {"attempts refused": 0.25, "redials": 0.25, "attempts": 0.05, "admitted": 0.05, "calls at once": 0.1}


@dataclass(frozen=True)
class _Span:
    """A period of the history."""

    day: int
    """Index of `DayRates.dates`."""
    start_s: float
    is_busy: bool


@dataclass(frozen=True, eq=False)
class Seen:
    """What the history showed in its periods, each array of shape (S,); NaN where the history does not say."""

    attempts: FloatArray
    fresh: FloatArray
    refused: FloatArray
    peak: FloatArray


def back_cast(  # noqa: PLR0917  # what is held against what
    request: Request,
    history: History,
    fit: Fit,
    busy: BusyPeriods,
    limits: Mapping[date, int],
    executor: Executor | None = None,
) -> tuple[BackCast, ...]:
    """Return how well each interpretation of the throttle reproduces the history.

    Where the request says with `enforced` how the throttle worked, only that one is tried.

    Args:
        request: the interpretations and the PoP.
        history: the calls as recorded.
        fit: the traffic behind them.
        busy: the judged periods.
        limits: the throttle in force on each day, in calls per minute.
        executor: runs the simulations; None runs them in this process.
    """
    spans = _affordable(request, fit, _busy_spans(busy, fit), list(_other_spans(fit, busy, limits)))
    seen = _seen(history, fit, spans)
    # A history that shows no refusals cannot be compared by them: only what was admitted can.
    hidden = hides_refusals(history)
    interpretations = request.interpretations if request.enforced is None else (request.enforced,)
    batches, where, repetitions = _laid_out(request, fit, spans, limits, interpretations)
    found: dict[int, list[SpanValues]] = {}
    for (repetition, which), result in zip(where, run_batches(batches, executor), strict=True):
        for index, values in enumerate(result.values):
            made = found.setdefault(index, [{} for _ in range(repetitions)])[repetition]
            for name, part in values.items():
                made.setdefault(name, np.zeros(len(spans)))[which] = part
    return tuple(
        BackCast(interpretation, tuple(_rows(seen, found[index], spans, hidden=hidden)))
        for index, interpretation in enumerate(interpretations)
    )


def _busy_spans(busy: BusyPeriods, fit: Fit) -> list[_Span]:
    return [_Span(int(day), float(start), True) for day, start in zip(busy.days, busy.start_s, strict=True)]


def _affordable(request: Request, fit: Fit, busy: list[_Span], others: list[_Span]) -> list[_Span]:
    """Return as many periods as one repetition can simulate, chosen at random.

    They are not the periods with the most calls: such periods were lucky, and the model would seem to have too few.
    """
    random = generator(request.seed, "periods of the back-cast")

    def calls(span: _Span) -> float:
        first = round(span.start_s / fit.days.period_s)
        within = fit.days.counts[span.day, first : first + round(LENGTH_S / fit.days.period_s)]
        # The lead-in of each period is simulated too.
        return float(within.sum()) * fit.days.multiplied * (1 + lead_s(request, fit) / LENGTH_S)

    def some(spans: list[_Span], share: float) -> list[_Span]:
        mean = sum(map(calls, spans)) / max(len(spans), 1)
        # Fewer periods than that would be judged by the chance of single days.
        count = max(_LEAST_PERIODS, int(share * _CALLS_A_REPETITION / max(mean, 1.0)))
        if len(spans) <= count:
            return spans
        return [spans[index] for index in sorted(random.permutation(len(spans))[:count].tolist())]

    # The judged periods decide, so they get most of the calls.
    return [*some(busy, 0.7), *some(others, 0.3)]


def _other_spans(fit: Fit, busy: BusyPeriods, limits: Mapping[date, int]) -> Iterator[_Span]:
    """Yield clock hours outside the judged periods that come near the limit on most days of their weekday class.

    They are not the single hours that came nearest: those were lucky, and would seem not to be reproduced.
    """
    rates = fit.days
    within = round(LENGTH_S / rates.period_s)
    per_minute = rates.counts.reshape(len(rates.dates), 24, within) * (60 / rates.period_s) * rates.multiplied
    near = per_minute.max(axis=2) / np.array([limits[day] for day in rates.dates])[:, None]
    judged = dict(zip(busy.days.tolist(), busy.start_s.tolist(), strict=True))
    cells = [
        (float(near[rates.class_of_day == kind, hour].mean()), kind, hour)
        for kind in np.unique(rates.class_of_day).tolist()
        for hour in range(24)
    ]
    for reached, kind, hour in sorted(cells, reverse=True)[:_OTHER_CELLS]:
        if reached < _NEAR_LIMIT:
            return
        for day in np.flatnonzero(rates.class_of_day == kind).tolist():
            if day not in judged or abs(judged[day] - hour * 3600.0) >= LENGTH_S:
                yield _Span(day, hour * 3600.0, False)


def _seen(history: History, fit: Fit, spans: Sequence[_Span]) -> Seen:
    begins = [datetime.combine(fit.days.dates[span.day], time()) + timedelta(seconds=span.start_s) for span in spans]
    local = history.counts["start_local"].dt.epoch("us").to_numpy() / 1e6
    # Where clocks go back local times do too, and a search needs them in order.
    order = np.argsort(local, kind="stable")
    local = local[order]
    edges = np.array([(begin - datetime(1970, 1, 1)).total_seconds() for begin in begins])
    sums = {}
    for name in ("attempts", "refused"):
        reached = np.concatenate([[0.0], np.cumsum(history.counts[name].to_numpy()[order].astype(np.float64))])
        sums[name] = reached[np.searchsorted(local, edges + LENGTH_S)] - reached[np.searchsorted(local, edges)]
    within = round(LENGTH_S / fit.days.period_s)
    places = [(span.day, round(span.start_s / fit.days.period_s)) for span in spans]
    fresh = np.array([fit.days.counts[day, at : at + within].sum() for day, at in places]) * fit.days.multiplied
    return Seen(sums["attempts"], fresh, sums["refused"], _peaks(history, edges))


def _peaks(history: History, edges: FloatArray) -> FloatArray:
    """Return the most calls at once in each period; NaN where the history has no durations."""
    unknown = np.full(len(edges), np.nan)
    if history.calls is None:
        return unknown
    up = history.calls.filter((pl.col("status") == CallStatus.ANSWERED.value) & pl.col("holding_s").is_not_null())
    if not up.height:
        return unknown
    begin = up["start_local"].dt.epoch("us").to_numpy() / 1e6 + up["ringing_s"].fill_null(0.0).to_numpy()
    at_s, level = steps(begin, begin + up["holding_s"].to_numpy(), np.ones(up.height))
    # The level with which a period begins counts too: it was reached before.
    first = np.maximum(np.searchsorted(at_s, edges, side="right") - 1, 0)
    after = np.maximum(np.searchsorted(at_s, edges + LENGTH_S), first + 1)
    return np.maximum.reduceat(np.append(level, 0.0), np.column_stack([first, after]).ravel())[::2]


def _laid_out(
    request: Request,
    fit: Fit,
    spans: Sequence[_Span],
    limits: Mapping[date, int],
    interpretations: Sequence[ThrottleSettings],
) -> tuple[list[Batch], list[tuple[int, IntArray]], int]:
    """Return the batches, the repetition and spans of each, and the number of repetitions.

    Days with different throttles in force are in different batches.
    """
    lead = lead_s(request, fit)
    within = round(LENGTH_S / fit.days.period_s)
    firsts = [(span.day, round(span.start_s / fit.days.period_s)) for span in spans]
    calls = sum(float(fit.days.counts[day, first : first + within].sum()) for day, first in firsts)
    calls *= (1 + lead / LENGTH_S) * fit.days.multiplied
    # A small history gets more repetitions: there chance is larger, and calls are cheap.
    repetitions = int(np.clip(_CALLS_WANTED / max(calls, 1.0), _LEAST_REPETITIONS, _MOST_REPETITIONS))
    in_force = np.array([limits[fit.days.dates[span.day]] for span in spans])
    batches, where = [], []
    for repetition in range(repetitions):
        random = generator(request.seed, "back-cast", repetition)
        # Callers are drawn anew in each repetition, so the spread of repetitions has their uncertainty too.
        callers = alternative(fit, float(fit.days.counts.sum()), random)
        rates = fit.days.draw(random)
        for limit in np.unique(in_force):
            # One simulation has one throttle for all of its spans.
            which = np.flatnonzero(in_force == limit)
            layout = Layout(len(which), lead, LENGTH_S)
            placed = [spans[int(index)] for index in which]
            paths = [fit.days.path(rates, span.day, span.start_s - lead, lead + LENGTH_S, random) for span in placed]
            seed = int(generator(request.seed, "back-cast spans", repetition, int(limit)).integers(2**62))
            # All interpretations meet the same callers, so that they differ by the throttle alone.
            throttles = tuple(with_limit(interpretation, int(limit)) for interpretation in interpretations)
            arrivals = from_rates(paths, fit.days.step_s, layout)
            study = study_with(request, callers, arrivals, layout.duration_s, seed, throttles[0])
            batches.append(Batch(study, layout, throttles, request.engine))
            where.append((repetition, which))
    return batches, where, repetitions


def _rows(seen: Seen, made: Sequence[SpanValues], spans: Sequence[_Span], *, hidden: bool) -> Iterator[BackCastRow]:
    busy = np.array([span.is_busy for span in spans])
    yield from _scope("the busy periods", busy, seen, made, hidden=hidden, decisive=1.0)
    if (~busy).any():
        yield from _scope("other hours near the limit", ~busy, seen, made, hidden=hidden, decisive=_ELSEWHERE)
    share = seen.refused / np.maximum(seen.attempts, 1.0)
    # Without refusals in the history, the periods with the most attempts stand for the worst.
    order = np.argsort(-(share if not hidden else seen.attempts) * busy, kind="stable")[:_WORST]
    worst = np.zeros(len(spans), dtype=np.bool_)
    worst[order] = True
    yield from _scope("the worst busy periods", worst & busy, seen, made, hidden=hidden, decisive=None)


def _scope(
    scope: str,
    which: BoolArray,
    seen: Seen,
    made: Sequence[SpanValues],
    *,
    hidden: bool,
    decisive: float | None,
) -> Iterator[BackCastRow]:
    """Yield the rows of one scope.

    `decisive` multiplies the difference that is allowed; None: the scope is only shown and decides nothing.
    """
    hours = float(which.sum()) * LENGTH_S / 60

    def of(name: str) -> FloatArray:
        return np.array([float(one[name][which].sum()) for one in made])

    attempts, refused, calls = of("attempts"), of("refused"), of("calls")
    saw = {name: float(getattr(seen, name)[which].sum()) for name in ("attempts", "refused", "fresh")}
    if not hidden:
        yield _row(scope, "attempts refused", "share", _share(saw["refused"], saw["attempts"]),
                   _shares(refused, attempts), 1 / max(saw["attempts"], 1.0), decisive)  # fmt: skip
        yield _row(scope, "attempts", "per minute", saw["attempts"] / hours, attempts / hours, 1 / hours, None)
        redials = saw["attempts"] - saw["fresh"]
        yield _row(scope, "redials", "share", _share(redials, saw["attempts"]), _shares(attempts - calls, attempts),
                   1 / max(saw["attempts"], 1.0), None)  # fmt: skip
    yield _row(scope, "admitted", "per minute", (saw["attempts"] - saw["refused"]) / hours,
               (attempts - refused) / hours, 1 / hours, decisive)  # fmt: skip
    peaks = seen.peak[which]
    if len(peaks) and not np.isnan(peaks).any():
        drawn = np.array([float(one["peak_concurrency"][which].mean()) for one in made])
        yield _row(scope, "calls at once", "1", float(peaks.mean()), drawn, 1.0, None)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _shares(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.asarray(part / np.maximum(whole, 1.0))


def _row(  # noqa: PLR0917  # one after the other, as they stand in a row
    scope: str, quantity: str, unit: str, saw: float, drawn: FloatArray, grain: float, decisive: float | None
) -> BackCastRow:
    """Compare what was seen with the repetitions. `grain`, the smallest step of the quantity, is its least spread."""
    mean, count = float(drawn.mean()), len(drawn)
    # The history is one more repetition: its own chance, and the error of the mean of the others.
    deviation = max(float(drawn.std(ddof=1)), grain) * math.sqrt(1 + 1 / count)
    t = float(stdtrit(count - 1, 0.975))
    p_value = float(2 * stdtr(count - 1, -abs(saw - mean) / deviation))
    allowed = max(_ABSOLUTE.get(quantity, 0.0), _RELATIVE[quantity] * max(abs(saw), abs(mean)))
    # Significance alone is too strict: with many calls a model is contradicted by differences that change no decision.
    near = abs(saw - mean) <= allowed * (decisive or 1.0)
    expected = Ranged(mean, max(0.0, mean - t * deviation), mean + t * deviation)
    return BackCastRow(
        scope, quantity, unit, saw, expected, p_value, decisive is not None, near or p_value >= SIGNIFICANT
    )


def not_contradicted(found: Sequence[BackCast], request: Request) -> tuple[int, ...]:
    """Return the indices of the request's interpretations that take part in the decision.

    They are those that reproduce the history. Where `enforced` says how the throttle worked, it alone is tested, and if
    it passes, all take part. Empty: none reproduces the history.
    """
    if request.enforced is not None:
        return tuple(range(len(request.interpretations))) if found[0].reproduces else ()
    return tuple(index for index, one in enumerate(found) if one.reproduces)
