"""Places a plan's calls, or a worker's share of them, from this process: customers, pacer, dialler, and its own health.

It is what a run does by itself or has several worker processes do (`workers`); a `Crew` is either. It neither talks to
the trunk's control channel nor judges: `run` does both.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Guard, Target
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.parties.customer import Customer
from trunkproof.loadgen.parties.outgoing import PlannedCall
from trunkproof.loadgen.schedule.dialler import Attempt, Dialler
from trunkproof.loadgen.schedule.pacer import Pacer
from trunkproof.loadgen.schedule.share import WHOLE, Share
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.loadgen.verdict import HealthProbe, Measurements
from trunkproof.models.plan import Plan, PlanRow
from trunkproof.models.records import Direction, Record, to_frame

RECORD_ORDER = ("intended_s", "row")
"""The columns that records are sorted by; rows are unique, so the order is."""


@dataclass(frozen=True, eq=False)
class Part:
    """What became of the calls that were placed, and how whoever placed them was."""

    records: pl.DataFrame
    """One row per attempt begun, as in `models.records`, in `RECORD_ORDER`."""
    measured: Measurements
    heard: Heard
    """Of all customers together."""
    lost: tuple[str, ...] = ()
    """Which workers died, when, how, and with how many attempts."""


class Crew(Protocol):
    """Who places a plan's calls. Inside its `async with` block it is ready to; after the block all is closed."""

    async def __aenter__(self) -> Self:
        """Listen and get ready.

        Raises:
            StackError: it cannot; the message says why.
        """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""

    @property
    def begun(self) -> int:
        """Attempts begun so far."""

    def begin(self, zero: float) -> None:
        """Plan zero, on the machine's monotonic clock."""

    async def place(self) -> None:
        """Place all calls at their instants, and wait for the last of them."""

    def stop(self) -> None:
        """Place no more, and end every call under way."""

    async def lost(self) -> str:
        """Wait for a part of the crew to be lost: which, and how."""

    async def finish(self) -> Part:
        """The results; once, after `place` and when no calls come in any more."""


class Placer:
    """This process. It is a `Crew`."""

    def __init__(
        self,
        plan: Plan,
        card: TrunkCard,
        target: Target,
        guard: Guard,
        *,
        share: Share = WHOLE,
        tally: NDArray[np.int64] | None = None,
        client_certificate: CertificateFiles | None = None,
        keylog: Path | None = None,
        trace: Trace | None = None,
    ) -> None:
        """`share`: which calls are placed, and whose are answered; `tally[share.index]` counts attempts begun."""
        self._plan, self._card, self._target, self._guard = plan, card, target, guard
        self._share = share
        self._tally = np.zeros(share.of, np.int64) if tally is None else tally
        self._options: dict[str, Any] = {
            "client_certificate": client_certificate,
            "keylog": keylog,
            "trace": trace,
        }
        self._customers: list[Customer] = []
        self._pacer = Pacer(asyncio.get_running_loop().time)
        self._dialler = Dialler(plan, self._pacer, self._attempt, on_begin=self._begun)
        self._probe: HealthProbe
        self._zero = 0.0
        self._stopped = False
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """See `Crew`."""
        async with contextlib.AsyncExitStack() as stack:
            for index in range(len(self._plan.study.trunks)):
                customer = Customer(
                    self._plan, index, self._card, self._target, self._guard, share=self._share, **self._options
                )
                self._customers.append(await stack.enter_async_context(customer))
            self._stack = stack.pop_all()
        self._probe = HealthProbe(self._customers[0].audio.cpu_clock)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `Crew`."""
        await self._stack.__aexit__(kind, error, trace)

    @property
    def begun(self) -> int:
        """See `Crew`."""
        return int(self._tally[self._share.index])

    def begin(self, zero: float) -> None:
        """See `Crew`."""
        self._zero = zero
        for customer in self._customers:
            customer.begin(zero)

    async def place(self) -> None:
        """See `Crew`."""
        firsts = self._plan.first_attempts()
        self._dialler.dial(row for row in firsts if row.direction is Direction.OUTBOUND and self._share.places(row))
        await self._stack.enter_async_context(self._probe)
        await self._pacer.run(self._zero)

    def _attempt(self, row: PlanRow, record: Record) -> Attempt:
        return PlannedCall(self._customers[row.trunk].caller, row, record)

    def _begun(self) -> None:
        self._tally[self._share.index] += 1

    def stop(self) -> None:
        """See `Crew`."""
        self._stopped = True
        self._pacer.stop()
        for customer in self._customers:
            customer.caller.stop()

    async def lost(self) -> str:
        """See `Crew`: this process cannot lose itself."""
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async def finish(self) -> Part:
        """See `Crew`."""
        await self._probe.stop()
        desks = [customer.audio.heard for customer in self._customers]
        return Part(
            records=to_frame(sorted(self._dialler.records, key=_order)),
            measured=Measurements(
                lateness_s=[instant.lateness_s for instant in self._pacer.instants],
                loop_lag_s=self._probe.loop_lag_s,
                cpu_share=self._probe.cpu_share,
                media_lateness_p99_ms=max(customer.audio.lateness_p99_ms for customer in self._customers),
                never_placed=self._never_placed(),
            ),
            heard=Heard(sum(desk.received for desk in desks), sum(desk.authenticated for desk in desks)),
        )

    def _never_placed(self) -> int:
        """Attempts that this machine did not get out, but for those that an early end left."""
        failed = sum(customer.caller.local_failures for customer in self._customers)
        return failed + (0 if self._stopped else self._pacer.overdue)


def _order(record: Record) -> tuple[float, int]:
    return record.intended_s, record.row
