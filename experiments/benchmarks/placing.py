"""Our caller as a benchmark drives it: place calls over TLS to any answerer without a pacer, and measure their cost.

It places each call with the same coroutine as `loadgen.run`, and requires that every call is completed. Calls are
either short, with a fixed number of them under way; or all are up together, begun and ended one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from trunkproof.experiments.benchmarks.running import BenchmarkError
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import LOOPBACK_ONLY
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.options import DEFAULTS
from trunkproof.loadgen.parties.audio import Audio
from trunkproof.loadgen.parties.customer import Customer
from trunkproof.loadgen.parties.outgoing import PlannedCall
from trunkproof.loadgen.sip.agreement import MediaAgreement
from trunkproof.loadgen.sip.sdes import KEY_BYTES
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.distributions import Constant
from trunkproof.models.plan import Plan, PlanRow, draw_plan
from trunkproof.models.records import Disposition, Record
from trunkproof.models.study import Pop, Study, Trunk
from trunkproof.models.traffic import ConstantArrivals, TlsPolicy, TlsUse, Traffic

AnyCustomer = TypeVar("AnyCustomer", bound=Customer)
_WARM_UP = 50
"""Calls placed before the clocks are read: they pay for imports, the connection and cold caches."""
_ALL_UP_S = 0.5
"""Calls hold longer by this than it takes to place all of them, as answers may come late."""
_SLOWEST_PER_S = 1000
"""Calls are placed at least this fast, unless the machine has too much other work."""


@dataclass(frozen=True)
class Placing:
    """What placing a number of calls took."""

    calls: int
    cpu_s: float
    wall_s: float
    up: int = 0
    """How many of them were up at the same instant; 0 where it was not asked."""


class SilentAudio(Audio):
    """The audio of a call that has none: an address and a key for the SDP, no sockets, nothing sent."""

    def __init__(self, address: str, on_answer: Callable[[], None]) -> None:
        self.address = address
        self._on_answer = on_answer
        self.port = 40_000
        self.key = os.urandom(KEY_BYTES)
        self.report = MediaReport()

    def answered(self) -> None:
        """Report the answer; no audio starts."""
        self._on_answer()

    def check(self, agreement: MediaAgreement) -> None:
        """Allow any address: nothing is sent there."""

    def follow(self, agreement: MediaAgreement, *, early: bool = False) -> None:
        """Do nothing: there is no audio."""

    def stop(self) -> None:
        """Do nothing: there is no audio."""

    listen = close = stop


class SilentCustomer(Customer):
    """A customer whose calls are signalling alone, as those of SIPp without media."""

    on_answer: Callable[[], None] = staticmethod(lambda: None)
    """Called whenever a call is answered."""

    def open_audio(self, row: PlanRow) -> Audio:
        """Return audio that sends nothing."""
        return SilentAudio(self.audio.address, self.on_answer)


def question(calls: int, *, per_call: bool, hold_s: float = 0.0) -> Study:
    """Return a study of calls that are answered at once and hung up after `hold_s`."""
    tls = TlsUse(policy=TlsPolicy.PER_CALL if per_call else TlsPolicy.PERSISTENT)
    traffic = Traffic(
        arrivals=ConstantArrivals(kind="constant", rate_per_minute=60 * calls),
        holding=_constant(hold_s),
        ringing=_constant(0.0),
        tls=tls,
    )
    return Study(name="whole calls", duration_s=1.0, pop=Pop(), trunks=(Trunk(traffic=traffic),))


def _constant(value_s: float) -> Constant:
    return Constant(kind="constant", value_s=value_s)


def place_calls(card: TrunkCard, calls: int, at_once: int, per_call: bool, silent: bool) -> Placing:
    """Place calls, `at_once` of them at a time. CPU is that of this whole process.

    Raises:
        BenchmarkError: one of them was not completed.
    """
    plan = draw_plan(question(calls + _WARM_UP, per_call=per_call))
    return _run(_place_all(plan, card, at_once, SilentCustomer if silent else Customer))


def hold_calls(card: TrunkCard, calls: int, waves: int, at_once: int) -> Placing:
    """Place `waves` waves of silent calls over one connection, such that all calls of a wave are up at once.

    At most `at_once` calls are unanswered at a time: the next one begins when one of them is answered. Each holds until
    the last one should be up, so calls end in the order in which they began. CPU is that of this whole process.

    Raises:
        BenchmarkError: one of them was not completed, or they were not all up at the same instant.
    """
    hold_s = calls / _SLOWEST_PER_S + _ALL_UP_S
    plan = draw_plan(question(waves * calls + _WARM_UP, per_call=False, hold_s=hold_s))
    return _run(_hold_all(plan, card, calls, at_once))


def _run(placing: Coroutine[Any, Any, Placing]) -> Placing:
    try:
        return run_loop(placing)
    except ExceptionGroup as failed:
        # Quote one of them: there may be many, and they are alike.
        first = failed.exceptions[0]
        raise BenchmarkError(f"{first} ({len(failed.exceptions)} like this)") from None


@contextlib.asynccontextmanager
async def _warmed_up(
    plan: Plan, card: TrunkCard, at_once: int, kind: type[AnyCustomer]
) -> AsyncIterator[tuple[AnyCustomer, list[PlanRow]]]:
    """Yield a customer whose warm-up calls are over, and the rows of the calls to measure."""
    rows = list(plan.rows.values())
    async with kind(plan, 0, card, LOOPBACK_ONLY.check(card.host, card.port, 0.0), DEFAULTS) as customer:
        customer.begin(asyncio.get_running_loop().time())
        await _place(customer, [row._replace(hold_s=0.0) for row in rows[:_WARM_UP]], at_once)
        yield customer, rows[_WARM_UP:]


async def _place_all(plan: Plan, card: TrunkCard, at_once: int, kind: type[Customer]) -> Placing:
    async with _warmed_up(plan, card, at_once, kind) as (customer, rows):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        await _place(customer, rows, at_once)
        return Placing(len(rows), time.process_time() - cpu_s, time.perf_counter() - wall_s)


async def _hold_all(plan: Plan, card: TrunkCard, calls: int, at_once: int) -> Placing:
    async with _warmed_up(plan, card, at_once, SilentCustomer) as (customer, rows):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        up = [await _wave(customer, rows[at : at + calls], at_once) for at in range(0, len(rows), calls)]
        return Placing(len(rows), time.process_time() - cpu_s, time.perf_counter() - wall_s, min(up))


async def _wave(customer: SilentCustomer, rows: Sequence[PlanRow], at_once: int) -> int:
    """Place a wave of calls. Return how many of them were up at the same instant, which must be all."""
    free = asyncio.Semaphore(at_once)
    customer.on_answer = free.release
    tasks = []
    async with asyncio.TaskGroup() as group:
        for row in rows:
            await free.acquire()
            tasks.append(group.create_task(_place_one(customer, row)))
    records = [task.result() for task in tasks]
    last_answer = max(record.answered_s or 0.0 for record in records)
    up = sum((record.bye_s or 0.0) > last_answer for record in records)
    if up < len(rows):
        raise BenchmarkError(f"only {up} of {len(rows)} calls were still up when the last one was answered")
    return up


async def _place(customer: Customer, rows: list[PlanRow], at_once: int) -> None:
    waiting = iter(rows)

    async def one_after_another() -> None:
        for row in waiting:
            await _place_one(customer, row)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_another())


async def _place_one(customer: Customer, row: PlanRow) -> Record:
    """Place one call and return its record.

    Raises:
        BenchmarkError: the call was not completed.
    """
    record = Record(
        row=row.row,
        call=row.call,
        attempt=row.attempt,
        trunk="trunk",
        direction=row.direction,
        disposition=Disposition.STILL_UP,
        intended_s=0.0,
    )
    await PlannedCall(customer.caller, row, record).carry()
    if record.disposition is not Disposition.COMPLETED:
        raise BenchmarkError(f"a call was not completed: {record.disposition}, {record.reason}")
    return record
