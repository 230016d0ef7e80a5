"""One check of the suite: a picture, and the verdict from the same numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scipy.special import ndtri
from scipy.stats import t as student

from trunkproof.experiments.prediction.twin import LARGEST_Z
from trunkproof.experiments.report.sheet import Panel


@dataclass(frozen=True)
class Check:
    """What was compared, and with which result."""

    panel: Panel
    is_correct: bool
    line: str
    """The verdict's reason, in one sentence."""
    values: dict[str, Any]
    """The figures behind it, ready for `json.dumps`."""

    @property
    def verdict(self) -> str:
        """Return the verdict in one word."""
        return "correct" if self.is_correct else "incorrect"

    def to_json(self) -> dict[str, Any]:
        """Return everything but the picture, ready for `json.dumps`."""
        about = {"name": self.panel.name, "title": self.panel.title, "verdict": self.verdict, "line": self.line}
        return about | self.values


@dataclass(frozen=True)
class Point:
    """A mean over independent repetitions, beside its exact value."""

    name: str
    exact: float
    mean: float
    standard_error: float
    repetitions: int

    @property
    def score(self) -> float:
        """Return the difference in standard errors, converted from Student's t to an equally rare normal variate.

        The standard error is itself an estimate. The conversion makes false alarms equally rare with few repetitions
        and with many.
        """
        ratio = (self.mean - self.exact) / self.standard_error
        # Use the tail probability: it keeps its digits where the distribution function rounds to 1.
        return math.copysign(float(-ndtri(student.sf(abs(ratio), self.repetitions - 1))), ratio)

    @property
    def is_correct(self) -> bool:
        """Tell whether chance may explain the difference (z = 4.5: one false alarm in 150,000)."""
        return abs(self.score) <= LARGEST_Z

    @property
    def reach(self) -> float:
        """Return the smallest difference that would be incorrect."""
        rare = student.isf(one_sided_alarm(), self.repetitions - 1)
        return float(rare) * self.standard_error

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return {
            "name": self.name,
            "exact": self.exact,
            "simulated": self.mean,
            "standard_error": self.standard_error,
            "z": self.score,
        }


def one_sided_alarm() -> float:
    """Return the probability of a false alarm on one side."""
    return 0.5 * math.erfc(LARGEST_Z / math.sqrt(2))
