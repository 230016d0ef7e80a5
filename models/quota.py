"""Compute the pauses that Linux makes for programs with a CPU quota. Nothing here sets or measures a quota."""

from __future__ import annotations

from trunkproof.models.voice import JITTER_BUFFER_MS

TICK_S = 0.004
"""The kernel checks the quota every 4 ms (250 Hz).

With any quota, programs run for that long without a pause. Then they are paused until their quota has paid for it.
"""


def longest_pause_s(cores: float) -> float:
    """Return for how many seconds all programs with a quota of so many cores are paused, at most."""
    return TICK_S * max(0.0, 1 / cores - 1)


def pauses_are_heard(cores: float) -> bool:
    """Tell whether packets that arrive in a pause are too late for a telephone. The quota is then audible."""
    return longest_pause_s(cores) > JITTER_BUFFER_MS / 1000
