"""Find the redials of a history, and estimate how likely and how soon a failed attempt is followed by another.

A redial is an attempt of the same caller to the same number, within ten minutes of a failed one. Each kind of failure
has its own chance: callers whom the throttle refused try again soon and often, callers who heard busy less so. A
history does not show whether callers obey Retry-After; that stays as assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.redial_chances import (
    LEAST_FAILURES,
    ReasonChances,
    clean,
    cluster_factor,
    with_chances,
)
from trunkproof.models.demand.fitting.redial_delays import fit_delay, own_delays
from trunkproof.models.demand.fitting.result import Ranged, RedialFit
from trunkproof.models.demand.fitting.settings import Assumed
from trunkproof.models.demand.history.table import CallStatus
from trunkproof.models.distributions import Distribution
from trunkproof.models.records import Disposition
from trunkproof.models.traffic import MOST_ATTEMPTS, Redial

WINDOW_S = 600.0
FAILED = (CallStatus.REFUSED.value, CallStatus.REJECTED.value)
"""Statuses of attempts that did not reach the other side."""
REASONS = {
    CallStatus.REFUSED.value: Disposition.THROTTLED,
    CallStatus.REJECTED.value: Disposition.CARRIER_REJECTED,
    CallStatus.BUSY.value: Disposition.BUSY,
    CallStatus.NO_ANSWER.value: Disposition.NO_ANSWER,
    CallStatus.ABANDONED.value: Disposition.ABANDONED,
}
"""Status of a history -> the kind of failure after which a caller may try again."""
KNOWN = pl.col("caller").is_not_null() & pl.col("callee").is_not_null()
"""Attempts with the numbers of both sides."""
_SURE = 1e-4
_DIFFERENT = 1e-3
_GROUPS = 5
"""Attempts up to this one may have chances of their own; later ones have those of this one."""
_LEAST_WAITS = 20
_WEAK, _SAID = 2.0, 20.0
"""What a prior is worth in failures: ours hardly anything; the request's own word is left a doubt of 0.2."""


@dataclass(frozen=True, eq=False)
class Chains:
    """The attempts of a history, each with its place among those of one call."""

    attempts: pl.DataFrame
    """The calls, with `attempt` (1: first), `followed` (by a redial) and `wait_s` (to the next of the same pair). Those
    of one call stand together, in their order."""
    background: float
    """Share of answered calls that were followed by a call of the same pair within the window: coincidences."""
    shown: bool
    """Whether the history tells pairs apart; if not, every attempt counts as a first one."""


def chains(calls: pl.DataFrame) -> Chains:
    """Recognise redials; `calls` has `models.demand.history.table.CALLS_SCHEMA`."""
    if not calls.select(KNOWN.any()).item():
        alone = calls.with_columns(pl.lit(1).alias("attempt"), pl.lit(False).alias("followed"), _no_wait())
        return Chains(alone, 0.0, shown=False)
    pair = ("direction", "caller", "callee")
    start = pl.col("start_utc")
    same_next = pl.all_horizontal(pl.col(name) == pl.col(name).shift(-1) for name in pair).fill_null(False)
    # The wait begins when the failed attempt has ended, not when it began.
    gap = (start.shift(-1) - start).dt.total_microseconds() / 1e6 - pl.col("ringing_s").fill_null(0.0)
    # Nobody calls a number again while talking to it, but a PBX may do so for somebody else.
    after = gap - pl.col("holding_s").fill_null(0.0)
    wait = pl.when(after >= 0).then(after).otherwise(gap)
    failed = pl.col("status").is_in(list(REASONS))
    table = (
        calls.sort(*pair, "start_utc", "row")
        .with_columns(pl.when(same_next & (wait <= WINDOW_S)).then(wait.clip(0.0)).alias("wait_s"))
        .with_columns(pl.col("wait_s").is_not_null().alias("near"))
        # A call after an answered one is a new call. Such pairs show how often coincidence looks like a redial.
        .with_columns((pl.col("near") & failed).alias("followed"))
        .with_row_index("place")
    )
    # A first attempt is one whose predecessor was not followed. The place in the chain counts from there.
    first = pl.when(~pl.col("followed").shift(1, fill_value=False)).then(pl.col("place")).forward_fill()
    table = table.with_columns((pl.col("place") - first + 1).cast(pl.Int32).alias("attempt"))
    answered = (pl.col("status") == CallStatus.ANSWERED.value) & KNOWN
    background = table.filter(answered)["near"].mean()
    return Chains(table.drop("place", "near"), float(background or 0.0), shown=True)  # type: ignore[arg-type]


def _no_wait() -> pl.Expr:
    return pl.lit(None, dtype=pl.Float64).alias("wait_s")


def fit_redials(found: Chains | None, assumed: Assumed, *, imputed: int = 0) -> RedialFit:
    """Return what callers do after each kind of failure; `found` is None for a history of counts.

    `imputed` is the number of rejections that were drawn among refusals (`History.imputed`). It makes both less
    certain.

    A kind with fewer than 50 failures also has a prior. If the request states `redial`, that is the prior, with the
    weight of 20 failures. Otherwise it is the assumed value, with the weight of 2 failures.
    """
    if found is None or not found.shown:
        guessed = tuple(_guessed(reason, assumed) for reason in (Disposition.THROTTLED, Disposition.CARRIER_REJECTED))
        return _result(assumed.redial, guessed, {each.reason: _ranged(each) for each in guessed}, assumed)
    start = pl.col("start_utc")
    # A failure in the last ten minutes may be followed after the end of the history.
    seen_through = start <= start.max() - pl.duration(seconds=int(WINDOW_S))
    failed = found.attempts.filter(pl.col("status").is_in(list(REASONS)) & seen_through & KNOWN)
    most = _most_attempts(failed, found.background, assumed)
    delays = _Delays(failed, found.background, imputed)
    chances, ranges = [], {}
    for status, reason in REASONS.items():
        own = failed.filter(pl.col("status") == status)
        if own.height or reason is Disposition.THROTTLED:
            # Callers who have no attempt left do not choose to give up, so they tell nothing about the chance.
            fitted, pooled = _reason(status, own.filter(pl.col("attempt") < most), own, assumed, delays)
            chances.append(fitted)
            ranges[reason] = pooled
    update = {"attempts": most} | ({"delay": delays.distribution} if delays.distribution is not None else {})
    redial = assumed.redial.model_copy(update=update)
    redial = with_chances(redial, {each.reason: each.value for each in chances})
    return _result(redial, tuple(chances), ranges, assumed)


def _result(
    redial: Redial, chances: tuple[ReasonChances, ...], ranges: dict[Disposition, Ranged], assumed: Assumed
) -> RedialFit:
    refused = next(each for each in chances if each.reason is Disposition.THROTTLED)
    return RedialFit(
        redial,
        ranges[Disposition.THROTTLED],
        observed=refused.failures >= LEAST_FAILURES,
        by_reason=ranges,
        chances=chances,
    )


def _prior(reason: Disposition, assumed: Assumed) -> tuple[float, float]:
    """Return the Beta prior of a chance."""
    redial = assumed.redial
    is_said = reason in redial.after or getattr(redial.by_reason, reason.value) is not None
    if not is_said:
        return _WEAK / 2, _WEAK / 2
    worth = _SAID if "redial" in assumed.model_fields_set else _WEAK
    mean = float(np.clip(redial.chance(reason, 0), 0.05, 0.95))
    return worth * mean, worth * (1 - mean)


def _guessed(reason: Disposition, assumed: Assumed) -> ReasonChances:
    """Return the chances after a kind of failure that the history does not show."""
    yes, no = _prior(reason, assumed)
    chance = assumed.redial.chance(reason, 0)
    return ReasonChances(reason, 0, (chance,), chance, 0.0, (yes,), (no,), 0.0, 1.0)


def _ranged(guessed: ReasonChances) -> Ranged:
    low, high = (float(stats.beta.ppf(share, guessed.yes[0], guessed.no[0])) for share in (0.025, 0.975))
    value = guessed.value[0]
    return Ranged(value, min(low, value), max(high, value))


def _reason(
    status: str, willing: pl.DataFrame, own: pl.DataFrame, assumed: Assumed, delays: _Delays
) -> tuple[ReasonChances, Ranged]:
    """Return the chances after one kind of failure, and that of all attempts; `own` includes callers' last attempts."""
    reason, background, within = REASONS[status], delays.background, delays.within(status)
    failures, followed = _counts(willing)
    factor = cluster_factor(*_by_hour(willing)) + delays.told_factor(status, willing)
    # With enough failures only Jeffreys' prior is left: an assumption must not move what the history shows.
    prior = _prior(reason, assumed) if failures.sum() < LEAST_FAILURES else (0.5, 0.5)
    groups = _groups(failures, followed, factor)

    def posterior(count: float, yes: float) -> tuple[float, float]:
        # Failures of a busy hour go together: `factor` of them tell as much as one independent failure.
        return prior[0] + yes / factor, prior[1] + (count - yes) / factor

    def value(count: float, yes: float) -> float:
        if failures.sum() >= LEAST_FAILURES:
            return clean(yes / count, background, within)
        one, other = posterior(count, yes)
        return clean(one / (one + other), background, within)

    counted = [(failures[group].sum(), followed[group].sum()) for group in groups]
    betas = [posterior(*each) for each in counted]
    total = (failures.sum(), followed.sum())
    everyone = float(own["followed"].mean() or 0.0)  # type: ignore[arg-type]
    chances = ReasonChances(
        reason,
        failures=int(total[0]),
        value=tuple(value(*each) for each in counted),
        share=clean(everyone, background, within) if own.height >= LEAST_FAILURES else value(*total),
        followed=total[1] / total[0] if total[0] else 0.0,
        yes=tuple(yes for yes, _ in betas),
        no=tuple(no for _, no in betas),
        background=background,
        within=within,
    )
    low, high = (float(stats.beta.ppf(share, *posterior(*total))) for share in (0.025, 0.975))
    # If all or none were followed, the true chance may be 1 or 0.
    if total[0]:
        low, high = low if total[1] else 0.0, high if total[1] < total[0] else 1.0
    low, high = chances.bounds(low, high)
    pooled = value(*total)
    return chances, Ranged(pooled, min(low, pooled), max(high, pooled))


def _counts(failed: pl.DataFrame) -> tuple[FloatArray, FloatArray]:
    """Return, by attempt from the first on, the number of failures and of those that were followed."""
    attempt = failed["attempt"].clip(1, _GROUPS).to_numpy() - 1
    weights = failed["followed"].cast(pl.Float64).to_numpy()
    return (
        np.bincount(attempt, minlength=_GROUPS).astype(np.float64),
        np.bincount(attempt, weights=weights, minlength=_GROUPS).astype(np.float64),
    )


def _by_hour(failed: pl.DataFrame) -> tuple[FloatArray, FloatArray]:
    by_hour = failed.group_by(pl.col("start_utc").dt.truncate("1h")).agg(
        pl.len().cast(pl.Float64).alias("failed"), pl.col("followed").sum().cast(pl.Float64)
    )
    return by_hour["failed"].to_numpy(), by_hour["followed"].to_numpy()


def _groups(failures: FloatArray, followed: FloatArray, factor: float) -> list[slice]:
    """Group attempts by clearly different chances, as slices; a single group where they do not differ clearly."""
    last = max((place for place in range(_GROUPS) if failures[place:].sum() >= LEAST_FAILURES), default=0)
    groups = [*(slice(place, place + 1) for place in range(last)), slice(last, None)]
    yes = np.array([followed[group].sum() for group in groups])
    count = np.array([failures[group].sum() for group in groups])
    share = yes.sum() / max(count.sum(), 1.0)
    if last == 0 or (count < LEAST_FAILURES).any() or not 0 < share < 1:
        return [slice(None)]
    # Chi-square for equal shares, less what the clusters of hours add to it.
    distance = float((((yes - share * count) ** 2) / (share * (1 - share) * count)).sum()) / factor
    return groups if stats.chi2.sf(distance, last) < _DIFFERENT else [slice(None)]


def _most_attempts(failed: pl.DataFrame, background: float, assumed: Assumed) -> int:
    """Return the attempt after which nobody tries again, or at least the assumed one if too few failures show it."""
    shares = failed.group_by("status", "attempt").agg(
        pl.len().cast(pl.Float64).alias("count"), pl.col("followed").sum().cast(pl.Float64).alias("yes")
    )
    longest = int(failed["attempt"].max() or 1)  # type: ignore[arg-type]
    for last in range(2, min(longest, MOST_ATTEMPTS) + 1):
        before = shares.filter(pl.col("attempt") < last).group_by("status").agg(pl.col("yes", "count").sum())
        here = shares.filter(pl.col("attempt") == last).join(before, on="status", suffix="_before")
        count, yes = float(here["count"].sum()), float(here["yes"].sum())
        if not count:
            continue
        expected = float((here["count"] * here["yes_before"] / here["count_before"]).sum()) / count
        # Two conditions: far fewer follow than after earlier attempts, and no more than coincidence explains.
        fewer = float(stats.binom.cdf(yes, count, expected)) < _SURE
        if fewer and float(stats.binom.sf(yes - 1, count, background)) > _DIFFERENT:
            return last
    return min(max(longest, assumed.redial.attempts), MOST_ATTEMPTS)


class _Delays:
    """Delays before redials: those after refusals if there are enough, because the throttle meets those; else all."""

    def __init__(self, failed: pl.DataFrame, background: float, imputed: int) -> None:
        self._failed, self.background, self._imputed = failed, background, imputed
        refused = self._waits(CallStatus.REFUSED.value)
        waits = refused if len(refused) >= LEAST_FAILURES else self._waits()
        self.distribution: Distribution | None = None
        self._within = 1.0
        if len(waits) >= _LEAST_WAITS:
            self.distribution, self._within = fit_delay(waits, WINDOW_S)

    def within(self, status: str) -> float:
        """Return the share of redials after such a failure that come within the window."""
        waits = self._waits(status)
        return fit_delay(waits, WINDOW_S)[1] if len(waits) >= LEAST_FAILURES else self._within

    def told_factor(self, status: str, own: pl.DataFrame) -> float:
        """Return the extra variance, in variances of independent failures, as some may be of the other kind.

        The number of rejections among refusals is estimated from other windows. Chance in both makes it uncertain by
        about the square root of twice their number.
        """
        if not self._imputed or status not in FAILED or not own.height:
            return 0.0
        others = self._failed.filter(pl.col("status").is_in(FAILED) & (pl.col("status") != status))["followed"]
        share, other = (float(each.mean() or 0.0) for each in (own["followed"], others))  # type: ignore[arg-type]
        if not 0 < share < 1:
            return 0.0
        return (share - other) ** 2 * 2 * self._imputed / own.height / (share * (1 - share))

    def _waits(self, *statuses: str) -> FloatArray:
        own = self._failed.filter(pl.col("status").is_in(statuses)) if statuses else self._failed
        followed = own["followed"].mean()
        share = float(followed or 0.0)  # type: ignore[arg-type]
        coincident = 1 - clean(share, self.background) / share if share else 0.0
        return own_delays(own.filter("followed")["wait_s"].to_numpy(), WINDOW_S, coincident)


def fresh_calls(found: Chains, fit: RedialFit) -> pl.DataFrame:
    """Return the attempts with `fresh`: the part of each that is a call of its own, between 0 and 1.

    A first attempt counts 1. A redial counts 0, or the share of coincidences. Attempts without a number are redials in
    the share that the others show: each of their failures subtracts the redial that is expected to follow it.
    """
    table = found.attempts
    by_reason = {each.reason: each for each in fit.chances}
    of_status = {status: by_reason.get(reason) for status, reason in REASONS.items()}

    def of(name: str, status: pl.Expr) -> pl.Expr:
        values = {status: 0.0 if each is None else float(getattr(each, name)) for status, each in of_status.items()}
        return status.cast(pl.String).replace_strict(values, default=0.0, return_dtype=pl.Float64)

    is_first, status = pl.col("attempt") == 1, pl.col("status")
    # A failure that was not followed within the window may have been followed later. That redial stands in the history
    # as a first attempt, so its share is taken off here.
    missed = pl.when(pl.col("followed")).then(0.0).otherwise(of("late", status))
    own = pl.when(is_first).then(1.0).otherwise(of("coincident", status.shift(1))) - missed
    anonymous = 1.0 - of("share", status)
    return table.with_columns(pl.when(KNOWN).then(own).otherwise(anonymous).clip(0.0, 1.0).alias("fresh"))
