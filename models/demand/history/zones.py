"""Convert wall clock to instants and back in one time zone, with hours that do not exist or exist twice.

It works on whole columns. `models.demand.history.times` reads times as written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

_DAY = timedelta(days=1)
_FOLD_JUMP_US = 30 * 60 * 1_000_000
"""If times of a file jump back by more than this, clocks went back; a smaller jump is just a longer call."""


@dataclass(frozen=True)
class Change:
    """A change of the zone's offset."""

    utc: datetime
    """Instant of the change in UTC, without zone."""
    before: timedelta
    """Offset until then."""
    after: timedelta

    @property
    def first_local(self) -> datetime:
        """Wall clock at which the hour begins that does not exist, or exists twice."""
        return self.utc + min(self.before, self.after)

    @property
    def last_local(self) -> datetime:
        """Wall clock at which that hour ends."""
        return self.utc + max(self.before, self.after)

    @property
    def is_fold(self) -> bool:
        """Tell whether clocks go back."""
        return self.after < self.before


def changes(zone: ZoneInfo, first: datetime, last: datetime) -> Iterator[Change]:
    """Changes of offset from the first to the last day (naive), in order."""
    at, end = first - 2 * _DAY, last + 2 * _DAY
    while at < end:
        following = at + _DAY
        if _offset(zone, at) != _offset(zone, following):
            yield _located(zone, at, following)
        at = following


def _located(zone: ZoneInfo, low: datetime, high: datetime) -> Change:
    before, after = _offset(zone, low), _offset(zone, high)
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        middle = middle if middle > low else low + timedelta(seconds=1)
        if middle >= high:
            break
        low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
    return Change(high, before, after)


def _offset(zone: ZoneInfo, utc: datetime) -> timedelta:
    return utc.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()


@dataclass(frozen=True, eq=False)
class Converted:
    """Instants, and which of them come from wall clock that does not exist or exists twice."""

    utc: pl.Series
    in_gap: pl.Series | None = None
    in_fold: pl.Series | None = None


def to_utc(times: pl.Series, timezone: str) -> Converted:
    """Return the instants of a column in the order of the file, read as wall clock of `timezone` if it has no zone.

    A time that does not exist is read with the offset from before the change. For a time that exists twice, the order
    of the file decides: rows after its largest jump back are the second one. Without a jump of half an hour, all are
    the first one.
    """
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone:
        return Converted(times.dt.convert_time_zone("UTC"))
    zone = ZoneInfo(timezone)
    first, last = times.min(), times.max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return Converted(times.dt.replace_time_zone("UTC"))
    found = list(changes(zone, first, last))
    utc = times - _offset(zone, first - 2 * _DAY)
    in_gap = in_fold = None
    for change in found:
        after = times >= change.last_local
        inside = (times >= change.first_local) & ~after
        if change.is_fold:
            after |= _second_passage(times, inside)
            in_fold = inside if in_fold is None else in_fold | inside
        else:
            in_gap = inside if in_gap is None else in_gap | inside
        utc = pl.select(pl.when(after).then(times - change.after).otherwise(utc)).to_series()
    return Converted(utc.alias(times.name).dt.replace_time_zone("UTC"), in_gap, in_fold)


def _second_passage(times: pl.Series, inside: pl.Series) -> pl.Series:
    rows = inside.fill_null(value=False).arg_true()
    fall = times.gather(rows).to_physical().diff()
    deepest = fall.arg_min()
    second = pl.Series([False]).new_from_index(0, times.len())
    if deepest is None or int(fall[deepest]) > -_FOLD_JUMP_US:
        return second
    return second.scatter(rows.slice(deepest), True)


def to_local(column: str, timezone: str) -> pl.Expr:
    """Return the wall clock of `timezone` at the instants of a column."""
    return pl.col(column).dt.convert_time_zone(timezone).dt.replace_time_zone(None)
