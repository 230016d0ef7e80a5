"""How much the suite computes. The full size is the proof; the quick one shows that the suite itself works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """The amount of computing. Numbers of calls are approximate, and per repetition."""

    repetitions: int
    """Repetitions of each case with a formula."""
    calls: int
    redial_repetitions: int
    redial_calls: int
    """Fresh calls that are counted."""
    durations: int
    """Values in each quantile plot, per kind."""
    repeats: int
    """Intervals of each certificate, each from as many repetitions as `replicate` makes by default."""


FULL = Size(repetitions=40, calls=2500, redial_repetitions=16, redial_calls=8000, durations=40_000, repeats=400)
QUICK = Size(repetitions=16, calls=300, redial_repetitions=10, redial_calls=500, durations=2000, repeats=24)
