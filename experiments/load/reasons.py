"""The reason table: what went wrong in a run, how often, first and last, by which values, and what to do about it.

Attempts are put together by what their records hold as values, never by words: the words of two dropped calls differ in
the seconds, and a peer's words are its own. Of each kind the words, Call-ID and CallSid of the first attempt are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from trunkproof.experiments.target.remedies import Q850, Remedy, Status, Trouble, remedy_for
from trunkproof.loadgen.tls.connection import ConnectFailure
from trunkproof.models.faults import AudioFault, CertificateFault, TlsAlert
from trunkproof.models.records import Direction, Disposition, FarEnd

_KEYS = (
    *("disposition", "status", "cause", "connect_failure", "tls_alert", "certificate_fault", "audio_fault"),
    *("ended_by", "bye_cause"),
)
_FIRSTS = ("reason", "bye_reason", "call_id", "call_sid", "trunk")
_EXPECTED = (
    *(Disposition.COMPLETED, Disposition.BUSY, Disposition.NO_ANSWER, Disposition.ABANDONED),
    Disposition.STILL_UP,
)
"""Endings that a plan asks for, or that a stop makes. With words in their `reason` they were not expected."""


@dataclass(frozen=True)
class Reason:
    """One kind of failure."""

    attempts: int
    share: float
    """Of all attempts of the run."""
    first_s: float
    last_s: float
    """Seconds after plan zero at which the first and the last of these attempts were intended."""
    disposition: Disposition
    status: int | None
    cause: int | None
    """Q.850 cause of the refusal, or of the BYE."""
    connect_failure: ConnectFailure | None
    tls_alert: TlsAlert | int | None
    certificate_fault: CertificateFault | None
    audio_fault: AudioFault | None
    words: str | None
    """What was said of the first of these attempts. Numbers are masked."""
    call_id: str | None
    call_sid: str | None
    trunk: str
    """Of the first attempt."""
    remedy: Remedy | None

    @property
    def what(self) -> str:
        """Return the kind in a few words."""
        parts = [self.disposition.value.replace("_", " ")]
        parts += [] if self.status in {None, 200} else [f"status {self.status}"]
        parts += [] if self.cause is None else [f"cause {self.cause}"]
        parts += [] if self.connect_failure is None else [f"no connection: {self.connect_failure}"]
        if self.tls_alert is not None:
            known = isinstance(self.tls_alert, TlsAlert)
            parts.append(f"TLS alert {_words(self.tls_alert) if known else self.tls_alert}")
        parts += [] if self.certificate_fault is None else [f"certificate: {self.certificate_fault}"]
        parts += [] if self.audio_fault is None else [str(self.audio_fault)]
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self) | {"what": self.what}


def reasons_of(records: pl.DataFrame) -> tuple[Reason, ...]:
    """Return every kind of failure, the most frequent first."""
    expected = pl.col("disposition").cast(pl.String).is_in([kind.value for kind in _EXPECTED])
    wrong = records.filter(~(expected & pl.col("reason").is_null())).sort("intended_s", "row")
    kinds = wrong.group_by(_KEYS, maintain_order=True).agg(
        pl.len().alias("attempts"),
        pl.col("intended_s").first().alias("first_s"),
        pl.col("intended_s").last().alias("last_s"),
        *(pl.col(name).drop_nulls().first() for name in _FIRSTS),
    )
    rows = kinds.sort("attempts", "first_s", descending=[True, False]).iter_rows(named=True)
    return tuple(_reason(row, records.height) for row in rows)


def _reason(row: Mapping[str, Any], attempts: int) -> Reason:
    disposition = Disposition(row["disposition"])
    alert = _alert(row["tls_alert"])
    certificate = None if row["certificate_fault"] is None else CertificateFault(row["certificate_fault"])
    audio = None if row["audio_fault"] is None else AudioFault(row["audio_fault"])
    cause = row["bye_cause"] if row["cause"] is None else row["cause"]
    failure = None if row["connect_failure"] is None else ConnectFailure(row["connect_failure"])
    # The most telling first. A status of 200 is none of a failure.
    troubles: list[Trouble | None] = [audio, certificate, alert if isinstance(alert, TlsAlert) else None, failure]
    # A throttled call's status and cause are those that the study says.
    troubles += [disposition] if disposition is Disposition.THROTTLED else []
    troubles += [None if cause is None else Q850(cause), None if row["status"] is None else Status(row["status"])]
    return Reason(
        attempts=row["attempts"],
        share=row["attempts"] / attempts,
        first_s=row["first_s"],
        last_s=row["last_s"],
        disposition=disposition,
        status=row["status"],
        cause=cause,
        connect_failure=failure,
        tls_alert=alert,
        certificate_fault=certificate,
        audio_fault=audio,
        words=row["reason"] or row["bye_reason"],
        call_id=row["call_id"],
        call_sid=row["call_sid"],
        trunk=row["trunk"],
        remedy=remedy_for(*troubles, disposition),
    )


def _words(alert: int) -> str:
    return TlsAlert(alert).name.lower().replace("_", " ")


def _alert(code: int | None) -> TlsAlert | int | None:
    return TlsAlert(code) if code in set(TlsAlert) else code


@dataclass(frozen=True)
class Observation:
    """Something that a run showed and that is no failure by itself."""

    what: str
    value: str


def observations_of(records: pl.DataFrame) -> tuple[Observation, ...]:
    """Return who hung up, how long it rang, early audio, loss on the way to the peer, and keys."""
    answered = records.filter(pl.col("answered_s").is_not_null())
    found = []
    hung_up = dict(answered.drop_nulls("ended_by")["ended_by"].cast(pl.String).value_counts().iter_rows())
    if hung_up:
        counts = f"{hung_up.get('us', 0)}, {hung_up.get('peer', 0)}"
        found.append(Observation("answered calls ended by us, by the far end", counts))
    rang_s = answered.filter(pl.col("ringing_s").is_not_null()).select(pl.col("answered_s") - pl.col("ringing_s"))
    if rang_s.height:
        p50, p95 = (rang_s.to_series().quantile(q, "nearest") for q in (0.5, 0.95))
        found.append(Observation("ringing of answered calls, median and 95 %", f"{p50:.1f} s, {p95:.1f} s"))
    if early := records.filter(pl.col("early_rtp") > 0).height:
        found.append(Observation("calls with audio before the answer", str(early)))
    told = answered.filter(pl.col("uplink_lost").is_not_null() & (pl.col("rtp_sent") > 0))
    if told.height:
        lost, sent = int(told["uplink_lost"].sum()), int(told["rtp_sent"].sum())
        # A peer that counts wrongly may report less than nothing (RFC 3550 section 6.4.1).
        share = f"{100 * max(0, lost) / sent:.2f} % of {sent:,} packets, by the RTCP of {told.height} calls"
        found.append(Observation("our audio lost on its way to the peer", share))
    peer = pl.when(pl.col("direction") == Direction.INBOUND).then("far_digits_received").otherwise("digits_received")
    if keys := records.select(peer).drop_nulls().height:
        found.append(Observation("calls in which the peer pressed keys", str(keys)))
    return tuple(found)


def audio_is_expected(records: pl.DataFrame) -> bool:
    """Tell whether a run had answered calls of whose audio something was asked."""
    asked_nothing = pl.col("far_end").cast(pl.String).is_in([FarEnd.ANSWERS, FarEnd.REJECTS, FarEnd.RINGS])
    return records.filter(pl.col("answered_s").is_not_null() & ~asked_nothing.fill_null(value=False)).height > 0
