"""Where a call history is and how to read it: `history:` of a request.

Settings only; `models.history.reading` reads by them.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import Field, model_validator

from models.settings import Settings

HistoryFormat = Literal["auto", "asterisk", "freeswitch", "kamailio", "operator", "columns", "counts"]


class Columns(Settings):
    """Names of the columns of a history that is in no known form; those that are left out are not in it."""

    start: str
    end: str | None = None
    answered: str | None = None
    duration_s: str | None = None
    """Start or answer to end."""
    holding_s: str | None = None
    """Answer to end."""
    status: str | None = None
    code: str | None = None
    """SIP status."""
    caller: str | None = None
    callee: str | None = None
    direction: str | None = None
    calls: str | None = None
    """Of a history of counts: calls in the interval that begins at `start`."""
    refused: str | None = None
    date: str | None = None
    """Where the day stands in a column of its own, and `start` is a time of day."""


class HistorySettings(Settings):
    """Where the customer's calls are, and how to read them."""

    path: Path
    """CSV (also gzipped) or Parquet; relative to the request's file."""
    format: HistoryFormat = "auto"
    columns: Columns | None = None
    timezone: str = "Asia/Kolkata"
    """IANA name of the zone of times that carry none, and of the hours and weekdays of the result."""
    refusal_codes: tuple[int, ...] = (503,)
    """SIP statuses by which the trunk's throttle refuses."""
    refusal_words: tuple[str, ...] = ("CONGESTION", "failed", "throttled")
    """The same in formats that have words instead, whatever their case."""
    interval_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Intervals of the counts made from calls; of a history of counts its own, found from it."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Multiplies a history of counts: another customer's traffic at this trunk's size."""
    closed: tuple[date, ...] = ()
    """Untypical days, such as holidays: shown, and not fitted."""
    since: date | None = None
    until: date | None = None
    """First and last local day that counts."""

    @model_validator(mode="after")
    def _zone_exists(self) -> Self:
        if self.timezone not in available_timezones():
            raise ValueError(f"no such time zone: {self.timezone} (IANA names such as Asia/Kolkata)")
        return self
