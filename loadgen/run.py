"""Drives a plan against a trunk: `drive(plan, card) -> Drive`, the real half of every comparison.

It plays the customers (their calls out, and their PBX for the calls in), judges itself while it does so, and ends every
call whatever happens: the plan's end, Ctrl-C, or a trunk that dies.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from loadgen.audio import Heard
from loadgen.certificates import CertificateFiles, client_context
from loadgen.customer import Customer
from loadgen.dialler import Dialler
from loadgen.guard import Guard
from loadgen.health import GeneratorVerdict, HealthProbe, Measurements, judge, worse
from loadgen.meters.meter import Meter
from loadgen.meters.report import MeterReport
from loadgen.net import ConnectError, Connector
from loadgen.pacer import Pacer
from loadgen.sip.trace import Trace
from loadgen.stacks.card import TrunkCard
from loadgen.stacks.cores import keeping_off
from loadgen.stacks.link import Farewell, Started, TrunkLink, open_link
from models.errors import StackError
from models.plan import Plan, PlanRow
from models.records import Direction, Record, to_frame

Anchors = dict[str, float]
"""Trunk name -> an instant, in seconds after plan zero, at which a window of its throttle begins."""
Watch = Callable[[float, str], None]
"""Called now and then with the share of the run that is done and a few words."""
_LOOK_EVERY_S = 0.25


@dataclass(frozen=True, eq=False)
class Drive:
    """What a run of real calls came to."""

    records: pl.DataFrame
    """One row per attempt begun, as in `models.records`."""
    generator: GeneratorVerdict
    anchors: Anchors
    """Empty where the trunk does not tell."""
    heard: Heard
    """Of all customers together."""
    interrupted: str | None = None
    """Why the run ended before its plan did."""
    troubles: tuple[str, ...] = ()
    """Which programs of the trunk died or did not answer, when and how, in the order of time."""
    meters: MeterReport | None = None
    """What the trunk's programs spent, from plan zero to the end."""
    samples: pl.DataFrame | None = None
    """Every reading behind it."""

    def __repr__(self) -> str:
        cut = f", {self.interrupted}" if self.interrupted else ""
        return f"<Drive: {self.records.height} attempts, generator {self.generator.verdict}{cut}>"


async def drive(
    plan: Plan,
    card: TrunkCard,
    *,
    guard: Guard | None = None,
    watch: Watch | None = None,
    stop: asyncio.Event | None = None,
    on_begin: Callable[[Anchors], None] | None = None,
    head_start_s: float = 0.5,
    at_least_s: float = 0.0,
    client_certificate: CertificateFiles | None = None,
    keylog: Path | None = None,
    trace: Trace | None = None,
) -> Drive:
    """Place the plan's calls on the trunk that `card` names.

    Args:
        plan: what to place, and when.
        card: where the trunk is.
        guard: where load may go; by default to loopback only.
        watch: is told of the progress.
        stop: once set, every call is ended and the run returns with the records so far.
        on_begin: is told the trunk's anchors before the first call; plan zero waits `head_start_s` for it.
        head_start_s: from the moment that all is ready to plan zero.
        at_least_s: goes on (and meters) so long after plan zero, even if all calls are over.
        client_certificate: what the customers show to a trunk that asks for it.
        keylog: file that TLS secrets are appended to, for decoding a capture.
        trace: is told every SIP message.

    Raises:
        GuardError: the target may not be called.
        StackError: the trunk cannot be reached at all.
    """
    guard, stop = guard or Guard(), stop or asyncio.Event()
    target = guard.check(card.host, card.port, 60 * plan.calls / plan.study.duration_s)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(keeping_off(card.cores))
        link = await stack.enter_async_context(open_link(card))
        customers = [
            await stack.enter_async_context(
                Customer(
                    plan, index, card, target, guard, client_certificate=client_certificate, keylog=keylog, trace=trace
                )
            )
            for index in range(len(plan.study.trunks))
        ]
        meter = await stack.enter_async_context(Meter(card, guard=guard))
        zero = asyncio.get_running_loop().time() + head_start_s
        anchors = await link.begin(zero)
        meter.begin(zero)
        if on_begin is not None:
            on_begin(anchors)
        return await _Run(plan, customers, link, meter, zero=zero, anchors=anchors).run(stop, watch, at_least_s)


async def reach(
    card: TrunkCard, guard: Guard, calls_per_minute: float, client_certificate: CertificateFiles | None = None
) -> None:
    """Open one connection to the trunk and close it again: is anybody there, and is it who it should be?

    Raises:
        GuardError: the target may not be called.
        StackError: no TLS connection comes about; the message says why.
    """
    target = guard.check(card.host, card.port, calls_per_minute)
    connector = Connector(client_context(Path(card.ca_file), client_certificate=client_certificate), card.server_name)
    try:
        connection = await connector.connect(target.address, target.port)
    except ConnectError as error:
        raise StackError(f"no TLS connection to {card.host}:{card.port} as {card.server_name}: {error}") from error
    connection.close()
    await connection.wait_closed()


class _Run:
    """A run from plan zero on."""

    def __init__(
        self, plan: Plan, customers: list[Customer], link: TrunkLink, meter: Meter, *, zero: float, anchors: Anchors
    ) -> None:
        self._plan = plan
        self._customers = customers
        self._link = link
        self._meter = meter
        self._zero = zero
        self._anchors = anchors
        self._pacer = Pacer(asyncio.get_running_loop().time)
        self._dialler = Dialler(plan, self._pacer, self._place)
        self._interrupted: str | None = None
        self._troubles: list[str] = []
        for customer in customers:
            customer.begin(zero)

    async def run(self, stop: asyncio.Event, watch: Watch | None, at_least_s: float) -> Drive:
        """Place all calls, and wait for the last of them."""
        self._dialler.dial(row for row in self._plan.first_attempts() if row.direction is Direction.OUTBOUND)
        watchers: list[Coroutine[Any, Any, None]] = [
            self._cut_short_on(stop),
            self._follow_news(),
        ]
        if watch is not None:
            watchers.append(self._report(watch))
        async with HealthProbe(self._customers[0].audio.cpu_clock) as probe, _alongside(watchers):
            await self._pacer.run(self._zero)
            if self._interrupted is None:
                await asyncio.sleep(at_least_s - self._pacer.now_s())
            farewell = await self._farewell()
            await self._meter.read()
        placed = to_frame(sorted(self._dialler.records, key=_order))
        inbound = farewell.inbound
        records = placed if inbound is None else pl.concat([placed, inbound]).sort("intended_s", "row")
        verdict = worse(self._verdict(probe), "the carrier", farewell.carrier)
        return Drive(
            records,
            verdict,
            self._anchors,
            self._heard(),
            self._interrupted,
            tuple(self._troubles),
            self._meter.report(),
            self._meter.samples,
        )

    async def _place(self, row: PlanRow, record: Record) -> None:
        await self._customers[row.trunk].caller.place(row, record)

    async def _farewell(self) -> Farewell:
        try:
            return await self._link.finish(stop=self._interrupted is not None)
        except StackError as error:
            self._interrupted = self._interrupted or str(error)
            return Farewell()

    async def _follow_news(self) -> None:
        async for news in self._link.news():
            if isinstance(news, Started):
                self._meter.follow(news.program, news.pid)
                continue
            at_s = news.at - self._zero
            if news.is_the_trunk:
                self._cut_short(f"the trunk died {at_s:.1f} s after plan zero")
                return
            self._troubles.append(f"{news.program} {news.how} {at_s:.1f} s after plan zero")

    async def _cut_short_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._cut_short(f"interrupted {self._pacer.now_s():.1f} s after plan zero")

    def _cut_short(self, why: str) -> None:
        self._interrupted = self._interrupted or why
        self._pacer.stop()
        for customer in self._customers:
            customer.caller.stop()

    async def _report(self, watch: Watch) -> None:
        total = max((row.place_s or 0.0) + row.setup_s + row.ring_s + row.hold_s for row in self._plan.rows.values())
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            begun = len(self._dialler.records)
            watch(min(1.0, self._pacer.now_s() / total), f"{begun} attempts placed")

    def _heard(self) -> Heard:
        desks = [customer.audio.heard for customer in self._customers]
        return Heard(sum(desk.received for desk in desks), sum(desk.authenticated for desk in desks))

    def _never_placed(self) -> int:
        """Attempts that this machine did not get out, but for those that an early end left."""
        failed = sum(customer.caller.local_failures for customer in self._customers)
        return failed + (0 if self._interrupted else self._pacer.overdue)

    def _verdict(self, probe: HealthProbe) -> GeneratorVerdict:
        return judge(
            Measurements(
                lateness_s=[instant.lateness_s for instant in self._pacer.instants],
                loop_lag_s=probe.loop_lag_s,
                cpu_share=probe.cpu_share,
                media_lateness_p99_ms=max(customer.audio.lateness_p99_ms for customer in self._customers),
                never_placed=self._never_placed(),
            )
        )


def _order(record: Record) -> tuple[float, int]:
    return record.intended_s, record.row


@contextlib.asynccontextmanager
async def _alongside(coroutines: list[Coroutine[Any, Any, None]]) -> Any:
    """Run coroutines beside a block, and cancel those that have not ended when it does."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
