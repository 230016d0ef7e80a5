"""The tables of the four transaction machines (RFC 3261 section 17, as RFC 6026 amends them; a reliable transport).

From (state, input) to (next state, actions): nothing here runs, `transaction` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from trunkproof.loadgen.sip.table_key import TableKey


class State(TableKey):
    """States of RFC 3261 figures 5 to 8 and RFC 6026. Confirmed (timer I = 0) and the non-INVITE Completed
    (timers J, K = 0) last no time over a reliable transport, so they are Terminated here."""

    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    ACCEPTED = auto()
    COMPLETED = auto()
    TERMINATED = auto()


class Input(TableKey):
    """What can happen to a transaction. Responses are received by clients and sent by servers."""

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

INVITE_CLIENT: Table = {  # section 17.1.1.2, RFC 6026 section 8.4
    (State.CALLING, Input.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER, Action.STOP_TIMER)),
    (State.CALLING, Input.SUCCESS): (State.ACCEPTED, (Action.DELIVER, Action.START_TIMER)),
    (State.CALLING, Input.FAILURE): (_END, (Action.SEND_ACK, Action.DELIVER)),
    (State.CALLING, Input.TIMER): _TIMEOUT,
    (State.CALLING, Input.CONNECTION_LOST): _LOSS,
    (State.CALLING, Input.ABANDON): (_END, ()),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, (Action.DELIVER, Action.START_TIMER)),
    (State.PROCEEDING, Input.FAILURE): (_END, (Action.SEND_ACK, Action.DELIVER)),
    (State.PROCEEDING, Input.CONNECTION_LOST): _LOSS,
    (State.PROCEEDING, Input.ABANDON): (_END, ()),
    (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, (Action.DELIVER,)),
    (State.ACCEPTED, Input.TIMER): (_END, ()),
    (State.ACCEPTED, Input.CONNECTION_LOST): (_END, ()),
}

INVITE_SERVER: Table = {  # section 17.2.1, RFC 6026 section 8.7
    (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, (Action.RESEND,)),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
    (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, (Action.SEND, Action.START_TIMER)),
    (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, (Action.SEND, Action.START_TIMER)),
    (State.PROCEEDING, Input.CONNECTION_LOST): _LOSS,
    (State.ACCEPTED, Input.REQUEST): (State.ACCEPTED, ()),
    (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, (Action.SEND,)),
    (State.ACCEPTED, Input.TIMER): (_END, ()),
    (State.ACCEPTED, Input.CONNECTION_LOST): (_END, ()),
    (State.COMPLETED, Input.REQUEST): (State.COMPLETED, (Action.RESEND,)),
    (State.COMPLETED, Input.ACK): (_END, ()),
    (State.COMPLETED, Input.TIMER): (_END, ()),
    (State.COMPLETED, Input.CONNECTION_LOST): (_END, ()),
}

CLIENT: Table = {  # section 17.1.2.2
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

SERVER: Table = {  # section 17.2.2
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
