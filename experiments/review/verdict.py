"""From what holds at each throttle, and what each still protects, to a decision. The rules only.

The smallest throttle that keeps every target is wanted, with headroom; not the largest that breaks nothing. A throttle
is there to protect the carrier and the others on it, so none is advised that no longer does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import Decision

Answers = Mapping[int, bool | None]
"""Throttle -> yes, no, or neither can be said."""
_NICE = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_ROUGHLY = 0.05


@dataclass(frozen=True)
class Verdict:
    """The decision."""

    decision: Decision
    recommended: int | None
    """For `not_needed` the present one."""
    smallest: int | None
    """The smallest throttle that keeps every target."""
    unprotected: bool = False
    """Whether what would keep the targets, or what is asked for, no longer protects the others."""


def with_headroom(smallest: int, request: Request) -> int:
    """Return the throttle that is recommended where `smallest` keeps every target: with headroom, rounded up to a
    number that people say, and not beyond what is asked for; to what is asked for where that is hardly more.
    """
    wanted = smallest * (1 + request.headroom)
    if wanted * (1 + _ROUGHLY) >= request.requested_per_minute:
        return request.requested_per_minute
    step = max((nice for nice in _NICE if nice <= _ROUGHLY * wanted), default=1)
    return min(request.requested_per_minute, step * math.ceil(wanted / step - 1e-9))


def decide(holds: Answers, protects: Answers, request: Request) -> Verdict:
    """Decide.

    Args:
        holds: throttle -> whether every target holds there, at the horizon.
        protects: throttle -> whether it still protects the others when all of it is used; all of `holds` and of what
            `with_headroom` makes of them.
        request: what is asked for.
    """
    now, asked = request.now_per_minute, request.requested_per_minute
    good = sorted(limit for limit, held in holds.items() if held and now <= limit <= asked)
    smallest = good[0] if good else None
    if request.grant == "asked" and holds.get(asked) and protects.get(asked):
        return Verdict(Decision.APPROVE, asked, smallest)
    if smallest is None:
        open_ends = [limit for limit, held in holds.items() if held is None and now < limit <= asked]
        return Verdict(Decision.CANNOT_TELL if open_ends else Decision.REFUSE, None, None)
    if smallest == now:
        return Verdict(Decision.NOT_NEEDED, now, now, unprotected=protects.get(asked) is False)
    tried = (with_headroom(smallest, request), smallest)
    for limit in tried:
        if protects.get(limit):
            decision = Decision.APPROVE if limit == asked else Decision.APPROVE_LOWER
            return Verdict(decision, limit, smallest, unprotected=protects.get(asked) is False)
    harms = all(protects.get(limit) is False for limit in tried)
    return Verdict(Decision.REFUSE if harms else Decision.CANNOT_TELL, None, smallest, unprotected=True)
