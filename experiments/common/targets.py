"""The quality that a study asks for, against the indicators that a run has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from trunkproof.experiments.common.formatting import formatted
from trunkproof.models.kpis import DEFINITIONS, Kpis
from trunkproof.models.study import Quality


@dataclass(frozen=True)
class Target:
    """One target and what became of it; `None` for the value and for `holds` where a run has no such indicator."""

    kpi: str
    bound: float
    is_upper: bool
    value: float | None

    @property
    def holds(self) -> bool | None:
        """Whether the value keeps to the bound."""
        if self.value is None:
            return None
        return self.value <= self.bound if self.is_upper else self.value >= self.bound

    def to_json(self) -> dict[str, Any]:
        """All values, ready for `json.dumps`."""
        return asdict(self) | {"holds": self.holds}

    def __str__(self) -> str:
        definition = DEFINITIONS[self.kpi]
        word = {True: "kept", False: "MISSED", None: "n/a"}[self.holds]
        side = "at most" if self.is_upper else "at least"
        bound, value = formatted(self.bound, definition.unit), formatted(self.value, definition.unit)
        return f"{word}: {definition.title} {side} {bound} ({value})"


def targets_of(quality: Quality) -> Iterator[tuple[str, float, bool]]:
    """(Indicator, bound, whether it is an upper one) of every target that is set, in its order."""
    for name, bound in quality.model_dump().items():
        kpi, _, side = name.rpartition("_")
        if bound is not None:
            yield kpi, float(bound), side == "max"


def judge_quality(quality: Quality, kpis: Kpis) -> tuple[Target, ...]:
    """Every target that the study sets, in its order."""
    return tuple(Target(kpi, bound, is_upper, kpis[kpi]) for kpi, bound, is_upper in targets_of(quality))
