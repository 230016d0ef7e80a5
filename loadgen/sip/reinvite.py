"""Our own re-INVITE: what it offers, and whether and when it is tried again (RFC 3261 section 14.1, RFC 4028).

The call sends it. A live call is never ended because a re-INVITE was refused, but for 408 and 481: these say that the
dialog is gone.
"""

from __future__ import annotations

from dataclasses import dataclass

from trunkproof.loadgen.sip.fields import read_retry_after
from trunkproof.loadgen.sip.identifiers import Identifiers
from trunkproof.loadgen.sip.message import Response
from trunkproof.loadgen.sip.transaction import InviteClientTransaction

GLARE = 491
DIALOG_GONE = frozenset((408, 481))
"""The dialog is gone: BYE (RFC 3261 section 14.1, RFC 4028 section 10)."""
_BUSY = frozenset((500, 502, 503, 504))
"""The server has trouble of its own, which may pass."""
_LONGEST_WAIT_S = 64.0


@dataclass(slots=True)
class Reinvite:
    """A re-INVITE that we want to be answered."""

    offer: bytes | None = None
    """What the user offers anew. None for a refresh, which repeats what stands."""
    number: int | None = None
    """CSeq number while it is under way, else None."""
    transaction: InviteClientTransaction | None = None
    """Its transaction while it is under way."""
    tries: int = 0
    """How often it was refused and will be tried again."""
    min_se_s: int | None = None
    """The interval that a 422 asked for (RFC 4028 section 7.4)."""


def retry_wait_s(reinvite: Reinvite, status: int, response: Response | None, ids: Identifiers, *, ours: bool) -> float:
    """Return after how many seconds to try a refused re-INVITE again, or infinity for never.

    Args:
        reinvite: counts the tries so far.
        status: the response's, or 503 where the connection was lost.
        response: the refusal, if one came.
        ids: draws the wait.
        ours: whether we own the Call-ID, which the caller does.
    """
    # Both sides draw from ranges that do not overlap, so the two do not meet again (RFC 3261 section 14.1).
    glare_s = (210 + ids.below(191)) / 100 if ours else ids.below(201) / 100
    if status == GLARE:
        return glare_s
    if status not in _BUSY:
        return float("inf")
    asked_s = read_retry_after(response.headers.get("Retry-After")) if response is not None else None
    # Without a Retry-After the standard names no wait. It doubles, so that a server in trouble is not asked too often.
    # A Retry-After of 0 is none: we would send as fast as the server refuses.
    return asked_s or min((1.0 + glare_s) * 2**reinvite.tries, _LONGEST_WAIT_S)
