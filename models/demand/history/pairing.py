"""Join rows of Kamailio's `acc` module into calls: each INVITE with the BYE of the same Call-ID.

The module writes the instant of the final response, not of the INVITE. So starts are late, which is reported as an
oddity.
"""

from __future__ import annotations

import polars as pl

from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.table import CallStatus


def paired(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """Return all rows but those of BYEs, with `end`: the instant of the first BYE that is not before the answer.

    `frame` must have `row`, `start` (in UTC), `method`, `id` and `status`. Rows of other methods stay: the caller
    leaves them out and counts them.
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
