"""The oddities of a history: the name of each kind, what it means, and how it is handled.

The modules beside this one find them and note them in a `Ledger`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from trunkproof.models.demand.history.opened import place_of
from trunkproof.models.demand.history.table import Oddity

SHOWN = 10
"""Number of lines that an oddity names."""

KINDS: dict[str, tuple[str, str]] = {
    "joined_lines": (
        "line breaks inside quotation marks: several lines are one row",
        "read as one row, which has the number of its first line",
    ),
    "mended_marks": ("quotation marks that do not match in a line", "the marks of that line are ignored"),
    "unparsable": (
        "the start cannot be read as a time in the form of the other rows",
        "left out: its time is not known",
    ),
    "not_a_call": ("rows that are not calls: other SIP methods, calls still queued, challenges", "left out"),
    "outside_where": ("rows that do not match `where` of the request", "left out"),
    "mixed_owners": ("the history has several accounts, trunks or customers", "reviewed as one, as the request asks"),
    "internal_call": ("calls between the PBX's own telephones, which never reach the trunk", "left out"),
    "other_direction": ("calls that go neither into nor out of the trunk", "left out"),
    "bye_without_invite": ("a BYE whose INVITE is not in the file", "left out"),
    "time_of_response": (
        "Kamailio's acc records when a call was answered, not when its INVITE came",
        "taken as the start; the ringing time is not known",
    ),
    "unknown_status": ("a status that is not known", "answered where the row has talking time, rejected otherwise"),
    "no_direction": ("the history does not tell inbound from outbound calls", "taken as outbound"),
    "no_number": (
        "the caller or the callee is withheld, missing, or has lost its digits (such as 9.12E+11)",
        "kept; such calls cannot be recognised as redials",
    ),
    "no_identity": (
        "call identities that have lost digits, or that unrelated calls share",
        "not used: such rows are compared by their other columns",
    ),
    "no_instant": (
        "a placeholder instead of a time (years 0001, 1899, 1970, 9999), which recorders write where there is none",
        "taken as missing",
    ),
    "unread": (
        "a time of answer or end, or a duration, that cannot be read in the form of the other rows",
        "kept as an attempt; that value is not known",
    ),
    "overlap": ("the same call is in two files", "counted once, from the first"),
    "gap": ("a time between two files without calls in either", "these days are not fitted"),
    "duplicate": ("another row is of the same call and has the same content", "the first is kept"),
    "further_leg": (
        "another row has the same call identity and other content: a leg, a fork, a retry",
        "one is kept: the first answered one, or else the first",
    ),
    "negative_duration": ("a duration below zero", "kept as an attempt; its durations are not known"),
    "end_before_start": ("the end is before the start or before the answer", "the end is ignored; the attempt is kept"),
    "missing_end": ("answered, but without an end or a duration", "kept as an attempt; its holding time is not known"),
    "zero_length_answered": ("answered and ended in the same second", "kept with a holding time of 0"),
    "absurd_holding": ("a call of more than 24 hours", "kept as an attempt; its holding time is not known"),
    "ringing_in_holding": (
        "the duration is from start to end, and the time of the answer is not known",
        "taken as the holding time, which therefore includes ringing",
    ),
    "two_clocks": ("two clocks that differ have recorded the calls", ""),
    "clock_step": (
        "the clock went back by more than two minutes, in a file that is in the order of time",
        "times kept as written; around such a step they are wrong by its size",
    ),
    "out_of_order": ("single rows more than two minutes behind the order of the file", "put in order"),
    "unordered": ("the file is not in the order of time, so steps of its clock cannot be seen", "put in order"),
    "daylight_gap": (
        "a local time that does not exist because clocks go forward",
        "read as if clocks had not yet gone forward",
    ),
    "daylight_fold": (
        "a local time that exists twice because clocks go back",
        "the second one from where the file's times jump back; otherwise the first one",
    ),
    "far_outside": (
        "a few rows more than 30 days from all others",
        "left out: the clock was not set, or it is a typing error",
    ),
    "outside_period": ("before `since` or after `until` of the request", "left out"),
    "day_before_month": (
        "dates such as 03/04/2024, with no date in the file that tells day from month",
        "read with the day first",
    ),
    "days_without_calls": ("whole local days without calls between the first and the last", "their counts are 0"),
    "partial_first_day": (
        "the first day begins more than an hour later than any other day of its kind",
        "counts begin with its first call, not at midnight",
    ),
    "partial_last_day": (
        "the last day ends more than an hour earlier than any other day of its kind",
        "counts end with its last call, not at midnight",
    ),
    "unparsable_count": ("the number of calls is not a whole number, or is below zero", "taken as 0"),
    "repeated_interval": ("more than one row for an interval", "their calls are added up"),
    "off_grid": (
        "an interval that does not begin where the others do",
        "its calls go to the interval in which it begins",
    ),
    "refused_above_calls": ("more refused calls than calls", "all calls taken as refused"),
    "assumed_interval": ("too few rows to find the length of the intervals", "the request's `interval_s` is taken"),
    "scaled": ("counts multiplied by the request's `scale`", ""),
}
"""By kind: what was found, and how it is handled."""


class Ledger:
    """A collection of oddities, one for each kind that was found."""

    def __init__(self, files: Sequence[str] = ()) -> None:
        """`files`: names of the history's files, in the order of their numbers."""
        self._files = tuple(files)
        self._noted: dict[str, Oddity] = {}

    def note(self, kind: str, count: int, rows: Sequence[int] = (), *, what: str = "", handled: str = "") -> None:
        """Note `count` finds of one kind, if there are any; `what` and `handled` add to the kind's own words."""
        if count <= 0:
            return
        words = KINDS[kind]
        before = self._noted.get(kind)
        lines = (*(before.rows if before else ()), *rows)
        self._noted[kind] = Oddity(
            kind=kind,
            count=count + (before.count if before else 0),
            what=_joined(words[0], what),
            handled=_joined(words[1], handled),
            rows=tuple(sorted(lines)[:SHOWN]),
        )

    def note_rows(
        self,
        kind: str,
        frame: pl.DataFrame,
        found: pl.Expr | pl.Series | None = None,
        *,
        what: str = "",
        handled: str = "",
    ) -> None:
        """Note the rows of `frame` (with a column `row`) where `found` is true; without `found`, all rows."""
        rows = frame["row"]
        if found is not None:
            rows = rows.filter(frame.select(found.fill_null(value=False)).to_series())
        if rows.len():
            self.note(kind, rows.len(), rows.bottom_k(SHOWN).sort().to_list(), what=what, handled=handled)

    @property
    def oddities(self) -> tuple[Oddity, ...]:
        """Return all oddities in the order of `KINDS`, with the lines of the files."""
        return tuple(self._located(self._noted[kind]) for kind in KINDS if kind in self._noted)

    def _located(self, oddity: Oddity) -> Oddity:
        places = [place_of(row) for row in oddity.rows]
        files = tuple(self._files[number] for number, _ in places) if len(self._files) > 1 else ()
        return replace(oddity, rows=tuple(line for _, line in places), files=files)


def _joined(words: str, more: str) -> str:
    return f"{words}; {more}" if words and more else words or more
