"""Check the order of a file's times: steps of its clock, and rows that are far from all others.

A file is in the order in which calls began or ended, forwards or backwards. A step is a jump back by more than two
minutes, after which the rows go on from there.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from trunkproof.models.arrays import BoolArray, IntArray
from trunkproof.models.demand.history.oddities import SHOWN, Ledger
from trunkproof.models.demand.history.opened import FILE_STEP, place_of
from trunkproof.models.demand.history.table import CallStatus

STEP_S = 120
"""Rows of two writers are never out of order by more than this."""
FAR = timedelta(days=30)
_FEW = 0.01
"""Largest share of rows that are left out as far from all others; more of them belong to the history."""
_ORDERLY = 0.05
"""A file is in order up to this share of jumps back."""
_ONE_STEP = 100
"""Jumps back within so many rows belong to one step."""
_SLACK_US = 2_000_000
"""Tolerance for times in whole seconds, which writers round differently."""


def note_steps(frame: pl.DataFrame, ledger: Ledger) -> None:
    """Note where a file goes back in time, by its own order of rows; each file has an order of its own.

    A step is a jump back by more than two minutes that is also seen in the medians of the three rows before and after
    it. Jumps within a hundred rows of a step belong to it, because calls in progress end on either side of it.
    """
    first, last = frame["row"].min(), frame["row"].max()
    if frame.height and place_of(first)[0] != place_of(last)[0]:  # type: ignore[arg-type]
        of = frame["row"] // FILE_STEP
        for number in of.unique().sort():
            note_steps(frame.filter(of == number), ledger)
        return
    began = frame["start"].to_physical()
    orders = {"began": began, "began, last first": -began}
    ended = frame.select(_ended()).to_series().to_physical()
    if 2 * ended.null_count() <= frame.height:
        orders |= {"ended": ended, "ended, last first": -ended}
    falls = {order: _falls(times) for order, times in orders.items()}
    least = min(falls, key=falls.__getitem__)
    if falls[least] > _ORDERLY * frame.height:
        ledger.note("unordered", falls[least])
        return
    known = orders[least].is_not_null()
    _note(frame["row"].filter(known), orders[least].filter(known), ledger)


def _ended() -> pl.Expr:
    """Return the end of each call; null where it is not known, so that the row does not count for the order."""
    unanswered = pl.col("status") != CallStatus.ANSWERED.value
    return pl.coalesce("end", pl.when(unanswered & pl.col("ringing_s").is_null()).then("start"))


def _falls(times: pl.Series) -> int:
    return int((times.drop_nulls().diff() < -_SLACK_US).sum())


def _note(rows: pl.Series, times: pl.Series, ledger: Ledger) -> None:
    falls = (times.diff() < -STEP_S * 1_000_000).fill_null(value=False).arg_true().to_numpy().astype(np.int64)
    if not len(falls):
        return
    is_step = _is_shared(times.to_numpy(), falls)
    steps = falls[is_step]
    first = np.diff(steps, prepend=-_ONE_STEP - 1) > _ONE_STEP
    single = [at for at in falls[~is_step] if not np.any(np.abs(steps - at) <= _ONE_STEP)]
    for kind, found in (("clock_step", steps[first]), ("out_of_order", np.array(single, dtype=np.int64))):
        ledger.note(kind, len(found), rows.gather(found[:SHOWN]).to_list())


def _is_shared(times: IntArray, falls: IntArray) -> BoolArray:
    """Tell whether the rows after a jump are earlier than those before it, apart from single rows."""
    last = len(times) - 1
    before, after = (
        np.median(times[np.clip(falls[:, None] + np.arange(first, first + 3), 0, last)], axis=1) for first in (-3, 0)
    )
    return np.asarray(after - before < -STEP_S * 1_000_000)


def without_far(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Return the rows in order of their start, without the few that are far from all others."""
    frame = frame.sort("start", "row")
    gaps = (frame["start"].diff() > FAR).fill_null(value=False)
    if not gaps.any():
        return frame
    cluster = gaps.cast(pl.UInt32).cum_sum()
    sizes = cluster.value_counts(name="size")
    largest = int(sizes["size"].max())  # type: ignore[arg-type]
    few = sizes.filter((pl.col("size") < largest) & (pl.col("size") <= max(1, _FEW * frame.height)))
    # A cluster stays if there are many rows beyond it: only isolated rows are left out.
    far = cluster.is_in(few[cluster.name].implode())
    ledger.note_rows("far_outside", frame, far)
    return frame.filter(~far)
