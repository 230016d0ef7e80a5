"""Why a trunk refuses an INVITE: the status and Q.850 cause that ours answers with, and the way back to a disposition.

The embedded trunk writes these, the simulator predicts them, the caller reads them. A trunk that is not ours has its
own habits. There a disposition is told by what a standard says of the status and the cause, and by the study's rules of
what counts as throttled. Everything else about the refusal stands in the record's `reason`.

`disposition_of` takes the first of these that fits:

1. A rule of the throttle that asks for more than a status.
2. A limit's own cause: on any trunk 34 (no circuit available), and on ours also those of `REFUSALS`.
3. What the plan foresaw, because then the far side has answered.
4. The other rules of the throttle.
5. On our trunks `_OWN_STATUSES`, and on any the table `_MEANINGS`.
"""

from __future__ import annotations

from typing import NamedTuple

from trunkproof.models.plan import Outcome, PlanRow
from trunkproof.models.records import Direction, Disposition
from trunkproof.models.throttles.policy import Policy
from trunkproof.models.throttles.refused_as import THROTTLE_CAUSE, FinalResponse, RefusedAs

__all__ = [
    "PHRASES",
    "REFUSALS",
    "THROTTLE_CAUSE",
    "FinalResponse",
    "Refusal",
    "RefusalRules",
    "disposition_of",
    "refusal_of",
]


class Refusal(NamedTuple):
    """Status line and Reason header (RFC 3326) of one kind of refusal."""

    status: int
    cause: int
    """ITU-T Q.850 cause value."""


REFUSALS = {
    Disposition.NOT_WHITELISTED: Refusal(403, 57),
    Disposition.NO_PORT: Refusal(503, 47),
    Disposition.NO_CHANNEL: Refusal(503, 34),
    Disposition.CARRIER_REJECTED: Refusal(503, 41),
}
"""57 not authorised, 47 resource unavailable, 34 no circuit available, 41 temporary failure (calls per second)."""
_BUSY = 486
PHRASES = {34: "No circuit available", 41: "Temporary failure"}
"""Cause -> reason phrase of the carrier's refusals: the only words that Asterisk passes on."""

_OWN_CAUSES = {refusal.cause: disposition for disposition, refusal in REFUSALS.items()}
_OWN_STATUSES = {401: Disposition.NOT_WHITELISTED}
"""What our Asterisk answers to a source that it does not know. None of our trunks has credentials to ask for."""
_ANY_CAUSES = {REFUSALS[Disposition.NO_CHANNEL].cause: Disposition.NO_CHANNEL}
_BY_OUTCOME = {
    Outcome.BUSY: Disposition.BUSY,
    Outcome.NO_ANSWER: Disposition.NO_ANSWER,
    Outcome.REJECTED: Disposition.CARRIER_REJECTED,
    Outcome.ABANDONED: Disposition.ABANDONED,
}


class _Meaning(NamedTuple):
    """A status, or a range of them, with some causes (any where none are named) means a disposition."""

    statuses: range
    disposition: Disposition
    causes: frozenset[int | None] = frozenset()

    def fits(self, response: FinalResponse) -> bool:
        """Tell whether the response has such a status and cause."""
        return response.status in self.statuses and (not self.causes or response.cause in self.causes)


def _only(status: int, disposition: Disposition, *causes: int | None) -> _Meaning:
    return _Meaning(range(status, status + 1), disposition, frozenset(causes))


_ANY = range(400, 700)
_MEANINGS = (
    # RFC 3261 section 21. These statuses have one meaning, whatever the cause.
    _Meaning(range(300, 400), Disposition.REDIRECTED),
    *(_only(status, Disposition.UNAUTHORISED) for status in (401, 407)),
    _only(403, Disposition.FORBIDDEN),
    *(_only(status, Disposition.NOT_FOUND) for status in (404, 410, 484, 485, 604)),
    *(_only(status, Disposition.NOT_ACCEPTABLE) for status in (406, 415, 488, 606)),
    _only(408, Disposition.TIMED_OUT),
    *(_only(status, Disposition.BUSY) for status in (486, 600)),
    _only(487, Disposition.ABANDONED),
    # The others are told apart by their Q.850 cause: 17 user busy; 18 and 19 no answer, 20 absent; 1 unallocated,
    # 3 no route to the destination, 22 changed, 28 incomplete.
    _Meaning(_ANY, Disposition.BUSY, frozenset({17})),
    _Meaning(_ANY, Disposition.NO_ANSWER, frozenset({18, 19, 20})),
    _Meaning(_ANY, Disposition.NOT_FOUND, frozenset({1, 3, 22, 28})),
    # 16 and 31 are "normal": they add nothing to the status.
    _only(480, Disposition.NO_ANSWER, None, 16, 31),
    _Meaning(_ANY, Disposition.CARRIER_REJECTED),
)
"""The first that fits counts."""


class RefusalRules(NamedTuple):
    """How the refusals of one trunk are read."""

    throttled: tuple[RefusedAs, ...]
    """A refusal that one of them matches is the throttle's."""
    retries: bool = False
    """The study expects a Retry-After header on these refusals."""
    ours: bool = True
    """The trunk is one of our stacks: it sends the causes of `REFUSALS`, and the far side does what the plan says."""

    @classmethod
    def of(cls, throttle: Policy, *, ours: bool) -> RefusalRules:
        """Return the rules of a study's throttle."""
        return cls(throttle.refusal_rules, throttle.retry_after_s is not None, ours)

    def explains(self, disposition: Disposition, row: PlanRow) -> bool:
        """Tell whether a record needs no words for it: our own trunk's refusal, or what the plan foresaw."""
        known = disposition in _OWN_CAUSES.values() or disposition is Disposition.THROTTLED
        return (self.ours and known) or _BY_OUTCOME.get(row.outcome) is disposition


def refusal_of(disposition: Disposition, direction: Direction) -> Refusal:
    """Return what a caller is told. If all channels are in use, a PSTN caller hears busy, and the cause says why."""
    status, cause = REFUSALS[disposition]
    is_busy = disposition is Disposition.NO_CHANNEL and direction is Direction.INBOUND
    return Refusal(_BUSY if is_busy else status, cause)


def disposition_of(response: FinalResponse, row: PlanRow, rules: RefusalRules) -> Disposition:
    """Return the disposition that a final response of 300 or above means for the INVITE of `row`.

    Args:
        response: its status and what it says of the reason.
        row: the plan's row; a status that it foresaw comes from the far side, unless the cause says otherwise.
        rules: how this trunk's refusals are read.
    """
    fitting = [rule for rule in rules.throttled if rule.matches(response)]
    if any(rule.is_specific for rule in fitting):
        return Disposition.THROTTLED
    if (limit := (_OWN_CAUSES if rules.ours else _ANY_CAUSES).get(response.cause or 0)) is not None:
        return limit
    if response.status == row.status and row.outcome in _BY_OUTCOME:
        return _BY_OUTCOME[row.outcome]
    if fitting:
        return Disposition.THROTTLED
    if rules.ours and response.status in _OWN_STATUSES:
        return _OWN_STATUSES[response.status]
    return next(meaning.disposition for meaning in _MEANINGS if meaning.fits(response))
