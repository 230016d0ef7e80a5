"""Turn finished attempts into the record table of `models.records`, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from trunkproof.models.arrays import FloatArray
from trunkproof.models.columns import Columns
from trunkproof.models.records import DEFAULTS, SCHEMA
from trunkproof.models.study import Trunk
from trunkproof.models.voice import MOUTH_TO_EAR_MS, mos, r_factor
from trunkproof.simulator.kernel.codes import FULL, NO_CONNECTION, RESUMED, TCP
from trunkproof.simulator.kernel.memory import Records

_INSTANTS = ("intended_s", "sent_s", "ringing_s", "answered_s", "bye_s", "ended_s", "retry_after_s", "connect_s")
_NUMBERS = ("row", "call", "attempt", "ports", "rtp_sent", "rtp_lost")
_OPTIONAL = ("status", "cause", "edge")


def to_frame(records: Records, trunks: Sequence[Trunk]) -> pl.DataFrame:
    """Return a table with `SCHEMA`, one row per attempt, in the given order. `trunks` are those of the study."""
    received = records["rtp_sent"] - records["rtp_lost"]
    made: dict[str, Any] = {name: pl.Series(_column(records, name)).fill_nan(None) for name in _INSTANTS}
    made |= {name: _column(records, name).astype(np.int64) for name in _NUMBERS}
    made |= {name: pl.Series(_column(records, name).astype(np.int64)).replace(-1, None) for name in _OPTIONAL}
    made["trunk"] = (
        pl.Series(_column(records, "trunk")).cat.to(pl.Enum([trunk.name for trunk in trunks])).cast(pl.String)
    )
    made["direction"] = pl.Series(_column(records, "inbound")).cat.to(SCHEMA["direction"])
    made["disposition"] = pl.Series(_column(records, "disposition")).cat.to(SCHEMA["disposition"])
    made["connection"] = _connection(_kinds(records, trunks))
    made["redialled"] = _column(records, "redialled").astype(np.bool_)
    # Nothing authenticates plain RTP.
    secure = np.array([trunk.media == "srtp" for trunk in trunks])[records["trunk"]]
    made |= {
        "rtp_received": received,
        "rtp_authenticated": received * secure,
        "mos": pl.Series(scores(records)).fill_nan(None),
    }
    # What only real calls know.
    unknown = {
        name: pl.Series(name, [value], dtype=SCHEMA[name]) for name, value in DEFAULTS.items() if name not in made
    }
    made |= {name: value.new_from_index(0, len(records)) for name, value in unknown.items()}
    return pl.DataFrame({name: made[name] for name in SCHEMA}, schema=SCHEMA)


def scores(records: Records) -> FloatArray:
    """Return the MOS of each attempt. NaN where there was no audio."""
    sent, lost = _column(records, "rtp_sent"), _column(records, "rtp_lost")
    # Nearly all calls lose no packet, so their score is computed once.
    found = np.full(len(records), mos(r_factor(MOUTH_TO_EAR_MS, 0.0)))
    found[sent == 0] = np.nan
    some = lost > 0
    if some.any():
        found[some] = mos(r_factor(MOUTH_TO_EAR_MS, lost[some] / sent[some]))
    return found


def _column(records: Records, name: str) -> Any:
    return records[name].copy()  # without a copy Polars would share the memory of the batch, which is used again


def _kinds(records: Records, trunks: Sequence[Trunk]) -> Any:
    """Return the kinds of connection. Without TLS no session is resumed, and every new connection is alike."""
    codes = _column(records, "connection")
    plain = np.array([not trunk.is_tls for trunk in trunks])[records["trunk"]]
    codes[plain & np.isin(codes, (FULL, RESUMED))] = TCP
    return codes


def _connection(codes: Any) -> pl.Series:
    # A Polars enum has no code for "none". Such rows get any code first, and become null after.
    known = pl.Series(np.where(codes == NO_CONNECTION, 0, codes).astype(np.uint8)).cat.to(SCHEMA["connection"])
    return known.scatter(np.flatnonzero(codes == NO_CONNECTION), None)


def to_columns(records: Records, trunks: Sequence[Trunk]) -> Columns:
    """Return the columns from which KPIs are computed, without making a table."""
    sent, lost = records["rtp_sent"].copy(), records["rtp_lost"].copy()
    nothing = np.zeros(len(records), dtype=np.int64)
    return Columns(
        attempt=records["attempt"],
        status=records["status"],
        disposition=records["disposition"].copy(),
        redialled=records["redialled"] != 0,
        connection=_kinds(records, trunks),
        ports=records["ports"],
        **{name: records[name].copy() for name in _INSTANTS[:6]},
        rtp_sent=sent,
        rtp_received=sent - lost,
        rtp_lost=lost,
        rtp_late=nothing,
        jitter_ms=np.full(len(records), np.nan),
        mos=scores(records),
    )
