"""The states of a call and the table of its transitions (RFC 3261 sections 9, 13, 15), for both sides.

A call consults it through one method; an input that the table does not name for a state came too late to matter.
"""

from __future__ import annotations

from enum import auto

from trunkproof.loadgen.sip.table_key import TableKey


class CallState(TableKey):
    """Where a call stands."""

    CALLING = auto()
    CANCEL_WANTED = auto()
    """Cancelled before any response: CANCEL has to wait for one (RFC 3261 section 9.1)."""
    PROCEEDING = auto()
    CANCELLING = auto()
    INCOMING = auto()
    ANSWERED = auto()
    """Our 2xx awaits its ACK."""
    BYE_WANTED = auto()
    """Hung up before the ACK: a callee's BYE has to wait for it (section 15)."""
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
    (_S.CALLING, _T.SUCCESS): _S.ESTABLISHED,
    (_S.CALLING, _T.FAILURE): _S.ENDED,
    (_S.CANCEL_WANTED, _T.PROVISIONAL): _S.CANCELLING,
    (_S.CANCEL_WANTED, _T.SUCCESS): _S.ENDING,
    (_S.CANCEL_WANTED, _T.FAILURE): _S.ENDED,
    (_S.PROCEEDING, _T.PROVISIONAL): _S.PROCEEDING,
    (_S.PROCEEDING, _T.CANCEL): _S.CANCELLING,
    (_S.PROCEEDING, _T.SUCCESS): _S.ESTABLISHED,
    (_S.PROCEEDING, _T.FAILURE): _S.ENDED,
    (_S.CANCELLING, _T.SUCCESS): _S.ENDING,
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
    (_S.BYE_WANTED, _T.REMOTE_BYE): _S.ENDED,
    (_S.ESTABLISHED, _T.HANG_UP): _S.ENDING,
    (_S.ESTABLISHED, _T.REMOTE_BYE): _S.ENDED,
    (_S.ESTABLISHED, _T.ACK_TIMEOUT): _S.ENDING,
    (_S.ENDING, _T.END): _S.ENDED,
}
IN_DIALOG = {_S.ANSWERED, _S.BYE_WANTED, _S.ESTABLISHED, _S.ENDING}
"""States in which the call has a dialog that outlives its connection."""
