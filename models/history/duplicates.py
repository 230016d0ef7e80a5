"""Rows that are there twice, and further legs of one call.

Two rows are of one call when they have the same call identity; or the same start, caller, callee and duration, where
they have no identity or talked: one caller has no two conversations with one callee at once, but may well be refused
twice in a second.
"""

from __future__ import annotations

import polars as pl

from models.history.oddities import Ledger
from models.history.table import CallStatus

_CONTENT = ("start", "status", "holding_s", "ringing_s")


def single(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """One row per call; the first that was answered, or else the first."""
    if "leg" in frame.columns:
        frame = _without_second_legs(frame, ledger)
    if "id" in frame.columns:
        frame = _kept(frame, pl.col("id"), ledger)
    return _kept(frame, _same_conversation(frame), ledger)


def _without_second_legs(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """FreeSWITCH may note both legs; the first names the second."""
    legs = frame["leg"].drop_nulls().unique()
    second = frame["id"].is_in(legs.implode()) & (frame["id"] != frame["leg"]).fill_null(value=True)
    ledger.note_rows("further_leg", frame, second)
    return frame.filter(~second.fill_null(value=False)) if second.any() else frame


def _same_conversation(frame: pl.DataFrame) -> pl.Expr:
    """A key that is null for rows that are not to be compared."""
    keys = ("start", "caller", "callee", "holding_s")
    hashes = [pl.col(name).hash(seed) for seed, name in enumerate(keys, start=1)]
    key = hashes[0]
    for other in hashes[1:]:
        key = key.xor(other).hash(7)
    talked = pl.col("holding_s") > 0
    comparable = talked if "id" not in frame.columns else talked | pl.col("id").is_null()
    comparable = pl.lit(value=True) if "id" not in frame.columns else comparable
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
    group = group.with_columns(is_first=pl.col("key").is_first_distinct(), is_alike=pl.all_horizontal(firsts))
    dropped = group.filter(~pl.col("is_first"))
    ledger.note_rows("duplicate", dropped, pl.col("is_alike"))
    ledger.note_rows("further_leg", dropped, ~pl.col("is_alike"))
    return frame.filter(~pl.col("row").is_in(dropped["row"].implode()))
