"""Each customer's TLS connections, as in `simulator.edge`: handshakes, re-use, resumption, and calls that wait.

Functions without an underscore are steps of a call, as in `life`. Calls that wait for a handshake form a linked list:
`first_waiting` and `last_waiting` of the connection, and `next_waiting` of each attempt.
"""

from __future__ import annotations

import math

from trunkproof.models.compiled import inlined, lean
from trunkproof.models.edge_choice import BITS
from trunkproof.simulator.kernel.codes import (
    AWAITING_EDGE,
    BYE,
    BYE_LOST,
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
    RETRYING,
    REUSED,
)
from trunkproof.simulator.kernel.heap import schedule
from trunkproof.simulator.kernel.host import finish
from trunkproof.simulator.kernel.life import wait
from trunkproof.simulator.kernel.memory import World

_EDGE_MASK = (1 << BITS) - 1


@inlined
def choose(world: World, call: int) -> int:
    """Choose the edge that an attempt tries next, by the rule of `models.edge_choice`. It has one left."""
    attempt, clock = world.attempts[call], world.clock[0]
    attempt.began_s = clock.now
    _go_to(world, call, _next_edge(world, call))
    attempt.edge = attempt.door
    return POLLING


@inlined
def retry(world: World, call: int) -> int:
    """Find a connection for the BYE, at the call's own edge or at any, until timer F fires."""
    attempt, clock = world.attempts[call], world.clock[0]
    if clock.now >= attempt.bye_s + clock.timer_b_s:
        return BYE_LOST
    if not clock.any_edge:
        return POLLING
    if attempt.tried == (1 << clock.edges) - 1:
        attempt.tried = 0
        world.attempts[call].step = RETRYING
        return wait(world.clock, clock.poll_s)
    _go_to(world, call, _next_edge(world, call))
    return POLLING


@inlined
def _go_to(world: World, call: int, door: int) -> None:
    world.attempts[call].door = door
    world.attempts[call].tried |= 1 << door


@lean
def _next_edge(world: World, call: int) -> int:
    """Return the first edge in the call's order that is neither tried nor avoided, else the first that is not tried."""
    clock, attempt = world.clock[0], world.attempts[call]
    if clock.edges == 1:
        return 0
    order, lines, found = int(world.rows[attempt.row].edges), attempt.trunk * clock.edges, -1
    for _ in range(clock.edges):
        edge = order & _EDGE_MASK
        order >>= BITS
        if (attempt.tried >> edge) & 1:
            continue
        if world.lines[lines + edge].avoided_until_s <= clock.now:
            found = edge
            break
        if found < 0:
            found = edge
    line = world.lines[lines + found]
    # One call tries an edge that has failed. The others avoid it until that call knows.
    if -math.inf < line.avoided_until_s <= clock.now:
        line.avoided_until_s = clock.now + clock.recheck_s
    return int(found)


@inlined
def acquire(world: World, call: int) -> int:
    """Get a connection: one that stands, or one that another call is opening, or open one."""
    clock, attempt = world.clock[0], world.attempts[call]
    per_call = world.trunks[attempt.trunk].per_call
    connection = world.connections[_place(world, call)]
    edge = world.edges[attempt.door]
    # `standing` is the number of restarts when it was opened: any restart since has closed it.
    if not per_call and connection.standing == edge.restarts:
        attempt.kind = REUSED
        return GOING_ON
    if not per_call and connection.opening:
        _queue(world, call)
        return NOTHING
    attempt.handshake = edge.restarts
    if not edge.up:
        # It refuses, or leaves us waiting until it is back. A handshake of restart -1 is one that has failed.
        if math.isnan(edge.silent_until_s):
            attempt.kind = NO_CONNECTION
            return GOING_ON
        connection.opening, wait_s = 1, edge.silent_until_s - clock.now
        if wait_s >= clock.connect_timeout_s:
            attempt.handshake = -1
        world.attempts[call].step = AWAITING_EDGE
        return wait(world.clock, min(wait_s, clock.connect_timeout_s))
    connection.opening = 1
    world.attempts[call].step = CONNECTING
    return wait(world.clock, _handshake_s(world, call))


@inlined
def find_edge(world: World, call: int) -> int:
    """Begin the handshake, now that the edge is back. If it is not, the connection has failed."""
    attempt = world.attempts[call]
    world.attempts[call].step = CONNECTING
    if attempt.handshake != world.edges[attempt.door].restarts:
        return CONNECTING
    return wait(world.clock, _handshake_s(world, call))


@inlined
def shake_hands(world: World, call: int) -> int:
    """End a handshake. The calls that waited for it are told by an event of its own, as in SimPy."""
    clock, attempt = world.clock[0], world.attempts[call]
    line, restarts = world.lines[attempt.trunk * clock.edges + attempt.door], world.edges[attempt.door].restarts
    attempt.kind = NO_CONNECTION
    if attempt.handshake == restarts:  # else the edge was lost during the handshake, which failed
        line.has_session = 1
        line.avoided_until_s = -math.inf
        attempt.kind = RESUMED if attempt.resumes else FULL
    connection = world.connections[_place(world, call)]
    connection.opening = 0
    if attempt.kind != NO_CONNECTION:
        connection.standing = restarts
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
    clock = world.clock[0]
    has_talked, has_none = not math.isnan(attempt.answered_s), attempt.kind == NO_CONNECTION
    if has_none:
        world.lines[attempt.trunk * clock.edges + attempt.door].avoided_until_s = clock.now + clock.recheck_s
    if not has_talked:
        return LOSING if has_none else INVITING
    if not has_none:
        return BYE
    if clock.any_edge:
        return RETRYING
    world.attempts[call].step = RETRYING
    return wait(world.clock, clock.poll_s)


@inlined
def _handshake_s(world: World, call: int) -> float:
    clock, attempt = world.clock[0], world.attempts[call]
    trunk = world.trunks[attempt.trunk]
    line = world.lines[attempt.trunk * clock.edges + attempt.door]
    attempt.resumes = world.rows[attempt.row].resumes and line.has_session
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
    # The connections of one edge lie together. A division less for the usual trunk, whose calls share one connection.
    first = trunk.connections + attempt.door * trunk.slots
    if trunk.slots == 1:
        return int(first)
    return int(first + world.rows[attempt.row].call % trunk.slots)
