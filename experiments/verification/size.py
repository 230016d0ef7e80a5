"""How much the suite computes: the full size is the proof, the quick one shows that the suite itself works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Calls are per repetition, about."""

    repetitions: int
    """Of each formula's case."""
    calls: int
    redial_repetitions: int
    redial_calls: int
    """Fresh ones that are counted."""
    durations: int
    """In each quantile plot, per kind."""
    repeats: int
    """Of each certificate, each with as many repetitions as `replicate` makes by default."""


FULL = Size(repetitions=40, calls=2500, redial_repetitions=16, redial_calls=8000, durations=40_000, repeats=400)
QUICK = Size(repetitions=16, calls=300, redial_repetitions=10, redial_calls=500, durations=2000, repeats=24)
