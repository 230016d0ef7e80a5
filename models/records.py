"""The record table: one row per call attempt, one schema for both halves, exactly one disposition each.

The simulator and the load generator fill `Record`s; everything downstream (KPIs, comparison, page) reads the Polars
table made of them. This module neither judges nor computes: it is the shape of the evidence, and its Parquet form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from pathlib import Path

import polars as pl

from trunkproof.models.errors import InputError, Problem


class Direction(StrEnum):
    """Who places the call, as the customer sees it."""

    OUTBOUND = "outbound"
    """Customer -> trunk -> PSTN."""
    INBOUND = "inbound"
    """PSTN -> trunk -> customer."""


class ConnectionKind(StrEnum):
    """The TLS connection that an attempt's INVITE went out on."""

    REUSED = "reused"
    RESUMED = "resumed"
    FULL = "full"


class Disposition(StrEnum):
    """How an attempt ended. Complete and exclusive: the counts sum to the attempts offered."""

    COMPLETED = "completed"
    """Answered, held, and ended by BYE."""
    THROTTLED = "throttled"
    """Refused by the trunk's calls-per-minute limit."""
    NOT_WHITELISTED = "not_whitelisted"
    """Source address not on the trunk's IP whitelist."""
    NO_CHANNEL = "no_channel"
    """No carrier channel was free."""
    NO_PORT = "no_port"
    """No media port pair was free."""
    CARRIER_REJECTED = "carrier_rejected"
    """The carrier refused: its calls-per-second limit, or a final status other than busy and no answer."""
    BUSY = "busy"
    """486 or 600: the called user is busy."""
    NO_ANSWER = "no_answer"
    """480: it rang and nobody answered."""
    ABANDONED = "abandoned"
    """The caller hung up while it rang (CANCEL, 487)."""
    TIMED_OUT = "timed_out"
    """No final response within timer B (32 s), or 408."""
    CONNECTION_FAILED = "connection_failed"
    """TCP or TLS could not be set up, or was lost before a final response."""
    MEDIA_FAILED = "media_failed"
    """Answered, but its audio was not what was agreed; `reason` says why."""
    STILL_UP = "still_up"
    """Neither refused nor ended when the run was stopped."""


REFUSED_BY_TRUNK = frozenset(
    {Disposition.THROTTLED, Disposition.NOT_WHITELISTED, Disposition.NO_CHANNEL, Disposition.NO_PORT}
)
"""Refused before the called side heard of the call."""

NOT_DELIVERED = REFUSED_BY_TRUNK | {
    Disposition.CARRIER_REJECTED,
    Disposition.TIMED_OUT,
    Disposition.CONNECTION_FAILED,
}
"""The caller never reached the called user; a call whose every attempt ended so is a customer lost."""


@dataclass(slots=True, kw_only=True, eq=False)
class Record:
    """One call attempt. All `_s` instants are seconds after plan zero; `None` where it did not happen."""

    row: int
    """Plan row: the number dialled."""
    call: int
    """The caller's intent; all attempts of one caller share it."""
    attempt: int
    """0 for the first attempt, then the redials."""
    trunk: str
    direction: Direction
    disposition: Disposition
    intended_s: float
    """When the plan (or, for a redial, the caller's patience) wanted the INVITE sent."""
    sent_s: float | None = None
    """First INVITE written; retransmissions do not reset it (RFC 6076 4.2)."""
    ringing_s: float | None = None
    """First provisional response other than 100."""
    answered_s: float | None = None
    """2xx to the INVITE."""
    bye_s: float | None = None
    """BYE sent or received."""
    ended_s: float | None = None
    """Final response of a failed attempt, or the response to the BYE."""
    status: int | None = None
    """Final SIP status of the INVITE."""
    cause: int | None = None
    """Q.850 cause of the Reason header (RFC 3326)."""
    retry_after_s: float | None = None
    redialled: bool = False
    """The caller tried again after this attempt."""
    connection: ConnectionKind | None = None
    connect_s: float | None = None
    """TCP and TLS handshake this attempt waited for, its own or a shared one; 0 where a connection stood already."""
    ports: int = 0
    """Port pairs of the pool that the attempt held."""
    rtp_sent: int = 0
    rtp_received: int = 0
    rtp_authenticated: int = 0
    rtp_failed: int = 0
    """Received, but not authentic."""
    rtp_lost: int = 0
    """Never received (RFC 3550 A.3)."""
    rtp_late: int = 0
    """Received after its playout instant."""
    rtp_duplicate: int = 0
    rtp_reordered: int = 0
    rtp_foreign: int = 0
    """Authentic, but the audio of another call."""
    jitter_ms: float | None = None
    """Interarrival jitter at the end of the call (RFC 3550 A.8)."""
    silence_s: float | None = None
    """Longest time without a packet while the call was up."""
    mos: float | None = None
    """Mean opinion score (ITU-T G.107) after the modelled jitter buffer."""
    reason: str | None = None
    """Why, in words, where the disposition alone does not say it."""


_INTEGERS = ("row", "call", "attempt", "status", "cause", "ports")
_ENUMS: dict[str, type[StrEnum]] = {
    "direction": Direction,
    "disposition": Disposition,
    "connection": ConnectionKind,
}


def _dtype(name: str) -> pl.DataType:
    if name in _ENUMS:
        return pl.Enum([member.value for member in _ENUMS[name]])
    if name in {"trunk", "reason"}:
        return pl.String()
    if name == "redialled":
        return pl.Boolean()
    if name in _INTEGERS or name.startswith("rtp_"):
        return pl.Int64()
    return pl.Float64()


SCHEMA: dict[str, pl.DataType] = {field.name: _dtype(field.name) for field in fields(Record)}
"""Column name -> Polars type, in the order of `Record`."""


def to_frame(records: Iterable[Record]) -> pl.DataFrame:
    """Records -> table with `SCHEMA`, one row per record, in the order given."""
    rows = list(records)
    return pl.DataFrame({name: list(map(attrgetter(name), rows)) for name in SCHEMA}, schema=SCHEMA)


def write_records(frame: pl.DataFrame, path: Path) -> None:
    """Write the table as Parquet."""
    frame.write_parquet(path)


def read_records(path: Path) -> pl.DataFrame:
    """Read a table that `write_records` wrote.

    Raises:
        InputError: the file is missing, is not Parquet, or has other columns.
    """
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(str(path), [Problem(where="file", what=f"not a readable record table ({error})")]) from error
    missing = [name for name in SCHEMA if name not in frame.columns]
    if missing:
        raise InputError(str(path), [Problem(where=name, what="column is missing") for name in missing])
    return frame.select([pl.col(name).cast(kind) for name, kind in SCHEMA.items()])
