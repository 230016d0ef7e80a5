"""Whose turn it is in offer and answer, in one dialog (RFC 3264, RFC 6337). SDP is carried here, and never read.

A dialog has at most one open offer. The table of what may carry one:

    message                         as an offer                      as an answer
    INVITE                          always, or none (late offer)     never
    1xx, reliable (RFC 3262)        to an INVITE without an offer    to the INVITE's offer: it is final
    1xx, plain                      never                            a preview: the 2xx may still say otherwise
    2xx                             to an INVITE without an offer    to the INVITE's offer, if no reliable 1xx answered
    ACK                             never                            to the offer of the 2xx
    PRACK                           once the first one is answered   to the offer of the 1xx
    UPDATE (RFC 3311)               once the first one is answered   never

The user of a call reads and writes the descriptions: it gives the call a `Negotiator`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import auto
from typing import Protocol

from trunkproof.loadgen.sip.table_key import TableKey

NO_ANSWER = "no session description"
"""What is wrong with an offer that was never answered, where nobody says it better."""


class Negotiator(Protocol):
    """The user's part in offer and answer. The call asks it, and knows no media itself.

    `dialog` is the peer's tag. Forks of one call are told apart by it: each has its own answer and keys.
    """

    def answer(self, offer: bytes, dialog: str) -> bytes | None:
        """Return our answer to the peer's offer, and follow it. Return None, and change nothing, to refuse it (488)."""

    def offer(self, dialog: str) -> bytes:
        """Return our offer, for a peer that asks for one: its INVITE had none (RFC 3261 section 14.2)."""

    def accept(self, offer: bytes, answer: bytes, dialog: str) -> str | None:
        """Follow the peer's answer to our offer. Return what is wrong with it, or None. An absent answer is empty."""

    def confirm(self, dialog: str) -> None:
        """Take the call as answered in this dialog, whatever other forks said before."""


class OfferState(TableKey):
    """Whether an offer is open in the dialog, and whose."""

    STABLE = auto()
    OFFERED = auto()
    """Ours: the peer has to answer."""
    ASKED = auto()
    """The peer's: we have to answer."""


@dataclass(slots=True)
class Exchange:
    """Offer and answer of one dialog: what stands, and what is proposed."""

    state: OfferState = OfferState.STABLE
    local: bytes = b""
    """Our description that stands. A refresh repeats it."""
    remote: bytes = b""
    """The peer's description that stands. A plain 1xx may have brought it as a preview."""
    fault: str | None = None
    """What is wrong with the peer's last answer."""
    proposed: bytes = b""
    """The open offer."""

    def offer(self, proposed: bytes) -> None:
        """Note an offer of ours."""
        self.state, self.proposed = OfferState.OFFERED, proposed

    def ask(self, proposed: bytes) -> None:
        """Note an offer of the peer."""
        self.state, self.proposed = OfferState.ASKED, proposed

    def answer(self, local: bytes) -> None:
        """Note our answer. It closes the peer's offer."""
        self.state, self.local, self.remote = OfferState.STABLE, local, self.proposed

    def answered(self, remote: bytes) -> None:
        """Note the peer's answer. It closes our offer."""
        self.state, self.local, self.remote = OfferState.STABLE, self.proposed, remote

    def withdraw(self) -> None:
        """Close an offer that came to nothing: what stood before still stands (RFC 3264 section 8)."""
        self.state = OfferState.STABLE
