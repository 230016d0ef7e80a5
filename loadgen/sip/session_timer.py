"""Session timers (RFC 4028): what an INVITE, its answer and a 422 say of them, and who has to refresh when.

It reads and writes Session-Expires and Min-SE and does the arithmetic; the call sends the refresh.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trunkproof.loadgen.sip.fields import read_number, read_params
from trunkproof.loadgen.sip.headers import Header
from trunkproof.loadgen.sip.message import Message

MIN_SE_S = 90
"""The smallest session interval of the standard (RFC 4028 section 5)."""


class Refresher(StrEnum):
    """Whose duty the refresh is: the caller's (uac) or the callee's (uas) of the request that set it."""

    UAC = "uac"
    UAS = "uas"


@dataclass(frozen=True, slots=True)
class SessionTimer:
    """A session interval in seconds, and its refresher where it has been said."""

    interval_s: int
    refresher: Refresher | None = None

    def header(self) -> Header:
        """The Session-Expires row."""
        role = f";refresher={self.refresher}" if self.refresher else ""
        return "Session-Expires", f"{self.interval_s}{role}"

    def refresh_after_s(self) -> float:
        """When the refresher refreshes: half the interval (section 7.2)."""
        return self.interval_s / 2

    def give_up_after_s(self) -> float:
        """When the other side ends the call: min(32, interval / 3) before it expires (section 10)."""
        return self.interval_s - min(32.0, self.interval_s / 3)


def read_session_timer(message: Message) -> SessionTimer | None:
    """The Session-Expires of a message, or None. Raises MalformedFieldError."""
    value = message.headers.get("Session-Expires")
    if value is None:
        return None
    seconds, _, params = value.partition(";")
    role = read_params(params).get("refresher", "").lower()
    refresher = Refresher(role) if role in ("uac", "uas") else None
    return SessionTimer(max(1, read_number(seconds.strip(), "Session-Expires")), refresher)


def read_min_se(message: Message) -> int:
    """The Min-SE of a message in seconds, or the standard's 90 (section 5). Raises MalformedFieldError."""
    value = message.headers.get("Min-SE")
    return MIN_SE_S if value is None else read_number(value.partition(";")[0].strip(), "Min-SE")


def supports_timer(message: Message) -> bool:
    """Whether the sender understands session timers (section 4)."""
    return "timer" in message.headers.elements("Supported")


def agree(request: Message) -> SessionTimer | None:
    """What a callee answers to the timer asked for, or None where none was (section 9, table 2)."""
    asked = read_session_timer(request)
    if asked is None:
        return None
    if not supports_timer(request):
        return SessionTimer(asked.interval_s, Refresher.UAS)
    return SessionTimer(asked.interval_s, asked.refresher or Refresher.UAC)


def answer_headers(agreed: SessionTimer | None) -> tuple[Header, ...]:
    """The rows of a 2xx that confirm a timer; Require where the peer is to refresh (section 9)."""
    if agreed is None:
        return ()
    require: tuple[Header, ...] = (("Require", "timer"),) if agreed.refresher is Refresher.UAC else ()
    return (*require, agreed.header())
