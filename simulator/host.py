"""The PoP's cores: signalling work queues for them, and the audio of all calls takes its share of every one.

Signalling is a first-come-first-served queue with one server per core. Audio comes in tiny pieces all the time, so it
is fluid here: it slows the cores down in proportion to its load, and what it asks beyond all of them is lost packets.
"""

from __future__ import annotations

import heapq

from models.costs import Costs

PACKETS_PER_S = 100
"""Of one call, per leg: 50 received and 50 sent."""
_MOST_MEDIA_SHARE = 0.95
"""Signalling always gets the rest: the edge's processes are other ones than the relay's, and the scheduler is fair."""


class Host:
    """Cores with work in them. Every method takes the time as `now`, which never runs backwards."""

    def __init__(self, cores: int, costs: Costs, *, legs: int) -> None:
        self._free_at = [0.0] * cores
        self._load_per_call = PACKETS_PER_S * legs * costs.packet_s / cores
        self._calls = 0
        self._lost_share = 0.0
        self._lost_s = 0.0
        self._changed = 0.0

    def finish(self, work_s: float, now: float) -> float:
        """Queue `work_s` seconds of one core; how long from now until it is done.

        With first come, first served, the end of a piece of work is known when it comes: no event is needed for it.
        """
        begins = max(now, self._free_at[0])
        ends = begins + work_s / (1 - self.media_share)
        heapq.heapreplace(self._free_at, ends)
        return ends - now

    @property
    def media_load(self) -> float:
        """CPU that the audio asks for, as a share of all cores; may exceed 1."""
        return self._calls * self._load_per_call

    @property
    def media_share(self) -> float:
        """CPU that the audio gets."""
        return min(self.media_load, _MOST_MEDIA_SHARE)

    def audio_begins(self, now: float) -> float:
        """One more call has audio; a reading for `audio_ends`."""
        self._change(+1, now)
        return self._lost_s

    def audio_ends(self, reading: float, now: float) -> float:
        """One call less; the seconds of its audio that were lost, for the reading of its beginning."""
        self._change(-1, now)
        return self._lost_s - reading

    def _change(self, by: int, now: float) -> None:
        self._lost_s += self._lost_share * (now - self._changed)
        self._changed = now
        self._calls += by
        # Beyond the cores' capacity every stream loses the same share.
        self._lost_share = max(0.0, 1 - 1 / self.media_load) if self.media_load else 0.0
