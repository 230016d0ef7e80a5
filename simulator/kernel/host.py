"""The machine of `simulator.host` on arrays, with the same arithmetic: a queue of signalling that audio slows down."""

from __future__ import annotations

from trunkproof.models.arrays import FloatArray
from trunkproof.models.compiled import inlined, lean
from trunkproof.simulator.kernel.memory import Clock


@inlined
def finish(clock: Clock, cores: FloatArray, work_s: float) -> float:
    """Queue `work_s` seconds of work for one core. Return how many seconds from now it is done."""
    world = clock[0]
    begins = max(world.now, cores[0])
    # Work that has to wait costs another amount: less without a waking of its own, more with many interruptions.
    takes_s = work_s * world.contended_share if begins > world.now else work_s
    media_share = min(world.streams * world.required_per_stream, world.most_media_share)
    ends = begins + takes_s / (world.speed * (1 - media_share))
    # The queue is a heap of when each server is free. One server needs no heap.
    if world.servers == 1:
        cores[0] = ends
    else:
        _replace_first(cores, ends)
    return float(ends - world.now)


@inlined
def work(clock: Clock, cores: FloatArray, work_s: float) -> float:
    """Queue work as `finish` does. Work of 0 s does not wait in the queue."""
    return finish(clock, cores, work_s) if work_s != 0.0 else 0.0


@lean
def _replace_first(cores: FloatArray, value: float) -> None:
    place, below, size = 0, 1, len(cores)
    while below < size:
        if below + 1 < size and cores[below + 1] < cores[below]:
            below += 1
        if value <= cores[below]:
            break
        cores[place] = cores[below]
        place, below = below, 2 * below + 1
    cores[place] = value


@inlined
def audio_changes(clock: Clock, by: int) -> float:
    """Change the number of audio streams. Return how many seconds of audio each stream has lost since the beginning."""
    world = clock[0]
    world.lost_s += world.lost_share * (world.now - world.changed_s)
    world.changed_s = world.now
    world.streams += by
    # What the audio asks for beyond all CPU is lost packets, in the same share for every stream.
    load = world.streams * world.required_per_stream
    world.lost_share = max(0.0, 1 - 1 / load) if load != 0.0 else 0.0
    return float(world.lost_s)
