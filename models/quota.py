"""How Linux gives programs a part of a core: in periods, and with pauses. Nothing here sets a quota or measures one."""

from __future__ import annotations

from trunkproof.models.voice import JITTER_BUFFER_MS

TICK_S = 0.004
"""How often the kernel looks (250 Hz): programs run for so long at a stretch, whatever their quota, and then stand
still until the quota has paid for it.
"""


def longest_pause_s(cores: float) -> float:
    """For how long programs on a quota of so many cores stand still, all of them, after a stretch of work."""
    return TICK_S * max(0.0, 1 / cores - 1)


def pauses_are_heard(cores: float) -> bool:
    """Tell whether packets that come in such a pause are too late for a telephone: it is the quota that is heard then."""
    return longest_pause_s(cores) > JITTER_BUFFER_MS / 1000
