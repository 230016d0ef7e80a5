"""Our caller as a benchmark drives it: so many calls at once over TLS to any answerer, and what they cost; no pacer.

It places calls as `loadgen.run` does, each with the same coroutine, and asks that every one of them was completed.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass

from experiments.benchmarks.running import BenchmarkError
from loadgen.audio import Audio
from loadgen.customer import Customer
from loadgen.guard import Guard
from loadgen.loop import run_loop
from loadgen.media.stream import MediaReport
from loadgen.sip.sdes import KEY_BYTES
from loadgen.sip.sdp import SessionDescription
from loadgen.stacks.card import TrunkCard
from models.distributions import Constant
from models.plan import Plan, PlanRow, draw_plan
from models.records import Disposition, Record
from models.study import Pop, Study, Trunk
from models.traffic import ConstantArrivals, TlsPolicy, TlsUse, Traffic

_WARM_UP = 50
"""Calls placed before the clocks are read: imports, the connection, and caches."""


@dataclass(frozen=True)
class Placing:
    """What a number of calls took."""

    calls: int
    cpu_s: float
    wall_s: float


class SilentAudio(Audio):
    """The audio of a call that has none: an address and a key for the SDP, no sockets, nothing sent."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.port = 40_000
        self.key = os.urandom(KEY_BYTES)
        self.report = MediaReport()

    def start(self, ours: SessionDescription, theirs: SessionDescription) -> None:
        """Agree, and say nothing."""

    def stop(self) -> None:
        """Nothing was begun."""

    close = stop


class SilentCustomer(Customer):
    """A customer whose calls are signalling alone, as those of SIPp without media."""

    def open_audio(self, row: PlanRow) -> Audio:
        """See `SilentAudio`."""
        return SilentAudio(self.audio.address)


def question(calls: int, *, per_call: bool) -> Study:
    """So many calls that are answered at once and hung up at once."""
    tls = TlsUse(policy=TlsPolicy.PER_CALL if per_call else TlsPolicy.PERSISTENT)
    traffic = Traffic(
        arrivals=ConstantArrivals(kind="constant", rate_per_minute=60 * calls),
        holding=_nothing(),
        ringing=_nothing(),
        tls=tls,
    )
    return Study(name="whole calls", duration_s=1.0, pop=Pop(), trunks=(Trunk(traffic=traffic),))


def _nothing() -> Constant:
    return Constant(kind="constant", value_s=0.0)


def place_calls(card: TrunkCard, calls: int, at_once: int, per_call: bool, silent: bool) -> Placing:
    """Place that many calls, `at_once` of them at a time; CPU is this whole process's.

    Raises:
        BenchmarkError: one of them was not completed.
    """
    plan = draw_plan(question(calls + _WARM_UP, per_call=per_call))
    try:
        return run_loop(_place_all(plan, card, at_once, SilentCustomer if silent else Customer))
    except ExceptionGroup as failed:
        # One speaks for all: they are many, and alike.
        first = failed.exceptions[0]
        raise BenchmarkError(f"{first} ({len(failed.exceptions)} like this)") from None


async def _place_all(plan: Plan, card: TrunkCard, at_once: int, kind: type[Customer]) -> Placing:
    guard = Guard()
    rows = list(plan.rows.values())
    async with kind(plan, 0, card, guard.check(card.host, card.port, 0.0), guard) as customer:
        customer.begin(asyncio.get_running_loop().time())
        await _place(customer, rows[:_WARM_UP], at_once)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        await _place(customer, rows[_WARM_UP:], at_once)
        return Placing(len(rows) - _WARM_UP, time.process_time() - cpu_s, time.perf_counter() - wall_s)


async def _place(customer: Customer, rows: list[PlanRow], at_once: int) -> None:
    waiting = iter(rows)

    async def one_after_another() -> None:
        for row in waiting:
            record = Record(
                row=row.row,
                call=row.call,
                attempt=row.attempt,
                trunk="trunk",
                direction=row.direction,
                disposition=Disposition.STILL_UP,
                intended_s=0.0,
            )
            await customer.caller.place(row, record)
            if record.disposition is not Disposition.COMPLETED:
                raise BenchmarkError(f"a call was not completed: {record.disposition}, {record.reason}")

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_another())
