"""Clean the rows of a history: leave out what is not an attempt of this trunk, and correct impossible durations.

Every correction is noted as an oddity. Input is the compact table of `models.demand.history.extraction`, with its times
in UTC. Repeated rows are handled by `models.demand.history.duplicates`, the order of rows by
`models.demand.history.order`.
"""

from __future__ import annotations

import polars as pl

from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.statuses import STATUS, UNPLACED
from trunkproof.models.demand.history.table import CallStatus

LONGEST_S = 86_400.0
_MOSTLY = 0.95
_SAME_S = 1.0
_COLUMNS: dict[str, pl.DataType] = {
    "answered": pl.Datetime("us", "UTC"),
    "end": pl.Datetime("us", "UTC"),
    "duration_s": pl.Float64(),
    "holding_s": pl.Float64(),
    "status": STATUS,
    "code": pl.Int16(),
    "caller": pl.UInt64(),
    "callee": pl.UInt64(),
    "unread": pl.Boolean(),
}
_ANSWERED = pl.col("status") == pl.lit(CallStatus.ANSWERED.value, dtype=STATUS)


def completed(frame: pl.DataFrame) -> pl.DataFrame:
    """Add every missing column, filled with null."""
    return frame.with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in _COLUMNS.items() if name not in frame.columns
    )


def attempts_only(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Leave out rows that have no start, are not a call, or never came to the trunk."""
    no_start = pl.col("start").is_null()
    method = pl.col("method") != "INVITE" if "method" in frame.columns else pl.lit(value=False)
    no_call = ~no_start & (method | (pl.col("status") == UNPLACED)).fill_null(value=False)
    inside = ~no_start & ~no_call & (pl.col("internal") if "internal" in frame.columns else pl.lit(value=False))
    away = pl.col("direction") == "other" if "direction" in frame.columns else pl.lit(value=False)
    elsewhere = ~no_start & ~no_call & ~inside & away.fill_null(value=False)
    found = frame.select(
        "row", unparsable=no_start, not_a_call=no_call, internal_call=inside, other_direction=elsewhere
    )
    for kind in ("unparsable", "not_a_call", "internal_call", "other_direction"):
        ledger.note_rows(kind, found, pl.col(kind))
    out = found.select(pl.any_horizontal(pl.exclude("row"))).to_series()
    return frame.filter(~out) if out.any() else frame


def with_statuses(frame: pl.DataFrame, ledger: Ledger, *, has_status: bool, by_time: bool) -> pl.DataFrame:
    """Give every row a status.

    Args:
        frame: the compact table.
        ledger: takes unknown statuses.
        has_status: whether the file has words or codes; if not, calls with talking time were answered.
        by_time: whether the status says only why a call ended, so that the time of the answer must say that it was
            answered.
    """
    talked = (pl.col("answered").is_not_null() | (pl.col("holding_s") > 0)).fill_null(value=False)
    answered, unanswered = pl.lit(CallStatus.ANSWERED.value, dtype=STATUS), CallStatus.REJECTED
    if by_time:
        given = pl.when(_ANSWERED).then(pl.lit(CallStatus.ABANDONED.value, dtype=STATUS)).otherwise(pl.col("status"))
        frame = frame.with_columns(status=pl.when(talked).then(answered).otherwise(given))
    if has_status:
        ledger.note_rows("unknown_status", frame, pl.col("status").is_null())
    else:
        talked |= (pl.col("duration_s") > 0).fill_null(value=False)
        unanswered = CallStatus.NO_ANSWER
    guess = pl.when(talked).then(answered).otherwise(pl.lit(unanswered.value, dtype=STATUS))
    return frame.with_columns(status=pl.coalesce("status", guess))


def with_durations(frame: pl.DataFrame, ledger: Ledger, *, has_end: bool) -> pl.DataFrame:
    """Add `ringing_s` and `holding_s` as in `CALLS_SCHEMA`, null where they are unknown or impossible."""
    start, end, answer = pl.col("start"), pl.col("end"), pl.col("answered")
    negative = ((pl.col("duration_s") < 0) | (pl.col("holding_s") < 0)).fill_null(value=False)
    backwards = ((end < start) | (end < answer) | (answer < start)).fill_null(value=False) & ~negative
    frame = frame.with_columns(negative=negative, backwards=backwards)
    ledger.note_rows("negative_duration", frame, pl.col("negative"))
    ledger.note_rows("end_before_start", frame, pl.col("backwards"))
    wrong = pl.col("negative") | pl.col("backwards")
    frame = frame.with_columns(
        end=pl.when(~wrong).then(end),
        answered=pl.when(~wrong).then(answer),
        duration_s=pl.when(~pl.col("negative")).then("duration_s"),
        stated=pl.when(~pl.col("negative")).then("holding_s"),
    )
    frame = frame.with_columns(holding_s=_holding(frame))
    missing = _missing_end(has_end=has_end)
    # A value that could not be read is noted as unreadable, not as missing.
    ledger.note_rows("missing_end", frame, missing & ~wrong & ~pl.col("unread").fill_null(value=False))
    frame = frame.with_columns(holding_s=pl.when(_ANSWERED & ~missing).then("holding_s"))
    frame = frame.with_columns(ringing_s=_ringing(frame, ledger))
    ledger.note_rows("zero_length_answered", frame, pl.col("holding_s") == 0)
    ledger.note_rows("absurd_holding", frame, pl.col("holding_s") > LONGEST_S)
    usual = pl.when(pl.col("holding_s") <= LONGEST_S).then("holding_s")
    return frame.with_columns(holding_s=usual).drop("negative", "backwards", "stated", "duration_s", "unread")


def _between(first: str, last: str) -> pl.Expr:
    return (pl.col(last) - pl.col(first)).dt.total_microseconds() / 1e6


def _holding(frame: pl.DataFrame) -> pl.Expr:
    """Return the holding time: as stated, else from the instants, else the duration without ringing."""
    after_ringing = pl.col("duration_s") - _between("start", "answered")
    both = frame.filter(_ANSWERED & pl.col("duration_s").is_not_null() & pl.col("answered").is_not_null())
    impossible = both.select((after_ringing < -_SAME_S).mean()).item() or 0.0
    from_answer = impossible > 1 - _MOSTLY
    talk = pl.col("duration_s") if from_answer else pl.coalesce(after_ringing.clip(lower_bound=0), "duration_s")
    return pl.coalesce("stated", _between("answered", "end"), talk, _between("start", "end"))


def _missing_end(*, has_end: bool) -> pl.Expr:
    """Tell whether an answered row has no duration. A recorder that was stopped writes 0 and leaves the end empty."""
    none = pl.col("holding_s").is_null()
    if has_end:
        none |= pl.col("end").is_null() & ~(pl.col("holding_s") > 0) & ~pl.col("backwards")
    return _ANSWERED & none


def _ringing(frame: pl.DataFrame, ledger: Ledger) -> pl.Expr:
    """Return the ringing time: from start to answer, or to the end of a call that was not answered."""
    spare = _between("start", "end") - pl.col("holding_s")
    is_bare = pl.col("stated").is_null() & pl.col("answered").is_null()
    bare = frame.filter(_ANSWERED & is_bare & pl.col("holding_s").is_not_null())
    if bare.height and (bare.select((spare.fill_null(0) <= _SAME_S).mean()).item() or 0.0) >= _MOSTLY:
        ledger.note_rows("ringing_in_holding", bare)
        spare = pl.when(~is_bare).then(spare)
    stated = pl.when(pl.col("stated").is_not_null()).then(pl.col("duration_s") - pl.col("stated"))
    answered = pl.coalesce(_between("start", "answered"), spare, stated)
    unanswered = pl.coalesce(_between("start", "end"), pl.when(pl.col("duration_s") > 0).then("duration_s"))
    found = pl.when(_ANSWERED).then(answered).otherwise(unanswered)
    return pl.when(found.is_between(0, LONGEST_S) & ~pl.col("backwards") & ~pl.col("negative")).then(found)
