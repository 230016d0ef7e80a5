"""The states of a call and the table of its transitions (RFC 3261 sections 9, 13, 15), for both sides.

Most calls go like this, at the caller (first line) and at the callee:

    CALLING  ->  PROCEEDING  ->  ESTABLISHED  ->  ENDING  ->  ENDED
             180             200 (we send ACK)    we send BYE  its response

    INCOMING  ->  ANSWERED  ->  ESTABLISHED  ->  ENDED
              we send 200   ACK came         BYE came

The other states follow from three rules:

1. A CANCEL must wait for a first response (section 9.1). A caller who gives up before it is in CANCEL_WANTED, and in
   CANCELLING once the CANCEL is sent. If the 200 crosses the CANCEL, the call has to be acknowledged and ended with a
   BYE: ENDING, not ESTABLISHED.
2. A callee may not send BYE before the ACK of its 200 (section 15). A callee who hangs up earlier is in BYE_WANTED.
   Without an ACK for 64*T1 it sends the BYE all the same (section 13.3.1.4).
3. A call whose BYE is on its way is in ENDING until the BYE is answered, lost or timed out.

A call takes every step through `Call._move`. A pair that has no row means: the input came too late to matter.
"""

from __future__ import annotations

from enum import auto

from trunkproof.loadgen.sip.table_key import TableKey


class CallState(TableKey):
    """How far a call has come."""

    CALLING = auto()
    CANCEL_WANTED = auto()
    """Given up before any response: the CANCEL has to wait for one (RFC 3261 section 9.1)."""
    PROCEEDING = auto()
    CANCELLING = auto()
    INCOMING = auto()
    ANSWERED = auto()
    """We sent 2xx, and await its ACK."""
    BYE_WANTED = auto()
    """Hung up before the ACK: a callee's BYE has to wait for it (RFC 3261 section 15)."""
    ESTABLISHED = auto()
    ENDING = auto()
    ENDED = auto()


class Trigger(TableKey):
    """What moves a call."""

    PROVISIONAL = auto()
    SUCCESS = auto()
    FAILURE = auto()
    CANCEL = auto()
    ANSWER = auto()
    ACK = auto()
    ACK_TIMEOUT = auto()
    HANG_UP = auto()
    REMOTE_BYE = auto()
    END = auto()


_S, _T = CallState, Trigger
TRANSITIONS: dict[tuple[CallState, Trigger], CallState] = {
    (_S.CALLING, _T.PROVISIONAL): _S.PROCEEDING,
    (_S.CALLING, _T.CANCEL): _S.CANCEL_WANTED,
    # A callee may answer without ringing first.
    (_S.CALLING, _T.SUCCESS): _S.ESTABLISHED,
    (_S.CALLING, _T.FAILURE): _S.ENDED,
    (_S.CANCEL_WANTED, _T.PROVISIONAL): _S.CANCELLING,  # now the CANCEL may go
    (_S.CANCEL_WANTED, _T.SUCCESS): _S.ENDING,
    (_S.CANCEL_WANTED, _T.FAILURE): _S.ENDED,
    (_S.PROCEEDING, _T.PROVISIONAL): _S.PROCEEDING,
    (_S.PROCEEDING, _T.CANCEL): _S.CANCELLING,
    (_S.PROCEEDING, _T.SUCCESS): _S.ESTABLISHED,
    (_S.PROCEEDING, _T.FAILURE): _S.ENDED,
    (_S.CANCELLING, _T.SUCCESS): _S.ENDING,  # the 2xx crossed our CANCEL
    # Mostly the 487, but also a timeout or a refusal that crossed the CANCEL.
    (_S.CANCELLING, _T.FAILURE): _S.ENDED,
    (_S.INCOMING, _T.ANSWER): _S.ANSWERED,
    (_S.INCOMING, _T.CANCEL): _S.ENDED,
    (_S.INCOMING, _T.FAILURE): _S.ENDED,
    (_S.ANSWERED, _T.ACK): _S.ESTABLISHED,
    (_S.ANSWERED, _T.ACK_TIMEOUT): _S.ENDING,
    (_S.ANSWERED, _T.HANG_UP): _S.BYE_WANTED,
    (_S.ANSWERED, _T.REMOTE_BYE): _S.ENDED,
    (_S.BYE_WANTED, _T.ACK): _S.ENDING,
    (_S.BYE_WANTED, _T.ACK_TIMEOUT): _S.ENDING,
    # The caller may send BYE at once, even before its ACK arrives.
    (_S.BYE_WANTED, _T.REMOTE_BYE): _S.ENDED,
    (_S.ESTABLISHED, _T.HANG_UP): _S.ENDING,
    (_S.ESTABLISHED, _T.REMOTE_BYE): _S.ENDED,
    (_S.ESTABLISHED, _T.ACK_TIMEOUT): _S.ENDING,  # of our 2xx to a re-INVITE
    # No REMOTE_BYE here: where two BYEs cross, each side waits for the answer to its own.
    (_S.ENDING, _T.END): _S.ENDED,
}
IN_DIALOG = {_S.ANSWERED, _S.BYE_WANTED, _S.ESTABLISHED, _S.ENDING}
"""States in which the call has a dialog that outlives its connection."""
