"""Probe a real trunk: the calls that a `Probe` asks for, placed one by one, and hung up as soon as they ring."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

import polars as pl

from trunkproof.experiments.target.identify.attempts import Attempt
from trunkproof.experiments.target.identify.judgement import Identification
from trunkproof.experiments.target.identify.probe import Probe
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.customer import Customer
from trunkproof.loadgen.parties.outgoing import PlannedCall
from trunkproof.models.errors import InputError, Problem, RemoteError, StackError
from trunkproof.models.plan import Outcome, Plan, PlanRow
from trunkproof.models.records import Direction, Disposition, Record, to_frame
from trunkproof.models.traffic import TlsPolicy, TlsUse

_RINGS = (Outcome.ANSWERED, Outcome.NO_ANSWER, Outcome.ABANDONED)
_HELD_S = 0.05
"""For how long a call rings, or is up, before it is hung up."""
_LOOK_S = 0.02
"""How often open calls are looked at."""
_FAILURES = 5
"""So many calls in a row without an answer end a probe: the trunk is gone."""
_MEANS_REFUSED = 300
_OWN_CANCEL = 487
_BY_THE_CALLED = (Disposition.BUSY, Disposition.NO_ANSWER)
"""Such a call has passed the throttle. A throttle that refuses so must be told by `refused_as`."""
_NEVER_ASKED = (Disposition.NOT_FOUND, Disposition.UNAUTHORISED, Disposition.NOT_ACCEPTABLE, Disposition.REDIRECTED)
"""Our call was wrong, so nobody knows whether it came to the throttle."""


@dataclass
class Placed:
    """A call that was placed and whose answer is not known yet."""

    placed_s: float
    record: Record
    task: asyncio.Task[None]


def probing_plan(plan: Plan) -> Plan:
    """Return the plan for one connection that stays open: calls over it are decided in the order of sending."""
    study = plan.study
    trunks = tuple(
        trunk.model_copy(update={"traffic": trunk.traffic.model_copy(update={"tls": _persistent(trunk.traffic.tls)})})
        for trunk in study.trunks
    )
    return Plan(study.model_copy(update={"trunks": trunks}), plan.table)


def _persistent(tls: TlsUse) -> TlsUse:
    return tls.model_copy(update={"policy": TlsPolicy.PERSISTENT})


async def probe_trunk(
    plan: Plan,
    card: TrunkCard,
    options: RunOptions,
    probe: Probe,
    *,
    trunk: int = 0,
    stop: asyncio.Event | None = None,
    advance: Callable[[int], None] = lambda calls: None,
) -> tuple[Identification, pl.DataFrame]:
    """Probe the throttle of one trunk of the plan's study. Return what was told, and the records of all calls.

    The calls dial numbers of the plan whose far end rings, again and again if need be. Each is cancelled when it rings.

    Raises:
        InputError: the plan has no outbound call of this trunk that rings.
        GuardError: the target may not be called at the probe's rate.
        StackError: the trunk cannot be reached, or goes away.
    """
    own = [row for row in plan.first_attempts() if row.trunk == trunk and row.direction is Direction.OUTBOUND]
    rows = [_short(row) for row in own if row.outcome in _RINGS]
    if not rows:
        name = plan.study.trunks[trunk].name
        raise InputError(
            "identify", [Problem(where=f"trunk {name}", what="the study plans no outbound call that rings")]
        )
    target = options.guard.check(card.host, card.port, probe.bounds.per_minute)
    loop = asyncio.get_running_loop()
    numbers, records, opened = cycle(rows), list[Record](), list[Placed]()
    changed, failures = asyncio.Event(), 0
    async with Customer(probing_plan(plan), trunk, card, target, options) as customer:
        # The handshake is no part of the first call.
        customer.pool.release(await customer.pool.acquire(0))
        customer.begin(loop.time())
        try:
            while not (stop is not None and stop.is_set()):
                for call in [call for call in opened if _is_answered(call)]:
                    opened.remove(call)
                    failures = failures + 1 if not note(call, probe) else 0
                if failures >= _FAILURES:
                    raise StackError(f"{failures} calls in a row had no answer: {call.record.reason}")
                now = customer.caller.now_s()
                at = probe.next_probe(now)
                if at is None:
                    break
                if at > now:
                    changed.clear()
                    await _wait(changed, min(at - now, _LOOK_S))
                    continue
                opened.append(_place(customer, next(numbers), plan, now, changed))
                records.append(opened[-1].record)
                probe.placed(now)
                advance(len(records))
        finally:
            customer.caller.stop()
            await asyncio.gather(*(call.task for call in opened), return_exceptions=True)
    return probe.result(), to_frame(records)


def _short(row: PlanRow) -> PlanRow:
    return row._replace(outcome=Outcome.ABANDONED, ring_s=_HELD_S, hold_s=_HELD_S, next_row=None)


def _place(customer: Customer, row: PlanRow, plan: Plan, now: float, changed: asyncio.Event) -> Placed:
    record = Record(
        row=row.row,
        call=row.call,
        attempt=0,
        trunk=plan.study.trunks[row.trunk].name,
        direction=row.direction,
        disposition=Disposition.STILL_UP,
        intended_s=now,
    )
    call = PlannedCall(customer.caller, row, record)
    call.prepare()
    call.start()

    async def carry() -> None:
        try:
            await call.finish()
        except RemoteError as error:
            record.disposition, record.reason = Disposition.CONNECTION_FAILED, str(error)
            record.ended_s = customer.caller.now_s()
        finally:
            changed.set()

    return Placed(now, record, asyncio.create_task(carry(), name=f"probe {row.row}"))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _is_answered(call: Placed) -> bool:
    return call.record.ringing_s is not None or call.record.answered_s is not None or call.task.done()


def note(call: Placed, probe: Probe) -> bool:
    """Tell the probe what became of a call. Return whether anybody answered it."""
    record = call.record
    if call.task.done():
        # A bug of ours is raised here.
        call.task.result()
    passed_s = record.ringing_s if record.ringing_s is not None else record.answered_s
    if passed_s is None and record.disposition in _BY_THE_CALLED:
        passed_s = record.ended_s
    if record.sent_s is not None and passed_s is not None:
        probe.observe(Attempt(record.sent_s, passed_s, admitted=True), call.placed_s)
        return True
    refused = record.status is not None and record.status >= _MEANS_REFUSED and record.status != _OWN_CANCEL
    if record.sent_s is None or record.ended_s is None or not refused or record.disposition in _NEVER_ASKED:
        probe.unanswered(call.placed_s)
        return False
    seen = Attempt(record.sent_s, record.ended_s, False, record.status, record.cause, record.retry_after_s)
    probe.observe(seen, call.placed_s)
    return True
