"""Which attempts of a history are redials, and from them: how likely a failed attempt is followed by another, and when.

A redial is an attempt of the same caller to the same number, within ten minutes of one that failed. Whether callers
obey Retry-After cannot be seen in a history and stays as assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from models.distributions import Distribution, Empirical, Exponential, Lognormal
from models.fitting.grid import FloatArray
from models.fitting.result import Ranged, RedialFit, proportion
from models.fitting.settings import Assumed
from models.history.table import CallStatus

WINDOW_S = 600.0
FAILED = (CallStatus.REFUSED.value, CallStatus.REJECTED.value)
"""What `Redial.after` means in a history: the caller did not reach the other side."""
_LEAST_FAILED = 50
_MOST_ATTEMPTS = 20
_SURE = 1e-4
_KS_GOOD = 0.03
_QUANTILES = 100


@dataclass(frozen=True, eq=False)
class Chains:
    """The attempts of a history, each with its place among those of one call."""

    attempts: pl.DataFrame
    """The calls, with `attempt` (1: first), `followed` and `wait_s` (to the next of the same pair)."""
    background: float
    """Share of answered calls that were followed by the same pair within the window all the same."""
    shown: bool
    """Whether the history tells pairs apart; without, every attempt is its own first."""


def chains(calls: pl.DataFrame) -> Chains:
    """Recognise redials; `calls` has `models.history.table.CALLS_SCHEMA`."""
    known = calls["caller"].is_not_null() & calls["callee"].is_not_null()
    if not known.any():
        alone = calls.with_columns(pl.lit(1).alias("attempt"), pl.lit(False).alias("followed"), _no_wait())
        return Chains(alone, 0.0, shown=False)
    pair = ("direction", "caller", "callee")
    start = pl.col("start_utc")
    same_next = pl.all_horizontal(pl.col(name) == pl.col(name).shift(-1) for name in pair).fill_null(False)
    wait = (start.shift(-1) - start).dt.total_microseconds() / 1e6 - pl.col("ringing_s").fill_null(0.0)
    failed = pl.col("status").is_in(FAILED)
    table = (
        calls.sort(*pair, "start_utc", "row")
        .with_columns(pl.when(same_next & (wait <= WINDOW_S)).then(wait.clip(0.0)).alias("wait_s"))
        .with_columns(pl.col("wait_s").is_not_null().alias("near"))
        .with_columns((pl.col("near") & failed).alias("followed"))
        .with_row_index("place")
    )
    first = pl.when(~pl.col("followed").shift(1, fill_value=False)).then(pl.col("place")).forward_fill()
    table = table.with_columns((pl.col("place") - first + 1).cast(pl.Int32).alias("attempt"))
    answered = (pl.col("status") == CallStatus.ANSWERED.value) & pl.col("caller").is_not_null()
    background = table.filter(answered)["near"].mean()
    return Chains(table.drop("place", "near"), float(background or 0.0), shown=True)  # type: ignore[arg-type]


def _no_wait() -> pl.Expr:
    return pl.lit(None, dtype=pl.Float64).alias("wait_s")


def fit_redials(found: Chains, assumed: Assumed) -> RedialFit:
    """What callers do after a failure; as assumed where fewer than 50 failures can be followed."""
    start = pl.col("start_utc")
    seen_through = start <= start.max() - pl.duration(seconds=int(WINDOW_S))
    failed = found.attempts.filter(pl.col("status").is_in(FAILED) & seen_through & pl.col("caller").is_not_null())
    if not found.shown or failed.height < _LEAST_FAILED:
        taken = assumed.redial
        return RedialFit(taken, Ranged(taken.probability, taken.probability, taken.probability), observed=False)
    most = _most_attempts(failed, assumed)
    willing = failed.filter(pl.col("attempt") < most)
    chance = _probability(willing, found.background)
    waits = willing.filter("followed")["wait_s"].to_numpy()
    update = {"probability": chance.value, "attempts": most}
    redial = assumed.redial.model_copy(update=update | ({"delay": _delay(waits)} if len(waits) >= 20 else {}))
    return RedialFit(redial, chance, observed=True)


def _most_attempts(failed: pl.DataFrame, assumed: Assumed) -> int:
    """The longest chain, where enough of that length failed that chance alone would have continued one."""
    longest = int(failed["attempt"].max() or 1)  # type: ignore[arg-type]
    at_longest = failed.filter(pl.col("attempt") == longest).height
    before = failed.filter(pl.col("attempt") < longest)
    if longest > 1 and before.height:
        ended = (1 - float(before["followed"].mean() or 0.0)) ** at_longest  # type: ignore[arg-type]
        if ended < _SURE:
            return min(longest, _MOST_ATTEMPTS)
    return min(max(longest, assumed.redial.attempts), _MOST_ATTEMPTS)


def _probability(willing: pl.DataFrame, background: float) -> Ranged:
    """Share followed, with chance meetings of the same pair taken off; the interval is the wider of the binomial and
    the one from hours as clusters.
    """
    by_hour = willing.group_by(pl.col("start_utc").dt.truncate("1h")).agg(
        pl.len().alias("failed"), pl.col("followed").sum().cast(pl.Float64).alias("followed")
    )
    failed, followed = by_hour["failed"].to_numpy().astype(np.float64), by_hour["followed"].to_numpy()
    share = float(followed.sum() / failed.sum())
    low, high = proportion(float(followed.sum()), float((failed - followed).sum()))
    if len(failed) > 5:
        error = np.sqrt(((followed - share * failed) ** 2).sum() * len(failed) / (len(failed) - 1)) / failed.sum()
        reach = float(stats.t.ppf(0.975, len(failed) - 1) * error)
        low, high = min(low, share - reach), max(high, share + reach)
    clean = [float(np.clip((value - background) / (1 - background), 0.0, 1.0)) for value in (share, low, high)]
    return Ranged(*clean)


def _delay(waits_s: FloatArray) -> Distribution:
    """The simplest that fits: exponential (cut off at the window), lognormal, or what was seen."""
    waits_s = np.maximum(waits_s, 0.0)
    mean = max(_untruncated_mean(float(waits_s.mean())), 1e-3)
    candidates: list[Distribution] = [Exponential(kind="exponential", mean_s=mean)]
    cv = float(waits_s.std() / max(waits_s.mean(), 1e-9))
    if cv > 0.01:
        candidates.append(Lognormal(kind="lognormal", mean_s=float(max(waits_s.mean(), 1e-3)), cv=cv))
    grid = (np.arange(2000) + 0.5) / 2000
    for candidate in candidates:
        # Whole seconds are no misfit: half a second is allowed for.
        model = candidate.quantile(grid)
        seen = np.quantile(waits_s, grid)
        share = np.searchsorted(np.sort(waits_s), model + 0.5, side="right") / len(waits_s)
        least = np.searchsorted(np.sort(waits_s), model - 0.5, side="left") / len(waits_s)
        gap = np.maximum(np.maximum(grid - share, least - grid), 0.0).max()
        if gap < max(_KS_GOOD, 1.63 / np.sqrt(len(waits_s))) and seen[-1] > 0:
            return candidate
    values = np.quantile(waits_s, (np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    return Empirical(kind="empirical", values_s=tuple(map(float, values)))


def _untruncated_mean(mean_s: float) -> float:
    """Mean of an exponential whose part below the window has this mean; the window bounds how far it can be undone."""
    estimate = mean_s
    for _ in range(50):
        beyond = np.exp(-WINDOW_S / estimate)
        estimate = min(mean_s + WINDOW_S * float(beyond / (1 - beyond)), 2 * WINDOW_S)
    return estimate
