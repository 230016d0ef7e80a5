"""Study + seed -> Plan: the table of intended calls. The random numbers are drawn in `models.draws`.

A row is one *potential attempt*: the call itself, and each redial that its caller would make if the attempt before it
fails. Simulator and load generator execute the same rows. Without destinations, the row's number is the number dialled,
so that our answering side finds its row again. With them, a row names a number of the study's list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import polars as pl

from trunkproof.models.destinations import Destination, Destinations
from trunkproof.models.draws import CALLS_PER_CHUNK, ROWS_PER_TRUNK, Outcome, PlanArrays, drawn_chunks
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.html import html_table
from trunkproof.models.numbering import check_rows
from trunkproof.models.records import Direction, Disposition, FarEnd
from trunkproof.models.redials import tries_again
from trunkproof.models.study import Study

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = [
    "PLAN_SCHEMA",
    "ROWS_PER_TRUNK",
    "Outcome",
    "Plan",
    "PlanRow",
    "dialled_number",
    "draw_plan",
    "plan_chunks",
    "row_of",
    "rows_of",
    "to_arrays",
    "to_table",
]

_COUNTRY, _DIGITS = "+91", 10


class PlanRow(NamedTuple):
    """One potential attempt; the columns of `Plan.table`."""

    row: int
    call: int
    """Unique in the study; all attempts of one caller share it."""
    attempt: int
    trunk: int
    """Index into `study.trunks`."""
    direction: Direction
    place_s: float | None
    """When to send the INVITE; `None` for a redial, whose instant depends on the attempt before it."""
    redial_delay_s: float | None
    """How long after the failure of the attempt before it; `None` for the first attempt."""
    next_row: int | None
    """The redial that may follow; `None` where the caller gives up however this attempt ends."""
    redial_after: int
    """After which endings it follows, as a mask (`models.redials`)."""
    outcome: Outcome
    status: int
    """Final SIP status of the outcome."""
    setup_s: float
    """INVITE handed to the called side, to its first ring (or its refusal)."""
    ring_s: float
    """First ring to answer, refusal or CANCEL; 0 where it does not ring."""
    hold_s: float
    """Answer to BYE; 0 where it is not answered."""
    resumes: bool
    """A TLS connection opened for this attempt resumes an earlier session."""
    destination: int | None = None
    """The dialled number's place in the trunk's list (`models.destinations`). `None` where the study lists none."""

    def redial(self, disposition: Disposition) -> int | None:
        """Return the row of the redial after an attempt with that disposition, or None where the caller gives up."""
        return self.next_row if tries_again(self.redial_after, disposition) else None

    @classmethod
    def unplanned(
        cls,
        row: int,
        trunk: int,
        direction: Direction,
        *,
        ring_s: float,
        outcome: Outcome = Outcome.ANSWERED,
        status: int = 200,
        hold_s: float = 0.0,
        destination: int | None = None,
    ) -> Self:
        """Return the row of a call that somebody else placed: it rings, and ends as its called side does.

        Its `hold_s` is 0 where nobody knows it.
        """
        return cls(
            row=row,
            call=row,
            attempt=0,
            trunk=trunk,
            direction=direction,
            place_s=None,
            redial_delay_s=None,
            next_row=None,
            redial_after=0,
            outcome=outcome,
            status=status,
            setup_s=0.0,
            ring_s=ring_s,
            hold_s=hold_s,
            resumes=False,
            destination=destination,
        )


_MEMBERS: dict[str, list[StrEnum]] = {"direction": list(Direction), "outcome": list(Outcome)}
_ROWS_AT_ONCE = 4096
PLAN_SCHEMA: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "call": pl.Int64(),
    "attempt": pl.Int64(),
    "trunk": pl.Int64(),
    "direction": pl.Enum([member.value for member in Direction]),
    "place_s": pl.Float64(),
    "redial_delay_s": pl.Float64(),
    "next_row": pl.Int64(),
    "redial_after": pl.UInt32(),
    "outcome": pl.Enum([member.value for member in Outcome]),
    "status": pl.Int64(),
    "setup_s": pl.Float64(),
    "ring_s": pl.Float64(),
    "hold_s": pl.Float64(),
    "resumes": pl.Boolean(),
    "destination": pl.Int64(),
}


def dialled_number(row: int) -> str:
    """Return the number that a plan row dials: `+91` and the row as ten digits."""
    return f"{_COUNTRY}{row:0{_DIGITS}d}"


def row_of(number: str) -> int | None:
    """Return the plan row of a dialled number, or None for a number that no plan dials."""
    digits = number.removeprefix(_COUNTRY)
    # Exactly ten digits: a number from elsewhere must not be taken for a row.
    return int(digits) if number.startswith(_COUNTRY) and len(digits) == _DIGITS and digits.isdecimal() else None


def rows_of(table: pl.DataFrame) -> Iterator[PlanRow]:
    """Yield the rows of a table with `PLAN_SCHEMA`, in its order."""
    # Column by column is quick, but takes memory for a whole piece at once.
    for piece in table.iter_slices(_ROWS_AT_ONCE):
        yield from map(PlanRow._make, zip(*(_values(piece[name]) for name in PLAN_SCHEMA), strict=True))


def _values(column: pl.Series) -> list[Any]:
    # Members of enums, not their words: by code this is a list look-up.
    members = _MEMBERS.get(column.name)
    return column.to_list() if members is None else [members[code] for code in column.to_physical().to_list()]


@dataclass(frozen=True, eq=False)
class Plan:
    """The intended calls of a study. `table` has `PLAN_SCHEMA`, sorted by call and attempt."""

    study: Study
    table: pl.DataFrame
    _arrays: dict[int, PlanArrays] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def rows(self) -> dict[int, PlanRow]:
        """Return row number -> row."""
        return {row.row: row for row in rows_of(self.table)}

    def arrays(self, trunk: int) -> PlanArrays:
        """Return one trunk's rows as arrays. They are made once."""
        # The compiled engine asks for them once in each of many runs of a plan.
        if trunk not in self._arrays:
            self._arrays[trunk] = to_arrays(self.table, trunk)
        return self._arrays[trunk]

    @cached_property
    def destinations(self) -> tuple[Destinations, ...]:
        """Return the destinations of each trunk."""
        return tuple(trunk.traffic.where for trunk in self.study.trunks)

    def far_end(self, row: PlanRow) -> FarEnd:
        """Return what the number that a row dials does."""
        return FarEnd.PLAN if row.destination is None else self._entry(row.trunk, row.destination).far_end

    def dialled(self, row: PlanRow) -> str:
        """Return the number that a row dials: one of the study's list, or one that our answering side knows."""
        if row.destination is None:
            return dialled_number(row.row)
        block = self._entry(row.trunk, row.destination)
        if block.far_end is not FarEnd.PLAN:
            return self.destinations[row.trunk].number(row.destination)
        return dialled_number(row.row) if block.range is None else block.at(row.row - row.trunk * ROWS_PER_TRUNK)

    def row_dialled(self, number: str) -> PlanRow | None:
        """Return the row that dials a number of our answering side, or None for any other number."""
        for trunk, where in enumerate(self.destinations):
            for entry in where.entries:
                if entry.far_end is FarEnd.PLAN and entry.range is not None and entry.has(number):
                    return self.rows.get(trunk * ROWS_PER_TRUNK + entry.range.index(int(number)))
        row = row_of(number)
        return None if row is None else self.rows.get(row)

    def _entry(self, trunk: int, destination: int) -> Destination:
        return self.destinations[trunk].entry_of(destination)

    @property
    def calls(self) -> int:
        """Return the number of callers. A caller who redials counts once."""
        return int(self.table.get_column("attempt").eq(0).sum())

    def first_attempts(self) -> list[PlanRow]:
        """Return the rows to place at their own instant, in the order of time."""
        firsts = (row for row in self.rows.values() if row.place_s is not None)
        return sorted(firsts, key=lambda row: (row.place_s or 0.0, row.row))

    def __repr__(self) -> str:
        return (
            f"<Plan of {self.study.name!r}: {self.calls} calls in {self.study.duration_s:g} s, seed {self.study.seed}>"
        )

    def plot(self) -> Figure:
        """Return a Plotly figure: calls per minute, and calls at once if none were refused."""
        from trunkproof.models.plots import planned_calls, shown  # noqa: PLC0415  # Plotly takes long to load.

        return shown(planned_calls(self.table), f"Planned calls of {self.study.name}")

    def _repr_html_(self) -> str:
        first = self.table.head(5)
        return html_table(first.columns, first.rows(), caption=f"{self!r}; its first rows")


def draw_plan(study: Study) -> Plan:
    """Draw the plan of the whole study at once.

    Raises:
        InputError: a trunk needs more rows than it has numbers for, of its own or in a block.
    """
    # Before anything is drawn: a study with too many rows would fill the memory first.
    check_rows(study)
    tables = [table for trunk in range(len(study.trunks)) for table in plan_chunks(study, trunk)]
    plan = Plan(study, pl.concat(tables) if tables else pl.DataFrame(schema=PLAN_SCHEMA))
    _check_blocks(plan)
    return plan


def _check_blocks(plan: Plan) -> None:
    """Check that blocks of our answering side have a number for each row: only so does it know which row was dialled.

    Raises:
        InputError: one has not.
    """
    problems = []
    for trunk, where in enumerate(plan.destinations):
        rows = plan.table.filter(pl.col("trunk") == trunk).height
        problems += [
            Problem(
                where=f"trunks[{trunk}].traffic.destinations[{index}].block",
                what=f"has {len(entry.range)} numbers, and the plan has {rows} rows: each needs a number of its own",
            )
            for index, entry in enumerate(where.entries)
            if entry.far_end is FarEnd.PLAN and entry.range is not None and len(entry.range) < rows
        ]
    if problems:
        raise InputError(plan.study.name, problems)


def plan_chunks(study: Study, trunk: int, *, calls_per_chunk: int = CALLS_PER_CHUNK) -> Iterator[pl.DataFrame]:
    """Yield one trunk's plan in pieces that ascend in time. Together they equal `draw_plan`, for any piece size."""
    return map(to_table, drawn_chunks(study, trunk, calls_per_chunk=calls_per_chunk))


def to_table(arrays: PlanArrays) -> pl.DataFrame:
    """Return the rows of arrays as a table with `PLAN_SCHEMA`."""
    row = arrays.row
    columns = {
        "row": row,
        "call": arrays.call,
        "attempt": arrays.attempt,
        "trunk": np.full(len(arrays), arrays.trunk),
        "direction": pl.Series(arrays.inbound.astype(np.uint8)).cat.to(PLAN_SCHEMA["direction"]),
        "place_s": pl.Series(arrays.place_s).fill_nan(None),
        "redial_delay_s": pl.Series(arrays.redial_delay_s).fill_nan(None),
        # All attempts of a caller stand together, so the redial is the next row.
        "next_row": pl.Series(np.where(arrays.redial_after > 0, row + 1, -1)).replace(-1, None),
        "redial_after": arrays.redial_after,
        "outcome": pl.Series(arrays.outcome).cat.to(PLAN_SCHEMA["outcome"]),
        "status": arrays.status,
        "setup_s": arrays.setup_s,
        "ring_s": arrays.ring_s,
        "hold_s": arrays.hold_s,
        "resumes": arrays.resumes,
        "destination": pl.Series(arrays.destination).replace(-1, None),
    }
    return pl.DataFrame(columns, schema=PLAN_SCHEMA)


def to_arrays(table: pl.DataFrame, trunk: int) -> PlanArrays:
    """Return one trunk's rows of a table with `PLAN_SCHEMA` as arrays, in its order."""
    rows = table.filter(pl.col("trunk") == trunk)
    names = ("row", "call", "attempt", "place_s", "redial_delay_s", "status", "setup_s", "ring_s", "hold_s", "resumes")
    return PlanArrays(
        trunk,
        inbound=(rows["direction"] == Direction.INBOUND.value).to_numpy(),
        redial_after=rows["redial_after"].to_numpy(),
        outcome=rows["outcome"].to_physical().cast(pl.UInt8).to_numpy(),
        destination=rows["destination"].fill_null(-1).to_numpy(),
        **{name: rows[name].to_numpy() for name in names},
    )
