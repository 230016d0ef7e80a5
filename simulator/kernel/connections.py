"""Each customer's TLS connections, as in `simulator.edge`: handshakes, re-use, resumption, and calls that wait.

Functions without an underscore are steps of a call, as in `life`. Calls that wait for a handshake form a linked list:
`first_waiting` and `last_waiting` of the connection, and `next_waiting` of each attempt.
"""

from __future__ import annotations

import math

from trunkproof.models.compiled import inlined
from trunkproof.simulator.kernel.codes import (
    BYE,
    CONNECTING,
    FULL,
    GOING_ON,
    INVITING,
    KINDS,
    LOSING,
    NO_CONNECTION,
    NOT_OPENED,
    NOTHING,
    OPENED,
    POLLING,
    RESUMED,
    REUSED,
)
from trunkproof.simulator.kernel.heap import schedule
from trunkproof.simulator.kernel.host import finish
from trunkproof.simulator.kernel.life import wait
from trunkproof.simulator.kernel.memory import World


@inlined
def acquire(world: World, call: int) -> int:
    """Get a connection: one that stands, or one that another call is opening, or open one."""
    clock, attempt = world.clock[0], world.attempts[call]
    per_call = world.trunks[attempt.trunk].per_call
    connection = world.connections[_place(world, call)]
    # `standing` is the number of restarts when it was opened: any restart since has closed it.
    if not per_call and connection.standing == clock.restarts:
        attempt.kind = REUSED
        return GOING_ON
    if not per_call and connection.opening:
        _queue(world, call)
        return NOTHING
    if not clock.up:  # the edge is down: nothing can be opened
        attempt.kind = NO_CONNECTION
        return GOING_ON
    connection.opening = 1
    world.attempts[call].step = CONNECTING
    return wait(world.clock, _handshake_s(world, call))


@inlined
def shake_hands(world: World, call: int) -> int:
    """End a handshake. The calls that waited for it are told by an event of its own, as in SimPy."""
    clock, attempt = world.clock[0], world.attempts[call]
    trunk = world.trunks[attempt.trunk]
    attempt.kind = NO_CONNECTION
    if attempt.handshake == clock.restarts:  # else an edge restart came during the handshake, which failed
        trunk.has_session = 1
        attempt.kind = RESUMED if attempt.resumes else FULL
    connection = world.connections[_place(world, call)]
    connection.opening = 0
    if attempt.kind != NO_CONNECTION:
        connection.standing = clock.restarts
    if connection.first_waiting >= 0:
        # One event for the whole list, because SimPy has one event that all these calls wait for.
        told = NOT_OPENED if attempt.kind == NO_CONNECTION else OPENED
        schedule(world.clock, world.near, 0.0, connection.first_waiting * KINDS + told)
        connection.first_waiting = -1
    return GOING_ON


@inlined
def go_on(world: World, call: int) -> int:
    """Go on with a connection, or without one if none can be had: with the INVITE, or after talking with the BYE."""
    attempt = world.attempts[call]
    has_talked, has_none = not math.isnan(attempt.answered_s), attempt.kind == NO_CONNECTION
    if has_talked:
        world.attempts[call].step = POLLING
        return wait(world.clock, world.clock[0].poll_s) if has_none else BYE
    return LOSING if has_none else INVITING


@inlined
def _handshake_s(world: World, call: int) -> float:
    clock, attempt = world.clock[0], world.attempts[call]
    trunk = world.trunks[attempt.trunk]
    attempt.handshake = clock.restarts
    attempt.resumes = world.rows[attempt.row].resumes and trunk.has_session
    trips = trunk.trips_resumed if attempt.resumes else trunk.trips_full
    work_s = clock.resumed_s if attempt.resumes else clock.full_s
    return float(trips * clock.round_trip_s + finish(world.clock, world.cores, work_s))


@inlined
def _queue(world: World, call: int) -> None:
    connection = world.connections[_place(world, call)]
    world.attempts[call].next_waiting = -1
    if connection.first_waiting < 0:
        connection.first_waiting = call
    else:
        world.attempts[connection.last_waiting].next_waiting = call
    connection.last_waiting = call


@inlined
def _place(world: World, call: int) -> int:
    attempt = world.attempts[call]
    trunk = world.trunks[attempt.trunk]
    # A division less for the usual trunk, whose calls share one connection.
    if trunk.slots == 1:
        return int(trunk.connections)
    return int(trunk.connections + world.rows[attempt.row].call % trunk.slots)
