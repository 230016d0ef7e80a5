"""What the compiled model keeps in memory: arrays of records, whose field names are read here and written elsewhere.

Numba sees a `World` as a tuple of arrays. Everything that grows is grown by Python, between two runs of compiled code.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trunkproof.models.throttles.registry import POLICIES

# Records with fields: neither mypy nor numpy's types know them by name.
Records: TypeAlias = Any
Clock: TypeAlias = Records
Heap: TypeAlias = Records
Event: TypeAlias = Records
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def _record(
    *, floats: str = "", integers: str = "", small: str = "", places: str = "", masks: str = "", flags: str = ""
) -> np.dtype[np.void]:
    # Unsigned, so that compiled code need not ask whether a place counts from the end.
    parts = ((floats, "f8"), (integers, "i8"), (small, "i4"), (places, "u4"), (masks, "u2"), (flags, "u1"))
    return np.dtype([(name, kind) for names, kind in parts for name in names.split()], align=True)


def _fields(*names: str) -> str:
    """Return all of these names, each once."""
    return " ".join(dict.fromkeys(" ".join(names).split()))


EVENT = _record(floats="at", integers="number whose")
ROW = _record(
    floats="place_s redial_delay_s setup_s ring_s hold_s",
    integers="row call",
    small="status follows",
    masks="redial_after",
    flags="attempt outcome inbound resumes",
)
"""A row of the plan; `follows` is where the next one is kept while the call is under way."""
RECORD = _record(
    floats="intended_s sent_s ringing_s answered_s bye_s ended_s retry_after_s connect_s",
    integers="row call rtp_sent rtp_lost",
    small="attempt status cause ports",
    flags="trunk inbound disposition redialled connection",
)
"""A finished attempt: NaN, -1 and `NO_CONNECTION` where `models.records.Record` has None."""
ATTEMPT = _record(
    floats="intended_s sent_s ringing_s answered_s bye_s retry_after_s connect_s began_s asked_s lost_s",
    integers="rtp_sent rtp_lost event begun invited restarts handshake",
    small="status cause ports next_waiting",
    places="row",
    flags="trunk step inbound disposition connection kind resumes",
)
"""An attempt under way, or a caller who waits to try again.

`event` is the number of its next event, `begun` and `invited` tell the order of attempts and of their INVITEs (-1: not
under way, nothing to break off), `restarts` and `handshake` how often the edge had been restarted then.
"""
CLOCK = _record(
    floats=(
        "now until_s counts_from_s half_trip_s round_trip_s throttle_s full_s resumed_s refusal_s forwarding_s bye_s "
        "speed waiting_share short_per_stream most_media_share lost_share lost_s changed_s "
        "quarantine_s complete_until_s timer_b_s poll_s delay_s"
    ),
    integers=(
        "number soon soon_first near far free rows records batch begun invited streams servers ports legs resting "
        "resting_first left restarts arriving starting waiting interrupted interrupts trunks "
        "incidents"
    ),
    flags="up is_rate_limited initialising was_opened",
)
"""Instants and counters of the whole world, and what its study says; one of them."""
TRUNK = _record(
    integers="first looked filled starting connections slots pool",
    flags="is_last is_awaited throttle_asked_inbound throttle_asked obeys_retry_after admits per_call has_session "
    "trips_full trips_resumed",
)
"""`first` and `looked`: places in the plan's buffer of the next call to begin, and of the first that is not due;
`is_awaited`: its event is scheduled."""
THROTTLE = _record(
    floats=_fields("anchor_s window_s retry_after_s", *(policy.kernel.floats for policy in POLICIES)),
    integers=_fields("policy limit status ring", *(policy.kernel.integers for policy in POLICIES)),
    flags=_fields(*(policy.kernel.flags for policy in POLICIES)),
)
"""What every throttle has, and what the policies keep beside that; `policy` is its `KERNEL_CODE`."""
POOL = _record(floats="burst_s spent_s settled_s rests_since_s", integers="base most used")
"""A pool of channels, as `models.channels`; base -1: as many as come."""
CONNECTION = _record(integers="standing first_waiting last_waiting", flags="opening")
INCIDENT = _record(floats="at_s lasts_s", integers="channels", flags="is_restart forgets_throttle stage")


class World(NamedTuple):
    """All memory."""

    clock: Clock
    soon: Heap
    near: Heap
    far: Heap
    attempts: Records
    free: IntArray
    """Stack of free places in `attempts`."""
    rows: Records
    """Plan rows of the calls that are under way."""
    free_rows: IntArray
    plan: Records
    """Shape (trunks, capacity): calls to come."""
    trunks: Records
    throttles: Records
    """By trunk; the last is the carrier's limit of calls per second."""
    unused_throttles: Records
    """The same as they were at first, for whoever forgets all."""
    rings: FloatArray
    """Memory of the sliding windows."""
    pools: Records
    """Of carrier channels."""
    connections: Records
    incidents: Records
    resting: FloatArray
    """Ring of the instants at which released ports are free again."""
    cores: FloatArray
    """Heap of the instants at which the servers are free."""
    refusals: IntArray
    """Shape (dispositions, 3): status, cause, and the status that an inbound caller is told."""
    interrupted: IntArray
    """Attempts that an edge restart breaks off, in order."""
    records: Records
    """The batch."""


def grown(array: Records, least: int) -> Records:
    """The same entries in an array of at least twice the length."""
    larger = np.zeros(max(2 * len(array), least), dtype=array.dtype)
    larger[: len(array)] = array
    return larger
