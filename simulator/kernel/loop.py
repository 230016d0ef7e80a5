"""The event loop of the compiled model: urgent work first, then the next event, until Python is needed.

In `simulator.trunk` each call is a SimPy process that stops at every `yield`. Compiled code has no generators, so here
a call is a record of `memory.ATTEMPT`, and its process is cut into steps, one from each `yield` to the next (`life`).
For example, an outbound call over an open connection takes these steps. An arrow `=>` lets time pass:

    REDIALLING  CHOOSING  POLLING  GOING_ON  INVITING    begin, find edge and connection, send the INVITE
      => SENDING  ARRIVING  ASKING  SHAPED        whitelist, throttle, ports and channel
      => SETTING_UP                               the called side rings
      => RINGING                                  it answers
      => TALKING  BYE                             the BYE is due
      => HANGING_UP  CANCELLING                   the BYE reached the trunk: ports and channel are free again
      => LAST_RESPONSE  REFUSED                   the attempt is over: its record is written (`ending`)

The rules of the loop:

1. A step returns the step that follows at once. Or it returns WAITS or WAITS_LONG: then it has noted a delay in
   `clock.delay_s`, and the step that comes after it in the attempt. NOTHING means that no step follows.
2. An event holds a time, a number and `whose` it is: an index times KINDS, plus a kind (`codes`). Events of the same
   time come in the order of their numbers, which is the order of scheduling, as in SimPy.
3. An attempt has at most one valid event: the one whose number stands in its field `event`. Any other event of the
   attempt is cancelled, and is passed over when its time comes.
4. Before the next event comes everything that SimPy does urgently, within the same instant. The order matters for
   equality: first the calls that waited for a connection, then a look at the plan for the next callers, then the
   callers who begin now, then the calls that a lost edge breaks off.
5. The loop returns where it needs Python: for room in an array, for the next piece of the plan, to sort the calls of an
   edge restart, or because the batch of records is full. `running` serves it and calls `run` again, and it goes on
   where it stopped, because all its state is in the `World`.
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
from trunkproof.simulator.kernel.connections import acquire, choose, find_edge, go_on, retry, shake_hands
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
    lose_bye,
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
"""Free places that each heap must have before a step: more than one step can use."""


@lean
def run(world: World) -> int:  # noqa: PLR0911, PLR0912  # what comes first, in one place
    """Simulate on, and return why it stopped. After anything but `DONE` the next call goes on from there."""
    clock = world.clock[0]
    while True:
        # Checked before anything is taken from a queue: the next call of `run` goes on as if it had not stopped.
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
            # The event stays in its queue: nothing may happen at or after that instant.
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
                # The mask tells the compiler that the index is not negative, so it need not handle negative indices.
                call = (whose >> _KIND_BITS) & _LARGEST
                if world.attempts[call].event == number:  # else the event was cancelled
                    step = world.attempts[call].step
            elif other(world, whose & (KINDS - 1), whose >> _KIND_BITS):
                return WANTS_ORDER
        # Steps of the same instant follow without an event, as code between two yields does in SimPy.
        while step > NOTHING:
            step = _done(world, call, step)
        if step == WAITS:
            whose = call * KINDS + CALL
            # The number of the new event cancels any earlier one of the attempt (rule 3).
            world.attempts[call].event = schedule_message(world.clock, world.soon, world.near, clock.delay_s, whose)
        elif step != NOTHING:
            world.attempts[call].event = schedule_far(world.clock, world.far, clock.delay_s, call * KINDS + CALL)


@inlined
def _done(world: World, call: int, step: int) -> int:  # noqa: PLR0911, PLR0912  # a table
    """Do a step of a call. Return the step that follows at once, or WAITS, WAITS_LONG or NOTHING."""
    if step == codes.REDIALLING:
        return begin(world, call)
    if step == codes.CHOOSING:
        return choose(world, call)
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
    if step == codes.AWAITING_EDGE:
        return find_edge(world, call)
    if step == codes.RETRYING:
        return retry(world, call)
    if step == codes.BYE_LOST:
        return lose_bye(world, call)
    if step == codes.LOSING:
        return lose(world, call)
    return end(world, call)
