"""Bring another customer's counts to this trunk's size: the setting `scale`.

Above 1, each count is multiplied. Chance in a small count then looks like spread of a large one. So a fit takes the
file's own counts (`History.as_filed`) and multiplies the rates instead.

Below 1, each call is kept with the probability `scale` (binomial thinning). That is exact: the mean is multiplied, and
the relative spread of the rates stays.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from trunkproof.models.demand.history.oddities import Ledger

_SEED = 20_240_229
"""Fixed, so that the same file and scale always give the same history."""


def scaled(counts: pl.DataFrame, scale: float, ledger: Ledger) -> pl.DataFrame:
    """Return the counts multiplied. Totals follow the scale, and refused calls stay part of the attempts."""
    if scale == 1:
        return counts
    passed, refused = counts["attempts"] - counts["refused"], counts["refused"]
    parts = [_thinned(part, scale) if scale < 1 else _multiplied(part, scale) for part in (passed, refused)]
    ledger.note("scaled", counts.height, handled=_handled(scale))
    return counts.with_columns((parts[0] + parts[1]).alias("attempts"), parts[1].alias("refused"))


def _multiplied(counts: pl.Series, scale: float) -> pl.Series:
    """Return whole numbers whose running sum is never more than half a call off the sum of the exact products."""
    running = np.rint(np.cumsum(counts.to_numpy().astype(np.float64)) * scale).astype(np.int64)
    return pl.Series(counts.name, np.diff(running, prepend=0))


def _thinned(counts: pl.Series, scale: float) -> pl.Series:
    drawn = np.random.Generator(np.random.PCG64(_SEED)).binomial(counts.to_numpy(), scale)
    return pl.Series(counts.name, drawn.astype(np.int64))


def _handled(scale: float) -> str:
    if scale < 1:
        return f"each call kept with probability {scale:g}: the relative spread of the rates is as it was"
    return f"each count times {scale:g}; rates and their busyness are fitted to the file's own counts, then multiplied"
