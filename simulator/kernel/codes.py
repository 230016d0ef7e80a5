"""The numbers that compiled code compares instead of enums. They are compiled in as constants."""

from __future__ import annotations

from typing import Final

from trunkproof.models import columns
from trunkproof.models.draws import OUTCOME_CODE, Outcome
from trunkproof.models.records import ConnectionKind, Disposition

DISPOSITION_CODE: Final = columns.DISPOSITION_CODE
CONNECTION_CODE: Final = columns.CONNECTION_CODE
COMPLETED: Final = DISPOSITION_CODE[Disposition.COMPLETED]
THROTTLED: Final = DISPOSITION_CODE[Disposition.THROTTLED]
NOT_WHITELISTED: Final = DISPOSITION_CODE[Disposition.NOT_WHITELISTED]
NO_CHANNEL: Final = DISPOSITION_CODE[Disposition.NO_CHANNEL]
NO_PORT: Final = DISPOSITION_CODE[Disposition.NO_PORT]
CARRIER_REJECTED: Final = DISPOSITION_CODE[Disposition.CARRIER_REJECTED]
BUSY: Final = DISPOSITION_CODE[Disposition.BUSY]
NO_ANSWER: Final = DISPOSITION_CODE[Disposition.NO_ANSWER]
ABANDONED: Final = DISPOSITION_CODE[Disposition.ABANDONED]
TIMED_OUT: Final = DISPOSITION_CODE[Disposition.TIMED_OUT]
CONNECTION_FAILED: Final = DISPOSITION_CODE[Disposition.CONNECTION_FAILED]
STILL_UP: Final = DISPOSITION_CODE[Disposition.STILL_UP]
TAKEN: Final = -1
"""No disposition: all limits let the call pass."""

ANSWERED: Final = OUTCOME_CODE[Outcome.ANSWERED]
WILL_BE_BUSY: Final = OUTCOME_CODE[Outcome.BUSY]
WILL_NOT_ANSWER: Final = OUTCOME_CODE[Outcome.NO_ANSWER]
WILL_BE_REJECTED: Final = OUTCOME_CODE[Outcome.REJECTED]
WILL_BE_ABANDONED: Final = OUTCOME_CODE[Outcome.ABANDONED]

REUSED: Final = CONNECTION_CODE[ConnectionKind.REUSED]
RESUMED: Final = CONNECTION_CODE[ConnectionKind.RESUMED]
FULL: Final = CONNECTION_CODE[ConnectionKind.FULL]
TCP: Final = CONNECTION_CODE[ConnectionKind.TCP]
NO_CONNECTION: Final = columns.NO_CONNECTION
"""In a record, and where no connection can be had."""

# Kinds of events. `whose` of an event is an index times `KINDS`, plus one of these.
# A power of two: the kind is the low bits of `whose`, and no division is needed to take it apart.
KINDS: Final = 8
CALL: Final = 0
ARRIVAL: Final = 1
STANDING: Final = 2
INCIDENT: Final = 3
OPENED: Final = 4
NOT_OPENED: Final = 5

# Parts of the event queue.
NONE: Final = 0
SOON: Final = 1
NEAR: Final = 2
FAR: Final = 3

# Steps of a call that an event begins. The name says what the call was doing or waiting for before: the step SENDING
# begins when the INVITE, which was being sent, has arrived. REFUSED is the step in which an attempt ends.
CONNECTING: Final = 1
SENDING: Final = 2
GIVING_UP: Final = 3
ASKING: Final = 4
SHAPED: Final = 5
REFUSED: Final = 6
SETTING_UP: Final = 7
RINGING: Final = 8
CANCELLING: Final = 9
TALKING: Final = 10
POLLING: Final = 11
HANGING_UP: Final = 12
LAST_RESPONSE: Final = 13
REDIALLING: Final = 14
# Steps that follow another step at once.
COMING: Final = 15
ARRIVING: Final = 16
REFUSING: Final = 17
GOING_ON: Final = 18
INVITING: Final = 19
LOSING: Final = 20
BREAKING_OFF: Final = 21
BYE: Final = 22
CHOOSING: Final = 23
RETRYING: Final = 24
BYE_LOST: Final = 25
AWAITING_EDGE: Final = 26
"""Begins by an event: the edge, which took no connections, is back."""
# What a step returns where no step follows at once.
NOTHING: Final = 0
"""No event is scheduled: the caller is gone, or waits for a connection that another call opens."""
WAITS: Final = -1
"""The call waits for the delay that it has noted. Then comes the step that it has noted."""
WAITS_LONG: Final = -2
"""The same for a long wait (talking, redialling), which has a heap of its own."""

# Why compiled code returns to Python.
DONE: Final = 0
BATCH_IS_FULL: Final = 1
WANTS_PLAN: Final = 2
WANTS_ROOM: Final = 3
WANTS_ORDER: Final = 4
"""An edge restart: Python has to put the attempts that it breaks off into the order of their INVITEs."""
