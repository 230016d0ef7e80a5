"""The rules of the decision: from what holds at each throttle, and what each protects, to a verdict.

    grant is `asked`, and every target holds at the requested one, and it protects    approve
    no throttle keeps every target, and it is unclear for some                        cannot tell
    no throttle keeps every target                                                    refuse
    the present throttle keeps every target                                           not needed
    the smallest good throttle, with headroom or else without, protects the others    approve, or approve lower
    neither protects the others                                                       refuse
    it is unclear whether they do                                                     cannot tell

The first rule that fits counts. So the review wants the smallest throttle that keeps every target, with headroom, and
not the largest that breaks nothing: a throttle is there to protect the carrier and its other customers.
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
    """The recommended throttle; for `not_needed` the present one; None where nothing is recommended."""
    smallest: int | None
    """The smallest throttle that keeps every target."""
    unprotected: bool = False
    """Whether the throttle that would keep the targets, or the requested one, no longer protects the others."""


def with_headroom(smallest: int, request: Request) -> int:
    """Return the throttle to recommend if `smallest` is the smallest that keeps every target.

    Headroom is added, and the result is rounded up to a round number. It is never above the requested throttle. If the
    requested throttle is at most 5 % more, it is taken.
    """
    wanted = smallest * (1 + request.headroom)
    if wanted * (1 + _ROUGHLY) >= request.requested_per_minute:
        return request.requested_per_minute
    step = max((nice for nice in _NICE if nice <= _ROUGHLY * wanted), default=1)
    return min(request.requested_per_minute, step * math.ceil(wanted / step - 1e-9))


def decide(holds: Answers, protects: Answers, request: Request) -> Verdict:
    """Decide by the rules above.

    Args:
        holds: throttle -> whether every target holds there at the horizon.
        protects: throttle -> whether it still protects the others when all of it is used. It must have every throttle
            of `holds`, and what `with_headroom` makes of them.
        request: the present and the requested throttle, headroom, and `grant`.
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
