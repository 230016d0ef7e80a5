"""The CPU that a trunk's programs spend: predicted from records by a calibration, and measured on their processes."""

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
    """Wall time."""
    predicted_s: float
    """For the pace that the machine had in that run."""
    measured_s: float
    breakdown: Mapping[CostName, float]
    """The prediction by what it is spent on."""
    programs: Mapping[str, float] = field(default_factory=dict)
    """The measurement by program."""
    pace: float = 1.0
    """How much longer than in the calibration work took: by the gauge beside the trunk, or without one as the study
    says."""

    @property
    def difference_share(self) -> float | None:
        """Measured minus predicted, as a share of what was measured."""
        return (self.measured_s - self.predicted_s) / self.measured_s if self.measured_s else None

    def to_json(self) -> dict[str, Any]:
        """All values, ready for `json.dumps`."""
        return asdict(self) | {"difference_share": self.difference_share}

    @classmethod
    def from_json(cls, saved: dict[str, Any] | None) -> Self | None:
        """What `to_json` gave, read back."""
        if saved is None:
            return None
        return cls(**{name: value for name, value in saved.items() if name != "difference_share"})


def compare_cpu(study: Study, predicted: pl.DataFrame, meters: MeterReport | None) -> CpuComparison | None:
    """Both sides; `None` where no program could be metered from begin to end, or the run ended before it began."""
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
    pace = calibration.pace(meters.gauge_s) or study.pop.machine.pace
    breakdown = cpu_breakdown(calibration.costs.at_pace(pace), predicted, seconds)
    return CpuComparison(seconds, sum(breakdown.values()), sum(spent.values()), breakdown, spent, pace)


def calibration_warnings(study: Study) -> tuple[str, ...]:
    """What speaks against the calibration that the study names, on this machine."""
    calibration, here = load_calibration(study.pop.calibration), fingerprint()
    found = []
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
