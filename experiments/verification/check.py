"""One check of the suite: a picture with one reading, and the verdict that the same numbers give."""

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
    """What was held against what, and what came of it."""

    panel: Panel
    is_correct: bool
    line: str
    """The verdict's reason, in one sentence."""
    values: dict[str, Any]
    """The figures behind it, ready for `json.dumps`."""

    @property
    def verdict(self) -> str:
        """In one word."""
        return "correct" if self.is_correct else "incorrect"

    def to_json(self) -> dict[str, Any]:
        """All but the picture."""
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
        """The difference in standard errors, as the normal variate that is as rare as this Student's t.

        So few repetitions make no more false alarms than many: the standard error is itself an estimate.
        """
        ratio = (self.mean - self.exact) / self.standard_error
        # From the tail, which keeps its digits where the distribution function is 1.
        return math.copysign(float(-ndtri(student.sf(abs(ratio), self.repetitions - 1))), ratio)

    @property
    def is_correct(self) -> bool:
        """Whether chance can have made the difference (z = 4.5: a false alarm once in 150,000 times)."""
        return abs(self.score) <= LARGEST_Z

    @property
    def reach(self) -> float:
        """The smallest difference that would be incorrect."""
        rare = student.isf(one_sided_alarm(), self.repetitions - 1)
        return float(rare) * self.standard_error

    def to_json(self) -> dict[str, Any]:
        """All of it, ready for `json.dumps`."""
        return {
            "name": self.name,
            "exact": self.exact,
            "simulated": self.mean,
            "standard_error": self.standard_error,
            "z": self.score,
        }


def one_sided_alarm() -> float:
    """Chance of a false alarm on one side."""
    return 0.5 * math.erfc(LARGEST_Z / math.sqrt(2))
