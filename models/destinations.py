"""Whom a trunk calls: the numbers that a study lists, what their far ends do, and how often each may be called.

At home a plan's row stands in the dialled number, and the far end plays the row. Abroad a number is dialled only if
somebody wrote it down: in the study, or in a file that the study names. `models.draws` gives each call its number. What
a far end does is an expectation, against which real calls are judged.

    destinations:
      - {numbers: test_numbers.csv, far_end: echo, share: 0.6, at_once: 50}
      - {number: "+918040005555", far_end: plays}
      - {number: "+918040006666", far_end: rejects, status: 486}
      - {block: "+918040010000-+918040019999", far_end: plan}

All numbers of one trunk stand in one order, that of the study. Plans and records name a number by its place in it.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from trunkproof.models.distributions import Distribution
from trunkproof.models.records import FarEnd
from trunkproof.models.speech import Speech

_E164 = re.compile(r"\+[1-9]\d{6,14}")
"""ITU-T E.164: at most 15 digits, of which the first is none of a country code if it is 0."""
_LARGEST_BYTES = 4 * 2**20
_NUMBER_COLUMNS = ("number", "numbers", "phone", "msisdn", "exophone", "caller")
_MOST_TOLD = 10
"""Wrong numbers of a file that are told one by one."""
COUNTED_OVER_S = 60.0
"""`per_minute` holds for any 60 s, not only for whole minutes of the clock."""


def masked_number(number: str) -> str:
    """Return a number of which only the country's first digits and the last two can be read."""
    return f"{number[:3]}{'•' * (len(number) - 5)}{number[-2:]}"


def _checked(number: str) -> str:
    # Without the number itself: messages are sent around.
    if not _E164.fullmatch(number):
        raise ValueError("is no number in E.164: write + and 7 to 15 digits, without spaces")
    return number


def _not_a_number(written: Any) -> Any:
    # YAML reads +918040001234 without quotes as an integer, and the + is gone.
    if isinstance(written, int):
        raise ValueError(  # noqa: TRY004  # pydantic collects only these
            'was read as an integer: write it in quotes, such as "+918040001234"'
        )
    return written


Number = Annotated[str, BeforeValidator(_not_a_number), AfterValidator(_checked)]


def _from_file(written: Any, info: ValidationInfo) -> Any:
    """Return the numbers of a file that is named instead of a list: `FILE`, or `{file: FILE, column: NAME}`."""
    if isinstance(written, str):
        written = {"file": written}
    if not isinstance(written, dict):
        return written
    if set(written) - {"file", "column"} or not isinstance(written.get("file"), str):
        raise ValueError("write a list of numbers, the name of a CSV file, or {file: NAME, column: NAME}")
    folder = (info.context or {}).get("folder", Path())
    return read_numbers(Path(folder) / written["file"], written.get("column"))


def read_numbers(path: Path, column: str | None = None) -> tuple[str, ...]:
    """Read the numbers of one column of a CSV file: the named one, else one called `number` or alike, else the first.

    A first line that holds no number there is the heading. Empty lines are left out.

    Raises:
        ValueError: the file cannot be read, has no such column, or has lines without a valid number; lists them.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError(f"{path} is larger than 4 MiB: this is no list of numbers")
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [(line, [cell.strip() for cell in row]) for line, row in enumerate(csv.reader(file), 1) if any(row)]
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{path} is no CSV file in UTF-8") from None
    if not rows:
        raise ValueError(f"{path} holds no numbers")
    heading = rows[0][1]
    place = _place_of(heading, column)
    if place is None:
        raise ValueError(f"{path} has no column {column}; it has {', '.join(heading)}")
    if column is not None or not _looks_like_number(heading[place : place + 1]):
        rows = rows[1:]
    wrong = [line for line, row in rows if not _E164.fullmatch(row[place] if place < len(row) else "")]
    if wrong:
        told = ", ".join(map(str, wrong[:_MOST_TOLD])) + (", ..." if len(wrong) > _MOST_TOLD else "")
        plural = "s" if len(wrong) > 1 else ""
        raise ValueError(f"{path}, line{plural} {told}: no number in E.164 (+ and 7 to 15 digits)")
    if not rows:
        raise ValueError(f"{path} holds no numbers")
    return tuple(row[place] for _, row in rows)


def _place_of(heading: Sequence[str], column: str | None) -> int | None:
    names = [name.lower() for name in heading]
    if column is not None:
        return names.index(column.lower()) if column.lower() in names else None
    return next((names.index(name) for name in _NUMBER_COLUMNS if name in names), 0)


def _looks_like_number(cells: Sequence[str]) -> bool:
    return any(cell.startswith("+") or cell.isdecimal() for cell in cells)


Numbers = Annotated[
    tuple[Number, ...],
    BeforeValidator(_from_file, json_schema_input_type=str | tuple[str, ...] | dict[Literal["file", "column"], str]),
]
"""A list of numbers, or a file that has them. A study that was read holds the numbers themselves."""


class Destination(Speech):
    """Numbers with one kind of far end: one `number`, several `numbers`, or all of a `block`."""

    number: Number | None = None
    """One number to call, in E.164."""
    numbers: Numbers = ()
    """Several numbers: a list, or a CSV file."""
    block: str | None = None
    """The first and the last number, such as `+918040010000-+918040019999`."""
    far_end: FarEnd
    """What the numbers do when they are called."""
    status: Annotated[int, Field(ge=400, le=699)] | None = None
    """The final status with which a far end `rejects`. None: 486."""
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    """The part of the outbound calls that go here. Destinations without a share divide what is left equally."""
    at_once: Annotated[int, Field(ge=1)] | None = None
    """The most calls to each of these numbers at once, from the INVITE to the end, redials included."""
    per_minute: Annotated[int, Field(ge=1)] | None = None
    """The most attempts to each of these numbers within any 60 s."""
    ringing: Distribution | None = None
    """First ring to answer. None: as `traffic.ringing`."""
    holding: Distribution | None = None
    """Answer to BYE. None: as `traffic.holding`."""

    @model_validator(mode="after")
    def _names_its_numbers(self) -> Self:
        given = [name for name in ("number", "numbers", "block") if getattr(self, name)]
        if self.far_end is FarEnd.PLAN:
            if given not in ([], ["block"]):
                raise ValueError(
                    "far_end: plan needs a block, whose numbers are routed to our own answering side, one for each row"
                )
        elif len(given) != 1:
            raise ValueError(f"needs exactly one of number, numbers and block, and has {' and '.join(given) or 'none'}")
        if self.status is not None and self.far_end is not FarEnd.REJECTS:
            raise ValueError("status says how a far end rejects: it needs far_end: rejects")
        if self.status in {408, 487}:
            raise ValueError(f"{self.status} is what a call gets that nobody answers: use far_end: rings")
        if self.ringing is not None and self.far_end in {FarEnd.REJECTS, FarEnd.RINGS}:
            raise ValueError("ringing is the time to an answer; a caller gives up after traffic.patience")
        if self.audio is not None and self.far_end is FarEnd.ECHO:
            raise ValueError("an echo is known by its voiceprint, which a sound file has not: leave audio out")
        # Raises where the block cannot be read.
        _ = self.range
        return self

    @cached_property
    def range(self) -> range | None:
        """Return the digits of a block's numbers as integers, or None where there is no block."""
        if self.block is None:
            return None
        first, dash, last = self.block.replace(" ", "").partition("-")
        if not dash or not all(map(_E164.fullmatch, (first, last))) or len(first) != len(last) or first > last:
            raise ValueError(
                "a block is its first and its last number in E.164, equally long, such as +918040010000-+918040019999"
            )
        return range(int(first), int(last) + 1)

    @property
    def listed(self) -> Sequence[str]:
        """Return the numbers that are written one by one, which is none for a block."""
        return self.numbers or (() if self.number is None else (self.number,))

    @property
    def places(self) -> int:
        """Return how many places its numbers take in the order of all: one for what plays the plan."""
        if self.far_end is FarEnd.PLAN:
            return 1
        return len(self.listed) if self.range is None else len(self.range)

    def at(self, place: int) -> str:
        """Return one of its numbers, from 0."""
        return self.listed[place] if self.range is None else f"+{self.range[place]}"

    def has(self, number: str) -> bool:
        """Tell whether a number is one of these."""
        return number in self.listed or (
            self.range is not None and bool(_E164.fullmatch(number)) and int(number) in self.range
        )

    @property
    def is_limited(self) -> bool:
        """Tell whether it has a limit of its own."""
        return self.at_once is not None or self.per_minute is not None


class Destinations:
    """All destinations of one trunk, and the order of their numbers."""

    def __init__(self, entries: Sequence[Destination]) -> None:
        self.entries = tuple(entries)
        self.firsts = [0, *accumulate(entry.places for entry in self.entries)]
        """The place of each entry's first number, and how many there are."""

    def __len__(self) -> int:
        return self.firsts[-1]

    @property
    def shares(self) -> list[float]:
        """Return the part of the calls that each entry gets."""
        given = sum(entry.share or 0.0 for entry in self.entries)
        without = sum(entry.share is None for entry in self.entries)
        rest = max(0.0, 1.0 - given) / max(1, without)
        return [rest if entry.share is None else entry.share for entry in self.entries]

    def entry_of(self, destination: int) -> Destination:
        """Return the entry of a number by its place."""
        return self.entries[bisect_right(self.firsts, destination) - 1]

    def number(self, destination: int) -> str:
        """Return a number by its place. Those that play the plan have none of their own: see `models.plan`."""
        index = bisect_right(self.firsts, destination) - 1
        return self.entries[index].at(destination - self.firsts[index])

    def place_of(self, number: str) -> int | None:
        """Return the place of a number. None where it is not listed, or plays the plan and has no place of its own."""
        for first, entry in zip(self.firsts, self.entries, strict=False):
            if entry.far_end is not FarEnd.PLAN and entry.has(number):
                within = entry.listed.index(number) if entry.range is None else int(number) - entry.range.start
                return first + within
        return None

    def has(self, number: str) -> bool:
        """Tell whether somebody wrote this number down."""
        return any(entry.has(number) for entry in self.entries)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the entries together."""
        if not self.entries:
            return
        shares = [entry.share for entry in self.entries if entry.share is not None]
        if sum(shares) > 1 + 1e-9:
            yield f"shares add up to {sum(shares):.3g}; they may not exceed 1"
        elif len(shares) == len(self.entries) and sum(shares) < 1 - 1e-9:
            yield f"shares add up to {sum(shares):.3g}; they must be 1, or leave one destination without a share"
        elif len(shares) < len(self.entries) and sum(shares) > 1 - 1e-9:
            yield "the given shares leave nothing for the destinations without a share"
        written = [number for entry in self.entries for number in entry.listed]
        twice = sorted({number for number in written if written.count(number) > 1}) if _repeats(written) else []
        blocks = [entry for entry in self.entries if entry.range is not None]
        twice += [number for number in written if any(block.has(number) for block in blocks)]
        if twice:
            yield f"numbers stand twice: {', '.join(map(masked_number, dict.fromkeys(twice[:_MOST_TOLD])))}"
        spans = sorted((block.range.start, block.range.stop) for block in blocks if block.range is not None)
        if any(later[0] < before[1] for before, later in pairwise(spans)):
            yield "blocks overlap: a number may stand in one of them only"


def _repeats(written: Sequence[str]) -> bool:
    return len(set(written)) < len(written)


class NumberLimits:
    """How many calls each number has now, and its recent attempts. Model and load generator ask the same object.

    A call takes its number from its first attempt until its caller gives up or has talked, so `at_once` holds through
    its redials. Instants are the intended ones, in seconds after plan zero.
    """

    def __init__(self, trunks: Iterable[Destinations]) -> None:
        self._trunks = tuple(trunks)
        self._calls: dict[tuple[int, int], int] = {}
        self._attempts: dict[tuple[int, int], list[float]] = {}
        self.not_placed = 0
        """Calls and redials that were left out."""

    def begin(self, trunk: int, destination: int | None, at_s: float) -> bool:
        """Begin a call to a number. Return False where one of its limits would be broken: the call is left out."""
        if destination is None or not (entry := self._trunks[trunk].entry_of(destination)).is_limited:
            return True
        key, calls = (trunk, destination), self._calls.get((trunk, destination), 0)
        full = entry.at_once is not None and calls >= entry.at_once
        if full or not self._attempt(entry, key, at_s):
            self.not_placed += 1
            return False
        self._calls[key] = calls + 1
        return True

    def again(self, trunk: int, destination: int | None, at_s: float) -> bool:
        """Reserve the instant of a redial. Return False where it would be one too many: the caller then gives up."""
        if destination is None or not (entry := self._trunks[trunk].entry_of(destination)).is_limited:
            return True
        allowed = self._attempt(entry, (trunk, destination), at_s)
        self.not_placed += not allowed
        return allowed

    def end(self, trunk: int, destination: int | None) -> None:
        """End a call that had begun."""
        if destination is not None and (trunk, destination) in self._calls:
            self._calls[trunk, destination] -= 1

    def _attempt(self, entry: Destination, key: tuple[int, int], at_s: float) -> bool:
        if entry.per_minute is None:
            return True
        # Redials are reserved for instants to come. So the attempts on both sides count, and no 60 s have too many.
        near = [other for other in self._attempts.get(key, ()) if other > at_s - COUNTED_OVER_S]
        allowed = sum(other < at_s + COUNTED_OVER_S for other in near) < entry.per_minute
        if allowed:
            near.append(at_s)
        self._attempts[key] = near
        return allowed


def _checked_headers(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Check headers that a study adds to its INVITEs.

    Raises:
        ValueError: one of them cannot be added.
    """
    problems = [problem for name, value in headers if (problem := _header_problem(name, value))]
    if problems:
        raise ValueError("; ".join(problems))
    return headers


def _header_problem(name: str, value: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9!%*_+`'~.-]+", name):
        return f"{name!r} is no name of a header (RFC 3261 section 25.1)"
    if name.lower() in _OWN_HEADERS or name.lower().startswith("content-"):
        return f"{name} is written by trunkproof itself"
    return None if value.isprintable() else f"the value of {name} has characters that a header may not have"


def _pairs(written: Any) -> Any:
    return tuple(written.items()) if isinstance(written, dict) else written


AddedHeaders = Annotated[
    tuple[tuple[str, str], ...],
    BeforeValidator(_pairs, json_schema_input_type=dict[str, str]),
    AfterValidator(_checked_headers),
]
"""Names and values, written as a mapping. A tuple, because settings can be hashed."""


_OWN_HEADERS = frozenset(
    {
        *("via", "v", "from", "f", "to", "t", "call-id", "i", "cseq", "contact", "m", "max-forwards", "user-agent"),
        *("route", "record-route", "require", "proxy-require", "allow", "supported", "k", "session-expires", "x"),
        *("min-se", "l", "c", "e", "authorization", "proxy-authorization"),
    }
)
