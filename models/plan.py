"""Study + seed -> Plan: the table of intended calls. The dice are rolled here and nowhere else.

A row is one *potential attempt*: the call itself, and each redial that its caller would make if the attempt before it
fails. Simulator and load generator execute the same rows; the row's number is the number dialled, so that the answering
side of a real call finds its row again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.distributions import Distribution
from models.rates import FloatArray, arrival_chunks
from models.records import Direction
from models.streams import uniforms
from models.study import Study
from models.traffic import Outcomes

ROWS_PER_TRUNK = 10**8
"""Row numbers of a trunk begin at its index times this: two digits name the trunk, eight the row."""
_COUNTRY, _DIGITS = "+91", 10
_CALLS_PER_CHUNK = 65_536


class Outcome(StrEnum):
    """What the far side (or the caller, by hanging up) does with a call that reaches it."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    ABANDONED = "abandoned"


@dataclass(slots=True, frozen=True)
class PlanRow:
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
    """The redial that follows if this attempt fails; `None` where the caller gives up."""
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


_ENUMS = {"direction": Direction, "outcome": Outcome}
PLAN_SCHEMA: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "call": pl.Int64(),
    "attempt": pl.Int64(),
    "trunk": pl.Int64(),
    "direction": pl.Enum([member.value for member in Direction]),
    "place_s": pl.Float64(),
    "redial_delay_s": pl.Float64(),
    "next_row": pl.Int64(),
    "outcome": pl.Enum([member.value for member in Outcome]),
    "status": pl.Int64(),
    "setup_s": pl.Float64(),
    "ring_s": pl.Float64(),
    "hold_s": pl.Float64(),
    "resumes": pl.Boolean(),
}


def dialled_number(row: int) -> str:
    """Plan row -> the number dialled: `+91` and the row as ten digits."""
    return f"{_COUNTRY}{row:0{_DIGITS}d}"


def row_of(number: str) -> int | None:
    """The number dialled -> its plan row; `None` for a number that no plan dials."""
    digits = number.removeprefix(_COUNTRY)
    return int(digits) if number.startswith(_COUNTRY) and len(digits) == _DIGITS and digits.isdecimal() else None


def rows_of(table: pl.DataFrame) -> Iterator[PlanRow]:
    """A table with `PLAN_SCHEMA` as `PlanRow`s, in its order."""
    directions = {member.value: member for member in Direction}
    outcomes = {member.value: member for member in Outcome}
    place = table.columns.index("direction")
    other = table.columns.index("outcome")
    for values in table.iter_rows():
        cells = list(values)
        cells[place] = directions[cells[place]]
        cells[other] = outcomes[cells[other]]
        yield PlanRow(*cells)


@dataclass(frozen=True, eq=False)
class Plan:
    """The intended calls of a study. `table` has `PLAN_SCHEMA`, sorted by call and attempt."""

    study: Study
    table: pl.DataFrame

    @cached_property
    def rows(self) -> dict[int, PlanRow]:
        """Row number -> row."""
        return {row.row: row for row in rows_of(self.table)}

    @property
    def calls(self) -> int:
        """Callers, each counted once however often they redial."""
        return int(self.table.get_column("attempt").eq(0).sum())

    def first_attempts(self) -> list[PlanRow]:
        """The rows to place at their own instant, in the order of time."""
        firsts = (row for row in self.rows.values() if row.place_s is not None)
        return sorted(firsts, key=lambda row: (row.place_s or 0.0, row.row))

    def __repr__(self) -> str:
        return (
            f"<Plan of {self.study.name!r}: {self.calls} calls in {self.study.duration_s:g} s, seed {self.study.seed}>"
        )


def draw_plan(study: Study) -> Plan:
    """Roll the dice for the whole study at once."""
    tables = [table for trunk in range(len(study.trunks)) for table in plan_chunks(study, trunk)]
    return Plan(study, pl.concat(tables) if tables else pl.DataFrame(schema=PLAN_SCHEMA))


def plan_chunks(study: Study, trunk: int, *, calls_per_chunk: int = _CALLS_PER_CHUNK) -> Iterator[pl.DataFrame]:
    """One trunk's plan in pieces that ascend in time; put together they equal `draw_plan`, whatever the piece's
    size.
    """
    traffic = study.trunks[trunk].traffic
    first_call, first_row = 0, trunk * ROWS_PER_TRUNK
    for instants in arrival_chunks(traffic.arrivals, study.duration_s, study.seed, trunk, calls_per_chunk):
        if not len(instants):
            continue
        table = _chunk(study, trunk, instants, first_call, first_row)
        yield table
        first_call, first_row = first_call + len(instants), first_row + table.height


def _chunk(study: Study, trunk: int, instants: FloatArray, first_call: int, first_row: int) -> pl.DataFrame:
    draws = _Draws(study, trunk, first_call, len(instants))
    calls = np.arange(len(instants))
    inbound = draws.uniform("direction") < study.trunks[trunk].traffic.inbound_share
    parts, willing = [], np.ones(len(instants), dtype=np.bool_)
    for attempt in range(draws.traffic.redial.attempts):
        if attempt:
            willing &= draws.uniform("redial", attempt) < draws.traffic.redial.probability
        if not willing.any():
            break
        columns = draws.attempt(attempt) | {
            "call": calls + first_call + trunk * ROWS_PER_TRUNK,
            "attempt": np.full(len(calls), attempt),
            "direction": np.where(inbound, Direction.INBOUND.value, Direction.OUTBOUND.value),
            "place_s": instants if attempt == 0 else np.full(len(calls), np.nan),
        }
        parts.append(pl.DataFrame({name: values[willing] for name, values in columns.items()}))
    table = pl.concat(parts).sort("call", "attempt").with_columns(trunk=pl.lit(trunk))
    table = table.with_row_index("row", offset=0).with_columns(pl.col("row").cast(pl.Int64) + first_row)
    has_next = pl.col("call").shift(-1) == pl.col("call")
    table = table.with_columns(
        pl.col("place_s", "redial_delay_s").fill_nan(None),
        next_row=pl.when(has_next).then(pl.col("row") + 1),
    )
    return table.select([pl.col(name).cast(kind) for name, kind in PLAN_SCHEMA.items()])


class _Draws:
    """The random numbers of a run of calls of one trunk; every array has one entry per call."""

    def __init__(self, study: Study, trunk: int, first_call: int, calls: int) -> None:
        self.traffic = study.trunks[trunk].traffic
        self._setup = study.pop.carrier.setup
        self._key = (study.seed, trunk)
        self._span = (first_call, calls)

    def uniform(self, purpose: str, attempt: int = 0) -> FloatArray:
        seed, trunk = self._key
        start, count = self._span
        return uniforms(seed, purpose, trunk, attempt, start=start, count=count)

    def _drawn(self, distribution: Distribution, purpose: str, attempt: int) -> FloatArray:
        return distribution.quantile(self.uniform(purpose, attempt))

    def attempt(self, attempt: int) -> dict[str, NDArray[np.generic]]:
        """The columns that differ from attempt to attempt."""
        names, statuses, kinds = _outcomes(self.traffic.outcomes, self.uniform("outcome", attempt))
        answered, abandoned = names == Outcome.ANSWERED.value, names == Outcome.ABANDONED.value
        rings = answered | (names == Outcome.NO_ANSWER.value)
        ring = np.where(rings, self._drawn(self.traffic.ringing, "ringing", attempt), 0.0)
        ring = np.where(abandoned, self._drawn(self.traffic.patience, "patience", attempt), ring)
        delay = self._drawn(self.traffic.redial.delay, "redial delay", attempt)
        return {
            "redial_delay_s": delay if attempt else np.full(kinds, np.nan),
            "outcome": names,
            "status": statuses,
            "setup_s": self._drawn(self._setup, "setup", attempt),
            "ring_s": ring,
            "hold_s": np.where(answered, self._drawn(self.traffic.holding, "holding", attempt), 0.0),
            "resumes": self.uniform("resumption", attempt) < self.traffic.tls.resumption_share,
        }


def _outcomes(mix: Outcomes, draws: FloatArray) -> tuple[NDArray[np.str_], NDArray[np.int64], int]:
    """Outcome names, final statuses and the number of draws, from one uniform per call."""
    kinds = [
        (Outcome.BUSY, 486, mix.busy),
        (Outcome.NO_ANSWER, 480, mix.no_answer),
        (Outcome.ABANDONED, 487, mix.abandoned),
        *((Outcome.REJECTED, part.status, part.share) for part in mix.rejected),
        (Outcome.ANSWERED, 200, 1.0),
    ]
    bounds = np.cumsum([share for _, _, share in kinds[:-1]])
    index = np.searchsorted(bounds, draws, side="right")
    names = np.array([outcome.value for outcome, _, _ in kinds])[index]
    return names, np.array([status for _, status, _ in kinds])[index], len(draws)
