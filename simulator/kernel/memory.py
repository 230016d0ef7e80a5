"""The memory of the compiled model: arrays of records, whose fields this module declares.

Compiled code has no objects. Numba sees a `World` as a tuple of arrays. Only Python makes an array larger, while
compiled code does not run.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from trunkproof.models.arrays import FloatArray, IntArray
from trunkproof.models.throttles.registry import POLICIES

# Records with fields. Neither mypy nor NumPy's types know their fields, so these names only tell the reader.
Records: TypeAlias = Any
Clock: TypeAlias = Records
Heap: TypeAlias = Records
Event: TypeAlias = Records


def _record(
    *, floats: str = "", integers: str = "", small: str = "", places: str = "", masks: str = "", flags: str = ""
) -> np.dtype[np.void]:
    # `places` are unsigned, so that compiled code need not check whether an index is negative.
    parts = ((floats, "f8"), (integers, "i8"), (small, "i4"), (places, "u4"), (masks, "u4"), (flags, "u1"))
    return np.dtype([(name, kind) for names, kind in parts for name in names.split()], align=True)


def _fields(*names: str) -> str:
    """Return all of these names, each once."""
    return " ".join(dict.fromkeys(" ".join(names).split()))


EVENT = _record(floats="at", integers="number whose")
ROW = _record(
    floats="place_s redial_delay_s setup_s ring_s hold_s",
    integers="row call",
    small="status follows",
    masks="redial_after edges",
    flags="attempt outcome inbound resumes",
)
"""A row of the plan. `follows` is the place of the caller's next row while the call is under way, or -1.

`edges` is the order in which the call tries the edges (`models.edge_choice.packed`).
"""
RECORD = _record(
    floats="intended_s sent_s ringing_s answered_s bye_s ended_s retry_after_s connect_s",
    integers="row call rtp_sent rtp_lost",
    small="attempt status cause ports edge",
    flags="trunk inbound disposition redialled connection",
)
"""A finished attempt. It has NaN, -1 or `NO_CONNECTION` where `models.records.Record` has None."""
ATTEMPT = _record(
    floats="intended_s sent_s ringing_s answered_s bye_s retry_after_s connect_s began_s invited_s asked_s lost_s",
    integers="rtp_sent rtp_lost event begun invited restarts handshake",
    small="status cause ports edge next_waiting",
    places="row door",
    flags="trunk step inbound disposition connection kind resumes tried",
)
"""An attempt under way, or a caller who waits to try again.

- `event`: the number of its next event. An event with another number is cancelled.
- `step`: the step that comes with that event.
- `begun`: its place in the order in which attempts began. -1: not under way.
- `invited`: its place in the order of INVITEs. -1: an edge restart does not break it off.
- `restarts`, `handshake`: how often the edge had been restarted when the INVITE was sent, or the handshake began.
- `edge`: where the INVITE went last, -1 for an inbound call. `door`: where it connects now, which for a BYE may be
  another edge. `tried`: a bit for each edge that has been tried.
"""
CLOCK = _record(
    floats=(
        "now until_s counts_from_s half_trip_s round_trip_s throttle_decision_s full_s resumed_s refusal_s "
        "forwarding_s bye_s speed contended_share required_per_stream most_media_share lost_share lost_s changed_s "
        "quarantine_s complete_until_s timer_b_s poll_s delay_s connect_timeout_s recheck_s"
    ),
    integers=(
        "number soon soon_first near far free rows records batch begun invited streams servers ports legs resting "
        "resting_first left arriving starting waiting interrupted interrupts trunks "
        "incidents edges fallen"
    ),
    flags="is_rate_limited initialising was_opened on_503 any_edge",
)
"""Instants and counters of the whole world, and the settings of its study. There is one such record.

`fallen` is the edge whose attempts are broken off now, or -1 for all edges.
"""
TRUNK = _record(
    integers="first looked filled starting connections slots pool",
    flags="is_last is_awaited throttle_asked_inbound throttle_asked obeys_retry_after admits per_call "
    "trips_full trips_resumed",
)
"""A trunk, and how far its plan has been read.

- `first`: the place in the plan's buffer of the next call to begin.
- `looked`: the place of the first call that is not due. `is_awaited`: that call's event is scheduled.
"""
THROTTLE = _record(
    floats=_fields("anchor_s window_s retry_after_s", *(policy.kernel.floats for policy in POLICIES)),
    integers=_fields("policy limit status ring", *(policy.kernel.integers for policy in POLICIES)),
    flags=_fields(*(policy.kernel.flags for policy in POLICIES)),
)
"""What every throttle has, and what the policies keep beside that; `policy` is its `KERNEL_CODE`."""
POOL = _record(floats="burst_s spent_s settled_s rests_since_s", integers="base most used")
"""A pool of channels, as in `models.channels`. A base of -1 means no limit."""
EDGE = _record(floats="silent_until_s", integers="restarts", flags="up")
"""An edge. `silent_until_s`: until then it leaves attempts to connect unanswered. NaN: it refuses them."""
LINE = _record(floats="avoided_until_s", integers="throttle", flags="has_session")
"""A trunk at an edge. `throttle`: the place of its throttle, which it may share with other trunks and edges."""
CONNECTION = _record(integers="standing first_waiting last_waiting", flags="opening")
INCIDENT = _record(
    floats="at_s lasts_s", integers="channels edge", flags="is_brown_out is_silent forgets_throttle stage"
)
"""`edge`: the one that goes away, or -1 for all."""


class World(NamedTuple):
    """All memory of a simulation."""

    clock: Clock
    soon: Heap
    near: Heap
    far: Heap
    attempts: Records
    free: IntArray
    """A stack of the free places in `attempts`."""
    rows: Records
    """Plan rows of the calls that are under way."""
    free_rows: IntArray
    """A stack of the free places in `rows`."""
    plan: Records
    """The calls to come. Shape (trunks, capacity)."""
    trunks: Records
    edges: Records
    lines: Records
    """Shape (trunks, edges), flat."""
    throttles: Records
    """Those of the trunks and their parts. The last is the carrier's limit of calls per second."""
    unused_throttles: Records
    """The throttles as they were at first: a restart copies one back."""
    rings: FloatArray
    """The instants that the sliding windows remember."""
    pools: Records
    """The pools of carrier channels."""
    connections: Records
    incidents: Records
    resting: FloatArray
    """A ring of the instants at which released ports are free again."""
    cores: FloatArray
    """A heap of the instants at which the servers are free."""
    refusals: IntArray
    """Status, cause, and the status for an inbound caller. Shape (dispositions, 3)."""
    interrupted: IntArray
    """The attempts that an edge restart breaks off, in the order of their INVITEs."""
    records: Records
    """The batch of finished attempts."""


def grown(array: Records, least: int) -> Records:
    """Return the same entries in an array of at least twice the length."""
    # Doubling: the copies take no more time, all together, than filling the array once.
    larger = np.zeros(max(2 * len(array), least), dtype=array.dtype)
    larger[: len(array)] = array
    return larger
