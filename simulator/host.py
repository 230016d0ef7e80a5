"""The PoP's CPU: signalling work queues for it, and the audio of all calls takes its share.

- Signalling is a first-come-first-served queue with one server per core.
- Audio comes in tiny pieces all the time, so we model it as a fluid. It slows signalling down in proportion to its
  load. If it needs more than all CPU, packets are lost.
- Audio goes first. The scheduler wakes a thread soon that sleeps most of the time, and we measured that it does.
- A CPU quota is a fluid too. Its pauses (`models.quota`) are not modelled here.
"""

from __future__ import annotations

import math
from heapq import heapreplace

from trunkproof.models.costs import Costs, study_costs
from trunkproof.models.packets import PACKETS_PER_STREAM_S
from trunkproof.models.study import Machine, Study

MOST_MEDIA_SHARE = 0.95
"""Signalling always gets the rest: the edge and the relay are different processes, and the scheduler is fair."""


def capacity(machine: Machine, costs: Costs) -> float:
    """Return the CPU for calls, in cores: what the machine or its quota gives, minus what the idle programs take."""
    return min(machine.cores, machine.quota or math.inf) - costs.idle_share


def busy_costs(study: Study) -> Costs:
    """Return the costs of the PoP's programs at full load, for the study's transport and media.

    Raises:
        InputError: the calibration is missing or invalid.
    """
    costs = study_costs(study)
    return costs.at_full_load(capacity(study.pop.machine, costs))


class Host:
    """The CPU and its work. The capacity must be above 0. All methods take the time as `now`, which never decreases."""

    def __init__(self, machine: Machine, costs: Costs) -> None:
        self._capacity = capacity(machine, costs)
        # Use as few servers as can spend the capacity: a single piece of work gets all that one core may give.
        servers = math.ceil(self._capacity)
        self._speed = self._capacity / servers
        self._free_at = [0.0] * servers
        # What audio spends while CPU is free, and what it needs at least: under contention one wakeup may serve many
        # packets. Only the second takes CPU away from signalling, and only beyond it are packets lost.
        self._asked_per_stream = PACKETS_PER_STREAM_S * costs.packet_s / self._capacity
        self._required_per_stream = PACKETS_PER_STREAM_S * costs.required_packet_s / self._capacity
        self._contended_share = costs.contended_work_share
        self._streams = 0
        self._lost_share = 0.0
        self._lost_s = 0.0
        self.media_share = 0.0
        """The share of the capacity that audio gets before signalling."""
        self._changed = 0.0
        self.signalling_s = 0.0
        """The CPU seconds that signalling has asked for so far."""
        self.media_s = 0.0
        """The CPU seconds that audio has got, until the last change of the number of streams."""

    def finish(self, work_s: float, now: float) -> float:
        """Queue `work_s` CPU seconds of work. Return how many seconds from now it is done.

        The queue is first come, first served. So the end of a piece of work is known at once, and needs no event.
        """
        begins, takes_s = now, work_s
        if self._free_at[0] > now:
            begins, takes_s = self._free_at[0], work_s * self._contended_share
        ends = begins + takes_s / (self._speed * (1 - self.media_share))
        # A heap: its first entry is the server that is free first.
        heapreplace(self._free_at, ends)
        self.signalling_s += work_s
        return ends - now

    @property
    def media_load(self) -> float:
        """Return the CPU that audio needs at least, as a share of the capacity. It may exceed 1."""
        return self._streams * self._required_per_stream

    def audio_begins(self, now: float) -> float:
        """Add the two streams of a call. Return a reading for `audio_ends`."""
        self._change(+2, now)
        return self._lost_s

    def audio_ends(self, reading: float, now: float) -> float:
        """Remove both streams of a call. Return how many seconds of its audio were lost since the reading."""
        self.other_stops(now)
        return self.one_stops(reading, now)

    def one_stops(self, reading: float, now: float) -> float:
        """Remove the stream of the side that hangs up. The other side talks on until the BYE arrives.

        Return how many seconds of audio were lost since the reading.
        """
        self._change(-1, now)
        return self._lost_s - reading

    def other_stops(self, now: float) -> None:
        """Return the BYE has come through to the other side."""
        self._change(-1, now)

    def _change(self, by: int, now: float) -> None:
        passed_s = now - self._changed
        self._lost_s += self._lost_share * passed_s
        asked = 1.0 if self._lost_share else min(1.0, self._streams * self._asked_per_stream)
        self.media_s += asked * self._capacity * passed_s
        self._changed = now
        self._streams += by
        load = self._streams * self._required_per_stream
        self.media_share = min(load, MOST_MEDIA_SHARE)
        # Beyond the capacity every stream loses the same share.
        self._lost_share = 1 - 1 / load if load > 1 else 0.0
