"""The tables of the four transaction machines (RFC 3261 section 17, as RFC 6026 amends them; a reliable transport).

A transaction is one request and its responses. There are four kinds: who sends the request (client) or receives it
(server), and whether it is an INVITE. For example, the caller's INVITE transaction of an answered call goes like this:

    CALLING      INVITE sent, timer B runs
    PROCEEDING   100 or 180 came; the timer stops, because ringing may last as long as it likes
    ACCEPTED     200 came; timer M runs, because the 200 may come again, or another from a forked callee
    TERMINATED   timer M fired; the transaction is forgotten

The rules of the tables:

1. A row reads (state, input): (next state, actions). The actions are done in their order.
2. An input that has no row changes nothing: it is a stray or came too late, and the RFC lets us ignore it.
3. A transaction has one timer at a time, and every timer lasts 64*T1. The state says which letter it is (`timers`).
4. A client acknowledges a failure itself (SEND_ACK). The ACK of a 2xx is the call's own, not the transaction's.
5. TERMINATED has no rows: nothing leaves it.

This file holds data only. `transaction.Transaction` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from trunkproof.loadgen.sip.table_key import TableKey


class State(TableKey):
    """The states of RFC 3261 figures 5 to 8 and of RFC 6026.

    Some states of the RFC last no time over a reliable transport and are TERMINATED here: Confirmed (timer I = 0), the
    client's Completed (timers D, K = 0) and the non-INVITE server's Completed (timer J = 0).
    """

    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    ACCEPTED = auto()
    COMPLETED = auto()
    TERMINATED = auto()


class Input(TableKey):
    """What can happen to a transaction. Clients receive the responses, servers send them."""

    PROVISIONAL = auto()
    SUCCESS = auto()
    FAILURE = auto()
    REQUEST = auto()
    ACK = auto()
    TIMER = auto()
    CONNECTION_LOST = auto()
    ABANDON = auto()


class Action(Enum):
    """What a transition does besides changing state."""

    SEND = auto()
    RESEND = auto()
    DELIVER = auto()
    SEND_ACK = auto()
    START_TIMER = auto()
    STOP_TIMER = auto()
    REPORT_TIMEOUT = auto()
    REPORT_LOSS = auto()


Table = Mapping[tuple[State, Input], tuple[State, tuple[Action, ...]]]

_END = State.TERMINATED
_LOSS = (_END, (Action.REPORT_LOSS,))
_TIMEOUT = (_END, (Action.REPORT_TIMEOUT,))

INVITE_CLIENT: Table = {  # RFC 3261 section 17.1.1.2, RFC 6026 section 8.4
    # CALLING: timer B. PROCEEDING: no timer. ACCEPTED: timer M.
    (State.CALLING, Input.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER, Action.STOP_TIMER)),
    (State.CALLING, Input.SUCCESS): (State.ACCEPTED, (Action.DELIVER, Action.START_TIMER)),
    (State.CALLING, Input.FAILURE): (_END, (Action.SEND_ACK, Action.DELIVER)),
    (State.CALLING, Input.TIMER): _TIMEOUT,
    (State.CALLING, Input.CONNECTION_LOST): _LOSS,
    (State.CALLING, Input.ABANDON): (_END, ()),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, (Action.DELIVER, Action.START_TIMER)),
    (State.PROCEEDING, Input.FAILURE): (_END, (Action.SEND_ACK, Action.DELIVER)),
    # Without this row a ringing call would wait for ever: PROCEEDING has no timer.
    (State.PROCEEDING, Input.CONNECTION_LOST): _LOSS,
    (State.PROCEEDING, Input.ABANDON): (_END, ()),
    (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, (Action.DELIVER,)),
    (State.ACCEPTED, Input.TIMER): (_END, ()),
    # No report: the call was answered, and its dialog can use another connection.
    (State.ACCEPTED, Input.CONNECTION_LOST): (_END, ()),
}

INVITE_SERVER: Table = {  # RFC 3261 section 17.2.1, RFC 6026 sections 8.5 and 8.7
    # PROCEEDING: no timer. ACCEPTED: timer L. COMPLETED: timer H.
    (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, (Action.RESEND,)),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
    (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, (Action.SEND, Action.START_TIMER)),
    (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, (Action.SEND, Action.START_TIMER)),
    (State.PROCEEDING, Input.CONNECTION_LOST): _LOSS,
    # A repeated INVITE is only absorbed here: the call repeats its 2xx by its own clock.
    (State.ACCEPTED, Input.REQUEST): (State.ACCEPTED, ()),
    (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, (Action.SEND,)),
    (State.ACCEPTED, Input.TIMER): (_END, ()),
    (State.ACCEPTED, Input.CONNECTION_LOST): (_END, ()),
    # The caller has not got our failure: send it again.
    (State.COMPLETED, Input.REQUEST): (State.COMPLETED, (Action.RESEND,)),
    (State.COMPLETED, Input.ACK): (_END, ()),
    (State.COMPLETED, Input.TIMER): (_END, ()),
    (State.COMPLETED, Input.CONNECTION_LOST): (_END, ()),
}

CLIENT: Table = {  # RFC 3261 section 17.1.2.2
    # Timer F runs in both states.
    (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.TRYING, Input.SUCCESS): (_END, (Action.DELIVER,)),
    (State.TRYING, Input.FAILURE): (_END, (Action.DELIVER,)),
    (State.TRYING, Input.TIMER): _TIMEOUT,
    (State.TRYING, Input.CONNECTION_LOST): _LOSS,
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.PROCEEDING, Input.SUCCESS): (_END, (Action.DELIVER,)),
    (State.PROCEEDING, Input.FAILURE): (_END, (Action.DELIVER,)),
    (State.PROCEEDING, Input.TIMER): _TIMEOUT,
    (State.PROCEEDING, Input.CONNECTION_LOST): _LOSS,
}

SERVER: Table = {  # RFC 3261 section 17.2.2
    # No timer. Before our first response there is nothing to repeat, so a repeated request is only absorbed.
    (State.TRYING, Input.REQUEST): (State.TRYING, ()),
    (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
    (State.TRYING, Input.SUCCESS): (_END, (Action.SEND,)),
    (State.TRYING, Input.FAILURE): (_END, (Action.SEND,)),
    (State.TRYING, Input.CONNECTION_LOST): _LOSS,
    (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, (Action.RESEND,)),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
    (State.PROCEEDING, Input.SUCCESS): (_END, (Action.SEND,)),
    (State.PROCEEDING, Input.FAILURE): (_END, (Action.SEND,)),
    (State.PROCEEDING, Input.CONNECTION_LOST): _LOSS,
}
