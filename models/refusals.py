"""Why a trunk refuses an INVITE: the status and Q.850 cause it answers with, and the way back to a disposition.

The embedded trunk writes these, the simulator predicts them, the caller reads them. Foreign trunks send no Q.850 cause,
or their own; then the status and the study decide.
"""

from __future__ import annotations

from typing import NamedTuple

from trunkproof.models.plan import Outcome, PlanRow
from trunkproof.models.records import Direction, Disposition


class Refusal(NamedTuple):
    """Status line and Reason header (RFC 3326) of one kind of refusal."""

    status: int
    cause: int
    """ITU-T Q.850 cause value."""


THROTTLE_CAUSE = 42
"""Switching equipment congestion; the status of a throttled call is the study's."""
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

_BY_CAUSE = {refusal.cause: disposition for disposition, refusal in REFUSALS.items()} | {
    THROTTLE_CAUSE: Disposition.THROTTLED
}
_BY_OUTCOME = {
    Outcome.BUSY: Disposition.BUSY,
    Outcome.NO_ANSWER: Disposition.NO_ANSWER,
    Outcome.REJECTED: Disposition.CARRIER_REJECTED,
    Outcome.ABANDONED: Disposition.ABANDONED,
}
_BY_STATUS = {
    401: Disposition.NOT_WHITELISTED,
    403: Disposition.NOT_WHITELISTED,
    408: Disposition.TIMED_OUT,
    480: Disposition.NO_ANSWER,
    486: Disposition.BUSY,
    487: Disposition.ABANDONED,
    600: Disposition.BUSY,
}


def refusal_of(disposition: Disposition, direction: Direction) -> Refusal:
    """Return what a caller is told. If all channels are in use, a PSTN caller hears busy, and the cause says why."""
    status, cause = REFUSALS[disposition]
    is_busy = disposition is Disposition.NO_CHANNEL and direction is Direction.INBOUND
    return Refusal(_BUSY if is_busy else status, cause)


def disposition_of(status: int, cause: int | None, row: PlanRow, *, throttle_status: int) -> Disposition:
    """Return the disposition that a final response of 400 or above means for the INVITE of `row`.

    Args:
        status: the final status.
        cause: Q.850 cause of its Reason header, if there is one.
        row: the plan's row; a status that it foresaw comes from the far side, unless the cause says otherwise.
        throttle_status: the status with which the study's throttle refuses.
    """
    if cause in _BY_CAUSE:
        return _BY_CAUSE[cause]
    if status == row.status and row.outcome in _BY_OUTCOME:
        return _BY_OUTCOME[row.outcome]
    if status == throttle_status:
        return Disposition.THROTTLED
    return _BY_STATUS.get(status, Disposition.CARRIER_REJECTED)
