"""Session timers (RFC 4028): read and write Session-Expires and Min-SE, and compute who must refresh when.

One side, the refresher, repeats its INVITE at half the interval. The other side ends the call where no refresh came.
The call sends the refresh and the BYE (`call`), not this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trunkproof.loadgen.sip.fields import read_number, read_params
from trunkproof.loadgen.sip.headers import Header
from trunkproof.loadgen.sip.message import Message

MIN_SE_S = 90
"""The smallest session interval that the standard allows (RFC 4028 section 5)."""


class Refresher(StrEnum):
    """Who must refresh: the sender (uac) or the receiver (uas) of the request that set the timer."""

    UAC = "uac"
    UAS = "uas"


@dataclass(frozen=True, slots=True)
class SessionTimer:
    """A session interval in seconds, and its refresher. The refresher is None where the message does not name one."""

    interval_s: int
    refresher: Refresher | None = None

    def header(self) -> Header:
        """Return the Session-Expires row."""
        role = f";refresher={self.refresher}" if self.refresher else ""
        return "Session-Expires", f"{self.interval_s}{role}"

    def refresh_after_s(self) -> float:
        """Return after how many seconds the refresher refreshes: half the interval (RFC 4028 section 7.2)."""
        return self.interval_s / 2

    def give_up_after_s(self) -> float:
        """Return after how many seconds the other side ends the call (RFC 4028 section 10).

        That is min(32, interval / 3) seconds before the session expires.
        """
        return self.interval_s - min(32.0, self.interval_s / 3)


def read_session_timer(message: Message) -> SessionTimer | None:
    """Return the Session-Expires of a message, or None.

    Raises:
        MalformedFieldError: it is not a number.
    """
    value = message.headers.get("Session-Expires")
    if value is None:
        return None
    seconds, _, params = value.partition(";")
    role = read_params(params).get("refresher", "").lower()
    refresher = Refresher(role) if role in ("uac", "uas") else None
    # Zero seconds would make a refresh due again at once, for ever.
    return SessionTimer(max(1, read_number(seconds.strip(), "Session-Expires")), refresher)


def read_min_se(message: Message) -> int:
    """Return the Min-SE of a message in seconds, or the standard's 90 where it has none (RFC 4028 section 5).

    Raises:
        MalformedFieldError: it is not a number.
    """
    value = message.headers.get("Min-SE")
    return MIN_SE_S if value is None else read_number(value.partition(";")[0].strip(), "Min-SE")


def supports_timer(message: Message) -> bool:
    """Return whether the sender understands session timers: option tag `timer` (RFC 4028 section 7.1)."""
    return any(option.lower() == "timer" for option in message.headers.elements("Supported"))


def agree(request: Message) -> SessionTimer | None:
    """Return a callee's answer to the timer that a request asks for, or None (RFC 4028 section 9, table 2)."""
    asked = read_session_timer(request)
    if asked is None:
        return None
    # A proxy may have asked for the timer although the caller does not know timers: then we must refresh.
    if not supports_timer(request):
        return SessionTimer(asked.interval_s, Refresher.UAS)
    return SessionTimer(asked.interval_s, asked.refresher or Refresher.UAC)


def answer_headers(agreed: SessionTimer | None) -> tuple[Header, ...]:
    """Return the rows of a 2xx that confirm a timer. Require is among them where the peer must refresh (section 9)."""
    if agreed is None:
        return ()
    require: tuple[Header, ...] = (("Require", "timer"),) if agreed.refresher is Refresher.UAC else ()
    return (*require, agreed.header())
