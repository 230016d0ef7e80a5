"""Compare two runs of one study: what is the same, better or worse, and what cannot be told.

Attempts of one run depend on each other (a throttle's window, a brown-out), so time is cut into blocks, and whole
blocks are drawn again (a block bootstrap, 95 % of the drawn differences). Where both runs placed the same plan, the
same blocks are drawn for both, so what the plan did to both cancels out. Rare events need a floor, because what never
happened in a run never happens in what is drawn from it: for shares the interval is widened to Newcombe's (two Wilson
intervals, 1998) where the plans differ, and to plus and minus 3.7 attempts (the 95 % bound for an event that was never
seen) where they are the same.

A difference counts once it is larger than a margin (`MARGINS`): "same" means that the whole interval lies within it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, overload

import numpy as np
import polars as pl

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.load.result import LOAD, LoadResult, read_load
from trunkproof.experiments.prediction.sweep import Contrast, contrast
from trunkproof.experiments.validation.validate import read_evidence
from trunkproof.loadgen.run_end import RunEnd
from trunkproof.loadgen.verdict import GeneratorVerdict, Verdict
from trunkproof.models.columns import Columns, columns_of
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.html import html_table
from trunkproof.models.kpis import DEFINITIONS, Better, KpiDefinition, Mean, Quantile, Share, compute_kpis
from trunkproof.models.study import Study
from trunkproof.models.windows import Sums

BLOCKS, BLOCKS_MIN, RESAMPLES = 40, 8, 1000
ATTEMPTS_MIN = 20
"""With fewer attempts, or fewer blocks that have any, nothing is told."""
_LEVEL = 0.95
_NEVER_SEEN = 3.7
_Z = 1.959964
_NOT_ASKED = frozenset({"name", "seed", "quality", "thresholds"})
"""Keys of a study that may differ: they change neither trunk nor traffic. `pop.stack` may too, and is told."""
MARGINS: Mapping[str, tuple[float, float]] = {"share": (0.01, 0.0), "ms": (20.0, 0.1), "MOS": (0.1, 0.0)}
"""Unit -> the smallest difference that counts: so much, or this part of A's value where that is more.

One percentage point; one packet time or 10 %; a tenth of a MOS point.
"""
_OTHER_MARGIN = (0.0, 0.1)


class Change(StrEnum):
    """What B is, beside A."""

    SAME = "same"
    BETTER = "better"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"
    NOT_JUDGED = "not judged"
    """The indicator describes the load, and neither way is better."""


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One of the two runs."""

    folder: Path
    study: Study
    records: pl.DataFrame
    generator: GeneratorVerdict
    end: RunEnd
    digest: str
    """Of the true study: the one that was saved has stand-ins for numbers."""

    def to_json(self) -> dict[str, Any]:
        """Return what identifies the run, ready for `json.dumps`."""
        return {
            "folder": str(self.folder),
            "study": self.study.name,
            "stack": self.study.pop.stack,
            "seed": self.study.seed,
            "attempts": self.records.height,
            "generator": self.generator.verdict.value,
            "ended": self.end.to_json(),
        }


@dataclass(frozen=True)
class ComparedKpi:
    """One indicator of both runs."""

    kpi: str
    a: float | None
    b: float | None
    interval: tuple[float, float] | None
    """Of b - a."""
    margin: float | None
    change: Change

    @property
    def definition(self) -> KpiDefinition:
        """Return title, unit and direction."""
        return DEFINITIONS[self.kpi]

    @property
    def difference(self) -> float | None:
        """Return b minus a."""
        return None if self.a is None or self.b is None else self.b - self.a

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self) | {"difference": self.difference, "unit": self.definition.unit}


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Two runs, side by side."""

    a: ComparedRun
    b: ComparedRun
    paired: bool
    """Both placed the same plan."""
    differing: tuple[str, ...]
    """Keys of the study in which the runs differ."""
    notes: tuple[str, ...]
    kpis: tuple[ComparedKpi, ...]

    @property
    def sentence(self) -> str:
        """Return the result in one sentence."""
        named = {change: [one.definition.title for one in self.kpis if one.change is change] for change in Change}
        told = [f"{change} in {', '.join(named[change])}" for change in (Change.WORSE, Change.BETTER) if named[change]]
        told.append(f"the same in {len(named[Change.SAME])} indicators")
        return f"B is {'; '.join(told)}. Of {len(named[Change.CANNOT_TELL])} it cannot be told."

    @property
    def method(self) -> str:
        """Return in words how the intervals were made."""
        how = (
            "paired, because both runs placed the same plan" if self.paired else "two samples, because the plans differ"
        )
        floor = "with room for 3.7 attempts (or packets) never seen" if self.paired else "at least Newcombe's"
        return (
            f"95 % intervals of the difference by a block bootstrap, {RESAMPLES} draws of up to {BLOCKS} blocks of "
            f"time, {how}; for shares {floor}. Each interval holds by itself: of twenty, one may miss."
        )

    def __repr__(self) -> str:
        return f"<RunComparison: {self.sentence}>"

    def _repr_html_(self) -> str:
        rows = []
        for one in self.kpis:
            unit = one.definition.unit
            ends = " to ".join(formatted(end, unit, signed=True) for end in one.interval) if one.interval else ""
            rows.append((one.definition.title, formatted(one.a, unit), formatted(one.b, unit), ends, one.change.value))
        return html_table(("indicator", "A", "B", "B - A, 95 %", "B is"), rows, caption=self.sentence)

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return {
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "sentence": self.sentence,
            "paired": self.paired,
            "differing": list(self.differing),
            "notes": list(self.notes),
            "method": self.method,
            "kpis": {one.kpi: one.to_json() for one in self.kpis},
        }


def read_compared(folder: Path) -> ComparedRun:
    """Read a run that `load` or `validate` left.

    Raises:
        InputError: the folder has none.
    """
    if (folder / LOAD).exists():
        load = read_load(folder)
        return ComparedRun(folder, load.study, load.records, load.generator, load.end, load.provenance.study_hash)
    run = read_evidence(folder)
    return ComparedRun(folder, run.study, run.measured, run.generator, run.ended, run.provenance.study_hash)


Run = Path | str | LoadResult | ComparedRun
"""A run of real calls: its folder, the result of `load`, or what `read_compared` returned."""


@overload
def compare(a: Study, b: Study, *, replications: int = ...) -> Contrast: ...


@overload
def compare(a: Run, b: Run, *, different_studies: bool = ...) -> RunComparison: ...


def compare(
    a: Study | Run, b: Study | Run, *, replications: int = 16, different_studies: bool = False
) -> Contrast | RunComparison:
    """Compare two studies by prediction, or two runs of real calls. Every difference is B minus A, with its interval.

    Args:
        a: a study; or a run: its folder, the result of `load`, or what `read_compared` returned.
        b: the other one, of the same kind.
        replications: of two studies: how many pairs of predictions with one seed (`contrast` has more options).
        different_studies: of two runs: whether they may be of different studies.

    Raises:
        InputError: one is a study and the other is a run; a folder has no run; or see `compare_runs`.
    """
    if isinstance(a, Study) and isinstance(b, Study):
        return contrast(a, b, replications=replications)
    if isinstance(a, Study) or isinstance(b, Study):
        what = "is a study, and the other one is a run; predict both, or place the calls of both"
        raise InputError("compare", [Problem(where="A" if isinstance(a, Study) else "B", what=what)])
    return compare_runs(_compared_run(a), _compared_run(b), different_studies=different_studies)


def _compared_run(run: Run) -> ComparedRun:
    if isinstance(run, ComparedRun):
        return run
    if isinstance(run, LoadResult):
        digest = run.provenance.study_hash
        return ComparedRun(Path(run.study.name), run.study, run.records, run.generator, run.end, digest)
    return read_compared(Path(run))


def compare_runs(a: ComparedRun, b: ComparedRun, *, different_studies: bool = False) -> RunComparison:
    """Compare two runs.

    Raises:
        InputError: one of them is VOID, or they are of different studies and that is not allowed.
    """
    differing = tuple(differing_keys(a.study, b.study))
    # The saved studies have stand-ins, so only the digest knows that the numbers themselves differ.
    if not differing and a.study == b.study and a.digest != b.digest:
        differing = ("traffic.destinations, traffic.callers (numbers)",)
    problems = [
        Problem(where=str(run.folder), what="is VOID: the generator could not keep up, so there is nothing to compare")
        for run in (a, b)
        if run.generator.verdict is Verdict.VOID
    ]
    if differing and not different_studies:
        what = "differs between the two studies; `--different-studies` compares them anyway"
        problems += [Problem(where=key, what=what) for key in differing]
    if problems:
        raise InputError("compare", problems)
    paired = not differing and a.study.seed == b.study.seed and not (a.end.cut_short or b.end.cut_short)
    return RunComparison(a, b, paired, differing, tuple(_notes(a, b)), tuple(_compared(a.records, b.records, paired)))


def differing_keys(a: Study, b: Study) -> Iterator[str]:
    """Yield the keys that change trunk or traffic and differ, such as `trunks[0].throttle.limit`."""
    first, second = json.loads(a.model_dump_json()), json.loads(b.model_dump_json())
    for study in (first, second):
        for key in _NOT_ASKED:
            del study[key]
        del study["pop"]["stack"]
    yield from _differing(first, second, "")


def _differing(a: Any, b: Any, where: str) -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            yield from _differing(a.get(key), b.get(key), f"{where}.{key}" if where else key)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _differing(one, other, f"{where}[{index}]")
    elif a != b:
        yield where


def _notes(a: ComparedRun, b: ComparedRun) -> Iterator[str]:
    if a.study.pop.stack != b.study.pop.stack:
        yield f"A was played by {a.study.pop.stack}, B by {b.study.pop.stack}"
    for name, run in (("A", a), ("B", b)):
        if run.generator.reasons:
            yield f"{name} is SUSPECT: {'; '.join(run.generator.reasons)}"
        if run.end.cut_short:
            yield f"{name} was cut short: {run.end}"


def _compared(a: pl.DataFrame, b: pl.DataFrame, paired: bool) -> Iterator[ComparedKpi]:
    values = compute_kpis(a), compute_kpis(b)
    blocks = _blocks(a, b)
    random = np.random.default_rng(6076)
    draws = [random.integers(0, len(side), (RESAMPLES, len(side))) for side in blocks]
    if paired and len(blocks[0]) == len(blocks[1]):
        draws[1] = draws[0]
    enough = min(a.height, b.height) >= ATTEMPTS_MIN and min(map(len, blocks)) >= BLOCKS_MIN
    for kpi, definition in DEFINITIONS.items():
        first, second = values[0][kpi], values[1][kpi]
        if definition.better is Better.NEITHER:
            yield ComparedKpi(kpi, first, second, None, None, Change.NOT_JUDGED)
        elif first is None or second is None or not enough:
            yield ComparedKpi(kpi, first, second, None, None, Change.CANNOT_TELL)
        else:
            interval = _interval(definition, blocks, draws, paired=paired)
            least, part = MARGINS.get(definition.unit, _OTHER_MARGIN)
            margin = max(least, part * abs(first))
            yield ComparedKpi(kpi, first, second, interval, margin, _change(definition, interval, margin))


def _blocks(a: pl.DataFrame, b: pl.DataFrame) -> tuple[list[Columns], list[Columns]]:
    """Cut both runs at the same instants. Blocks that are empty in a run that is not paired say nothing, and stay."""
    ends_s = [float(records["intended_s"].to_numpy().max()) for records in (a, b) if records.height]
    edges = np.linspace(0, max(ends_s, default=1.0) + 1e-9, BLOCKS + 1)
    sides = []
    for records in (a, b):
        columns = columns_of(records)
        which = np.searchsorted(edges, columns.intended_s, side="right") - 1
        sides.append([columns.where(which == block) for block in range(BLOCKS)])
    if all(len(block) for side in sides for block in side):
        return sides[0], sides[1]
    # A block without attempts in either run has nothing to draw.
    used = [index for index in range(BLOCKS) if len(sides[0][index]) or len(sides[1][index])]
    return [sides[0][index] for index in used], [sides[1][index] for index in used]


def _interval(
    definition: KpiDefinition, blocks: Sequence[Sequence[Columns]], draws: Sequence[np.ndarray], *, paired: bool
) -> tuple[float, float]:
    reduction = definition.reduction
    assert isinstance(reduction, Share | Mean | Quantile)
    sums = [[_sums_of(reduction, block) for block in side] for side in blocks]
    if isinstance(reduction, Share):
        drawn = []
        for side, draw in zip(sums, draws, strict=True):
            parts, wholes = np.array([one.part for one in side]), np.array([one.whole for one in side])
            whole = wholes[draw].sum(axis=1)
            drawn.append(np.divide(parts[draw].sum(axis=1), whole, out=np.full(len(whole), np.nan), where=whole > 0))
    else:
        drawn = [_drawn_values(reduction, side, draw) for side, draw in zip(sums, draws, strict=True)]
    differences = drawn[1] - drawn[0]
    tail = (1 - _LEVEL) / 2
    low, high = np.nanquantile(differences, [tail, 1 - tail])
    if isinstance(reduction, Share):
        totals = [(sum(one.part for one in side), sum(one.whole for one in side)) for side in sums]
        least, most = _never_seen(totals) if paired else _newcombe(totals)
        low, high = min(low, least), max(high, most)
    return float(low), float(high)


def _sums_of(reduction: Share | Mean | Quantile, block: Columns) -> Sums:
    sums = Sums()
    sums.add(reduction, block)
    return sums


def _drawn_values(reduction: Mean | Quantile, side: Sequence[Sums], draw: np.ndarray) -> np.ndarray:
    values = np.full(len(draw), np.nan)
    for index, chosen in enumerate(draw):
        drawn = Sums()
        for block in chosen:
            drawn.values += side[block].values
        value = drawn.value(reduction)
        values[index] = np.nan if value is None else value
    return values


def _never_seen(totals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the difference, with room for as many attempts as an event may have had that no run has seen."""
    (part_a, whole_a), (part_b, whole_b) = totals
    difference, room = part_b / whole_b - part_a / whole_a, _NEVER_SEEN / min(whole_a, whole_b)
    return difference - room, difference + room


def _newcombe(totals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the interval of the difference of two shares (Newcombe 1998, method 10)."""
    (p_a, low_a, high_a), (p_b, low_b, high_b) = (_wilson(part, whole) for part, whole in totals)
    difference = p_b - p_a
    return (
        difference - math.hypot(p_b - low_b, high_a - p_a),
        difference + math.hypot(high_b - p_b, p_a - low_a),
    )


def _wilson(part: float, whole: float) -> tuple[float, float, float]:
    share, z2 = part / whole, _Z**2
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole**2)) / (1 + z2 / whole)
    return share, middle - half, middle + half


def _change(definition: KpiDefinition, interval: tuple[float, float], margin: float) -> Change:
    low, high = interval
    if -margin <= low and high <= margin:
        return Change.SAME
    if low <= 0 <= high:
        return Change.CANNOT_TELL
    rises = low > 0
    return Change.BETTER if rises == (definition.better is Better.HIGHER) else Change.WORSE
