"""The Reason header (RFC 3326): why a call was hung up, as the side that hung up says."""

from __future__ import annotations

from dataclasses import dataclass

from trunkproof.loadgen.sip.fields import MalformedFieldError, quote, read_q850_cause
from trunkproof.loadgen.sip.headers import Header, Headers

LONGEST_TEXT = 200
"""How many characters of a peer's Reason are kept. More would let a peer fill the record table."""


@dataclass(frozen=True, slots=True)
class EndReason:
    """Why the peer hung up."""

    q850_cause: int | None
    """The Q.850 cause. 16 is normal clearing."""
    text: str
    """The header's values as they came, shortened. One message may have a Reason of SIP and one of Q.850."""


def read_reason(headers: Headers) -> EndReason | None:
    """Return the Reason of a message, or None. A value that cannot be read has its text and no cause."""
    values = headers.elements("Reason")
    if not values:
        return None
    try:
        cause = read_q850_cause(values)
    except MalformedFieldError:
        cause = None
    return EndReason(cause, ", ".join(values)[:LONGEST_TEXT])


def sip_reason(status: int, text: str) -> Header:
    """Return a Reason row that tells a fault by the status that a response to it would have (RFC 3326 section 3.1)."""
    return "Reason", f"SIP;cause={status};text={quote(readable(text))}"


def readable(text: str) -> str:
    """Return a text that may stand in a header: on one line, in ASCII, and not too long. It may be a peer's words."""
    line = " ".join(text.split())[:LONGEST_TEXT]
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in line)
