"""A PoP made of programs that others wrote, with the carrier that we play behind it.

It renders nothing and knows no program by its configuration: each stack's own package says which programs there are.
It starts them around the carrier, lets incidents happen to them, and tells of their deaths.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.parties.carrier import Carrier
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.stack_events import StackEvent, StackEventKind
from trunkproof.loadgen.stacks.control import StackStatus
from trunkproof.loadgen.stacks.definition import ForeignParts
from trunkproof.loadgen.stacks.endpoints import StackEndpoints
from trunkproof.loadgen.stacks.stack import Finish, customer_files
from trunkproof.loadgen.system.cores import keeping_off, on_cores, take_cores
from trunkproof.loadgen.system.ports import cannot_listen, take_port
from trunkproof.loadgen.system.programs import Death, Program, Programs
from trunkproof.loadgen.system.quota import cpu_quota
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.loadgen.tls.endpoints import LocalNetworkError
from trunkproof.models.plan import Plan
from trunkproof.models.study import CarrierBrownOut, EdgeRestart

_LOOK_EVERY_S = 10.0
"""So seldom that the question costs nothing that a meter could see."""
Tell = Callable[[StackEvent], None]
"""Tells an event to whoever watches the trunk."""


class ForeignTrunk:
    """As `Stack`."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        parts: ForeignParts,
        *,
        port: int = 0,
        keylog: Path | None = None,
        trace: Trace | None = None,
        tell: Tell,
    ) -> None:
        """Raises StackError where this machine does not have the addresses, or not that port."""
        self._study = plan.study
        self._parts = parts
        # Programs of others take a relative path for one of their own folder.
        self._folder = folder = folder.resolve()
        self.host = str(self._study.pop.address)
        inner = str(self._study.pop.inner_address)
        self._edge_port, self._inner_port = take_port("the trunk", self.host, port), take_port("the trunk", inner)
        self.authority = Authority(folder / "certificates")
        self.carrier = Carrier(plan, self.authority, inner_port=self._inner_port, keylog=keylog, trace=trace)
        self._tell = tell
        self._held = contextlib.ExitStack()
        quota = self._study.pop.machine.quota
        self._group = group = None if quota is None else self._held.enter_context(cpu_quota(quota))
        self._cores = take_cores(self._study.pop.machine.cores)
        self._held.enter_context(keeping_off(self._cores))
        prefix = () if group is None else group.prefix
        self._programs = Programs(self._died, prefix=(*prefix, *on_cores(self._cores)))
        self._edge: Program | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> TrunkCard:
        """As `Stack`."""
        study, folder = self._study, self._folder
        endpoints = StackEndpoints(
            folder=folder,
            edge_port=self._edge_port,
            inner_port=self._inner_port,
            carrier_port=await self._start_carrier(),
            certificate=self.authority.issue(study.pop.host, self.host, str(study.pop.inner_address)),
            ca_file=self.authority.ca_file,
        )
        programs, metrics = self._parts.programs(study, endpoints)
        self._edge = next(program for program in programs if program.name == self._parts.edge)
        for program in programs:
            await self._programs.start(program)
        self._beside(self._look_after())
        return TrunkCard(
            stack=study.pop.stack,
            server_name=study.pop.host,
            host=self.host,
            port=self._edge_port,
            ca_file=str(endpoints.ca_file),
            customers=customer_files(study, self.authority),
            processes=self._programs.pids,
            cores=self._cores,
            metrics=metrics,
            study_digest=study.digest(),
        )

    async def _start_carrier(self) -> int:
        try:
            return await self.carrier.start()
        except LocalNetworkError as error:
            raise cannot_listen("the trunk", self.carrier.host, 0, error.__cause__) from error

    def begin(self, zero: float) -> dict[str, float]:
        """As `Stack`."""
        self.carrier.begin(zero)
        self._schedule_incidents(zero)
        began = self._parts.windows_began(self._study, self._programs.pids)
        return {name: at - zero for name, at in began.items()}

    def _schedule_incidents(self, zero: float) -> None:
        loop = asyncio.get_running_loop()
        for incident in self._study.pop.incidents:
            match incident:
                case EdgeRestart():
                    self._timers.append(loop.call_at(zero + incident.at_s, self._restart_edge, incident.down_s))
                case CarrierBrownOut():
                    over = zero + incident.at_s + incident.lasts_s
                    for instant, left in ((zero + incident.at_s, incident.channels), (over, None)):
                        self._timers.append(loop.call_at(instant, setattr, self.carrier.limits, "left", left))

    async def _look_after(self) -> None:
        """Tell of a program that lives and does not answer, and when it does again."""
        silent: set[str] = set()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            now_silent = await self._programs.silent()
            at = asyncio.get_running_loop().time()
            for program in now_silent ^ silent:
                kind = StackEventKind.SILENT if program in now_silent else StackEventKind.ANSWERS
                self._tell(StackEvent(kind, program, at))
            silent = now_silent

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _restart_edge(self, down_s: float) -> None:
        self._beside(self._down_and_up(down_s))

    async def _down_and_up(self, down_s: float) -> None:
        assert self._edge is not None
        edge = self._edge
        back = asyncio.get_running_loop().time() + down_s
        await self._programs.stop(edge.name)
        # Not a moment earlier: whoever calls too soon is to be refused.
        await asyncio.sleep(back - asyncio.get_running_loop().time())
        await self._programs.start(edge)
        at = asyncio.get_running_loop().time()
        self._tell(StackEvent(StackEventKind.STARTED, edge.name, at, pid=self._programs.pids[edge.name]))

    def _died(self, death: Death) -> None:
        self._tell(StackEvent(StackEventKind.DIED, death.program, death.at, detail=death.how))

    async def finish(self, *, stop: bool) -> Finish:
        """As `Stack`."""
        records, health = await self.carrier.finish(stop=stop)
        return Finish(records, health)

    def status(self) -> StackStatus:
        """Return what is in use now. Only the relay knows which ports are."""
        return StackStatus(
            calls=self.carrier.answerer.under_way,
            channels_used=self.carrier.limits.used,
            ports_in_use=None,
            programs=self._programs.pids,
        )

    async def close(self) -> None:
        """As `Stack`."""
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._group is not None:
            self._group.lift()
        await self._programs.close()
        await self.carrier.close()
        self._held.close()
