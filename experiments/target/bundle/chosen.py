"""Choose captured calls, and join each with its record and its connections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from trunkproof.experiments.target.bundle.choice import CallChoice
from trunkproof.experiments.target.bundle.text import call_sid, title_of
from trunkproof.loadgen.capture.capture import Capture, CapturedCall, CapturedTrunk, Stream, read_captures
from trunkproof.loadgen.capture.options import FOLDER
from trunkproof.loadgen.capture.recorder import wait_s
from trunkproof.loadgen.sip.mask import mask, mask_call_id
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.records import Disposition, Record, read_records

_MEASURED = "measured.parquet"
_NO_FAILURE = {Disposition.COMPLETED, Disposition.BUSY, Disposition.NO_ANSWER, Disposition.ABANDONED}


@dataclass(frozen=True)
class ChosenCall:
    """A captured call with all that belongs to it."""

    captured: CapturedCall
    record: Record | None
    trunk: CapturedTrunk
    streams: tuple[Stream, ...]
    zero_s: float
    place: int
    """Among the calls of its capture."""

    @property
    def name(self) -> str:
        """Return the name of the call's folder in the bundle."""
        if self.record is None:
            return f"row-{self.captured.row}" if self.captured.row >= 0 else f"unplanned-{self.place}"
        return f"call-{self.record.call}" + (f"-redial-{self.record.attempt}" if self.record.attempt else "")

    @property
    def has_failed(self) -> bool:
        """Tell whether the call ended otherwise than calls may end."""
        if self.record is not None:
            return self.record.disposition not in _NO_FAILURE
        return not any(title_of(message.data).startswith("200 OK") for message in self.captured.messages)

    @property
    def began_s(self) -> float:
        """Return when it began, in Unix time."""
        if self.captured.messages:
            return self.captured.messages[0].at_s
        return self.zero_s + (0.0 if self.record is None else self.record.intended_s)

    @property
    def wait_s(self) -> float:
        """Return how long it waited for the first sign of the far end."""
        return 0.0 if self.record is None else wait_s(self.record)

    def facts(self, *, masked: bool) -> dict[str, Any]:
        """Return what support asks for, ready for `json.dumps`."""
        record, hide, hide_id = self.record, (mask if masked else str), (mask_call_id if masked else str)
        sid = call_sid(self.captured.messages)
        began = datetime.fromtimestamp(self.began_s, UTC)
        return {
            "name": self.name,
            "account_sid": self.trunk.account,
            "domain": self.trunk.domain,
            "trunk": self.trunk.name,
            "called_at": self.trunk.target,
            "transport": self.transport,
            "direction": "inbound" if self.captured.inbound else "outbound",
            "began_utc": began.isoformat(timespec="milliseconds"),
            "began_local": began.astimezone().isoformat(timespec="milliseconds"),
            "call_ids": [hide_id(call_id) for call_id in self.captured.call_ids],
            "x_exotel_call_sid": None if sid is None else hide(sid),
            "disposition": None if record is None else record.disposition.value,
            "status": None if record is None else record.status,
            "q850_cause": None if record is None else record.cause,
            "reason": None if record is None or record.reason is None else hide(record.reason),
            "first_sign_after_s": None if record is None else round(self.wait_s, 3),
            "up_for_s": None if record is None else _up_s(record),
            "packets_sent": None if record is None else record.rtp_sent,
            "packets_received": None if record is None else record.rtp_received,
            "packets_lost": None if record is None else record.rtp_lost,
            "mos": None if record is None or record.mos is None else round(record.mos, 2),
        }

    @property
    def transport(self) -> str:
        """Return what carried the signalling."""
        if not self.streams:
            return "no connection"
        return ", ".join(dict.fromkeys(f"TLS ({one.tls})" if one.tls else "TCP" for one in self.streams))


def _up_s(record: Record) -> float | None:
    if record.answered_s is None or record.ended_s is None:
        return None
    return round(record.ended_s - record.answered_s, 3)


def choose(source: Path, which: CallChoice) -> tuple[list[ChosenCall], list[Stream]]:
    """Return the chosen calls in the order of time, and connections without a handshake if one of them had none.

    Raises:
        InputError: the folder has no capture, or a chosen call was not captured.
    """
    captures = read_captures(source / FOLDER)
    records = _records_of_others(source) if any(call.record is None for one in captures for call in one.calls) else {}
    calls = sorted((call for one in captures for call in _joined(one, records)), key=lambda call: call.began_s)
    chosen = calls if which.is_everything else _asked_for(calls, which)
    if not chosen:
        what = (
            "holds no call that was asked for" if calls else "is empty: no call was placed, or none was worth keeping"
        )
        raise InputError(str(source), [Problem(where=FOLDER, what=what)])
    unconnected = any(not call.streams for call in chosen)
    return chosen, [one for capture in captures for one in capture.streams if unconnected and not one.tls]


def _asked_for(calls: Sequence[ChosenCall], which: CallChoice) -> list[ChosenCall]:
    numbers = {call.record.call for call in calls if call.record is not None}
    if missing := [number for number in which.calls if number not in numbers]:
        what = "was not captured: kept are the first calls of each failure, and the slowest of the others"
        raise InputError("bundle", [Problem(where=f"--call {number}", what=what) for number in missing])
    by_wait = sorted((call for call in calls if call.record is not None), key=lambda call: -call.wait_s)
    slow = by_wait[: which.slowest]
    return [
        call
        for call in calls
        if (which.failed and call.has_failed)
        or (call.record is not None and call.record.call in which.calls)
        or any(call is one for one in slow)
    ]


def _joined(capture: Capture, records: dict[int, Record]) -> Iterator[ChosenCall]:
    trunks = {trunk.name: trunk for trunk in capture.trunks}
    for place, call in enumerate(capture.calls):
        streams = tuple(capture.streams[place] for place in call.streams)
        yield ChosenCall(call, call.record or records.get(call.row), trunks[call.trunk], streams, capture.zero_s, place)


def _records_of_others(source: Path) -> dict[int, Record]:
    """Return the records of calls that the trunk's side placed, by row. Empty where the run left no table."""
    path = source / _MEASURED
    if not path.exists():
        return {}
    rows = read_records(path).filter(direction="inbound").to_dicts()
    return {record.row: record for record in TypeAdapter(list[Record]).validate_python(rows)}
