"""Kamailio's `acc` rows into calls: each INVITE with the BYE of the same Call-ID.

acc notes the instant of the answer, not of the INVITE; what that does to starts is told as an oddity.
"""

from __future__ import annotations

import polars as pl

from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.table import CallStatus


def paired(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Rows of INVITEs and of methods that are no call; with `end`, from the first BYE not before the answer.

    Takes `row`, `start` (in UTC), `method`, `id`, `status`; the result has no `method` but for the rows to be left out.
    """
    byes = frame.lazy().filter(pl.col("method") == "BYE").select("row", "start", "id")
    others = frame.filter((pl.col("method") != "BYE").fill_null(value=True))
    is_answered = (pl.col("status") == CallStatus.ANSWERED.value) & (pl.col("method") == "INVITE")
    answered = others.lazy().filter(is_answered).select("row", "id", answer="start")
    matched = (
        answered.join(byes.rename({"row": "bye", "start": "end"}), on="id", how="inner")
        .group_by("row")
        .agg(end=pl.col("end").filter(pl.col("end") >= pl.col("answer")).min(), earlier=pl.col("end").max())
        .select("row", end=pl.coalesce("end", "earlier"))
    )
    strays = byes.join(others.lazy().filter(pl.col("method") == "INVITE"), on="id", how="anti").select("row").collect()
    ledger.note_rows("bye_without_invite", strays)
    ledger.note_rows("time_of_response", others, is_answered)
    return others.lazy().join(matched, on="row", how="left", maintain_order="left").collect()
