"""The life of a call as a table of steps: `simulator.trunk`, cut at each `yield`.

A step is what one call does at one instant. It returns the step that follows at once. Or it returns that the call
waits: the delay and the next step are then noted (`wait`). Every step is inlined into `loop.run` at one place, so that
no function calls are left. The essay in `loop` shows the order of the steps.
"""

from __future__ import annotations

import math

from trunkproof.models.compiled import inlined
from trunkproof.models.packets import PACKETS_PER_STREAM_S
from trunkproof.models.throttles.decision import REFUSES
from trunkproof.simulator.kernel.codes import (
    ABANDONED,
    ANSWERED,
    ARRIVING,
    ASKING,
    BUSY,
    BYE,
    CANCELLING,
    CARRIER_REJECTED,
    CHOOSING,
    COMING,
    COMPLETED,
    CONNECTION_FAILED,
    GIVING_UP,
    HANGING_UP,
    LAST_RESPONSE,
    LOSING,
    NO_ANSWER,
    NO_CONNECTION,
    NO_PORT,
    NOT_WHITELISTED,
    REFUSED,
    REFUSING,
    RETRYING,
    RINGING,
    SENDING,
    SETTING_UP,
    SHAPED,
    STILL_UP,
    TAKEN,
    TALKING,
    THROTTLED,
    TIMED_OUT,
    WAITS,
    WAITS_LONG,
    WILL_BE_ABANDONED,
    WILL_BE_BUSY,
    WILL_BE_REJECTED,
)
from trunkproof.simulator.kernel.host import audio_changes, work
from trunkproof.simulator.kernel.limits import give_back, take
from trunkproof.simulator.kernel.memory import Clock, World
from trunkproof.simulator.kernel.throttles import try_admit


@inlined
def wait(clock: Clock, delay_s: float) -> int:
    """Have the step that the attempt has noted come after a delay."""
    clock[0].delay_s = delay_s
    return WAITS


@inlined
def begin(world: World, call: int) -> int:
    """Begin an attempt. The instant for which it was intended is noted already."""
    clock, attempt = world.clock[0], world.attempts[call]
    # Counted from 1: 0 is what fresh memory has, and -1 what an attempt that is over has.
    clock.begun += 1
    attempt.begun, attempt.invited = clock.begun, -1
    attempt.began_s = clock.now
    attempt.sent_s = attempt.ringing_s = attempt.answered_s = attempt.bye_s = math.nan
    attempt.retry_after_s = attempt.connect_s = math.nan
    attempt.tried = 0
    attempt.rtp_sent = attempt.rtp_lost = 0
    attempt.status = attempt.cause = -1
    attempt.ports = 0
    attempt.disposition, attempt.connection = STILL_UP, NO_CONNECTION
    attempt.inbound = world.rows[attempt.row].inbound
    if attempt.inbound:
        attempt.edge, attempt.door = -1, 0
        return COMING
    return CHOOSING


@inlined
def invite(world: World, call: int) -> int:
    """Send the INVITE: it travels, and waits in the edge's queue. The caller gives up after timer B."""
    clock, attempt = world.clock[0], world.attempts[call]
    attempt.connection = attempt.kind
    attempt.connect_s, attempt.invited_s = clock.now - attempt.began_s, clock.now
    if math.isnan(attempt.sent_s):  # else another edge had an INVITE before
        attempt.sent_s = clock.now
    # Compared when the BYE is due: a restart since then has closed the connection.
    attempt.restarts = world.edges[attempt.door].restarts
    clock.invited += 1
    attempt.invited = clock.invited
    # A first come, first served queue: the end of the work is known now, and needs no event of its own.
    wait_s = clock.half_trip_s + work(world.clock, world.cores, clock.refusal_s)
    if wait_s + clock.half_trip_s <= clock.timer_b_s:
        world.attempts[call].step = SENDING
        return wait(world.clock, wait_s)
    # The trunk does not know that the caller has given up, and spends its work all the same.
    work(world.clock, world.cores, clock.forwarding_s)
    world.attempts[call].step = GIVING_UP
    return wait(world.clock, clock.timer_b_s)


@inlined
def reach(world: World, call: int) -> int:
    """Check the whitelist, now that the INVITE has reached the trunk."""
    attempt = world.attempts[call]
    if world.trunks[attempt.trunk].admits:
        return ARRIVING
    attempt.disposition = NOT_WHITELISTED
    return REFUSING


@inlined
def come_in(world: World, call: int) -> int:
    """Begin an inbound call, on which the trunk decides at once."""
    clock = world.clock[0]
    world.attempts[call].sent_s = clock.now
    work(world.clock, world.cores, clock.refusal_s)
    return ARRIVING


@inlined
def arrive(world: World, call: int) -> int:
    """Come to the throttle. On some stacks an INVITE has to wait for it."""
    clock, attempt = world.clock[0], world.attempts[call]
    attempt.asked_s = clock.now
    if clock.throttle_decision_s != 0.0 and _is_limited(world, call):
        world.attempts[call].step = ASKING
        return wait(world.clock, clock.throttle_decision_s)
    return ASKING


@inlined
def ask(world: World, call: int) -> int:
    """Ask the throttle: it admits the call, delays it, or refuses it."""
    clock, attempt = world.clock[0], world.attempts[call]
    delay_s = 0.0
    if _is_limited(world, call):
        which = world.lines[attempt.trunk * clock.edges + attempt.door].throttle
        delay_s = try_admit(world.throttles, world.rings, which, clock.now)
    # Exact: `REFUSES` is a constant that the policies return as it is, and no delay is negative.
    if delay_s == REFUSES:
        throttle = world.throttles[world.lines[attempt.trunk * clock.edges + attempt.door].throttle]
        attempt.status, attempt.cause = throttle.status, world.refusals[THROTTLED, 1]
        attempt.retry_after_s = throttle.retry_after_s
        attempt.disposition = THROTTLED
        return REFUSING
    if delay_s > 0:
        world.attempts[call].step = SHAPED
        return wait(world.clock, delay_s)
    return SHAPED


@inlined
def _is_limited(world: World, call: int) -> bool:
    attempt = world.attempts[call]
    trunk = world.trunks[attempt.trunk]
    return bool(trunk.throttle_asked_inbound if attempt.inbound else trunk.throttle_asked)


@inlined
def pass_limits(world: World, call: int) -> int:
    """Take ports and a channel, and hand the call over to the called side. Set-up counts from the hand-over."""
    clock, attempt = world.clock[0], world.attempts[call]
    taken = take(world, world.trunks[attempt.trunk].pool)
    # Without a port the call is not forwarded, so it costs no such work. A refusal by the carrier comes after it.
    if taken != NO_PORT:
        worked_s = work(world.clock, world.cores, clock.forwarding_s)
    if taken != TAKEN:
        attempt.disposition = taken
        return REFUSING
    attempt.ports = clock.legs
    if attempt.inbound:
        attempt.sent_s = clock.now
        handed_over = clock.now + clock.half_trip_s
    else:
        # Counted from the INVITE's arrival: parsing goes on beside set-up, but the delay of a shaper adds to it.
        handed_over = attempt.invited_s + clock.half_trip_s + (clock.now - attempt.asked_s)
    setup_s = handed_over + world.rows[attempt.row].setup_s - clock.now
    world.attempts[call].step = SETTING_UP
    return wait(world.clock, max(worked_s, setup_s) + clock.half_trip_s)


@inlined
def refuse(world: World, call: int) -> int:
    """Send the refusal."""
    attempt = world.attempts[call]
    if attempt.disposition != THROTTLED:  # the throttle's own status and cause are noted already (`ask`)
        attempt.status = world.refusals[attempt.disposition, 2 if attempt.inbound else 0]
        attempt.cause = world.refusals[attempt.disposition, 1]
    world.attempts[call].step = REFUSED
    return REFUSED if attempt.inbound else wait(world.clock, world.clock[0].half_trip_s)


@inlined
def set_up(world: World, call: int) -> int:
    """Take the called side's reaction: it rings, or it is busy or rejects the call."""
    attempt = world.attempts[call]
    row = world.rows[attempt.row]
    if row.outcome not in (WILL_BE_BUSY, WILL_BE_REJECTED):
        attempt.ringing_s = world.clock[0].now
        world.attempts[call].step = RINGING
        return wait(world.clock, row.ring_s)
    attempt.status = row.status
    attempt.disposition = BUSY if row.outcome == WILL_BE_BUSY else CARRIER_REJECTED
    return CANCELLING


@inlined
def ring_out(world: World, call: int) -> int:
    """End the ringing: with an answer, without one, or because the caller gives up."""
    attempt, now = world.attempts[call], world.clock[0].now
    row = world.rows[attempt.row]
    attempt.status = row.status
    if row.outcome == ANSWERED:
        # After the answer a restart of the edge does not break the call off, so it is no longer "invited".
        attempt.answered_s, attempt.invited = now, -1
        # A reading of the seconds lost so far: the call's own loss is the difference at its end.
        attempt.lost_s = audio_changes(world.clock, +2)
        world.attempts[call].step = TALKING
        wait(world.clock, row.hold_s)
        return WAITS_LONG
    if row.outcome == WILL_BE_ABANDONED:
        attempt.disposition = ABANDONED
        # The CANCEL has yet to reach the trunk. Until then the call holds its ports and its channel.
        world.attempts[call].step = CANCELLING
        return wait(world.clock, world.clock[0].half_trip_s)
    attempt.disposition = NO_ANSWER
    return CANCELLING


@inlined
def stop_talking(world: World, call: int) -> int:
    """Count the call's audio when the BYE is due. If the connection is gone, it has to be opened again first."""
    attempt = world.attempts[call]
    hold_s = world.rows[attempt.row].hold_s
    attempt.bye_s = world.clock[0].now
    # One direction stops now, the other when the BYE has reached the trunk (`complete`).
    lost_s = audio_changes(world.clock, -1) - attempt.lost_s
    attempt.rtp_sent = int(hold_s * PACKETS_PER_STREAM_S) + 1
    attempt.rtp_lost = min(attempt.rtp_sent, round(lost_s * PACKETS_PER_STREAM_S))
    attempt.tried = 0
    return RETRYING if not attempt.inbound and attempt.restarts != world.edges[attempt.door].restarts else BYE


@inlined
def hang_up(world: World, call: int) -> int:
    """Send the BYE: it travels, and waits in the edge's queue."""
    clock = world.clock[0]
    world.attempts[call].step = HANGING_UP
    return wait(world.clock, clock.half_trip_s + work(world.clock, world.cores, clock.bye_s))


@inlined
def lose_bye(world: World, call: int) -> int:
    """End an answered call whose BYE nobody took: timer F has fired, and the called user hangs up too."""
    audio_changes(world.clock, -1)
    world.attempts[call].disposition = CONNECTION_FAILED
    return CANCELLING


@inlined
def complete(world: World, call: int) -> int:
    """Complete the call, now that the BYE has reached the trunk."""
    audio_changes(world.clock, -1)
    world.attempts[call].disposition = COMPLETED
    return CANCELLING


@inlined
def leave(world: World, call: int) -> int:
    """End a call for the trunk, and give ports and channel back. An inbound call gives them back in the next step."""
    attempt = world.attempts[call]
    attempt.invited = -1
    if not attempt.inbound:
        give_back(world, world.trunks[attempt.trunk].pool)
    if attempt.disposition in (COMPLETED, ABANDONED):
        # The response to the BYE or CANCEL travels back. Refusals have arrived already.
        world.attempts[call].step = LAST_RESPONSE
        return wait(world.clock, world.clock[0].half_trip_s)
    return LAST_RESPONSE


@inlined
def respond_last(world: World, call: int) -> int:
    """End a call for its caller, now that the last response has arrived."""
    attempt = world.attempts[call]
    if attempt.inbound:
        give_back(world, world.trunks[attempt.trunk].pool)
    return REFUSED


@inlined
def give_up(world: World, call: int) -> int:
    """Give up, because timer B fired."""
    world.attempts[call].disposition = TIMED_OUT
    return REFUSED


@inlined
def break_off(world: World, call: int) -> int:
    """Break a call off because its edge is gone. Its pending event is cancelled."""
    attempt = world.attempts[call]
    # Only calls in these steps hold ports and a channel while they can be broken off.
    if attempt.step in (SETTING_UP, RINGING, CANCELLING):
        give_back(world, world.trunks[attempt.trunk].pool)
    # No event has this number, so the pending one is passed over when its time comes.
    attempt.event = -1
    return LOSING


@inlined
def lose(world: World, call: int) -> int:
    """End an attempt whose connection is gone or could not be had. A final response on its way is lost."""
    attempt = world.attempts[call]
    attempt.disposition = CONNECTION_FAILED
    attempt.status = attempt.cause = -1
    attempt.retry_after_s = math.nan
    return REFUSED
