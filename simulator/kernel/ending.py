"""The end of an attempt: write its record, and decide whether its caller tries again or goes."""

from __future__ import annotations

import math

from trunkproof.models.compiled import inlined, lean
from trunkproof.simulator.kernel.codes import (
    CHOOSING,
    CONNECTION_FAILED,
    NO_CONNECTION,
    NOTHING,
    REDIALLING,
    STILL_UP,
    TIMED_OUT,
    WAITS_LONG,
)
from trunkproof.simulator.kernel.memory import Records, World


@inlined
def end(world: World, call: int) -> int:
    """End an attempt: the last step of `life`. Its caller waits to redial, or goes."""
    clock, attempt = world.clock[0], world.attempts[call]
    if not attempt.inbound and _turns_away(world, call):
        return CHOOSING
    row = world.rows[attempt.row]
    # The same rule as `models.redials.tries_again`: a bit for each disposition after which the caller tries again.
    redialled = (row.redial_after >> attempt.disposition) & 1
    following = row.follows if row.redial_after else -1
    if attempt.intended_s >= clock.counts_from_s:
        _note(world, call, redialled)
    # Not under way while the caller waits to redial: such a caller has no record that could still be up.
    attempt.begun = attempt.invited = -1
    if clock.records == clock.batch:
        # Only now that the batch is full: the search looks at every attempt under way.
        clock.complete_until_s = _oldest(world.attempts, clock.now)
    _forget_row(world, attempt.row)
    if not redialled:
        return _go(world, call, following)
    # The delay is the difference to the intended instant, and not the wait itself: in floating point, now + wait - now
    # need not be the wait, and SimPy computes it in this way too.
    attempt.intended_s = clock.now + _redial_wait(world, call, following)
    attempt.row, attempt.step = following, REDIALLING
    clock.delay_s = attempt.intended_s - clock.now
    return WAITS_LONG


@inlined
def _turns_away(world: World, call: int) -> bool:
    """Tell whether the caller tries another edge, and forget what the one before said."""
    clock, attempt = world.clock[0], world.attempts[call]
    if attempt.disposition == TIMED_OUT:
        world.lines[attempt.trunk * clock.edges + attempt.edge].avoided_until_s = clock.now + clock.recheck_s
    has_failed = attempt.disposition in (CONNECTION_FAILED, TIMED_OUT) or (clock.on_503 and attempt.status == 503)
    if not has_failed or not math.isnan(attempt.ringing_s) or attempt.tried == (1 << clock.edges) - 1:
        return False
    attempt.disposition, attempt.connection, attempt.invited = STILL_UP, NO_CONNECTION, -1
    attempt.status = attempt.cause = -1
    attempt.retry_after_s = attempt.connect_s = math.nan
    attempt.ports = 0
    return True


@inlined
def _redial_wait(world: World, call: int, following: int) -> float:
    attempt, delay_s = world.attempts[call], world.rows[following].redial_delay_s
    if math.isnan(delay_s):
        delay_s = 0.0
    if not world.trunks[attempt.trunk].obeys_retry_after or math.isnan(attempt.retry_after_s):
        return float(delay_s)
    return float(max(delay_s, attempt.retry_after_s))


@inlined
def _note(world: World, call: int, redialled: int) -> None:
    clock, attempt = world.clock[0], world.attempts[call]
    record, row = world.records[clock.records], world.rows[attempt.row]
    clock.records += 1
    record.row, record.call, record.attempt, record.trunk = row.row, row.call, row.attempt, attempt.trunk
    record.intended_s, record.sent_s, record.ringing_s = attempt.intended_s, attempt.sent_s, attempt.ringing_s
    record.answered_s, record.bye_s, record.ended_s = attempt.answered_s, attempt.bye_s, clock.now
    record.status, record.cause, record.retry_after_s = attempt.status, attempt.cause, attempt.retry_after_s
    record.connection, record.connect_s, record.ports = attempt.connection, attempt.connect_s, attempt.ports
    record.edge = attempt.edge
    record.inbound, record.disposition, record.redialled = attempt.inbound, attempt.disposition, redialled
    record.rtp_sent, record.rtp_lost = attempt.rtp_sent, attempt.rtp_lost


@lean
def _oldest(attempts: Records, now: float) -> float:
    """Return an instant: every attempt intended before it has ended. It is that of the first attempt under way."""
    first, intended_s = -1, now
    for call in range(len(attempts)):
        if attempts[call].begun > 0 and (first < 0 or attempts[call].begun < first):
            first, intended_s = attempts[call].begun, attempts[call].intended_s
    return float(intended_s)


@inlined
def _forget_row(world: World, row: int) -> None:
    world.free_rows[world.clock[0].rows] = row
    world.clock[0].rows += 1


@inlined
def _go(world: World, call: int, row: int) -> int:
    """Free the caller's place, and the rows of the attempts that the caller did not make."""
    clock = world.clock[0]
    while row >= 0:
        following = world.rows[row].follows if world.rows[row].redial_after else -1
        _forget_row(world, row)
        row = following
    world.free[clock.free] = call
    clock.free += 1
    return NOTHING
