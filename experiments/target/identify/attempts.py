"""What one attempt shows of a throttle, and the bounds that it puts on the instant of the decision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trunkproof.models.throttles.observed import Observed

_FEW, _MANY = 5, 20
"""So many refusals show roughly, and well, how slowly the trunk answers at worst."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as its caller saw it. Instants are in seconds on one clock."""

    sent_s: float
    responded_s: float
    """When the refusal came, or for an admitted call the first ringing or answer."""
    admitted: bool
    status: int | None = None
    """Final status of a refusal."""
    cause: int | None = None
    """Its Q.850 cause (RFC 3326)."""
    retry_after_s: float | None = None


def observed(attempts: Sequence[Attempt], clock_s: float, *, in_order: bool = True) -> Observed:
    """Return the bounds of all decisions.

    Args:
        attempts: in any order.
        clock_s: how wrong an instant may be, either way.
        in_order: the trunk decides in the order of sending, as over one connection. Then a call is decided before each
            later one is answered, which bounds calls that take long to ring.
    """
    ordered = sorted(attempts, key=lambda attempt: attempt.sent_s)
    sent_s = np.array([attempt.sent_s for attempt in ordered])
    responded_s = np.array([attempt.responded_s for attempt in ordered])
    admitted = np.array([attempt.admitted for attempt in ordered], dtype=np.bool_)
    early_s, late_s = sent_s - clock_s, responded_s + clock_s
    if (refusals := np.count_nonzero(~admitted)) >= _FEW:
        # An admitted call is decided as quickly as a refused one; its ringing comes later. The slowest refusal bounds
        # both, and it includes the way back, so there is room.
        slowest_s = float((responded_s - sent_s)[~admitted].max()) * (1 if refusals >= _MANY else 2)
        late_s = np.where(admitted, np.minimum(late_s, sent_s + slowest_s + clock_s), late_s)
    if in_order:
        late_s = np.minimum.accumulate(late_s[::-1])[::-1]
    early_s = np.maximum.accumulate(early_s)
    went_on_s = np.where(admitted, responded_s + clock_s, math.inf)
    return Observed(early_s, np.maximum.accumulate(np.maximum(late_s, early_s)), admitted, went_on_s)
