"""Run a PoP of foreign programs, with the carrier that we play behind it.

Each stack's own package says which programs there are and writes their configuration. This module starts them and the
carrier, makes the study's incidents happen, and reports programs that die or do not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.observer import Observer
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
from trunkproof.models.edges import EdgeDown
from trunkproof.models.plan import Plan
from trunkproof.models.study import CarrierBrownOut, EdgeRestart

_LOOK_EVERY_S = 10.0
"""Seldom enough that the check costs no CPU that a meter could see."""
Tell = Callable[[StackEvent], None]
"""Sends an event to all who watch the trunk."""


class ForeignTrunk:
    """A `Stack` of foreign programs, such as Kamailio with rtpengine."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        parts: ForeignParts,
        *,
        port: int = 0,
        keylog: Path | None = None,
        trace: Trace | None = None,
        observer: Observer | None = None,
        tell: Tell,
    ) -> None:
        """Reserve ports, cores and the CPU quota.

        Raises:
            StackError: this machine does not have the addresses, or the port is in use.
        """
        self._study = plan.study
        self._parts = parts
        # Foreign programs read a relative path as one in their own folder. Links stay: they stand for odd names.
        self._folder = folder = folder.absolute()
        pop, inner = self._study.pop, str(self._study.pop.inner_address)
        self._hosts = [str(door.address or pop.address) for door in pop.doors]
        self.host = self._hosts[0]
        self._ports: list[tuple[int, int]] = []
        """Port at the edge, and inside, of each edge."""
        for index, host in enumerate(self._hosts):
            # Edges of one address need ports of their own.
            wanted = 0 if host in self._hosts[:index] else port
            self._ports.append((take_port("the trunk", host, wanted), take_port("the trunk", inner)))
        self.authority = Authority(folder / "certificates")
        self.carrier = Carrier(plan, self.authority, inner_port=self._ports[0][1], keylog=keylog, trace=trace)
        self.carrier.observer = observer
        self._tell = tell
        self._held = contextlib.ExitStack()
        quota = self._study.pop.machine.quota
        self._group = group = None if quota is None else self._held.enter_context(cpu_quota(quota))
        # Before `keeping_off`, which takes these cores away from this process.
        self._cores = take_cores(self._study.pop.machine.cores)
        self._held.enter_context(keeping_off(self._cores))
        prefix = () if group is None else group.prefix
        # Every program is started inside the quota and on its cores, so no instant of its work is outside.
        self._programs = Programs(self._died, prefix=(*prefix, *on_cores(self._cores)))
        self._edges: list[Program] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> TrunkCard:
        """Start the carrier and all programs, and return the card that says where they listen."""
        study = self._study
        # The carrier first: the programs' configuration names its port.
        carrier_port = await self._start_carrier()
        first, *others = [self._endpoints(edge, carrier_port) for edge in range(len(self._hosts))]
        endpoints = replace(first, others=tuple(others))
        programs, metrics = self._parts.programs(study, endpoints)
        names = (self._parts.edge,) if self._parts.edge_names is None else self._parts.edge_names(len(self._hosts))
        self._edges = [program for name in names for program in programs if program.name == name]
        for program in programs:
            # One after the other, each only when the one before it is ready to answer.
            await self._programs.start(program)
        # Only now: a program that is still starting does not answer, and is not silent.
        self._beside(self._look_after())
        return TrunkCard(
            stack=study.pop.stack,
            server_name=study.pop.doors[0].host,
            host=self.host,
            transport=study.transport,
            port=first.edge_port,
            edges=tuple(
                door.model_copy(update={"address": ip_address(host), "port": port})
                for door, host, (port, _) in zip(study.pop.edges, self._hosts, self._ports, strict=False)
            ),
            ca_file=str(endpoints.ca_file),
            customers=customer_files(study, self.authority),
            processes=self._programs.pids,
            cores=self._cores,
            metrics=metrics,
            study_digest=study.digest(),
        )

    def _endpoints(self, edge: int, carrier_port: int) -> StackEndpoints:
        pop, host = self._study.pop, self._hosts[edge]
        names = dict.fromkeys((pop.doors[edge].host, pop.host, host, str(pop.inner_address)))
        edge_port, inner_port = self._ports[edge]
        return StackEndpoints(
            folder=self._folder if edge == 0 else self._folder / f"edge{edge + 1}",
            edge_port=edge_port,
            inner_port=inner_port,
            carrier_port=carrier_port,
            certificate=self.authority.issue(*names),
            ca_file=self.authority.ca_file,
            edge_address=host,
        )

    async def _start_carrier(self) -> int:
        try:
            return await self.carrier.start()
        except LocalNetworkError as error:
            raise cannot_listen("the trunk", self.carrier.host, 0, error.__cause__) from error

    def begin(self, zero: float) -> dict[str, float]:
        """Set plan zero, and return the anchors by trunk name."""
        self.carrier.begin(zero)
        self._schedule_incidents(zero)
        # Read now and not at the start: a program may have been started again since.
        began = self._parts.windows_began(self._study, self._programs.pids)
        return {name: at - zero for name, at in began.items()}

    def _schedule_incidents(self, zero: float) -> None:
        loop = asyncio.get_running_loop()
        for incident in self._study.pop.incidents:
            match incident:
                case EdgeRestart():
                    for edge in self._edges:
                        at = zero + incident.at_s
                        self._timers.append(loop.call_at(at, self._restart, edge, incident.down_s))
                case EdgeDown():
                    edge = self._edges[self._study.pop.edge_of(incident)]
                    at = zero + incident.at_s
                    self._timers.append(loop.call_at(at, self._restart, edge, incident.lasts_s))
                case CarrierBrownOut():
                    over = zero + incident.at_s + incident.lasts_s
                    for instant, left in ((zero + incident.at_s, incident.channels), (over, None)):
                        self._timers.append(loop.call_at(instant, setattr, self.carrier.limits, "left", left))

    async def _look_after(self) -> None:
        """Report each program that runs but does not answer, and report when it answers again."""
        silent: set[str] = set()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            now_silent = await self._programs.silent()
            at = asyncio.get_running_loop().time()
            # Only changes, so that a program that stays silent is reported once.
            for program in now_silent ^ silent:
                kind = StackEventKind.SILENT if program in now_silent else StackEventKind.ANSWERS
                self._tell(StackEvent(kind, program, at))
            silent = now_silent

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _restart(self, edge: Program, down_s: float) -> None:
        self._beside(self._down_and_up(edge, down_s))

    async def _down_and_up(self, edge: Program, down_s: float) -> None:
        # Read before the program is stopped, because its end takes time too.
        back = asyncio.get_running_loop().time() + down_s
        await self._programs.stop(edge.name)
        # Never start it earlier: a call that comes too soon must be refused.
        await asyncio.sleep(back - asyncio.get_running_loop().time())
        await self._programs.start(edge)
        at = asyncio.get_running_loop().time()
        # The new process has another id: the meter has to follow it.
        self._tell(StackEvent(StackEventKind.STARTED, edge.name, at, pid=self._programs.pids[edge.name]))

    def _died(self, death: Death) -> None:
        self._tell(StackEvent(StackEventKind.DIED, death.program, death.at, detail=death.how))

    async def finish(self, *, stop: bool) -> Finish:
        """Return the records of the inbound calls and the health of the carrier, after the last inbound call."""
        records, health = await self.carrier.finish(stop=stop)
        return Finish(records, health, self.carrier.audio.take_keys())

    def status(self) -> StackStatus:
        """Return what is in use now. Only the media relay knows how many ports, so they are None."""
        return StackStatus(
            calls=self.carrier.answerer.under_way,
            channels_used=self.carrier.limits.used,
            ports_in_use=None,
            programs=self._programs.pids,
        )

    async def close(self) -> None:
        """End all programs and the carrier, and give ports, cores and the quota back."""
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            # A restart of the edge that is under way must not start a program that nobody would end.
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._group is not None:
            # Before the programs are told to end: with a small quota they would take longer than they may.
            self._group.lift()
        await self._programs.close()
        await self.carrier.close()
        self.authority.discard()
        # Last: a control group can only be removed when its last process is gone.
        self._held.close()
