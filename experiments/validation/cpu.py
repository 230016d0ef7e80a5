"""Compare the CPU that a trunk's programs spend: predicted from records and a calibration, and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import polars as pl

from trunkproof.experiments.common.provenance import fingerprint
from trunkproof.loadgen.meters.report import MeterReport
from trunkproof.models.costs import CostName, cpu_breakdown, load_calibration
from trunkproof.models.study import Study


@dataclass(frozen=True)
class CpuComparison:
    """CPU seconds of all programs of the trunk together, from plan zero to the end of the run."""

    seconds: float
    """The wall time of the run."""
    predicted_s: float
    """Takes the machine's slowdown in that run into account."""
    measured_s: float
    breakdown: Mapping[CostName, float]
    """The predicted CPU seconds by cost."""
    programs: Mapping[str, float] = field(default_factory=dict)
    """The measured CPU seconds by program."""
    slowdown: float = 1.0
    """How many times as long work took as in the calibration, by the reference workload beside the trunk.

    Without a reference workload it is the study's `pop.machine.slowdown`.
    """

    @property
    def difference_share(self) -> float | None:
        """Return measured minus predicted, as a share of measured. None where nothing was measured."""
        return (self.measured_s - self.predicted_s) / self.measured_s if self.measured_s else None

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self) | {"difference_share": self.difference_share}

    @classmethod
    def from_json(cls, saved: dict[str, Any] | None) -> Self | None:
        """Return the comparison that `to_json` saved, or None for None."""
        if saved is None:
            return None
        # Older files call the slowdown `pace`.
        renamed = {"slowdown" if name == "pace" else name: value for name, value in saved.items()}
        return cls(**{name: value for name, value in renamed.items() if name != "difference_share"})


def compare_cpu(study: Study, predicted: pl.DataFrame, meters: MeterReport | None) -> CpuComparison | None:
    """Compare predicted with measured CPU.

    Returns:
        The comparison. None where no program could be metered from begin to end, or the run ended before plan zero.
    """
    if meters is None:
        return None
    spent = {name: program.cpu_s for name, program in meters.programs.items() if program.cpu_s is not None}
    if not spent:
        return None
    seconds = meters.to_s - meters.from_s
    if seconds <= 0:
        # Interrupted before the first call was due: there is no time to compare.
        return None
    calibration = load_calibration(study.pop.calibration)
    # Measured in this very run: the same work was seen to cost half as much again within minutes.
    slowdown = calibration.slowdown(meters.reference_s) or study.pop.machine.slowdown
    breakdown = cpu_breakdown(
        calibration.costs.carrying(study.transport, study.media).at_slowdown(slowdown), predicted, seconds
    )
    return CpuComparison(seconds, sum(breakdown.values()), sum(spent.values()), breakdown, spent, slowdown)


def calibration_warnings(study: Study) -> tuple[str, ...]:
    """Return what speaks against the study's calibration on this machine, one sentence each."""
    calibration, here = load_calibration(study.pop.calibration), fingerprint()
    found = []
    # A study may name any calibration. The costs of another stack give figures too, but wrong ones.
    if calibration.stack != study.pop.stack:
        found.append(f"the calibration is of {calibration.stack}, the trunk is played by {study.pop.stack}")
    if calibration.machine is None:
        found.append(f"the calibration {study.pop.calibration} does not say on which kind of machine it was measured")
    elif calibration.machine != here:
        there = calibration.machine
        found.append(
            f"the calibration was measured on another kind of machine ({there.processor}, {there.cores} cores, "
            f"{there.system}); this one is {here.processor}, {here.cores} cores, {here.system}"
        )
    return tuple(found)
