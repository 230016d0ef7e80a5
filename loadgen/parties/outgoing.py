"""Carry one planned call: connection, INVITE, ringing, answer, audio, BYE. Fill in its record.

A call has three steps, and the dialler decides when each of them happens:

1. `prepare`, shortly before the call's instant: open ports and write the INVITE, so that no time is lost later.
2. `start`, at the instant: send the INVITE, if the connection is already open.
3. `finish`: connect if that is still needed, follow the call to its end, and note its disposition.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from enum import Enum, auto

from trunkproof.loadgen.parties.agent import CallEvents, Stopped
from trunkproof.loadgen.parties.audio import NoPortError, find_audio_fault, note_media
from trunkproof.loadgen.parties.call_log import CallLog
from trunkproof.loadgen.parties.caller import Caller
from trunkproof.loadgen.parties.negotiation import AudioNegotiator
from trunkproof.loadgen.parties.redirect import RedirectError
from trunkproof.loadgen.parties.refusal import read_refusal, told
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.client_call import ClientCall
from trunkproof.loadgen.sip.digest import Authenticator
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.mask import mask, mask_call_id
from trunkproof.loadgen.sip.message import Request, Response
from trunkproof.loadgen.sip.reason import sip_reason
from trunkproof.loadgen.tls.connection import ConnectError
from trunkproof.loadgen.tls.endpoints import LocalNetworkError
from trunkproof.loadgen.tls.pool import ConnectionPool, Lease
from trunkproof.models.errors import TrunkproofError
from trunkproof.models.plan import Outcome, PlanRow
from trunkproof.models.records import Disposition, EndedBy, FarEnd, Record
from trunkproof.models.refusals import disposition_of
from trunkproof.models.timers import EDGE_RETRY_S, TRANSACTION_TIMEOUT_S

logger = logging.getLogger(__name__)

_LAST_WORDS_S = 4.0
"""How long a stopped run waits for the response to a BYE or CANCEL before it drops the call."""
_GOOD_ENDS = {EndCause.LOCAL_BYE, EndCause.REMOTE_BYE, EndCause.BYE_REFUSED}
"""The call was up and has ended. BYE_REFUSED (481) means that the other side had already ended it."""
EARLY_HANG_UP_S = 1.0
"""A far end that hangs up this long before the planned end, or longer, has dropped the call.

A PBX counts whole seconds, and may begin to count before we do.
"""


class _Wish(Enum):
    """What the caller wants of a call that is not yet answered."""

    ANSWER = auto()
    ABANDON = auto()
    """Give up after ringing, as planned."""
    TIME_OUT = auto()
    """Give up because no final response comes."""
    STOP = auto()
    """Give up because the run is stopped."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """What `prepare` makes before the call's instant."""

    media: AudioNegotiator
    invite: Request


@dataclass(eq=False, slots=True)
class PlannedCall:
    """One attempt of a caller. It is a dialler's `Attempt`."""

    caller: Caller
    row: PlanRow
    record: Record
    inbox: CallEvents = field(default_factory=CallEvents)
    wish: _Wish = _Wish.ANSWER
    _ready: _Ready | NoPortError | None = None
    _lease: Lease | None = None
    _call: ClientCall | None = None
    _pool: ConnectionPool = field(init=False)
    """Where the present lease comes from."""
    _tried: list[str] = field(default_factory=list)
    """The Request-URIs that have redirected the call."""
    _log: CallLog = field(init=False)

    def __post_init__(self) -> None:
        self._log = CallLog(logger, "not sent", call=self.row.call, attempt=self.row.attempt)

    async def carry(self) -> None:
        """Carry the whole attempt from now on, for a caller without a dialler."""
        self.prepare()
        self.start()
        await self.finish()

    def prepare(self) -> None:
        """Open ports for the audio, and write the INVITE."""
        line = self.caller.line
        try:
            audio = line.open_audio(self.row)
        except NoPortError as error:
            # Kept until the call's instant, so that the record of the failure says when the call should have been
            # placed.
            self._ready = error
            return
        media = AudioNegotiator(audio, line.offer(self.row, audio))
        self._ready = _Ready(media, line.invite(self.row, media.offered))

    def start(self) -> None:
        """Send the INVITE, if its connection is already open."""
        # Before the INVITE: a run that is stopped meanwhile has to reach this call.
        self.caller.begin(self.inbox)
        # Only an open connection. To wait for a handshake here would make the next call late.
        lease = self.caller.line.pool.standing(self.row.call)
        if lease is not None and isinstance(self._ready, _Ready):
            self._send(lease, self._ready)

    async def finish(self) -> None:
        """Connect if needed, and follow the call to its end."""
        try:
            if isinstance(self._ready, _Ready):
                await self._connect_and_converse(self._ready)
            elif self._ready is not None:
                self._fail_here(self._ready)
        except BaseException:  # cancellation too
            # The dialler tells it in the record. The far end must not stay in a call that nobody follows any more.
            if self._call is not None:
                self.caller.line.agent.act(self._call.hang_up)
            raise
        finally:
            self.drop()
            # Last. `stop` must reach the call as long as it holds anything.
            self.caller.end(self.inbox)

    def drop(self) -> None:
        """Release what was prepared."""
        if isinstance(self._ready, _Ready):
            self._ready.media.close()

    async def _connect_and_converse(self, ready: _Ready) -> None:
        self._pool = self.caller.line.pool
        try:
            if self._lease is None:
                self._send(await self._pool.acquire(self.row.call, resume=self.row.resumes), ready)
        except ConnectError as error:
            record = self.record
            record.connect_failure, record.tls_alert = error.failure.value, error.alert
            record.certificate_fault = error.certificate
            return self._end(Disposition.CONNECTION_FAILED, str(error))
        except LocalNetworkError as error:
            return self._fail_here(error)
        assert self._lease is not None
        assert self._call is not None
        try:
            await self._converse(ready)
        finally:
            # Another one than before, where the call was redirected.
            self._pool.release(self._lease)
        return None

    def _send(self, lease: Lease, ready: _Ready) -> None:
        self._lease = lease
        self.record.connection, self.record.connect_s = lease.kind, lease.connect_s
        # Read before the INVITE is written: encrypting and sending it belong to the time that we measure.
        self.record.sent_s = self.caller.now_s()
        self._log = CallLog(logger, ready.invite.call_id, call=self.row.call, attempt=self.row.attempt)
        self._log.debug("INVITE sent over a %s connection", lease.kind)
        # The far end may send audio before its answer (RFC 3264 section 5.1).
        ready.media.audio.listen()
        self._place(lease, ready)

    def _place(self, lease: Lease, ready: _Ready) -> None:
        if (recorder := self.caller.line.recorder) is not None:
            recorder.begin(self.record.trunk, self.row.row, ready.invite.call_id)
