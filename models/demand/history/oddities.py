"""The oddities of a history: what each kind is called, what it is, and what is made of it.

Who finds them is the modules beside this one; each hands its finds to a `Ledger`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from trunkproof.models.demand.history.opened import place_of
from trunkproof.models.demand.history.table import Oddity

SHOWN = 10
"""Lines of the file that an oddity names."""

KINDS: dict[str, tuple[str, str]] = {
    "joined_lines": (
        "line breaks inside quotation marks: several lines are one row",
        "read as one row, which has the number of its first line",
    ),
    "mended_marks": ("quotation marks that do not match in a line", "the marks of that line are ignored"),
    "unparsable": ("the start is no time in a form that the rest of the file has", "left out: no place in time"),
    "not_a_call": ("rows that place no call: other SIP methods, calls still queued, challenges", "left out"),
    "outside_where": ("rows that `where` of the request does not ask for", "left out"),
    "mixed_owners": ("the history has several accounts, trunks or customers", "reviewed as one, as the request asks"),
    "internal_call": ("calls between the PBX's own telephones, which the trunk never saw", "left out"),
    "other_direction": ("the direction is neither into nor out of the trunk", "left out"),
    "bye_without_invite": ("a BYE whose INVITE is not in the file", "left out"),
    "time_of_response": (
        "acc notes when a call was answered, not when its INVITE came",
        "taken as the start; how long it rang is not known",
    ),
    "unknown_status": ("a status that is in no list", "answered where the row has talking time, rejected otherwise"),
    "no_direction": ("the history does not say which way calls went", "taken as outbound"),
    "no_number": (
        "the caller or the callee is withheld, not noted, or has lost its digits (as 9.12E+11)",
        "kept; such calls are nobody's redial",
    ),
    "no_identity": (
        "call identities whose digits are lost, or that calls share which have nothing else in common",
        "not used: such rows are told apart by what they say",
    ),
    "no_instant": (
        "a time that no telephone's life contains (0001, 1899, 1970, 9999): how a recorder writes that there is none",
        "taken as not noted",
    ),
    "unread": (
        "a time of answer or end, or a duration, in a form that the rest of the column has not",
        "kept as an attempt; what could not be read is not known",
    ),
    "overlap": ("the same call is in two files", "counted once, from the first"),
    "gap": ("time between two files for which neither has calls", "these days are not fitted"),
    "duplicate": ("another row has the same call and says the same", "the first is kept"),
    "further_leg": (
        "another row has the same call identity and says something else: a leg, a fork, a retry",
        "one is kept: the first answered one, or else the first",
    ),
    "negative_duration": ("a duration below zero", "kept as an attempt; durations not known"),
    "end_before_start": ("the end is before the start, or the answer", "the end is ignored; the attempt is kept"),
    "missing_end": ("answered, and neither an end nor a duration", "kept as an attempt; holding time not known"),
    "zero_length_answered": ("answered, and ended in the same second", "kept, with a holding time of 0"),
    "absurd_holding": ("a call of more than 24 hours", "kept as an attempt; holding time not known"),
    "ringing_in_holding": (
        "the duration is the whole of start to end, and nothing tells when the answer came",
        "taken as the holding time, which therefore includes ringing",
    ),
    "two_clocks": ("calls are noted by two clocks that differ", ""),
    "clock_step": (
        "the clock went back by more than two minutes, in a file that is in the order of time",
        "times kept as written; around a step they are off by it",
    ),
    "out_of_order": ("single rows more than two minutes behind the order of the file", "put in order"),
    "unordered": ("the file is in no order of time, so that steps of its clock cannot be seen", "put in order"),
    "daylight_gap": (
        "a local time that the change to daylight time leaves out",
        "taken as of a clock that was not yet put forward",
    ),
    "daylight_fold": (
        "a local time that the end of daylight time has twice",
        "told apart where the file's order jumps back; otherwise the first passage",
    ),
    "far_outside": (
        "a few rows more than 30 days from all others",
        "left out: a clock that was not set, or a typing error",
    ),
    "outside_period": ("before `since` or after `until` of the request", "left out"),
    "day_before_month": (
        "dates such as 03/04/2024, and none in the file that tells day from month",
        "the day is taken to come first",
    ),
    "days_without_calls": ("whole local days without a call between the first and the last", "their counts are 0"),
    "partial_first_day": (
        "the first day begins more than an hour later than any other like it",
        "counts begin with its first call, not at midnight",
    ),
    "partial_last_day": (
        "the last day ends more than an hour earlier than any other like it",
        "counts end with its last call, not at midnight",
    ),
    "unparsable_count": ("the number of calls is no whole number, or is below zero", "taken as 0"),
    "repeated_interval": ("rows of an interval that has one already", "their calls are added up"),
    "off_grid": ("an interval that does not begin where the others do", "its calls go to the interval it falls in"),
    "refused_above_calls": ("more refused than there were calls", "all calls taken as refused"),
    "assumed_interval": ("too few rows to tell how long their intervals are", "the request's `interval_s` is taken"),
    "scaled": ("counts multiplied by the request's `scale`", ""),
}
"""By kind: what was found, and what is made of it."""


class Ledger:
    """Collects oddities; of each kind one, and none that was not seen."""

    def __init__(self, files: Sequence[str] = ()) -> None:
        """`files`: names of the history's files, in the order of their numbers."""
        self._files = tuple(files)
        self._noted: dict[str, Oddity] = {}

    def note(self, kind: str, count: int, rows: Sequence[int] = (), *, what: str = "", handled: str = "") -> None:
        """Note finds of one kind, unless there are none; `what` and `handled` add to the kind's own words."""
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
        """Note the rows of `frame` (with their `row`) of which `found` is true; without it, all."""
        rows = frame["row"]
        if found is not None:
            rows = rows.filter(frame.select(found.fill_null(value=False)).to_series())
        if rows.len():
            self.note(kind, rows.len(), rows.bottom_k(SHOWN).sort().to_list(), what=what, handled=handled)

    @property
    def oddities(self) -> tuple[Oddity, ...]:
        """All that was noted, in the order of `KINDS`, with the lines of the files."""
        return tuple(self._located(self._noted[kind]) for kind in KINDS if kind in self._noted)

    def _located(self, oddity: Oddity) -> Oddity:
        places = [place_of(row) for row in oddity.rows]
        files = tuple(self._files[number] for number, _ in places) if len(self._files) > 1 else ()
        return replace(oddity, rows=tuple(line for _, line in places), files=files)


def _joined(words: str, more: str) -> str:
    return f"{words}; {more}" if words and more else words or more
