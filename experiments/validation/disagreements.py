"""Find the attempts on which prediction and reality disagree, and what the records say about the reason.

Far ends that are not ours follow no plan. For calls to them only the admission is compared call by call: whether the
throttle refused the call, by the study's `throttle.refused_as`, or the call was seen to pass. A call has passed if it
rang or was answered, or if the called user refused it (busy, no answer). A 404 or 500 without ringing is neither: it
may come from the trunk, before or behind its throttle. How calls that passed end is compared by distribution
(`far_ends`).

A reason is made of facts in the records: instants, neighbouring calls, the caller's own words. It does not prove a
cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from trunkproof.experiments.validation.windows import anchor_at
from trunkproof.models.records import ADMITTED, Disposition, FarEnd
from trunkproof.models.study import Study

_FIELDS = ("row", "trunk", "intended_s", "sent_s", "ringing_s", "answered_s", "disposition", "reason")
_SURELY_PASSED = (
    *(Disposition.COMPLETED, Disposition.DROPPED, Disposition.MEDIA_FAILED),
    *(Disposition.BUSY, Disposition.NO_ANSWER, Disposition.ABANDONED),
)
"""These were answered, or a user who was called ended them, even where no ringing was heard."""
_NEAR_S = 0.02
"""Real calls that are closer than this can change places. It is the spread of signalling delays on a busy machine."""


@dataclass(frozen=True)
class Disagreement:
    """One attempt that did not end as predicted. None: that side has no such attempt."""

    row: int
    call: int
    attempt: int
    trunk: str
    intended_s: float
    predicted: Disposition | None
    measured: Disposition | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self)


def pair_attempts(predicted: pl.DataFrame, measured: pl.DataFrame) -> pl.DataFrame:
    """Return one row per attempt: `call`, `attempt`, both dispositions, and the fields that explain a difference.

    `agrees` says whether the dispositions are equal, or for a far end that is not ours, if both passed.
    """
    sides = []
    for side, records in (("predicted", predicted), ("measured", measured)):
        renamed = {name: side if name == "disposition" else f"{side}_{name}" for name in _FIELDS}
        sides.append(records.select("call", "attempt", *_FIELDS).rename(renamed))
    # By call and attempt, not by row: both are in either table, and a redial that one side lacks stays visible.
    paired = sides[0].join(sides[1], on=["call", "attempt"], how="full", coalesce=True)
    paired = paired.join(measured.select("call", "attempt", "far_end"), on=["call", "attempt"], how="left")
    equal = pl.col("predicted").eq_missing(pl.col("measured"))
    both = pl.col("predicted").is_in([kind.value for kind in ADMITTED]) & _has_passed()
    abroad = pl.col("far_end").is_not_null() & (pl.col("far_end") != FarEnd.PLAN.value)
    paired = paired.with_columns(
        intended_s=pl.coalesce("measured_intended_s", "predicted_intended_s"),
        agrees=equal | (both & abroad).fill_null(value=False),
    )
    # Where the far end has done something else, only one side may have a redial, and none is wrong about the trunk.
    parted = pl.when(pl.col("agrees") & ~equal).then("attempt").min().over("call")
    paired = paired.filter(parted.is_null() | (pl.col("attempt") <= parted))
    return paired.sort("intended_s", "call", "attempt")


def _has_passed() -> pl.Expr:
    """Tell whether the measured side shows that a call passed the throttle."""
    reached = pl.col("measured_ringing_s").is_not_null() | pl.col("measured_answered_s").is_not_null()
    surely = pl.col("measured").is_in([kind.value for kind in _SURELY_PASSED])
    # A throttle that rings first and then refuses has refused.
    return (reached | surely) & pl.col("measured").is_in([kind.value for kind in ADMITTED])


def find_disagreements(study: Study, pairs: pl.DataFrame, anchors: Mapping[str, float]) -> tuple[Disagreement, ...]:
    """Return the attempts whose dispositions differ, in the order of time."""
    different = pairs.filter(~pl.col("agrees"))
    sent = pairs["measured_sent_s"].drop_nulls().sort()
    return tuple(_disagreement(study, values, sent, anchors) for values in different.iter_rows(named=True))


def _disagreement(study: Study, values: dict[str, Any], sent: pl.Series, anchors: Mapping[str, float]) -> Disagreement:
    predicted, measured = (Disposition(values[side]) if values[side] else None for side in ("predicted", "measured"))
    # One side may lack the attempt, but never both.
    known = "measured" if values["measured_row"] is not None else "predicted"
    return Disagreement(
        row=values[f"{known}_row"],
        call=values["call"],
        attempt=values["attempt"],
        trunk=values[f"{known}_trunk"],
        intended_s=values["intended_s"],
        predicted=predicted,
        measured=measured,
        reason=_reason(study, values, sent, anchors),
    )


def _reason(study: Study, values: dict[str, Any], sent: pl.Series, anchors: Mapping[str, float]) -> str:
    if values["predicted"] is None or values["measured"] is None:
        side = "predicted" if values["predicted"] is None else "measured"
        return f"a redial that the {side} side never had: the attempt before it ended otherwise, or elsewhen"
    parts = [values["measured_reason"]] if values["measured_reason"] else []
    parts += [_shift(values), _boundary(study, values, anchors), _neighbour(values, sent)]
    return "; ".join(part for part in parts if part) or "a limit reached a little earlier or later than predicted"


def _shift(values: dict[str, Any]) -> str:
    predicted, measured = values["predicted_sent_s"], values["measured_sent_s"]
    # A tenth of the usual spread explains nothing.
    if predicted is None or measured is None or abs(measured - predicted) < _NEAR_S / 10:
        return ""
    return f"sent {1000 * (measured - predicted):+.0f} ms off its predicted instant"


def _boundary(study: Study, values: dict[str, Any], anchors: Mapping[str, float]) -> str:
    trunk, at_s = values["measured_trunk"], values["measured_sent_s"]
    window_s = study.trunk_named(trunk).throttle.fixed_window_s
    if window_s is None or at_s is None:
        return ""
    anchor = anchor_at(study, anchors, trunk, at_s)
    if anchor is None:
        return ""
    # The boundary may be just before or just behind the instant: the nearer one counts.
    into_s = (at_s - anchor) % window_s
    distance_s = min(into_s, window_s - into_s)
    return f"{1000 * distance_s:.0f} ms from a window boundary of the throttle" if distance_s < _NEAR_S else ""


def _neighbour(values: dict[str, Any], sent: pl.Series) -> str:
    at_s = values["measured_sent_s"]
    if at_s is None:
        return ""
    distances = (sent - at_s).abs().sort()
    # The nearest is the attempt itself.
    nearest_s = float(distances[1]) if len(distances) > 1 else 1.0
    return f"{1000 * nearest_s:.1f} ms from its neighbour, who met the same limit" if nearest_s < _NEAR_S else ""
