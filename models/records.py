"""The record table: one row per call attempt, one schema for both halves, exactly one disposition each.

The simulator and the load generator fill `Record`s; everything downstream (KPIs, comparison, page) reads the Polars
table made of them. This module neither judges nor computes: it is the shape of the evidence, and its Parquet form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import polars as pl

from trunkproof.models.errors import InputError, Problem, why_unreadable
from trunkproof.models.faults import AudioFault, CertificateFault


class Direction(StrEnum):
    """Who places the call, as the customer sees it."""

    OUTBOUND = "outbound"
    """Customer -> trunk -> PSTN."""
    INBOUND = "inbound"
    """PSTN -> trunk -> customer."""


class FarEnd(StrEnum):
    """What a called number is expected to do."""

    PLAN = "plan"
    """Our own answering side: it plays the plan's row."""
    ECHO = "echo"
    """It answers, and our own audio comes back."""
    PLAYS = "plays"
    """It answers with audio of its own, such as an announcement, and may hang up when that is over."""
    ANSWERS = "answers"
    """It answers. Nothing is asked of its audio."""
    REJECTS = "rejects"
    """It refuses with a given status."""
    RINGS = "rings"
    """It rings, and nobody answers: the caller gives up."""


class ConnectionKind(StrEnum):
    """The connection that an attempt's INVITE went out on: one that stood, or how a new one began."""

    REUSED = "reused"
    """One that stood already."""
    RESUMED = "resumed"
    """A new one that resumed an earlier TLS session."""
    FULL = "full"
    """A new one with a full TLS handshake."""
    TCP = "tcp"
    """A new one without TLS."""


class EndedBy(StrEnum):
    """Who hung up an answered call."""

    US = "us"
    """The side that placed the call and wrote the record."""
    PEER = "peer"
    """The side that was called, or the trunk in its name."""


class Disposition(StrEnum):
    """How an attempt ended. Complete and exclusive: the counts sum to the attempts offered."""

    COMPLETED = "completed"
    """Answered, held, and ended by BYE."""
    THROTTLED = "throttled"
    """Refused by the trunk's calls-per-minute limit."""
    NOT_WHITELISTED = "not_whitelisted"
    """Source address not on the trunk's IP whitelist. A trunk that is not ours says 403: see `forbidden`."""
    NO_CHANNEL = "no_channel"
    """No carrier channel was free."""
    NO_PORT = "no_port"
    """No media port pair was free."""
    CARRIER_REJECTED = "carrier_rejected"
    """The carrier refused: its calls-per-second limit, or a final status that has no name of its own here."""
    BUSY = "busy"
    """486 or 600: the called user is busy."""
    NO_ANSWER = "no_answer"
    """480: it rang and nobody answered."""
    ABANDONED = "abandoned"
    """The caller hung up while it rang (CANCEL, 487)."""
    TIMED_OUT = "timed_out"
    """408, no response within timer B (32 s), or ringing for longer than the caller's patience."""
    CONNECTION_FAILED = "connection_failed"
    """TCP or TLS could not be set up, or was lost before a final response."""
    MEDIA_FAILED = "media_failed"
    """Answered, but its audio was not what was agreed; `reason` says why."""
    UNAUTHORISED = "unauthorised"
    """401 or 407: the trunk asks for credentials."""
    FORBIDDEN = "forbidden"
    """403 of a trunk that is not ours: source address, caller identity or domain; `reason` has its words."""
    NOT_FOUND = "not_found"
    """404, 410, 484, 485, 604, or their Q.850 causes: the number is not known, not complete or not unique."""
    NOT_ACCEPTABLE = "not_acceptable"
    """406, 415, 488 or 606: codec, SRTP or SDP do not suit the other side."""
    REDIRECTED = "redirected"
    """3xx: sent to another address, which the study does not follow; `reason` names it."""
    STILL_UP = "still_up"
    """Neither refused nor ended when the run was stopped."""
    DROPPED = "dropped"
    """Answered, but over well before its planned end: the far end hung up; `reason` says when and why."""


REFUSED_BY_TRUNK = frozenset(
    {
        Disposition.THROTTLED,
        Disposition.NOT_WHITELISTED,
        Disposition.NO_CHANNEL,
        Disposition.NO_PORT,
        Disposition.UNAUTHORISED,
        Disposition.FORBIDDEN,
    }
)
"""Refused before the called side heard of the call."""

NOT_DELIVERED = REFUSED_BY_TRUNK | {
    Disposition.CARRIER_REJECTED,
    Disposition.NOT_FOUND,
    Disposition.NOT_ACCEPTABLE,
    Disposition.REDIRECTED,
    Disposition.TIMED_OUT,
    Disposition.CONNECTION_FAILED,
}
"""The caller never reached the called user; a call whose every attempt ended so is a customer lost.

A dropped call is not among them: the two have talked.
"""


ADMITTED = frozenset(
    {
        Disposition.COMPLETED,
        Disposition.BUSY,
        Disposition.NO_ANSWER,
        Disposition.ABANDONED,
        Disposition.CARRIER_REJECTED,
        Disposition.NOT_FOUND,
        Disposition.MEDIA_FAILED,
        Disposition.DROPPED,
    }
)
"""The trunk let the call pass. What came of it is the far end's doing, or the network's behind the trunk."""


class FilledBy(StrEnum):
    """Which half knows the value of a column."""

    BOTH = "both"
    REAL_CALLS = "real calls"
    """The simulator leaves it at the default of `Record`."""


@dataclass(frozen=True)
class Column:
    """What a column of the record table says; its Polars type follows from its annotation in `Record`."""

    what: str
    unit: str = ""
    """`s`, `ms`, `packets`, …; empty where the value is a number, a name or a code."""
    filled_by: FilledBy = FilledBy.BOTH
    is_newer: bool = False
    """Tables of earlier versions lack it. They are read with the default of `Record`."""
    dtype: pl.DataType = field(default_factory=pl.Null)
    """Set by `COLUMNS`."""


_REAL = FilledBy.REAL_CALLS


@dataclass(slots=True, kw_only=True, eq=False)
class Record:
    """One call attempt. All `_s` instants are seconds after plan zero; `None` where it did not happen.

    This is the one declaration of the table: schema, files, arrays and documentation are derived from it.
    """

    row: Annotated[int, Column("Plan row: the number dialled.")]
    call: Annotated[int, Column("The caller's intent; all attempts of one caller share it.")]
    attempt: Annotated[int, Column("0 for the first attempt, then the redials.")]
    trunk: Annotated[str, Column("Name of the trunk.")]
    direction: Annotated[Direction, Column("Who placed the call.")]
    disposition: Annotated[Disposition, Column("How the attempt ended.")]
    intended_s: Annotated[
        float, Column("When the plan (or, for a redial, the caller's patience) wanted the INVITE sent.", "s")
    ]
    sent_s: Annotated[
        float | None, Column("First INVITE written; retransmissions do not reset it (RFC 6076 4.2).", "s")
    ] = None
    ringing_s: Annotated[float | None, Column("First provisional response other than 100.", "s")] = None
    answered_s: Annotated[float | None, Column("2xx to the INVITE.", "s")] = None
    bye_s: Annotated[float | None, Column("BYE sent or received.", "s")] = None
    ended_s: Annotated[float | None, Column("Final response of a failed attempt, or the response to the BYE.", "s")] = (
        None
    )
    ended_by: Annotated[EndedBy | None, Column("Who hung up an answered call.", filled_by=_REAL, is_newer=True)] = None
    bye_cause: Annotated[
        int | None, Column("Q.850 cause of the peer's BYE (RFC 3326).", filled_by=_REAL, is_newer=True)
    ] = None
    bye_reason: Annotated[
        str | None, Column("The whole Reason of the peer's BYE, masked.", filled_by=_REAL, is_newer=True)
    ] = None
    status: Annotated[int | None, Column("Final SIP status of the INVITE.")] = None
    cause: Annotated[int | None, Column("Q.850 cause of the Reason header (RFC 3326).")] = None
    retry_after_s: Annotated[float | None, Column("The response's Retry-After.", "s")] = None
    redialled: Annotated[bool, Column("The caller tried again after this attempt.")] = False
    connection: Annotated[ConnectionKind | None, Column("Connection that the INVITE went out on.")] = None
    edge: Annotated[
        int | None, Column("The edge that an outbound attempt used last: its place in the study's list.", is_newer=True)
    ] = None
    connect_s: Annotated[
        float | None,
        Column(
            "TCP and TLS handshake that this attempt waited for, its own or a shared one; 0 where a connection stood.",
            "s",
        ),
    ] = None
    ports: Annotated[int, Column("Port pairs of the pool that the attempt held.", "port pairs")] = 0
    rtp_sent: Annotated[int, Column("Sent by the customer's side.", "packets")] = 0
    rtp_received: Annotated[int, Column("Received by the customer's side.", "packets")] = 0
    rtp_authenticated: Annotated[
        int, Column("Received, and authentic. 0 for plain RTP, which nothing authenticates.", "packets")
    ] = 0
    rtp_failed: Annotated[int, Column("Received, but not authentic.", "packets", _REAL)] = 0
    rtp_lost: Annotated[int, Column("Never received (RFC 3550 A.3).", "packets")] = 0
    rtp_late: Annotated[int, Column("Received after their playout instant.", "packets", _REAL)] = 0
    rtp_duplicate: Annotated[int, Column("Received once more.", "packets", _REAL)] = 0
    rtp_reordered: Annotated[int, Column("Received out of order.", "packets", _REAL)] = 0
    rtp_foreign: Annotated[int, Column("Authentic, but the audio of another call.", "packets", _REAL)] = 0
    early_rtp: Annotated[
        int,
        Column(
            "Received before the answer, as ringback or an announcement. Counted nowhere else.",
            "packets",
            _REAL,
            is_newer=True,
        ),
    ] = 0
    rtp_stray: Annotated[
        int,
        Column(
            "Came to the RTP port from another address than the SDP says. Authentic ones are received too.",
            "packets",
            _REAL,
            is_newer=True,
        ),
    ] = 0
    rtp_sources: Annotated[int, Column("Sources (SSRC) heard since the answer.", "", _REAL, is_newer=True)] = 0
    not_rtp: Annotated[
        int,
        Column(
            "Came to the call's ports, but is neither RTP nor RTCP: STUN, DTLS, keep-alive.",
            "packets",
            _REAL,
            is_newer=True,
        ),
    ] = 0
    jitter_ms: Annotated[
        float | None, Column("Interarrival jitter at the end of the call (RFC 3550 A.8).", "ms", _REAL)
    ] = None
    silence_s: Annotated[
        float | None,
        Column(
            "Longest time without a packet while the call was up, the peer could send, and did not pause.", "s", _REAL
        ),
    ] = None
    paused_s: Annotated[
        float | None, Column("How long the peer sent nothing because nobody spoke (DTX).", "s", _REAL, is_newer=True)
    ] = None
    round_trip_ms: Annotated[
        float | None,
        Column(
            "Mouth to ear and back: our own audio, from the packet's sending to its return, the mean.",
            "ms",
            _REAL,
            is_newer=True,
        ),
    ] = None
    digits_sent: Annotated[
        str | None,
        Column(
            "Keys that the caller pressed, and that were sent to their end (RFC 4733).", filled_by=_REAL, is_newer=True
        ),
    ] = None
    digits_received: Annotated[str | None, Column("Keys that the caller received.", filled_by=_REAL, is_newer=True)] = (
        None
    )
    far_digits_received: Annotated[
        str | None,
        Column("Keys that the called side received, where it is ours.", filled_by=_REAL, is_newer=True),
    ] = None
    mos: Annotated[
        float | None, Column("Mean opinion score (ITU-T G.107) after the modelled jitter buffer.", "MOS")
    ] = None
    destination: Annotated[
        int | None,
        Column("The dialled number's place in the study's list, where it has one.", filled_by=_REAL, is_newer=True),
    ] = None
    far_end: Annotated[
        FarEnd | None, Column("What the dialled number is expected to do.", filled_by=_REAL, is_newer=True)
    ] = None
    call_id: Annotated[
        str | None, Column("Call-ID of the INVITE, without telephone numbers.", filled_by=_REAL, is_newer=True)
    ] = None
    call_sid: Annotated[
        str | None,
        Column(
            "X-Exotel-CallSid of the final response: the trunk's name for the call.", filled_by=_REAL, is_newer=True
        ),
    ] = None
    connect_failure: Annotated[
        str | None,
        Column("Why no connection could be opened, as in `loadgen.tls.connection`.", filled_by=_REAL, is_newer=True),
    ] = None
    tls_alert: Annotated[
        int | None, Column("Fatal alert with which the peer ended TLS (RFC 8446 6.2).", filled_by=_REAL, is_newer=True)
    ] = None
    certificate_fault: Annotated[
        CertificateFault | None, Column("Why the peer's certificate was refused.", filled_by=_REAL, is_newer=True)
    ] = None
    audio_fault: Annotated[
        AudioFault | None, Column("What was wrong with the audio.", filled_by=_REAL, is_newer=True)
    ] = None
    uplink_lost: Annotated[
        int | None,
        Column("Our packets that did not reach the peer, by its last RTCP report.", "packets", _REAL, is_newer=True),
    ] = None
    reason: Annotated[
        str | None, Column("Why, in words, where the disposition alone does not say it.", filled_by=_REAL)
    ] = None


_RENAMED = {"digits": "digits_received"}
"""Columns that had other names in earlier versions."""
_DTYPES: dict[type, pl.DataType] = {int: pl.Int64(), float: pl.Float64(), bool: pl.Boolean(), str: pl.String()}


def _enums() -> Iterator[tuple[str, type[StrEnum]]]:
    for name, hint in get_type_hints(Record).items():
        kinds = [kind for kind in get_args(hint) or (hint,) if issubclass(kind, StrEnum)]
        if kinds:
            yield name, kinds[0]


_ENUMS = dict(_enums())


def _declared() -> Iterator[tuple[str, Column]]:
    for name, hint in get_type_hints(Record, include_extras=True).items():
        annotated, column = get_args(hint)
        kind = next((kind for kind in get_args(annotated) if kind is not NoneType), annotated)
        dtype = pl.Enum([member.value for member in kind]) if issubclass(kind, StrEnum) else _DTYPES[kind]
        yield name, replace(column, dtype=dtype)


COLUMNS: dict[str, Column] = dict(_declared())
"""Column name -> what it says, in the order of `Record`."""
SCHEMA: dict[str, pl.DataType] = {name: column.dtype for name, column in COLUMNS.items()}
"""Column name -> Polars type."""
DEFAULTS: dict[str, object] = {one.name: one.default for one in fields(Record) if one.default is not MISSING}
"""Column name -> its value where nothing is known."""


def to_frame(records: Iterable[Record]) -> pl.DataFrame:
    """Return records as a table with `SCHEMA`, one row per record, in the given order."""
    rows = list(records)
    return pl.DataFrame({name: list(map(attrgetter(name), rows)) for name in SCHEMA}, schema=SCHEMA)


def record_to_json(record: Record) -> dict[str, object]:
    """Return the values that differ from the defaults, ready for `json.dumps`: how journals keep records."""
    values = {name: getattr(record, name) for name in SCHEMA}
    return {name: value for name, value in values.items() if name not in DEFAULTS or value != DEFAULTS[name]}


def record_from_json(saved: Mapping[str, Any]) -> Record:
    """Return the record that `record_to_json` gave, of this version or an earlier one.

    Raises:
        ValueError: it is none.
    """
    try:
        values: dict[str, Any] = {_RENAMED.get(name, name): value for name, value in saved.items()}
        for name in _ENUMS.keys() & values.keys():
            values[name] = None if values[name] is None else _ENUMS[name](values[name])
        return Record(**values)
    except TypeError as error:
        raise ValueError(f"no record: {error}") from error


def write_records(frame: pl.DataFrame, path: Path) -> None:
    """Write the table as Parquet."""
    frame.write_parquet(path)


def read_records(path: Path) -> pl.DataFrame:
    """Read a table that `write_records` wrote, of this version or an earlier one.

    Raises:
        InputError: the file is missing, is not Parquet, or has other columns.
    """
    try:
        frame = pl.read_parquet(path)
        frame = frame.rename({old: new for old, new in _RENAMED.items() if new not in frame.columns}, strict=False)
        lacking = [name for name in SCHEMA if name not in frame.columns]
        missing = [name for name in lacking if not COLUMNS[name].is_newer]
        if missing:
            raise InputError(str(path), [Problem(where=name, what="column is missing") for name in missing])
        frame = frame.with_columns(pl.lit(DEFAULTS[name]).alias(name) for name in lacking)
        return frame.select([pl.col(name).cast(kind) for name, kind in SCHEMA.items()])
    # Polars panics on some damaged files, with an error that is no `Exception` of its own.
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(
            str(path), [Problem(where="file", what=f"not a readable record table ({why_unreadable(error)})")]
        ) from error
