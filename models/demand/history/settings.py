"""Define where a call history is and how to read it: the section `history:` of a request.

These are settings only. `models.demand.history.reading` reads by them. The text under each field is its reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from trunkproof.models.settings import Settings

HistoryFormat = Literal["auto", "asterisk", "freeswitch", "kamailio", "operator", "columns", "counts"]
Scalar = str | int | float | bool | date


def _paths(given: Any) -> Any:
    items = list(given) if isinstance(given, list | tuple) else [given]
    if not items or not all(isinstance(item, str | Path) and str(item).strip() for item in items):
        raise ValueError("must be a file, a folder, a pattern such as `2026-*.csv.gz`, or a list of these")
    paths = tuple(Path(item) for item in items)
    return paths if isinstance(given, list | tuple) else paths[0]


def _wanted(given: Any) -> Any:
    if not isinstance(given, Mapping) or not given:
        raise ValueError("must be `{column: value}` or `{column: [value, value]}`")
    wanted: dict[str, tuple[str, ...]] = {}
    for column, values in given.items():
        several = values if isinstance(values, list | tuple) else [values]
        if not several or not all(isinstance(value, Scalar) for value in several):
            raise ValueError(f"`{column}` must have a value, or a list of values")
        # As polars spells them, so that a column of Parquet may be of any type.
        spelt = [str(value).lower() if isinstance(value, bool) else str(value).strip() for value in several]
        wanted[str(column)] = tuple(dict.fromkeys(spelt))
    return wanted


class Columns(Settings):
    """Names of the columns of a history that is in no known form. Name only the columns that the history has.

    A file without a heading has `column 1`, `column 2` and so on.
    """

    start: str
    """When the call was placed; of a history of counts, when the interval begins."""
    end: str | None = None
    """When the call ended."""
    answered: str | None = None
    """When the call was answered; empty where it was not."""
    duration_s: str | None = None
    """Start or answer to end: seconds, or hours:minutes:seconds."""
    holding_s: str | None = None
    """Answer to end: seconds, or hours:minutes:seconds."""
    status: str | None = None
    """How the call ended, as a word: `completed`, `busy`, `NO ANSWER`, a hangup cause."""
    code: str | None = None
    """SIP status, such as 486."""
    caller: str | None = None
    """The number that called; masked while it is read."""
    callee: str | None = None
    """The number that was called; masked while it is read."""
    direction: str | None = None
    """`inbound` or `outbound`, seen from the customer."""
    calls: str | None = None
    """Of a history of counts: calls in the interval that begins at `start`."""
    refused: str | None = None
    """Of a history of counts: how many of the calls were refused."""
    date: str | None = None
    """Of a history of counts: the day, where `start` is a time of day only."""


class HistorySettings(Settings):
    """Where the customer's calls are, and how to read them."""

    path: Annotated[Path | tuple[Path, ...], BeforeValidator(_paths, json_schema_input_type=str | tuple[str, ...])]
    """A file, a folder, a pattern (`2026-*.csv.gz`), or a list of these; relative to the request's file.

    CSV, JSON (an object, pages, a list, or lines; both also gzipped), Excel (.xlsx) or Parquet. Several files are one
    history: calls that two files share count once, and days that lie between two files are not fitted.
    """
    format: HistoryFormat = "auto"
    """Who wrote the history; found from the headings, or from the values where there is no heading."""
    columns: Columns | None = None
    """Which column says what, where the form is not known."""
    where: Annotated[
        dict[str, tuple[str, ...]] | None,
        BeforeValidator(_wanted, json_schema_input_type=dict[str, Scalar | tuple[Scalar, ...]] | None),
    ] = None
    """Keep the rows with these values only: `{TrunkSid: trmum1a2b}`, `{accountcode: [acme, acme-2]}`.

    Several columns must all fit. Capital letters count; spaces around a value do not.
    """
    mixed: Literal["refuse", "as_one"] = "refuse"
    """What to do with the calls of several accounts, trunks or customers: refuse to read, or review them as one."""
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
    """First local day that counts."""
    until: date | None = None
    """Last local day that counts."""

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, timezone: str) -> str:
        if timezone not in available_timezones():
            raise ValueError(f"no such time zone: {timezone} (IANA names such as Asia/Kolkata)")
        return timezone

    @field_validator("until")
    @classmethod
    def _not_before_since(cls, until: date | None, info: ValidationInfo) -> date | None:
        since = info.data.get("since")
        if until is not None and since is not None and until < since:
            raise ValueError(f"{until} is before `since` ({since}): no day counts")
        return until
