"""Judge a run's indicators by the quality targets of its study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trunkproof.experiments.common.formatting import formatted
from trunkproof.models.kpis import Kpis
from trunkproof.models.study import Quality
from trunkproof.models.targets import Target


@dataclass(frozen=True)
class JudgedTarget:
    """One target and the value of a run. `value` and `holds` are None where the run has no such indicator."""

    asked: Target
    value: float | None

    @property
    def holds(self) -> bool | None:
        """Tell whether the value keeps to the bound."""
        return None if self.value is None else self.asked.holds(self.value)

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return {
            "kpi": self.asked.kpi,
            "bound": self.asked.bound,
            "is_upper": self.asked.is_upper,
            "value": self.value,
            "holds": self.holds,
        }

    def __str__(self) -> str:
        word = {True: "kept", False: "MISSED", None: "n/a"}[self.holds]
        return f"{word}: {target_words(self.asked)} ({formatted(self.value, self.asked.definition.unit)})"


def target_words(target: Target) -> str:
    """Return a target in words."""
    return f"{target.definition.title} {target.operator} {formatted(target.bound, target.definition.unit)}"


def judge_quality(quality: Quality, kpis: Kpis) -> tuple[JudgedTarget, ...]:
    """Return every target of the study with its judgement, in the study's order."""
    return tuple(JudgedTarget(target, kpis[target.kpi]) for target in quality.targets)
