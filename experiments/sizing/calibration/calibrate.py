"""Measure what a stack spends on each kind of work: `calibrate(stack)`.

1. Make the stack do known amounts of each kind of work with real calls, and meter the CPU of its programs (`levels`).
2. Count from the records what was done, and fit the costs that explain the CPU of all levels (`regression`).
3. Do the same work under CPU quotas, to find what it costs where it has to wait for CPU (`contention`).
4. Write the costs as a calibration for `models.costs`, and everything behind them as JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import yaml

from trunkproof.experiments.common.progress import Progress, silent
from trunkproof.experiments.common.provenance import fingerprint
from trunkproof.experiments.sizing.calibration.contention import (
    Estimate,
    contended_ladders,
    contended_packet,
    contended_work,
    is_contended,
)
from trunkproof.experiments.sizing.calibration.levels import (
    IDLING,
    LIMITED,
    UNLIMITED,
    Level,
    measure_level,
    studies_of,
)
from trunkproof.experiments.sizing.calibration.regression import Explain, Fit, fit_relative
from trunkproof.loadgen.stacks.registry import is_ours
from trunkproof.loadgen.system.files import write_text
from trunkproof.models.arrays import FloatArray
from trunkproof.models.costs import Calibration, CostName, Costs, ReferenceSpeed, spend
from trunkproof.models.errors import StackError
from trunkproof.models.study import StackName, Study

_Name = CostName | Literal["reference_exponent"]
_GUESS: dict[_Name, float] = {
    "full_handshake_s": 1e-3,
    "resumed_handshake_s": 1e-3,
    "invite_s": 1e-3,
    "refusal_s": 3e-4,
    "bye_s": 1e-3,
    "packet_s": 2e-5,
    "idle_share": 2e-3,
    "idle_penalty": 0.5,
    "idle_penalty_decay_load": 0.02,
    "reference_exponent": 1.0,
}
_EXPONENT: _Name = "reference_exponent"
_PENALTY: tuple[_Name, ...] = ("idle_penalty", "idle_penalty_decay_load")
_COSTS: tuple[_Name, ...] = tuple(name for name in _GUESS if name not in (*_PENALTY, _EXPONENT))
_MORE: tuple[tuple[_Name, ...], ...] = ((*_PENALTY, _EXPONENT), (_EXPONENT,), _PENALTY, ())
"""Optional parameters beside the costs, from all to none. The first set that the levels determine is taken."""


def _without_responses(level: Level) -> dict[str, Any]:
    return {name: value for name, value in asdict(level).items() if name != "response_s"}


@dataclass(frozen=True, eq=False)
class CalibrationRun:
    """All levels of a stack, and the costs that explain them."""

    stack: StackName
    levels: tuple[Level, ...]
    fit: Fit
    calibration: Calibration
    contended: tuple[Level, ...] = ()
    """Levels under a quota, down to where calls break down, and the same work uncontended."""
    notes: tuple[str, ...] = ()
    """What could not be measured, and why."""

    @classmethod
    def explaining(cls, stack: StackName, levels: Sequence[Level], command: str) -> Self:
        """Fit the costs that explain these levels best.

        Raises:
            StackError: the levels do not determine the costs.
        """
        names, fit = _best_fit(levels)
        return cls(stack, tuple(levels), fit, _calibration(stack, levels, names, fit, command))

    def with_contended(self, levels: Sequence[Level]) -> Self:
        """Return the run with the costs of contended work added.

        The uncontended levels of the ladders join the others and take part in the fit.

        Args:
            levels: the levels of `contended_ladders` for the costs that were found so far.
        """
        # They are the same work on the same machine, and more observations make the fit surer.
        uncontended = [level for level in levels if not is_contended(level)]
        told = self.explaining(self.stack, (*self.levels, *uncontended), self.calibration.command or "")
        return told._with_contended_costs(levels, asked_by=self.calibration.costs)

    def _with_contended_costs(self, levels: Sequence[Level], *, asked_by: Costs) -> Self:
        costs, error = self.calibration.costs, self.fit.relative_error
        steady = [self._at_calibrated_speed(level) for level in levels]
        is_corrected = self.calibration.reference is not None
        packet = contended_packet(costs, steady, error, asked_by=asked_by, is_corrected=is_corrected)
        packet_s = costs.packet_s if packet is None else packet.value
        work = contended_work(costs, packet_s, steady, error, is_corrected=is_corrected)
        told: dict[CostName, Estimate | None] = {"contended_packet_s": packet, "contended_work_share": work}
        found = {name: one for name, one in told.items() if one is not None}
        missed = [
            f"{name} was not measured: quality held at no contended level" for name, one in told.items() if one is None
        ]
        intervals = {name: _rounded_interval(one) for name, one in found.items()}
        changed = costs.model_copy(update={name: _rounded(one.value) for name, one in found.items()})
        calibration = self.calibration.model_copy(
            update={"costs": changed, "intervals": self.calibration.intervals | intervals}
        )
        return replace(self, calibration=calibration, contended=tuple(levels), notes=tuple(missed))

    def _at_calibrated_speed(self, level: Level) -> Level:
        """Return the level as it would have been at the calibration's speed.

        A slow machine spends more CPU on the same work, and its quota is a smaller share of the CPU needed.
        """
        slowdown = self.calibration.slowdown(level.reference_s) or 1.0
        # The amount of a rung is a share of the CPU needed. On a slow machine the same quota was a smaller one.
        amount = level.amount / slowdown if is_contended(level) else level.amount
        return replace(level, cpu_s=level.cpu_s / slowdown, amount=amount)

    def to_json(self) -> dict[str, Any]:
        """Return everything but single response times, ready for `json.dumps`."""
        rows = zip(self.levels, self.fit.fitted, self.fit.studentised, strict=True)
        return {
            "calibration": self.calibration.model_dump(mode="json"),
            "r_squared": self.fit.r_squared,
            "relative_error": self.fit.relative_error,
            "levels": [
                _without_responses(level) | {"fitted_s": float(fitted), "studentised_residual": float(residual)}
                for level, fitted, residual in rows
            ],
            "outliers": self.fit.outliers,
            "contended": [_without_responses(level) for level in self.contended],
            "notes": list(self.notes),
        }

    def write(self, folder: Path) -> Path:
        """Write the calibration as YAML and everything behind it as JSON. Return the path of the YAML."""
        path = folder / f"{self.stack}.yaml"
        content = self.calibration.model_dump(mode="json", exclude_none=True)
        write_text(path, yaml.safe_dump(content, sort_keys=False, width=120))
        write_text(folder / f"{self.stack}-levels.json", json.dumps(self.to_json(), indent=2) + "\n")
        return path

    def __repr__(self) -> str:
        error = f"{100 * self.fit.relative_error:.1f} %"
        return f"<CalibrationRun of {self.stack}: {len(self.levels)} levels, explained within {error}>"


async def calibrate(
    stack: StackName, out: Path, *, repeats: int = 1, command: str = "", advance: Progress = silent
) -> CalibrationRun:
    """Measure a stack's costs on this machine. The files of every level's trunk are left in `out`.

    Raises:
        StackError: a program of the stack is missing, or the levels do not determine the costs.
    """
    todo = [each for _ in range(repeats) for each in studies_of(stack)]
    measure = _Numbered(out, len(todo), advance)
    run = CalibrationRun.explaining(stack, [await measure(*each) for each in todo], command)
    # The embedded trunk runs inside the generator: it has no program of its own to put under a quota.
    if is_ours(stack):
        return run
    ladders = contended_ladders(stack, run.calibration.costs)
    measure = _Numbered(out / "contended", sum(ladder.most for ladder in ladders), advance)
    try:
        levels = [level for ladder in ladders for level in await ladder.descend(measure)]
        return run.with_contended(levels)
    except StackError as error:
        return replace(run, notes=(f"costs of contended work were not measured: {error}",))


class _Numbered:
    """Measures levels one after the other, each in a numbered folder of its own."""

    def __init__(self, out: Path, most: int, advance: Progress) -> None:
        self._out, self._most, self._advance = out, most, advance
        self._done = 0

    async def __call__(self, work: str, amount: float, study: Study) -> Level:
        self._advance(self._done / self._most, f"{work}, {amount:g}")
        level = await measure_level(work, amount, study, self._out / f"{self._done:03}")
        self._done += 1
        return level


def _best_fit(levels: Sequence[Level]) -> tuple[tuple[_Name, ...], Fit]:
    """Fit with as many optional parameters as the levels determine.

    These are the idle penalty with the load at which it decays, where the levels tell idle from busy work, and the
    exponent of the reference workload, where the machine changed its speed.

    Raises:
        StackError: the levels do not even determine the costs without optional parameters.
    """
    spent_s = [level.cpu_s for level in levels]
    error = ValueError()
    for more in _MORE:
        names = (*_COSTS, *more)
        try:
            # Too many parameters for these levels raise ValueError. The next, smaller set is tried then.
            found = fit_relative(_explanation(levels, names), [_GUESS[name] for name in names], spent_s)
        except ValueError as reason:
            error = reason
            continue
        if _tells(names, found, levels):
            return names, found
    raise StackError(f"the levels do not determine the costs: {error}") from error


def _tells(names: Sequence[_Name], fit: Fit, levels: Sequence[Level]) -> bool:
    """Tell whether the optional parameters differ significantly from zero."""
    least = min(level.cpu_s / level.counts["idle_share"] for level in levels if level.work != IDLING)
    for name, value, (low, _) in zip(names, fit.values, fit.intervals, strict=True):
        # A decay load below the load of every working level: the penalty was fitted to the idling levels alone.
        if name == "idle_penalty_decay_load" and value < least:
            return False
        # An interval that holds zero: these levels show no such effect.
        if name in ("idle_penalty", _EXPONENT) and low <= 0:
            return False
    return True


def _explanation(levels: Sequence[Level], names: Sequence[_Name]) -> Explain:
    reference_s = np.array([level.reference_s or math.nan for level in levels])
    # NaN without a reference workload. With the exponent the fit fails then, and is done without it.
    relative = reference_s / _typical(reference_s)

    def explain(values: FloatArray) -> FloatArray:
        found = dict(zip(names, values.tolist(), strict=True))
        exponent = found.pop(_EXPONENT, None)
        # Not validated: on its way to the best costs the search may try impossible ones.
        costs = Costs.model_construct(**found)
        spent = np.array([sum(spend(costs, level.counts).values()) for level in levels])
        return spent if exponent is None else spent * relative**exponent

    return explain


def _typical(values: FloatArray) -> float:
    # The geometric mean: the exponent multiplies, so ratios count.
    return float(np.exp(np.log(values).mean()))


def _calibration(
    stack: StackName, levels: Sequence[Level], names: Sequence[_Name], fit: Fit, command: str
) -> Calibration:
    found = {
        name: Estimate(value, interval)
        for name, value, interval in zip(names, fit.values.tolist(), fit.intervals, strict=True)
    }
    reference = _reference(levels, found.pop(_EXPONENT, None))
    costs: dict[CostName, Estimate] = {name: one for name, one in found.items() if name != "reference_exponent"}
    round_trip, limited = (_median_response(levels, work) for work in (UNLIMITED, LIMITED))
    costs |= {"round_trip_s": round_trip, "throttle_decision_s": _beyond(limited, round_trip)}
    return Calibration(
        stack=stack,
        measured=datetime.now(UTC).date(),
        command=command or None,
        machine=fingerprint(),
        costs=Costs(**{name: _rounded(one.value) for name, one in costs.items()}),
        reference=reference,
        intervals={name: _rounded_interval(one) for name, one in costs.items()},
    )


def _reference(levels: Sequence[Level], exponent: Estimate | None) -> ReferenceSpeed | None:
    if exponent is None:
        return None
    work_s = _typical(np.array([level.reference_s for level in levels]))
    return ReferenceSpeed(
        work_s=_rounded(work_s), exponent=_rounded(exponent.value), interval=_rounded_interval(exponent)
    )


def _beyond(limited: Estimate, unlimited: Estimate) -> Estimate:
    """Return by how much one lies above the other, at least 0. Both errors are added."""
    # The widest difference that both intervals allow.
    low = limited.interval[0] - unlimited.interval[1]
    # A difference that is not significant counts as 0.
    value = limited.value - unlimited.value if low > 0 else 0.0
    return Estimate(value, (low, limited.interval[1] - unlimited.interval[0]))


def _median_response(levels: Sequence[Level], work: str) -> Estimate:
    """Return the median response of levels of that work, with its 95 % interval by order statistics.

    Source: David and Nagaraja, "Order Statistics" (2003), 7.1.
    """
    responses = [value for level in levels if level.work == work for value in level.response_s]
    if not responses:
        return Estimate(0.0, (0.0, 0.0))
    from scipy.stats import binom  # noqa: PLC0415  # slow to load, and `validate` comes by here too

    values = np.sort(np.array(responses))
    # The number of values below the median is binomial, whatever their distribution is.
    low, high = (int(binom.ppf(q, len(values), 0.5)) for q in (0.025, 0.975))
    bounds = float(values[low]), float(values[min(high, len(values) - 1)])
    return Estimate(float(np.median(values)), bounds)


def _rounded_interval(estimate: Estimate) -> tuple[float, float]:
    low, high = estimate.interval
    return _rounded(low), _rounded(high)


def _rounded(value: float) -> float:
    # More digits than the measurement has would only make every file differ.
    return float(f"{value:.4g}")
