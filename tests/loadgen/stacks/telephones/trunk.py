"""The trunk that the telephones call and that calls them: the embedded one, in a thread of its own.

Each telephone is a customer with a trunk of its own. The plan has one row for each scenario, so a telephone chooses
what happens by the number that it dials.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.parties.agent import IncomingCall, SipAgent
from trunkproof.loadgen.parties.audio import Audio
from trunkproof.loadgen.stacks.embedded.trunk import EmbeddedTrunk
from trunkproof.loadgen.stacks.stack import ServeOptions
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.loadgen.system.ports import free_port
from trunkproof.models.plan import PLAN_SCHEMA, Outcome, Plan, PlanRow
from trunkproof.models.records import Direction, Disposition, Record
from trunkproof.models.study import Study

EDGE = "127.0.61.1"
WITHIN_S = 20.0
"""Whatever is awaited comes within milliseconds, or never."""
COMPILED_WITHIN_S = 120.0
"""The pump is compiled once on a machine, at its first start."""
_NEVER_S = 3_000.0
"""The inbound calls of the plan are due long after the tests: each test places its own."""
T = TypeVar("T")


@dataclass
class Line:
    """One call as the trunk saw it. `audio` is there from the answer on, and has its report from the end on."""

    row: int
    incoming: IncomingCall | None = None
    audio: Audio | None = None

    @property
    def report(self) -> MediaReport:
        assert self.audio is not None, "the call had no audio"
        return self.audio.report


@dataclass(frozen=True)
class Row:
    """What the trunk does with one call: the part of a `PlanRow` that the scenarios choose."""

    number: int
    direction: Direction
    outcome: Outcome = Outcome.ANSWERED
    ring_s: float = 0.1
    hold_s: float = 0.0

    def planned(self) -> PlanRow:
        inbound = self.direction is Direction.INBOUND
        return PlanRow(
            row=self.number,
            call=self.number,
            attempt=0,
            trunk=0,
            direction=self.direction,
            place_s=_NEVER_S if inbound else 0.0,
            redial_delay_s=None,
            next_row=None,
            redial_after=0,
            outcome=self.outcome,
            status={Outcome.BUSY: 486, Outcome.ABANDONED: 487}.get(self.outcome, 200),
            setup_s=0.05,
            ring_s=self.ring_s,
            hold_s=self.hold_s,
            resumes=False,
        )


@dataclass
class PlayedTrunk:
    """A started trunk. The tests are in one thread, and the trunk and the telephones' drivers are in another."""

    trunk: EmbeddedTrunk
    loop: asyncio.AbstractEventLoop
    card: TrunkCard
    messages: list[str]
    """The SIP trace since it was last cleared, as it went over the wire."""
    lines: list[Line] = field(default_factory=list)
    """The calls, in their order."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait in the tests' thread for what is done in the trunk's."""
        return self.start(work).result(WITHIN_S)

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin in the trunk's thread what the tests' thread waits for later."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def line(self, row: int) -> Line:
        """Return the newest call of that row."""
        return next(line for line in reversed(self.lines) if line.row == row)

    @property
    def trace(self) -> str:
        return "\n".join(self.messages)

    def hang_up(self, row: int) -> None:
        """Let the called side in the PSTN hang up."""
        incoming = self.line(row).incoming
        assert incoming is not None
        self.loop.call_soon_threadsafe(self.trunk.agent.act, incoming.call.bye)

    def call(self, row: int) -> Future[Record]:
        """Place the inbound call of that row. Its record comes when it is over."""
        return self.start(self._call(row))

    async def _call(self, row: int) -> Record:
        planned = self.trunk.plan.rows[row]
        record = Record(
            row=row,
            call=planned.call,
            attempt=0,
            trunk=self.trunk.study.trunks[planned.trunk].name,
            direction=planned.direction,
            disposition=Disposition.STILL_UP,
            intended_s=0.0,
        )
        # The plan's own instants are of no use here: a test says when it wants to be called.
        assert self.trunk._pstn is not None
        await self.trunk._pstn.place(planned, record)
        return record

    def until_idle(self) -> None:
        """Wait until no call that came in is left."""

        async def idle() -> None:
            while self.trunk.answerer.under_way:
                await asyncio.sleep(0.02)

        self.run(idle())

    def until_said(self, words: str) -> None:
        """Wait until the trace has these words: what a telephone prints may still be of its call before."""

        async def said() -> None:
            while words not in self.trace:
                await asyncio.sleep(0.02)

        self.run(said())

    def observe(self) -> None:
        """Note every call with its audio, beside what the trunk does with it."""
        open_on, take = self.trunk.audio.open_on, self.trunk.answerer.take
        awaited: list[IncomingCall] = []

        def opened(port: int, instead: Any, row: PlanRow) -> tuple[Audio, int]:
            audio, bound = open_on(port, instead, row)
            incoming = awaited[-1] if row.direction is Direction.OUTBOUND else None
            self.lines.append(Line(row.row, incoming, audio))
            return audio, bound

        def taken(agent: SipAgent, incoming: IncomingCall) -> None:
            awaited.append(incoming)
            take(agent, incoming)

        self.trunk.audio.open_on = opened  # type: ignore[method-assign]
        self.trunk.answerer.take = taken  # type: ignore[method-assign]


def study(name: str, address: str, source: str | None) -> Study:
    """Return the study with the trunk of one telephone, which may call from `source` too."""
    return Study.model_validate(
        {
            "name": "telephones",
            "duration_s": 60,
            "pop": {"address": EDGE, "ports": {"low": 25_000, "high": 25_400}},
            "trunks": [
                {
                    "name": name,
                    "account": name,
                    "customer_address": address,
                    "customer_port": free_port(address),
                    "whitelist": [f"{each}/32" for each in sorted({address, source or address})],
                    "throttle": {"policy": "none"},
                    "traffic": {
                        "arrivals": {"kind": "constant", "rate_per_minute": 1},
                        "holding": 1,
                        "inbound_share": 0.5,
                    },
                }
            ],
        }
    )


@contextlib.contextmanager
def played(question: Study, rows: list[Row], folder: Path) -> Iterator[PlayedTrunk]:
    """Play the trunk as `trunkproof serve` does, in a thread, and stop it in the end."""
    planned = [row.planned() for row in rows]
    table = pl.DataFrame([row._asdict() for row in planned], schema=PLAN_SCHEMA)
    started: Future[PlayedTrunk] = Future()
    stops: list[asyncio.Event] = []

    async def play() -> None:
        stops.append(over := asyncio.Event())
        messages: list[str] = []

        def trace(direction: str, data: bytes) -> None:
            messages.append(f"--- {direction}\n{data.decode('utf-8', 'replace')}")

        loop = asyncio.get_running_loop()
        trunk = EmbeddedTrunk(Plan(question, table), folder, ServeOptions(trace=trace))
        try:
            mine = PlayedTrunk(trunk, loop, await trunk.start(), messages)
            mine.observe()
            trunk.begin(loop.time())
            started.set_result(mine)
            await over.wait()
        finally:
            await trunk.finish(stop=True)
            await trunk.close()

    def main() -> None:
        try:
            run_loop(play())
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise

    thread = threading.Thread(target=main, name="trunk")
    thread.start()
    try:
        mine = started.result(COMPILED_WITHIN_S)
        yield mine
    finally:
        if started.exception() is None:
            started.result().loop.call_soon_threadsafe(stops[0].set)
        thread.join()
