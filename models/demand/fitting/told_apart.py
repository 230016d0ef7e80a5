"""Tell rejections of the far side from refusals of the throttle, where a history has one word for both.

The operator's own export says `failed` for either, and some carriers answer 503 as the throttle does. A throttle
refuses nobody before its window is full. So what fails in a window that is not full was rejected by the far side. These
failures show which share of admitted attempts is rejected, and how often their callers try again. In full windows the
same share of attempts is taken for rejections. Their number is an estimate; which ones they are is drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.demand.fitting.redials import chains
from trunkproof.models.demand.history.table import CallStatus, History, Oddity
from trunkproof.models.streams import generator
from trunkproof.models.throttles.registry import ThrottleSettings

_FULL_FROM = 0.95
"""A window with fewer attempts than this share of the limit refused nobody, even if some rows are missing."""
_HALF = 0.5
_LEAST = 30
"""Least number of failures in windows that are not full: fewer tell nothing."""
_LEAST_SHARE = 0.002
_Z = 4.5
_LOAD_STEP = 0.1
"""Windows count as alike if their loads lie in the same tenth of the limit."""
_ATTEMPTS = 3
"""The third attempt and all later ones count as alike."""
_STEPS, _MOST_FACTOR = 20, 3.0
_ROUNDING_S = 2.0
"""Times may be rounded to seconds, or be the ends of calls."""


def told_apart(
    history: History, limit_per_minute: int, enforced: ThrottleSettings | None = None, *, seed: int = 1
) -> History:
    """Return the history with rejections marked as such, and an oddity that says how many there are.

    The history is returned unchanged where nothing can be told: it has no refusals; the throttle can refuse without a
    full window; or failures grow with the load long before the limit, as if the limit were lower than stated.
    """
    # Without `enforced`, a window of a minute is taken: the documented throttle counts by the minute.
    window_s = 60.0 if enforced is None else enforced.full_window_s
    if history.calls is None or window_s is None:
        return history
    calls = history.calls
    refused = (calls["status"] == CallStatus.REFUSED.value).to_numpy()
    share = _in_window(calls, window_s) / (limit_per_minute * window_s / 60)
    full = share >= _FULL_FROM
    if not _is_rejection(refused, share, full):
        return history
    imputed = _among_full(calls, refused, share, generator(seed, "told apart").random(calls.height))
    chosen = refused & ~full | imputed
    rejected = pl.lit(CallStatus.REJECTED.value, dtype=calls.schema["status"])
    told = calls.with_columns(pl.when(pl.Series(chosen)).then(rejected).otherwise("status").alias("status"))
    oddity = Oddity(
        kind="rejected_not_refused",
        count=int(chosen.sum()),
        what="failures in minutes that are not full, which the throttle cannot have made, and as many in full minutes",
        handled="taken as rejected beyond the trunk",
    )
    return replace(
        history,
        calls=told,
        counts=_without(history, calls.filter(chosen)),
        oddities=(*history.oddities, oddity),
        imputed=int(imputed.sum()),
    )


def _in_window(calls: pl.DataFrame, window_s: float) -> FloatArray:
    """Return, for each attempt, the number of attempts in the window that ends with it, itself included."""
    at_us = calls["start_utc"].dt.epoch("us").to_numpy()
    ordered = np.sort(at_us)
    margin_us = round(_ROUNDING_S * 1e6)
    # The window is taken a little too long at both ends. So it may count too many attempts, never too few, and a window
    # that is not full by this count surely was not.
    before = np.searchsorted(ordered, at_us - round(window_s * 1e6) - margin_us, side="left")
    count: FloatArray = (np.searchsorted(ordered, at_us + margin_us, side="right") - before).astype(np.float64)
    return count


@dataclass(frozen=True)
class _Failing:
    """Number of failures among a number of attempts."""

    count: int
    of: int

    @property
    def share(self) -> float:
        return self.count / max(self.of, 1)


def _is_rejection(refused: BoolArray, share: FloatArray, full: BoolArray) -> bool:
    """Tell whether failures in windows that are not full are independent of the load."""
    low, mid = (
        _Failing(int(refused[part].sum()), int(part.sum())) for part in (share < _HALF, (share >= _HALF) & ~full)
    )
    both = _Failing(low.count + mid.count, low.of + mid.of)
    # So few failures change no decision, whatever they are.
    if both.count < _LEAST or both.share < _LEAST_SHARE:
        return False
    if not low.of or not mid.of:
        return True
    error = np.sqrt(both.share * (1 - both.share) * (1 / low.of + 1 / mid.of))
    # Redials come in bunches: a share may differ by more than chance, but not by half.
    return bool(mid.share - low.share < max(_Z * error, both.share / 2))


def _among_full(calls: pl.DataFrame, refused: BoolArray, share: FloatArray, draws: FloatArray) -> BoolArray:
    """Draw which failures in full windows are taken for rejections: as many, and as often redialled, as elsewhere.

    Attempts form groups of the same load, the same attempt number, with or without a caller's number. In each group,
    rejections have the same ratio to admitted attempts as in windows that are not full.
    """
    is_known = (calls["caller"].is_not_null() & calls["callee"].is_not_null()).alias("known")
    found = chains(calls).attempts.select("row", "followed", pl.col("attempt").clip(1, _ATTEMPTS))
    table = (
        calls.select("row", is_known)
        .with_columns(
            refused=pl.Series(refused),
            full=pl.Series(share >= _FULL_FROM),
            load=pl.Series(np.minimum(share / _LOAD_STEP, 1e6).astype(np.int64)),
        )
        .join(found, on="row", how="left", maintain_order="left")
    )
    sure = table.filter(pl.col("refused") & ~pl.col("full"))
    odds = sure.height / max(table.filter(~pl.col("refused") & ~pl.col("full")).height, 1)
    # How often callers redial is the second mark: a rejected caller tries again less often than a refused one.
    again = float(sure.filter("known")["followed"].mean() or 0.0)  # type: ignore[arg-type]
    full, group = table.filter("full"), ("load", "attempt", "known")
    of_kind = pl.when(~pl.col("known")).then(1.0).when("followed").then(again).otherwise(1 - again)
    weighed = full.select(
        "refused",
        "known",
        "followed",
        kind=of_kind,
        expected=odds * (~pl.col("refused")).sum().over(group) * of_kind,
        alike=pl.col("refused").sum().over(*group, "followed"),
    )
    chance = np.zeros(full.height)
    for known, followed in ((True, True), (True, False), (False, False)):
        own = (pl.col("known") == known) & (pl.col("followed") == followed)
        chosen = weighed.select(own & pl.col("refused")).to_series().to_numpy()
        passed = weighed.filter((pl.col("known") == known) & ~pl.col("refused")).height
        if chosen.any():
            kind = float(weighed["kind"].to_numpy()[chosen][0])
            chance[chosen] = _scaled((weighed["expected"] / weighed["alike"]).to_numpy()[chosen], odds * passed * kind)
    found_here = np.zeros(calls.height, dtype=np.bool_)
    at_full = share >= _FULL_FROM
    # One draw per row, made beforehand, so that a row's draw does not depend on the groups.
    found_here[at_full] = draws[at_full] < chance
    return found_here


def _scaled(chances: FloatArray, total: float) -> FloatArray:
    """Scale chances so that they add up to `total`, none above 1; groups short of failures leave theirs to others."""
    factor = 1.0
    for _ in range(_STEPS):
        have = float(np.minimum(chances * factor, 1.0).sum())
        # Repeated, because a chance that is cut at 1 leaves its rest to the others.
        factor *= total / have if have else 1.0
    scaled: FloatArray = np.minimum(chances * min(factor, _MOST_FACTOR), 1.0)
    return scaled


def _without(history: History, rejected: pl.DataFrame) -> pl.DataFrame:
    """Return the counts without the rejected attempts among the refused ones."""
    counts = history.counts
    first = counts["start_utc"].dt.epoch("us")[0]
    place = (rejected["start_utc"].dt.epoch("us").to_numpy() - first) // round(history.interval_s * 1e6)
    fewer = np.bincount(np.clip(place, 0, counts.height - 1).astype(np.int64), minlength=counts.height)
    return counts.with_columns((pl.col("refused") - pl.Series(fewer)).clip(lower_bound=0))
