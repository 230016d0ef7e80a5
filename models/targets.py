"""A quality target: an indicator, which side of a bound it must keep to, and the bound.

`experiments.common.targets` judges a run by its targets. The review computes how likely a throttle keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import overload

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.kpis import DEFINITIONS, Better, KpiDefinition


class Operator(StrEnum):
    """The side of the bound on which a target holds; the bound itself is on it."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True)
class Target:
    """A bound on one indicator.

    Raises:
        ValueError: there is no such indicator, or the target asks for more of what should be less.
    """

    kpi: str
    operator: Operator
    bound: float

    def __post_init__(self) -> None:
        if self.kpi not in DEFINITIONS:
            raise ValueError(f"there is no indicator `{self.kpi}`; known: {', '.join(DEFINITIONS)}")
        better = self.definition.better
        if better is (Better.HIGHER if self.is_upper else Better.LOWER):
            raise ValueError(f"{self.kpi} is better {better}: `{self.operator}` asks for worse")

    @property
    def definition(self) -> KpiDefinition:
        """Return title, unit and direction of the indicator."""
        return DEFINITIONS[self.kpi]

    @property
    def is_upper(self) -> bool:
        """Tell whether the bound limits from above."""
        return self.operator is Operator.AT_MOST

    @overload
    def holds(self, value: float) -> bool: ...
    @overload
    def holds(self, value: FloatArray) -> BoolArray: ...
    def holds(self, value: float | FloatArray) -> bool | BoolArray:
        """Return whether a value, or each of several, keeps to the bound."""
        return value <= self.bound if self.is_upper else value >= self.bound


@dataclass(frozen=True)
class Asks:
    """Names the indicator that a number in a study's `quality:` bounds. It is in the annotation of the key."""

    kpi: str
    operator: Operator
    only_measured: bool = False
    """The model knows no such failures, so it is asked of real calls only."""
