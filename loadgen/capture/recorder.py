"""Keep messages, connections and audio of the calls under way, and of those that ended badly or were slow.

Each thing that is captured has a bound (`CaptureOptions`). Of a call that ends well and fast, nothing is left. So the
memory of a run follows the calls under way, and not its length.

    a connection is opened      stream()    every byte of it, up to a bound
    an attempt is sent          begin()     its Call-ID
    a message is sent or came   message()   goes to the call of its Call-ID
    audio begins and ends       tap(), audio()
    the attempt is over         ended()     the call is kept or forgotten
"""

from __future__ import annotations

import heapq
import itertools
import re
import time
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field

from trunkproof.loadgen.capture.capture import (
    Address,
    AudioPacket,
    Capture,
    CapturedCall,
    CapturedTrunk,
    Chunk,
    Message,
    Stream,
)
from trunkproof.loadgen.capture.options import CaptureOptions
from trunkproof.loadgen.capture.secrets import TlsSecrets
from trunkproof.loadgen.media.tap import Datagram, MediaTap
from trunkproof.loadgen.tls.connection import Connection
from trunkproof.models.records import Disposition, Record

_CALL_ID = re.compile(rb"^(?:Call-ID|i)[ \t]*:[ \t]*([^\r\n]*[^\s])", re.IGNORECASE | re.MULTILINE)
_FINAL = re.compile(rb"SIP/2\.0 ([2-6]\d\d)")
_MOST_UNPLANNED = 50
"""Incoming calls whose row is not known (yet), such as those to a number that nobody planned."""
_MOST_UNOPENED = 10
"""Connections without a finished handshake. They belong to no call, and tell why a call had no connection."""


class StreamRecorder:
    """Keeps the bytes of one connection. It is a `StreamTap`."""

    def __init__(self, recorder: Recorder, most_bytes: int, *, calls_out: bool) -> None:
        self._recorder, self._room, self._calls_out = recorder, most_bytes, calls_out
        self._chunks: list[tuple[float, bool, bytes]] = []
        self._complete = True
        self._local: Address = ("", 0)
        self._peer: Address = ("", 0)
        self._tls = ""
        self._secrets: tuple[str, ...] = ()

    def began(self, connection: Connection) -> None:
        """Note both addresses, when TCP is connected."""
        self._local, self._peer = connection.local, connection.peer

    def note(self, data: bytes, *, sent: bool) -> None:
        """Keep bytes. Once there is no room, nothing more is kept: what follows a gap cannot be decrypted."""
        if not self._complete:
            return
        self._complete = self._room >= len(data)
        if self._complete:
            self._room -= len(data)
            self._chunks.append((time.monotonic(), sent, data))

    def opened(self, connection: Connection) -> None:
        """Note how it is encrypted, when the handshake is finished."""
        self._tls = f"{connection.version} {connection.cipher}".strip()
        self._take_secrets()
        self._recorder.opened(self)

    def _take_secrets(self) -> None:
        hello = next((data for _, sent, data in self._chunks if sent is self._calls_out), b"")
        self._secrets = self._secrets or self._recorder.secrets.take(hello)

    def result(self, offset_s: float) -> Stream:
        """Return what was kept."""
        self._take_secrets()
        chunks = tuple(Chunk(at_s + offset_s, sent, data) for at_s, sent, data in self._chunks)
        return Stream(self._local, self._peer, self._calls_out, self._tls, self._complete, self._secrets, chunks)


@dataclass(eq=False, slots=True)
class _Call:
    trunk: str
    row: int
    inbound: bool
    call_ids: list[str] = field(default_factory=list)
    record: Record | None = None
    messages: list[Message] = field(default_factory=list)
    message_bytes: int = 0
    left_out: int = 0
    streams: list[StreamRecorder] = field(default_factory=list)
    audio: list[tuple[Address, MediaTap]] = field(default_factory=list)

    @property
    def final_status(self) -> str:
        """Return the status that ended the INVITE of an inbound call. Empty where none was sent."""
        found = (_FINAL.match(message.data) for message in self.messages if message.sent)
        return next((match[1].decode() for match in found if match), "")


class Recorder:
    """The capture of one process."""

    def __init__(self, options: CaptureOptions, secrets: TlsSecrets) -> None:
        self.secrets = secrets
        self._options = options
        self._by_id: dict[str, _Call] = {}
        self._by_row: dict[int, _Call] = {}
        self._unplanned: OrderedDict[str, _Call] = OrderedDict()
        self._unopened: deque[StreamRecorder] = deque(maxlen=_MOST_UNOPENED)
        self._failed: list[_Call] = []
        self._failed_of: Counter[str] = Counter()
        self._slowest: list[tuple[float, int, _Call]] = []
        self._inbound: deque[_Call] = deque()
        self._count = itertools.count()

    def stream(self, *, calls_out: bool) -> StreamRecorder:
        """Return what keeps the bytes of a new connection."""
        made = StreamRecorder(self, self._options.stream_bytes, calls_out=calls_out)
        self._unopened.append(made)
        return made

    def opened(self, stream: StreamRecorder) -> None:
        """Leave a connection to the calls that use it, now that its handshake is finished."""
        if stream in self._unopened:
            self._unopened.remove(stream)

    def begin(self, trunk: str, row: int, call_id: str, *, inbound: bool = False) -> None:
        """Note the Call-ID of a planned attempt. A redirected one has several."""
        # The INVITE of an inbound call came before anybody knew its row.
        call = self._unplanned.pop(call_id, None) or self._by_row.get(row) or _Call(trunk, row, inbound)
        call.row = row
        call.call_ids.append(call_id)
        self._by_row[row] = self._by_id[call_id] = call

    def message(self, trunk: str, connection: Connection, data: bytes, *, sent: bool) -> None:
        """Keep one whole SIP message with its call. One of no call, such as OPTIONS, is left out."""
        found = _CALL_ID.search(data)
        call_id = found[1].decode("utf-8", "replace") if found else ""
        call = self._by_id.get(call_id) or self._unplanned.get(call_id)
        if call is None:
            if sent or not data.startswith(b"INVITE "):
                return
            call = self._unplanned[call_id] = _Call(trunk, -1, inbound=True)
            if len(self._unplanned) > _MOST_UNPLANNED:
                self._unplanned.popitem(last=False)
        if call.message_bytes + len(data) > self._options.message_bytes:
            call.left_out += 1
            return
        call.message_bytes += len(data)
        call.messages.append(Message(time.monotonic(), sent, connection.local, connection.peer, data))
        stream = connection.tap
        if isinstance(stream, StreamRecorder) and stream not in call.streams:
            call.streams.append(stream)

    def tap(self) -> MediaTap:
        """Return what keeps the datagrams of a new stream."""
        return MediaTap(self._options.audio_bytes)

    def audio(self, row: int, local: Address, tap: MediaTap) -> None:
        """Take the datagrams of a stream that is over."""
        if call := self._by_row.get(row):
            call.audio.append((local, tap))

    def ended(self, record: Record) -> None:
        """Keep or forget the call of a record that is complete."""
        # Without a connection there was never a Call-ID.
        call = self._by_row.pop(record.row, None) or _Call(record.trunk, record.row, inbound=False)
        call.record = record
        if record.disposition is not Disposition.COMPLETED:
            self._keep_failed(call, record.disposition)
            return
        heapq.heappush(self._slowest, (wait_s(record), next(self._count), call))
        if len(self._slowest) > self._options.slowest:
            self._forget(heapq.heappop(self._slowest)[2])

    def left(self, row: int) -> None:
        """Keep or forget an inbound call that is over: refused ones by their status, and the last ones that were up."""
        call = self._by_row.pop(row, None)
        if call is None:
            return
        if call.final_status != "200":
            self._keep_failed(call, f"inbound {call.final_status}")
            return
        self._inbound.append(call)
        if len(self._inbound) > self._options.slowest:
            self._forget(self._inbound.popleft())

    def _keep_failed(self, call: _Call, kind: str) -> None:
        self._failed_of[kind] += 1
        if self._failed_of[kind] <= self._options.per_disposition:
            self._failed.append(call)
        else:
            self._forget(call)

    def _forget(self, call: _Call) -> None:
        for call_id in call.call_ids:
            self._by_id.pop(call_id, None)

    def result(self, zero: float, trunks: tuple[CapturedTrunk, ...]) -> Capture:
        """Return what is kept. `zero` is plan zero on the machine's monotonic clock."""
        offset_s = time.time() - time.monotonic()
        slowest = [call for _, _, call in sorted(self._slowest, reverse=True)]
        # What never came to an end was cut off with the run.
        kept = [*self._failed, *slowest, *self._inbound, *self._unplanned.values(), *self._by_row.values()]
        recorders = list(dict.fromkeys(stream for call in kept for stream in call.streams))
        number = {stream: place for place, stream in enumerate(recorders)}
        return Capture(
            zero_s=zero + offset_s,
            trunks=trunks,
            calls=tuple(_result(call, offset_s, number) for call in kept),
            streams=tuple(stream.result(offset_s) for stream in (*recorders, *self._unopened)),
        )


def wait_s(record: Record) -> float:
    """Return how long an attempt waited for the first sign of the far end, from its own wish for a connection on."""
    first = next((at for at in (record.ringing_s, record.answered_s, record.ended_s) if at is not None), 0.0)
    sent = record.intended_s if record.sent_s is None else record.sent_s
    return first - sent + (record.connect_s or 0.0)


def _result(call: _Call, offset_s: float, number: dict[StreamRecorder, int]) -> CapturedCall:
    return CapturedCall(
        trunk=call.trunk,
        row=call.row,
        inbound=call.inbound,
        call_ids=tuple(call.call_ids),
        record=call.record,
        messages=tuple(Message(one.at_s + offset_s, one.sent, one.local, one.peer, one.data) for one in call.messages),
        messages_left_out=call.left_out,
        streams=tuple(number[stream] for stream in call.streams),
        audio=tuple(
            _packet(one, local, offset_s)
            for local, tap in call.audio
            for one in sorted(tap.datagrams(), key=lambda datagram: datagram.at_s)
        ),
    )


def _packet(one: Datagram, local: Address, offset_s: float) -> AudioPacket:
    # The RTCP port is the one above (RFC 3550 section 11): `bind_pair` takes no other.
    host, port = local
    return AudioPacket(one.at_s + offset_s, one.sent, (host, port + one.rtcp), one.peer, one.data)
