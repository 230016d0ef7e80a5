"""Judge a load test: every quality target and every threshold of its study, on the records of real calls.

A threshold of a window is judged by its worst window. A threshold for which nothing was measured, although there were
attempts, is missed: silence is no success. A quality target without a value is not judged, because other targets say
why there is none (a call that is refused has no voice quality).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import polars as pl

from trunkproof.experiments.common.exit_codes import ExitCode, code_of_run
from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.common.targets import target_words
from trunkproof.loadgen.run_end import RunEnd
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.columns import columns_of
from trunkproof.models.kpis import Kpis, compute_kpis
from trunkproof.models.study import Study
from trunkproof.models.targets import Target
from trunkproof.models.thresholds import KpiThreshold
from trunkproof.models.windows import Window, WindowedKpi


class LoadVerdict(StrEnum):
    """What a load test says of the trunk, in one word."""

    KEPT = "kept"
    MISSED = "missed"
    ABORTED = "aborted"
    """A threshold was missed, and ended the run."""
    CUT_SHORT = "cut short"
    """The run ended otherwise before its plan, so it was not judged to its end."""
    VOID = "void"
    """The generator could not keep up, so its figures say nothing."""


@dataclass(frozen=True, eq=False)
class JudgedRow:
    """One target or threshold, and what the run says to it."""

    target: Target
    scope: str
    """Of which attempts, in words. Empty: of all."""
    attempts: int
    value: float | None
    """Of the worst window, where it is of windows. None: nothing was measured."""
    is_threshold: bool
    holds: bool | None
    """None: not judged."""
    at_s: float | None = None
    """The end of the worst window."""
    windows: tuple[Window, ...] = ()

    @property
    def name(self) -> str:
        """Return the target in words, with its scope."""
        return target_words(self.target) + (f" ({self.scope})" if self.scope else "")

    @property
    def word(self) -> str:
        """Return `kept`, `MISSED` or `not judged`."""
        return {True: "kept", False: "MISSED", None: "not judged"}[self.holds]

    @property
    def shown(self) -> str:
        """Return the value in words."""
        at = "" if self.at_s is None or self.value is None else f", in the {_window_words(self)}"
        return formatted(self.value, self.target.definition.unit) + at

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return {
            "kind": "threshold" if self.is_threshold else "quality",
            "kpi": self.target.kpi,
            "is_upper": self.target.is_upper,
            "bound": self.target.bound,
            "scope": self.scope,
            "attempts": self.attempts,
            "value": self.value,
            "worst_window_ends_s": self.at_s,
            "holds": self.holds,
            "words": self.name,
        }


def _window_words(row: JudgedRow) -> str:
    length_s = row.windows[0].until_s - row.windows[0].from_s
    return f"{length_s:g} s until {row.at_s:g} s"


def judge_load(study: Study, records: pl.DataFrame, kpis: Kpis | None = None) -> tuple[JudgedRow, ...]:
    """Return all quality targets and then all thresholds, judged, in the study's order."""
    kpis = compute_kpis(records) if kpis is None else kpis
    rows = [_of_quality(target, kpis[target.kpi], records.height) for target in study.quality.measured_targets]
    return (*rows, *(judge_threshold(one, study, records) for one in study.thresholds))


def _of_quality(target: Target, value: float | None, attempts: int) -> JudgedRow:
    return JudgedRow(target, "", attempts, value, False, None if value is None else target.holds(value))


def judge_threshold(threshold: KpiThreshold, study: Study, records: pl.DataFrame) -> JudgedRow:
    """Judge one threshold on the records of a run that is over."""
    target, chosen = threshold.target, records.filter(scope_of(threshold, study))
    if threshold.window_s is None:
        value, attempts = compute_kpis(chosen)[target.kpi], chosen.height
        return JudgedRow(target, threshold.scope, attempts, value, True, _holds(threshold, value, attempts))
    windowed = WindowedKpi(target, threshold.window_s)
    if chosen.height:
        windowed.add(columns_of(chosen))
    windows = tuple(windowed.windows())
    judged = [window for window in windows if window.attempts >= threshold.attempts_min]
    worst = _worst(target, judged)
    if worst is None:
        holds = None if not judged else False
        return JudgedRow(target, threshold.scope, chosen.height, None, True, holds, windows=windows)
    holds = target.holds(worst.value) if worst.value is not None else None
    return JudgedRow(target, threshold.scope, worst.attempts, worst.value, True, holds, worst.until_s, windows)


def _holds(threshold: KpiThreshold, value: float | None, attempts: int) -> bool | None:
    if attempts < threshold.attempts_min:
        return None
    return value is not None and threshold.target.holds(value)


def _worst(target: Target, windows: Sequence[Window]) -> Window | None:
    known = [window for window in windows if window.value is not None]
    pick = max if target.is_upper else min
    return pick(known, key=lambda window: window.value or 0.0, default=None)


def scope_of(threshold: KpiThreshold, study: Study) -> pl.Expr:
    """Return which records a threshold is of."""
    chosen = pl.lit(value=True)
    if threshold.trunk is not None:
        chosen &= pl.col("trunk") == threshold.trunk
    if threshold.far_end is not None:
        chosen &= pl.col("far_end").cast(pl.String) == threshold.far_end.value
    if threshold.number is not None:
        places = threshold.places_in({trunk.name: trunk.traffic.where for trunk in study.trunks})
        chosen &= pl.any_horizontal(
            [
                (pl.col("trunk") == name) & (pl.col("destination") == place).fill_null(value=False)
                for name, place in places.items()
            ]
        )
    return chosen


def verdict_of(rows: Sequence[JudgedRow], generator: Verdict, end: RunEnd, *, bugs: bool = False) -> LoadVerdict:
    """Return the verdict on a run: by the generator and by how it ended before its rows count."""
    code = ExitCode.BUG if bugs else code_of_run(generator, end)
    if code is ExitCode.OK:
        # Where nothing could be judged, nothing was proven.
        kept = any(row.holds for row in rows) and all(row.holds is not False for row in rows)
        return LoadVerdict.KEPT if kept else LoadVerdict.MISSED
    return {ExitCode.VOID: LoadVerdict.VOID, ExitCode.ABORTED: LoadVerdict.ABORTED}.get(code, LoadVerdict.CUT_SHORT)
