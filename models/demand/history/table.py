"""A call history that has been read: a table of calls or of counts, and all oddities that were found.

The modules beside this one read, clean and mask it. `models.demand.fitting` finds the traffic behind it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import polars as pl


class CallStatus(StrEnum):
    """How an attempt of the history ended."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    ABANDONED = "abandoned"
    REFUSED = "refused"
    """Refused by the trunk's throttle: the status that the request names for it."""
    REJECTED = "rejected"
    """Any other failure."""


CALLS_SCHEMA: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "start_utc": pl.Datetime("us", "UTC"),
    "start_local": pl.Datetime("us"),
    "direction": pl.Enum(["outbound", "inbound"]),
    "status": pl.Enum([member.value for member in CallStatus]),
    "code": pl.Int16(),
    "ringing_s": pl.Float64(),
    "holding_s": pl.Float64(),
    "caller": pl.UInt64(),
    "callee": pl.UInt64(),
}
"""One row per attempt, in the order of `start_utc`. `row` is the line of the file, its heading being line 1 (with
the number of the file in it where there are several: `models.demand.history.opened.place_of`). Wall-clock
time where the customer is; the SIP status, where the history has it. Start to answer or end, and answer to end: null
where not known. Numbers are keyed hashes, whose key lives no longer than the reading."""

COUNTS_SCHEMA: dict[str, pl.DataType] = {
    "start_utc": pl.Datetime("us", "UTC"),
    "start_local": pl.Datetime("us"),
    "attempts": pl.Int64(),
    "refused": pl.Int64(),
}
"""One row per interval, without gaps from the first to the last; attempts of both directions together."""


@dataclass(frozen=True, kw_only=True)
class Oddity:
    """One kind of oddity in a history."""

    kind: str
    """Name of the kind, such as `duplicate` or `negative_duration`."""
    count: int
    what: str
    """What was found, in words."""
    handled: str
    """How it was handled, in words."""
    rows: tuple[int, ...] = ()
    """Lines of the file, the first few; of JSON the numbers of records, of Excel the sheet's rows."""
    files: tuple[str, ...] = ()
    """The file of each of `rows`; empty where the history has one file."""

    @property
    def places(self) -> tuple[str, ...]:
        """Return where it was found, for people: `17`, or `may.csv:17` if there are several files."""
        if not self.files:
            return tuple(f"{row:,}" for row in self.rows)
        return tuple(f"{file}:{row}" for file, row in zip(self.files, self.rows, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class History:
    """A call history of one trunk."""

    source: str
    """The file's name; of several files their number, the first and the last."""
    format: str
    timezone: str
    rows_read: int
    calls: pl.DataFrame | None
    """Calls with `CALLS_SCHEMA`; None for a history of counts."""
    counts: pl.DataFrame
    """Counts with `COUNTS_SCHEMA`."""
    interval_s: float
    """Length of the intervals of `counts`."""
    oddities: tuple[Oddity, ...] = ()
    closed: tuple[date, ...] = ()
    """Local days that the request calls untypical (holidays): shown but not fitted."""
    multiplied: float = 1.0
    """Factor from the counts of the file to `counts`; never below 1, because smaller scales leave calls out."""
    imputed: int = 0
    """Number of rejections that were drawn at random among refusals: an estimate."""

    @property
    def days(self) -> int:
        """Return the number of local days from the first to the last, both included."""
        return 0 if self.counts.is_empty() else (self.last.date() - self.first.date()).days + 1

    @property
    def first(self) -> datetime:
        """Return the local wall clock of the first interval. The history must not be empty."""
        found = self.counts["start_local"].min()
        assert isinstance(found, datetime)
        return found

    @property
    def last(self) -> datetime:
        """Return the local wall clock of the last interval. The history must not be empty."""
        found = self.counts["start_local"].max()
        assert isinstance(found, datetime)
        return found

    @property
    def attempts(self) -> int:
        """Return the number of attempts in the whole history."""
        return int(self.counts["attempts"].sum())

    def as_filed(self) -> History:
        """Return the history with the counts of the file: only they can tell chance from busyness."""
        counts = self.counts.with_columns((pl.col("attempts", "refused") / self.multiplied).round().cast(pl.Int64))
        return replace(self, counts=counts, multiplied=1.0)

    def __repr__(self) -> str:
        return f"<History {self.source!r}: {self.attempts} attempts in {self.days} days, {len(self.oddities)} oddities>"
