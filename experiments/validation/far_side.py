"""Join the records of both ends of the same calls: the caller's, and those that `trunkproof answer` kept behind it.

A proxy passes the Call-ID on, so it names the call at both ends. A PBX (B2BUA) makes a new one. There the dialled
number tells the call, if each call has a number of its own: those of a block with `far_end: plan`, which name rows of
the plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

FAR_COLUMNS = (
    *("disposition", "status", "cause", "intended_s", "answered_s", "bye_s", "ended_s", "ended_by", "bye_cause"),
    *("rtp_sent", "rtp_received", "rtp_lost", "rtp_late", "jitter_ms", "mos", "silence_s", "audio_fault", "reason"),
)
"""Columns of the far end's records that are joined, with `far_` before their names. Instants are on its own clock."""


@dataclass(frozen=True, eq=False)
class BothEnds:
    """The calls of two record tables, as far as they are the same calls."""

    joined: pl.DataFrame
    """The caller's records in their order, with `joined_by` (`call_id`, `row` or null) and the columns `far_…`."""
    only_far: pl.DataFrame
    """The far end's records of calls that the caller's table does not have."""

    @property
    def matched(self) -> int:
        """Return how many calls both tables have."""
        return self.joined["joined_by"].drop_nulls().len()


def join_far_end(records: pl.DataFrame, far_end: pl.DataFrame) -> BothEnds:
    """Join a caller's records with those of the far end, by Call-ID, and else by the row of the number dialled."""
    near = records.with_row_index("_near")
    far = far_end.with_row_index("_far")
    pairs = _pairs(near.drop_nulls("call_id"), far.drop_nulls("call_id"), "call_id")
    left = near.join(pairs, on="_near", how="anti"), far.join(pairs, on="_far", how="anti")
    # Rows below 0 are of numbers that no plan has.
    pairs = pl.concat([pairs, _pairs(left[0].filter(pl.col("row") >= 0), left[1].filter(pl.col("row") >= 0), "row")])
    told = far.select("_far", *(pl.col(name).alias(f"far_{name}") for name in FAR_COLUMNS))
    joined = near.join(pairs, on="_near", how="left").join(told, on="_far", how="left").sort("_near")
    return BothEnds(joined.drop("_near", "_far"), far.join(pairs, on="_far", how="anti").drop("_far"))


def _pairs(near: pl.DataFrame, far: pl.DataFrame, by: str) -> pl.DataFrame:
    """Return which rows of both tables are the same call. A value that stands twice in a table tells none."""
    once = [table.filter(pl.col(by).is_unique()).select(by, place) for table, place in ((near, "_near"), (far, "_far"))]
    return once[0].join(once[1], on=by).select("_near", "_far", joined_by=pl.lit(by))
