"""Find the times in which a trunk's program stood still although it was called: stopped, or frozen with its machine.

Only facts decide. A program that gets a message has to wake and to use CPU. One that did neither between two readings
of its meter, and was sent a call meanwhile, stood still.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from trunkproof.models.records import Direction

_MARGIN_S = 0.1
"""A call that was sent so shortly before a reading may have been read after it."""


@dataclass(frozen=True)
class Stall:
    """A time in which a program stood still."""

    program: str
    from_s: float
    """Seconds after plan zero, like `to_s`: the readings between which nothing moved."""
    to_s: float
    calls: int
    """The calls that were sent to it meanwhile."""
    longest_wait_s: float | None
    """How long the slowest of them waited for its first response. None where none had one."""

    def __str__(self) -> str:
        length_s = self.to_s - self.from_s
        waited = "had no answer" if self.longest_wait_s is None else f"waited up to {self.longest_wait_s:.1f} s"
        return (
            f"{self.program} stood still for at least {length_s:.1f} s from {self.from_s:.1f} s after plan zero: "
            f"it used no CPU, and {self.calls} calls to it {waited}"
        )


def find_stalls(samples: pl.DataFrame, records: pl.DataFrame, program: str) -> tuple[Stall, ...]:
    """Return the times in which a program stood still, in the order of time.

    Args:
        samples: the readings of a run, with the columns of `meters.report.SAMPLES`.
        records: the attempts of the run.
        program: the program to which the calls go, as the meter names it.
    """
    numbers = samples.filter((pl.col("source") == program) & pl.col("name").is_in(["cpu_s", "wakings"]))
    if numbers.is_empty():
        return ()
    readings = numbers.pivot("name", index="at_s", values="value", aggregate_function="first").sort("at_s")
    spans: list[tuple[float, float]] = []
    for (at_s, *before), (next_s, *after) in pairwise(readings.drop_nulls().iter_rows()):
        if before == after:
            joined = bool(spans) and spans[-1][1] == at_s
            spans = [*spans[:-1], (spans[-1][0], next_s)] if joined else [*spans, (at_s, next_s)]
    stalls = (_stall(program, span, records) for span in spans)
    return tuple(stall for stall in stalls if stall is not None)


def _stall(program: str, span: tuple[float, float], records: pl.DataFrame) -> Stall | None:
    """Return the stall of a time in which nothing moved, or None where nothing had to."""
    from_s, to_s = span
    # Before a connection stands nothing is sent, and a program that stands still accepts none.
    sent = pl.coalesce("sent_s", "intended_s")
    calls = records.filter(
        (pl.col("direction") == Direction.OUTBOUND.value) & (sent >= from_s) & (sent < to_s - _MARGIN_S)
    )
    if calls.is_empty():
        return None
    answered = pl.min_horizontal("ringing_s", "answered_s", pl.when(pl.col("status").is_not_null()).then("ended_s"))
    waited = calls.select((answered - sent).max()).item()
    return Stall(program, from_s, to_s, calls.height, waited)
