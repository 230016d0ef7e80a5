"""Compare by distribution what cannot be compared call by call: what far ends that are not ours do with admitted calls.

For each kind of far end: how its calls ended, and how long they rang, predicted and measured. A difference says that
the study's description of the far end is wrong, or that audio failed on the way. Of the throttle it says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from trunkproof.models.records import ADMITTED, FarEnd


@dataclass(frozen=True)
class Side:
    """What one side, prediction or reality, says of the admitted calls to one kind of far end."""

    dispositions: Mapping[str, int]
    ring_p50_s: float | None
    """First ring to answer, the median. None without an answered call that rang."""
    ring_p95_s: float | None


@dataclass(frozen=True)
class FarEndComparison:
    """The admitted calls to one kind of far end."""

    far_end: FarEnd
    predicted: Side
    measured: Side

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self)


def compare_far_ends(predicted: pl.DataFrame, measured: pl.DataFrame) -> tuple[FarEndComparison, ...]:
    """Return a comparison for each kind of far end that is not ours, in the order of `FarEnd`."""
    kinds = measured.select("call", "attempt", "far_end")
    named = predicted.drop("far_end").join(kinds, on=["call", "attempt"], how="inner")
    return tuple(
        FarEndComparison(far_end, _side(named, far_end), _side(measured, far_end))
        for far_end in FarEnd
        if far_end is not FarEnd.PLAN and (measured["far_end"] == far_end.value).any()
    )


def expects_audio(records: pl.DataFrame, *, abroad: bool) -> bool:
    """Tell whether some of these calls must have had audio.

    At home the records are the prediction. Abroad they are the real calls: only an answer shows that there was a
    telephone, and not every far end has something to say.
    """
    if not abroad:
        return bool(records["rtp_received"].sum())
    speaks = pl.col("far_end").is_in([kind.value for kind in (FarEnd.PLAN, FarEnd.ECHO, FarEnd.PLAYS)])
    return not records.filter(speaks & pl.col("answered_s").is_not_null()).is_empty()


def _side(records: pl.DataFrame, far_end: FarEnd) -> Side:
    admitted = pl.col("disposition").is_in([kind.value for kind in ADMITTED])
    own = records.filter(admitted & (pl.col("far_end") == far_end.value))
    counts = own["disposition"].cast(pl.String).value_counts().sort("disposition")
    rings = own.select(ring=pl.col("answered_s") - pl.col("ringing_s"))["ring"].drop_nulls()
    return Side(dict(counts.iter_rows()), rings.quantile(0.5), rings.quantile(0.95))
