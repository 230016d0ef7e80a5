"""Sum up the meter readings of a run: CPU between two instants, peaks, increases of counters, deaths and gaps.

It computes on the table of readings alone. It knows neither processes nor pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

PAGE_CPU = "process_cpu_seconds_total"
"""The CPU time that a program's Prometheus page shows. Used where the process itself cannot be seen."""
SAMPLES = {"at_s": pl.Float64, "source": pl.String, "name": pl.String, "value": pl.Float64}
"""The columns of `meters.parquet`.

- `at_s`: seconds after plan zero.
- `source`: a program.
- `name`: cpu_s, memory_bytes, sockets, threads, wakings, processes, or the full name of a number on its page.
- `value`: the reading.
"""


class Sample(NamedTuple):
    """One reading of one number: a row of `SAMPLES`."""

    at_s: float
    source: str
    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A page that could not be read."""

    at_s: float
    source: str
    why: str


@dataclass(frozen=True, kw_only=True)
class ProgramReport:
    """What one program spent between two of its readings. None where it could not be seen."""

    cpu_s: float | None = None
    share_of_core: float | None = None
    """CPU time per wall time. 1 is one full core, and a program with several processes or threads can have more."""
    peak_memory_bytes: int | None = None
    """The highest reading. A peak between two readings is not seen. The same is true for sockets."""
    peak_sockets: int | None = None
    wakings: float | None = None
    """How often its threads were woken."""
    increases: Mapping[str, float]
    """The increases of all numbers on the page that changed and are no gauges.

    A declared counter that fell has started again, and what it counted before is kept. For a number of unknown kind it
    is the last reading minus the first, which may be negative.
    """
    ended_at_s: float | None = None
    """When the program ended, if it ended before its meter did. Its CPU is then that of its last reading."""


@dataclass(frozen=True, kw_only=True)
class MeterReport:
    """What the trunk's programs spent."""

    from_s: float
    """The span that was asked for, `from_s` to `to_s` after plan zero. Figures are between the nearest readings."""
    to_s: float
    programs: Mapping[str, ProgramReport]
    gaps: Sequence[Gap] = ()
    reference_s: float | None = None
    """The mean CPU time of the reference workload in that span (`loadgen.meters.reference`).

    None for a remote trunk.
    """


def read_report(saved: dict[str, Any] | None) -> MeterReport | None:
    """Return the report that was saved as JSON by way of `dataclasses.asdict`, or None for None."""
    if saved is None:
        return None
    programs = {name: ProgramReport(**program) for name, program in saved["programs"].items()}
    gaps = tuple(Gap(**gap) for gap in saved["gaps"])
    # Older files call the mean of the reference workload `gauge_s`.
    reference_s = saved.get("reference_s", saved.get("gauge_s"))
    return MeterReport(
        from_s=saved["from_s"], to_s=saved["to_s"], programs=programs, gaps=gaps, reference_s=reference_s
    )


def make_report(
    samples: pl.DataFrame,
    kinds: Mapping[tuple[str, str], str],
    from_s: float,
    to_s: float,
    *,
    ended: Mapping[str, float] | None = None,
    gaps: Sequence[Gap] = (),
    reference_s: float | None = None,
) -> MeterReport:
    """Sum up a table of readings.

    Args:
        samples: the readings, with the columns of `SAMPLES`.
        kinds: source and name -> the kind that its page declares. Names that are not in it come from no page.
        from_s: begin of the span, in seconds after plan zero.
        to_s: end of the span.
        ended: program -> when it ended.
        gaps: pages that could not be read. Those inside the span are passed on.
        reference_s: mean of the reference workload, which is passed on.
    """
    ended = ended or {}
    programs = {
        str(source): _program(str(source), frame, kinds, (from_s, to_s), ended.get(str(source)))
        for (source,), frame in samples.sort("at_s").group_by("source", maintain_order=True)
    }
    # A program without a single reading must still show that it ended, or could not be read.
    for source in ended.keys() | {gap.source for gap in gaps}:
        programs.setdefault(source, ProgramReport(increases={}, ended_at_s=ended.get(source)))
    inside = tuple(gap for gap in gaps if from_s <= gap.at_s <= to_s)
    return MeterReport(from_s=from_s, to_s=to_s, programs=programs, gaps=inside, reference_s=reference_s)


def _program(
    source: str,
    frame: pl.DataFrame,
    kinds: Mapping[tuple[str, str], str],
    span: tuple[float, float],
    ended_at_s: float | None,
) -> ProgramReport:
    series = {str(name): _Series(rows, *span) for (name,), rows in frame.group_by("name")}
    # The process's own clock is the more exact one. The page is for a trunk on another machine.
    cpu = series.get("cpu_s") or series.get(PAGE_CPU)
    counters = {name: kinds[source, name] for name in sorted(series) if kinds.get((source, name), "gauge") != "gauge"}
    # A counter with labels appears on its page only when it first counts. Until then it was 0, so its first reading is
    # an increase too.
    paged_from_s = min((series[name].from_s for name in counters), default=0.0)
    found = {
        name: (series[name].difference if kind == "unknown" else series[name].increase)
        + (series[name].values[0] if series[name].from_s > paged_from_s else 0.0)
        for name, kind in counters.items()
    }
    return ProgramReport(
        cpu_s=cpu.difference if cpu else None,
        share_of_core=cpu.rate if cpu else None,
        peak_memory_bytes=_peak(series.get("memory_bytes")),
        peak_sockets=_peak(series.get("sockets")),
        wakings=series["wakings"].difference if "wakings" in series else None,
        increases={name: increase for name, increase in found.items() if increase},
        ended_at_s=ended_at_s,
    )


def _peak(series: _Series | None) -> int | None:
    return None if series is None else round(max(series.values))


class _Series:
    """The readings of one number, from the one nearest to the span's begin to the one nearest to its end."""

    def __init__(self, rows: pl.DataFrame, from_s: float, to_s: float) -> None:
        at_s: list[float] = rows["at_s"].to_list()
        first, last = (min(range(len(at_s)), key=lambda i: abs(at_s[i] - edge)) for edge in (from_s, to_s))
        self.from_s = at_s[first]
        self.values: list[float] = rows["value"].to_list()[first : last + 1]
        self._length_s = at_s[last] - at_s[first]

    @property
    def difference(self) -> float:
        return self.values[-1] - self.values[0]

    @property
    def rate(self) -> float | None:
        return self.difference / self._length_s if self._length_s > 0 else None

    @property
    def increase(self) -> float:
        steps = zip(self.values, self.values[1:], strict=False)
        # A counter that fell was reset to 0 in between, so its new reading is the increase since then.
        return sum(after - before if after >= before else after for before, after in steps)
