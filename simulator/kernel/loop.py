"""The event loop: what is urgent first, then the next event, until Python is needed.

Urgent is what SimPy does within an instant before the next event, in this order: those who waited for a connection, the
look at the plan for who comes next, the callers who come now, and those whom an edge restart breaks off.
"""

from __future__ import annotations

from trunkproof.models.compiled import inlined, lean
from trunkproof.simulator.kernel import codes
from trunkproof.simulator.kernel.arrivals import look_ahead, start, starts
from trunkproof.simulator.kernel.codes import (
    BATCH_IS_FULL,
    CALL,
    DONE,
    KINDS,
    NEAR,
    NONE,
    NOTHING,
    SOON,
    WAITS,
    WANTS_ORDER,
    WANTS_PLAN,
    WANTS_ROOM,
)
from trunkproof.simulator.kernel.connections import acquire, go_on, shake_hands
from trunkproof.simulator.kernel.ending import end
from trunkproof.simulator.kernel.heap import (
    drop_far,
    drop_near,
    drop_soon,
    first_of,
    next_in,
    schedule_far,
    schedule_message,
)
from trunkproof.simulator.kernel.incidents import other
from trunkproof.simulator.kernel.life import (
    arrive,
    ask,
    begin,
    break_off,
    come_in,
    complete,
    give_up,
    hang_up,
    invite,
    leave,
    lose,
    pass_limits,
    reach,
    refuse,
    respond_last,
    ring_out,
    set_up,
    stop_talking,
)
from trunkproof.simulator.kernel.memory import World

_KIND_BITS, _LARGEST = KINDS.bit_length() - 1, 2**31 - 1
_ROOM = 8
"""More events than one step schedules."""


@lean
def run(world: World) -> int:  # noqa: PLR0911, PLR0912  # what comes first, in one place
    """Simulate on; why it stopped. After anything but `DONE` it goes on where it was."""
    clock = world.clock[0]
    while True:
        if clock.records == clock.batch:
            return BATCH_IS_FULL
        if clock.near + _ROOM > len(world.near) or clock.far + _ROOM > len(world.far):
            return WANTS_ROOM
        call, step = -1, NOTHING
        if clock.waiting >= 0:
            call, step = clock.waiting, codes.GOING_ON
            clock.waiting = world.attempts[call].next_waiting
            world.attempts[call].kind = codes.REUSED if clock.was_opened else codes.NO_CONNECTION
        elif clock.arriving >= 0:
            if not look_ahead(world):
                return WANTS_PLAN
        elif clock.starting > 0:
            if not starts(world):
                return WANTS_ROOM
            call, step = start(world), codes.REDIALLING
        elif clock.interrupted < clock.interrupts:
            call, step = world.interrupted[clock.interrupted], codes.BREAKING_OFF
            clock.interrupted += 1
        else:
            part = next_in(world.clock, world.soon, world.near, world.far)
            if part == NONE:
                return DONE
            event = first_of(world.clock, world.soon, world.near, world.far, part)
            at, number, whose = event.at, event.number, event.whose
            if at >= clock.until_s:
                return DONE
            if part == SOON:
                drop_soon(world.clock)
            elif part == NEAR:
                drop_near(world.clock, world.near)
            else:
                drop_far(world.clock, world.far)
            clock.now = at
            if whose & (KINDS - 1) == CALL:
                # Known not to be negative, it needs no look at the end of arrays.
                call = (whose >> _KIND_BITS) & _LARGEST
                if world.attempts[call].event == number:
                    step = world.attempts[call].step
            elif other(world, whose & (KINDS - 1), whose >> _KIND_BITS):
                return WANTS_ORDER
        while step > NOTHING:
            step = _done(world, call, step)
        if step == WAITS:
            whose = call * KINDS + CALL
            world.attempts[call].event = schedule_message(world.clock, world.soon, world.near, clock.delay_s, whose)
        elif step != NOTHING:
            world.attempts[call].event = schedule_far(world.clock, world.far, clock.delay_s, call * KINDS + CALL)


@inlined
def _done(world: World, call: int, step: int) -> int:  # noqa: PLR0911, PLR0912  # a table
    """Do a step of a call; what follows at once."""
    if step == codes.REDIALLING:
        return begin(world, call)
    if step == codes.POLLING:
        return acquire(world, call)
    if step == codes.CONNECTING:
        return shake_hands(world, call)
    if step == codes.GOING_ON:
        return go_on(world, call)
    if step == codes.INVITING:
        return invite(world, call)
    if step == codes.SENDING:
        return reach(world, call)
    if step == codes.GIVING_UP:
        return give_up(world, call)
    if step == codes.COMING:
        return come_in(world, call)
    if step == codes.ARRIVING:
        return arrive(world, call)
    if step == codes.ASKING:
        return ask(world, call)
    if step == codes.SHAPED:
        return pass_limits(world, call)
    if step == codes.REFUSING:
        return refuse(world, call)
    if step == codes.SETTING_UP:
        return set_up(world, call)
    if step == codes.RINGING:
        return ring_out(world, call)
    if step == codes.TALKING:
        return stop_talking(world, call)
    if step == codes.BYE:
        return hang_up(world, call)
    if step == codes.HANGING_UP:
        return complete(world, call)
    if step == codes.CANCELLING:
        return leave(world, call)
    if step == codes.LAST_RESPONSE:
        return respond_last(world, call)
    if step == codes.BREAKING_OFF:
        return break_off(world, call)
    if step == codes.LOSING:
        return lose(world, call)
    return end(world, call)
