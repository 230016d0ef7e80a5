"""What a run's meter readings come to: CPU between two instants, peaks, the counters' increase, deaths, gaps.

It computes on the table of readings alone and knows neither processes nor pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

PAGE_CPU = "process_cpu_seconds_total"
"""A Prometheus page's own CPU time, where nobody can look at the process."""
SAMPLES = {"at_s": pl.Float64, "source": pl.String, "name": pl.String, "value": pl.Float64}
"""The columns of `meters.parquet`: seconds after plan zero; a program; cpu_s, memory_bytes, sockets, threads, wakings,
processes or the name of a number on its page, labels and all; the reading.
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
    """What one program spent between two of its readings; None is what nobody could see."""

    cpu_s: float | None = None
    share_of_core: float | None = None
    """CPU time per wall time: 1 is one core in full, a program of several processes or threads can pass it."""
    peak_memory_bytes: int | None = None
    """Of the readings; what was held between two is not seen. The same for sockets."""
    peak_sockets: int | None = None
    wakings: float | None = None
    """How often its threads were woken."""
    increases: Mapping[str, float]
    """Of all numbers on the page that moved and are no gauges. One that is declared a counter and fell has begun anew;
    of one whose kind the page does not say it is the last reading minus the first, and may be negative.
    """
    ended_at_s: float | None = None
    """When the program ended, if it did so before its meter; its CPU is that of its last reading."""


@dataclass(frozen=True, kw_only=True)
class MeterReport:
    """What the trunk's programs spent."""

    from_s: float
    """After plan zero, as `to_s`: the span that was asked for. Each figure is between the readings nearest to them."""
    to_s: float
    programs: Mapping[str, ProgramReport]
    gaps: Sequence[Gap] = ()
    gauge_s: float | None = None
    """What the reference workload (`loadgen.meters.reference`) took in that span, on average; `None` for a trunk
    elsewhere.
    """


def read_report(saved: dict[str, Any] | None) -> MeterReport | None:
    """What `dataclasses.asdict` made of a report, after it was JSON."""
    if saved is None:
        return None
    programs = {name: ProgramReport(**program) for name, program in saved["programs"].items()}
    gaps = tuple(Gap(**gap) for gap in saved["gaps"])
    return MeterReport(
        from_s=saved["from_s"], to_s=saved["to_s"], programs=programs, gaps=gaps, gauge_s=saved.get("gauge_s")
    )


def make_report(
    samples: pl.DataFrame,
    kinds: Mapping[tuple[str, str], str],
    from_s: float,
    to_s: float,
    *,
    ended: Mapping[str, float] | None = None,
    gaps: Sequence[Gap] = (),
    gauge_s: float | None = None,
) -> MeterReport:
    """Sum up a table of readings.

    Args:
        samples: as `SAMPLES` says.
        kinds: source and name -> what its page declares it to be; names that are missing are no page's.
        from_s: begin of the span, seconds after plan zero.
        to_s: its end.
        ended: program -> when it ended.
        gaps: pages that could not be read; those of the span are passed on.
        gauge_s: the reference workload's mean, which is passed on.
    """
    ended = ended or {}
    programs = {
        str(source): _program(str(source), frame, kinds, (from_s, to_s), ended.get(str(source)))
        for (source,), frame in samples.sort("at_s").group_by("source", maintain_order=True)
    }
    for source in ended.keys() | {gap.source for gap in gaps}:
        programs.setdefault(source, ProgramReport(increases={}, ended_at_s=ended.get(source)))
    inside = tuple(gap for gap in gaps if from_s <= gap.at_s <= to_s)
    return MeterReport(from_s=from_s, to_s=to_s, programs=programs, gaps=inside, gauge_s=gauge_s)


def _program(
    source: str,
    frame: pl.DataFrame,
    kinds: Mapping[tuple[str, str], str],
    span: tuple[float, float],
    ended_at_s: float | None,
) -> ProgramReport:
    series = {str(name): _Series(rows, *span) for (name,), rows in frame.group_by("name")}
    cpu = series.get("cpu_s") or series.get(PAGE_CPU)
    counters = {name: kinds[source, name] for name in sorted(series) if kinds.get((source, name), "gauge") != "gauge"}
    # A counter with labels is not on the page before it first counts: it was 0 until then.
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
    """One number's readings, from the one nearest to the span's begin to the one nearest to its end."""

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
        return sum(after - before if after >= before else after for before, after in steps)
