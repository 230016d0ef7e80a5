"""The PoP's CPU: signalling work queues for it, and the audio of all calls takes its share.

Signalling is a first-come-first-served queue with one server per core. Audio comes in tiny pieces all the time, so it
is fluid here: it slows signalling down in proportion to its load, and what it asks beyond all CPU is lost packets.
Audio goes first, in programs of its own and in threads of one program alike: who sleeps much is woken soon, and was
seen to be. A quota is fluid too: its pauses (`models.quota`) are not in here.
"""

from __future__ import annotations

import math
from heapq import heapreplace

from trunkproof.models.costs import Costs, costs_of
from trunkproof.models.packets import PACKETS_PER_STREAM_S
from trunkproof.models.study import Machine, Pop

MOST_MEDIA_SHARE = 0.95
"""Signalling always gets the rest: the edge's processes are other ones than the relay's, and the scheduler is fair."""


def capacity(machine: Machine, costs: Costs) -> float:
    """CPU for calls, in cores: what the machine or its quota gives, without what the idle programs take."""
    return min(machine.cores, machine.quota or math.inf) - costs.idle_share


def busy_costs(pop: Pop) -> Costs:
    """What the PoP's programs spend where they have more work than they can do; raises as `load_calibration`."""
    costs = costs_of(pop)
    return costs.at_full_load(capacity(pop.machine, costs))


class Host:
    """CPU with work on it, for a capacity above 0. Every method takes the time as `now`, which never runs backwards."""

    def __init__(self, machine: Machine, costs: Costs) -> None:
        self._capacity = capacity(machine, costs)
        # As few servers as can spend all of it: work that comes alone gets what one core may give.
        servers = math.ceil(self._capacity)
        self._speed = self._capacity / servers
        self._free_at = [0.0] * servers
        self._asked_per_stream = PACKETS_PER_STREAM_S * costs.packet_s / self._capacity
        self._required_per_stream = PACKETS_PER_STREAM_S * costs.required_packet_s / self._capacity
        self._contended_share = costs.contended_work_share
        self._streams = 0
        self._lost_share = 0.0
        self._lost_s = 0.0
        self.media_share = 0.0
        """CPU that the audio gets before signalling."""
        self._changed = 0.0
        self.signalling_s = 0.0
        """Seconds of one core that signalling has asked for so far."""
        self.media_s = 0.0
        """Seconds of one core that audio has got, until the last call began or ended."""

    def finish(self, work_s: float, now: float) -> float:
        """Queue `work_s` seconds of one core; how long from now until it is done.

        With first come, first served, the end of a piece of work is known when it comes: no event is needed for it.
        """
        begins, takes_s = now, work_s
        if self._free_at[0] > now:
            begins, takes_s = self._free_at[0], work_s * self._contended_share
        ends = begins + takes_s / (self._speed * (1 - self.media_share))
        heapreplace(self._free_at, ends)
        self.signalling_s += work_s
        return ends - now

    @property
    def media_load(self) -> float:
        """CPU that the audio cannot do without, as a share of all there is for calls; may exceed 1."""
        return self._streams * self._required_per_stream

    def audio_begins(self, now: float) -> float:
        """One more call has audio; a reading for `audio_ends`."""
        self._change(+2, now)
        return self._lost_s

    def audio_ends(self, reading: float, now: float) -> float:
        """One call less; how many seconds of its audio were lost, for the reading of its beginning."""
        self.other_stops(now)
        return self.one_stops(reading, now)

    def one_stops(self, reading: float, now: float) -> float:
        """As `audio_ends`, but only who hangs up is silent: the other side talks on until the BYE is with it."""
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
