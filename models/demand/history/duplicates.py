"""Leave out rows that are there twice, in one file or in two, and further legs of one call.

Two rows are of one call if they have the same call identity. If they have no identity, or if they talked, the same
start, caller, callee and duration are enough: a caller cannot have two conversations with one callee at once, but may
well be refused twice in a second.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.opened import FILE_STEP
from trunkproof.models.demand.history.table import CallStatus

_CONTENT = ("start", "status", "holding_s", "ringing_s")
_LONGEST_CALL = timedelta(hours=24)


def single(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Keep one row per call: the first that was answered, or else the first."""
    if "leg" in frame.columns:
        frame = _without_second_legs(frame, ledger)
    if "id" in frame.columns:
        frame = _with_identities_only(frame, ledger)
        frame = _kept(frame, pl.col("id"), ledger)
    return _kept(frame, _same_conversation(frame), ledger)


def _without_second_legs(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Leave out second legs: FreeSWITCH may record both legs, and the first names the second."""
    legs = frame["leg"].drop_nulls().unique()
    second = frame["id"].is_in(legs.implode()) & (frame["id"] != frame["leg"]).fill_null(value=True)
    ledger.note_rows("further_leg", frame, second)
    return frame.filter(~second.fill_null(value=False)) if second.any() else frame


def _with_identities_only(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Drop identities that are not unique: spreadsheet programs drop digits, so many calls get the same one.

    Rows of one call begin within a day, and share a number where both have both.
    """
    repeated = frame["id"].is_duplicated() & frame["id"].is_not_null()
    if not repeated.any():
        return frame
    group = frame.select("row", "id", "start", "caller", "callee").filter(repeated).sort("id", "row")
    caller, callee = (pl.col(name).first().over("id") for name in ("caller", "callee"))
    alike = (pl.col("caller") == caller) | (pl.col("callee") == callee) | (pl.col("caller") == callee)
    alike |= pl.col("callee") == caller
    near = (pl.col("start") - pl.col("start").first().over("id")).abs() <= _LONGEST_CALL
    strange = group.filter(~(near & alike).fill_null(value=True))
    # If some rows of an identity do not belong together, it is dropped for all of its rows.
    broken = group.filter(pl.col("id").is_in(strange["id"].unique().implode()))
    if broken.is_empty():
        return frame
    ledger.note_rows("no_identity", broken)
    is_broken = pl.col("row").is_in(broken["row"].implode())
    return frame.with_columns(id=pl.when(~is_broken).then("id"))


def _same_conversation(frame: pl.DataFrame) -> pl.Expr:
    """Return a key of the conversation; null for rows that are not compared."""
    keys = ("start", "caller", "callee", "holding_s")
    hashes = [pl.col(name).hash(seed) for seed, name in enumerate(keys, start=1)]
    key = hashes[0]
    for other in hashes[1:]:
        key = key.xor(other).hash(7)
    comparable = pl.lit(value=True)
    if "id" in frame.columns:
        comparable = (pl.col("holding_s") > 0) | pl.col("id").is_null()
    known = pl.col("caller").is_not_null() & pl.col("callee").is_not_null()
    return pl.when(known & comparable.fill_null(value=False)).then(key)


def _kept(frame: pl.DataFrame, key: pl.Expr, ledger: Ledger) -> pl.DataFrame:
    keyed = frame.select(key=key).to_series()
    repeated = keyed.is_duplicated() & keyed.is_not_null()
    if not repeated.any():
        return frame
    group = frame.select("row", *_CONTENT).filter(repeated).with_columns(keyed.filter(repeated).alias("key"))
    group = group.sort("key", pl.col("status") != CallStatus.ANSWERED.value, "row")
    firsts = [pl.col(name).eq_missing(pl.col(name).first().over("key")) for name in _CONTENT]
    file = pl.col("row") // FILE_STEP
    group = group.with_columns(
        is_first=pl.col("key").is_first_distinct(),
        is_alike=pl.all_horizontal(firsts),
        is_elsewhere=file != file.first().over("key"),
    )
    dropped = group.filter(~pl.col("is_first"))
    ledger.note_rows("overlap", dropped, pl.col("is_alike") & pl.col("is_elsewhere"))
    ledger.note_rows("duplicate", dropped, pl.col("is_alike") & ~pl.col("is_elsewhere"))
    ledger.note_rows("further_leg", dropped, ~pl.col("is_alike"))
    return frame.filter(~pl.col("row").is_in(dropped["row"].implode()))
