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

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Guard
from trunkproof.loadgen.meters.meter import Meter
from trunkproof.loadgen.meters.report import MeterReport
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.stacks.link import Farewell, Started, TrunkLink, open_link
from trunkproof.loadgen.system.cores import keeping_off
from trunkproof.loadgen.tls.certificates import CertificateFiles, client_context
from trunkproof.loadgen.tls.endpoints import ConnectError, Connector
from trunkproof.loadgen.verdict import GeneratorVerdict, judge, void, worse
from trunkproof.loadgen.workers.crews import make_crew
from trunkproof.loadgen.workers.placer import RECORD_ORDER, Crew
from trunkproof.models.errors import StackError
from trunkproof.models.plan import Plan

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
    workers: int = 1,
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
        workers: processes that place the calls together; 1 is this process. They open the connections that the study
            says, each connection in one of them, and what they measure is put together as if one had.
        watch: is told of the progress.
        stop: once set, every call is ended and the run returns with the records so far.
        on_begin: is told the trunk's anchors before the first call; plan zero waits `head_start_s` for it.
        head_start_s: from the moment that all is ready to plan zero.
        at_least_s: goes on (and meters) so long after plan zero, even if all calls are over.
        client_certificate: what the customers show to a trunk that asks for it.
        keylog: file that TLS secrets are appended to, for decoding a capture.
        trace: is told every SIP message.

    Raises:
        InputError: so many workers cannot place this study's calls as it says, or cannot write a trace.
        GuardError: the target may not be called.
        StackError: the trunk cannot be reached at all, or a worker does not start.
    """
    guard, stop = guard or Guard(), stop or asyncio.Event()
    target = guard.check(card.host, card.port, 60 * plan.calls / plan.study.duration_s)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(keeping_off(card.cores))
        link = await stack.enter_async_context(open_link(card))
        crew = await stack.enter_async_context(
            make_crew(
                plan, card, target, guard, workers, client_certificate=client_certificate, keylog=keylog, trace=trace
            )
        )
        meter = await stack.enter_async_context(Meter(card, guard=guard))
        zero = asyncio.get_running_loop().time() + head_start_s
        anchors = await link.begin(zero)
        crew.begin(zero)
        meter.begin(zero)
        if on_begin is not None:
            on_begin(anchors)
        return await _Run(plan, crew, link, meter, zero=zero, anchors=anchors).run(stop, watch, at_least_s)


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

    def __init__(self, plan: Plan, crew: Crew, link: TrunkLink, meter: Meter, *, zero: float, anchors: Anchors) -> None:
        self._plan = plan
        self._crew = crew
        self._link = link
        self._meter = meter
        self._zero = zero
        self._anchors = anchors
        self._clock = asyncio.get_running_loop().time
        self._interrupted: str | None = None
        self._troubles: list[str] = []

    async def run(self, stop: asyncio.Event, watch: Watch | None, at_least_s: float) -> Drive:
        """Place all calls, and wait for the last of them."""
        watchers: list[Coroutine[Any, Any, None]] = [
            self._cut_short_on(stop),
            self._follow_crew(),
            self._follow_news(),
        ]
        if watch is not None:
            watchers.append(self._report(watch))
        async with _alongside(watchers):
            await self._crew.place()
            if self._interrupted is None:
                await asyncio.sleep(at_least_s - self._now_s())
            farewell = await self._farewell()
            await self._meter.read()
            placed = await self._crew.finish()
        tables = [placed.records] if farewell.inbound is None else [placed.records, farewell.inbound]
        verdict = worse(judge(placed.measured), "the carrier", farewell.carrier)
        return Drive(
            pl.concat(tables).sort(RECORD_ORDER),
            void(verdict, placed.lost),
            self._anchors,
            placed.heard,
            self._interrupted or next(iter(placed.lost), None),
            tuple(self._troubles),
            self._meter.report(),
            self._meter.samples,
        )

    def _now_s(self) -> float:
        return self._clock() - self._zero

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
                self._cut_short(f"the trunk died {_when(at_s)}")
                return
            self._troubles.append(f"{news.program} {news.how} {_when(at_s)}")

    async def _follow_crew(self) -> None:
        self._cut_short(await self._crew.lost())

    async def _cut_short_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._cut_short(f"interrupted {_when(self._now_s())}")

    def _cut_short(self, why: str) -> None:
        self._interrupted = self._interrupted or why
        self._crew.stop()

    async def _report(self, watch: Watch) -> None:
        total = max((row.place_s or 0.0) + row.setup_s + row.ring_s + row.hold_s for row in self._plan.rows.values())
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            watch(min(1.0, self._now_s() / total), f"{self._crew.begun} attempts placed")


def _when(at_s: float) -> str:
    return f"{at_s:.1f} s after plan zero" if at_s >= 0 else "before the first call"


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
