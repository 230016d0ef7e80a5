"""Attempts from the record table of any run, predicted or measured."""

from __future__ import annotations

from typing import Literal

import polars as pl

from trunkproof.experiments.target.identify.attempts import Attempt
from trunkproof.experiments.target.identify.judgement import CLOCK_S, Identification, identify_attempts
from trunkproof.models.records import Direction, Disposition

_NEVER_ASKED = frozenset(
    {
        Disposition.NOT_WHITELISTED,
        Disposition.FORBIDDEN,
        Disposition.UNAUTHORISED,
        Disposition.CONNECTION_FAILED,
        Disposition.TIMED_OUT,
    }
)
"""Attempts that a throttle has not seen, or of which nobody knows whether it has."""


def attempts_of(records: pl.DataFrame) -> list[Attempt]:
    """Return the attempts of a table with `models.records.SCHEMA` on which a throttle decided.

    A call that was refused for another reason than the throttle has passed it.
    """
    names = ["sent_s", "ringing_s", "answered_s", "ended_s", "disposition", "status", "cause", "retry_after_s"]
    rows = records.filter(pl.col("sent_s").is_not_null()).select(names).iter_rows()
    found = []
    for sent_s, ringing_s, answered_s, ended_s, disposition, status, cause, retry_after_s in rows:
        kind = Disposition(disposition)
        # A call that rang was admitted, however it ended.
        if kind in _NEVER_ASKED and ringing_s is None and answered_s is None:
            continue
        responded_s = next((at for at in (ringing_s, answered_s, ended_s) if at is not None), sent_s + 1e6)
        if kind is Disposition.THROTTLED:
            found.append(Attempt(sent_s, responded_s, False, status, cause, retry_after_s))
        else:
            found.append(Attempt(sent_s, responded_s, admitted=True))
    return sorted(found, key=lambda attempt: attempt.sent_s)


def identify_records(records: pl.DataFrame, clock_s: float = CLOCK_S) -> dict[str, Identification]:
    """Return what the records tell of the throttle of each trunk, by its name."""
    return {
        str(name): identify_trunk(own, clock_s)
        for (name,), own in sorted(records.group_by("trunk"), key=lambda kv: str(kv[0]))
    }


def identify_trunk(records: pl.DataFrame, clock_s: float = CLOCK_S) -> Identification:
    """Return what the records tell of one throttle: that of their trunk, or that which their trunks share.

    Calls may have come over several connections, and the trunk may then decide on them in another order than they were
    sent. It may count outbound calls only. Each of these is tried, and what fits best is returned.
    """
    outbound = records.filter(pl.col("direction") == Direction.OUTBOUND)
    tables: list[tuple[pl.DataFrame, Literal["outbound", "both"]]] = [(records, "both")]
    if 0 < outbound.height < records.height:
        tables.append((outbound, "outbound"))
    read = [
        (identify_attempts(attempts_of(table), clock_s, in_order=in_order), counts)
        for table, counts in tables
        for in_order in (True, False)
    ]
    found, counts = min(read, key=lambda one: (not one[0].families, len(one[0].doubts), one[0].clock_s))
    return found.counting(counts) if len(tables) > 1 else found
