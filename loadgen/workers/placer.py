"""Place a plan's calls, or one worker's share of them, from this process, and measure its own health.

A run uses a `CallPlacer`. It is either the `LocalPlacer` of this module, or a `WorkerPool` of several processes with a
`LocalPlacer` each. The run itself talks to the trunk's control channel and judges the generator.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.capture.capture import CapturedTrunk, write_capture
from trunkproof.loadgen.capture.recorder import Recorder
from trunkproof.loadgen.capture.secrets import TlsSecrets
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Target
from trunkproof.loadgen.observer import Observer, Observers
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.audio import Heard, heard_together
from trunkproof.loadgen.parties.call_book import ServedCall
from trunkproof.loadgen.parties.customer import Customer
from trunkproof.loadgen.parties.outgoing import PlannedCall
from trunkproof.loadgen.run_end import EndKind, RunEnd
from trunkproof.loadgen.schedule.dialler import Attempt, Dialler
from trunkproof.loadgen.schedule.pacer import Pacer
from trunkproof.loadgen.schedule.share import WHOLE, Share
from trunkproof.loadgen.schedule.tempo import TempoChange
from trunkproof.loadgen.verdict import HealthProbe, Measurements
from trunkproof.models.plan import Plan, PlanRow
from trunkproof.models.records import Direction, Record, to_frame

_HEALTH_EVERY_S = 1.0
logger = logging.getLogger(__name__)

RECORD_ORDER = ("intended_s", "row")
"""The columns by which records are sorted. Row numbers are unique, so the order is too."""
Tally = NDArray[np.int64]
"""Shape (workers, 2): for each worker, the attempts begun, and how many of these have ended."""


def new_tally(workers: int) -> Tally:
    """Return a tally of zeros."""
    return np.zeros((workers, 2), np.int64)


@dataclass(frozen=True)
class LostWorker:
    """A worker process that died before it had written its results."""

    name: str
    at_s: float | None
    """Seconds after plan zero. None if it died before plan zero was set."""
    how: str
    begun: int = 0
    """The number of attempts that it had begun."""
    journalled: int = 0
    """How many of these are in its journal, and so in the records."""
    under_way: int = 0
    """How many of those have no end there."""

    @property
    def end(self) -> RunEnd:
        """Return the end of a run that this loss ends."""
        return RunEnd(EndKind.WORKER_LOST, self.at_s, self.name, self.how)

    def __str__(self) -> str:
        return (
            f"{self.end}: of the {self.begun} attempts that it had begun, {self.journalled} are in its journal and in "
            f"the records, {self.under_way} of them without their end"
        )


@dataclass(frozen=True, eq=False)
class PlacedCalls:
    """The records of the placed calls, and the health of the process that placed them."""

    records: pl.DataFrame
    """One row per attempt begun, as in `models.records`, in `RECORD_ORDER`."""
    measured: Measurements
    heard: Heard
    """The packets that all customers together received."""
    not_placed: int = 0
    """Calls and redials that were left out, because the dialled number was at its own limit."""
    lost: tuple[LostWorker, ...] = ()
    bugs: tuple[Bug, ...] = ()
    """Errors of trunkproof itself that worker processes met. Those of the run's own process are not here."""
    keys: Mapping[int, str] = field(default_factory=dict)
    """Plan row -> keys that customers received in inbound calls."""


class CallPlacer(Protocol):
    """Places a plan's calls. It is ready inside its `async with` block. After the block everything is closed."""

    async def __aenter__(self) -> Self:
        """Listen and get ready.

        Raises:
            StackError: it cannot get ready. The message says why.
        """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""

    @property
    def counts(self) -> tuple[int, int]:
        """Return the number of attempts begun so far, and how many of these have ended."""

    def begin(self, zero: float) -> None:
        """Set plan zero, on the machine's monotonic clock."""

    async def place(self) -> None:
        """Place all calls at their instants, and wait for the last one to end."""

    def change_tempo(self, change: TempoChange) -> None:
        """Place first attempts at another tempo from an instant on, which lies a little ahead."""

    def stop(self) -> None:
        """Place no more calls, and end every call under way."""

    async def lost(self) -> LostWorker:
        """Wait for a worker to be lost. Without a loss, wait forever."""

    async def finish(self) -> PlacedCalls:
        """Return the results. Call it once, after `place` and after the last inbound call."""


class LocalPlacer(CallPlacer):
    """Places calls from this process."""

    def __init__(
        self,
        plan: Plan,
        card: TrunkCard,
        target: Target,
        options: RunOptions,
        *,
        share: Share = WHOLE,
        tally: Tally | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Make a placer of the calls in `share`. It counts its attempts in `tally[share.index]`.

        `observer` is told of its attempts and its health. By default these are the observers of the options.
        """
        self._plan, self._card, self._target, self._options = plan, card, target, options
        self._share = share
        self._tally = new_tally(share.of) if tally is None else tally
        self._observer = observer or Observers(options.observers)
        self._told = (0, 0)
        """How many instants and samples of the event loop the observer was told of."""
        self._customers: list[Customer] = []
        self._answered_records: list[Record] = []
        self._pacer = Pacer(asyncio.get_running_loop().time)
        self._dialler = Dialler(plan, self._pacer, self._attempt, on_begin=self._began, on_end=self._ended)
        self._probe: HealthProbe
        self._recorder: Recorder | None = None
        self._zero = 0.0
        self._stopped = False
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start all customers."""
        async with contextlib.AsyncExitStack() as stack:
            if self._options.capture is not None:
                secrets = stack.enter_context(contextlib.closing(TlsSecrets(self._options.keylog)))
                self._recorder = Recorder(self._options.capture, secrets)
            for index in range(len(self._plan.study.trunks)):
                customer = Customer(
                    self._plan,
                    index,
                    self._card,
                    self._target,
                    self._options,
                    share=self._share,
                    recorder=self._recorder,
                    on_answered=self._answered,
                )
                self._customers.append(await stack.enter_async_context(customer))
            # Only now: if a later customer cannot listen, the earlier ones are closed here.
            self._stack = stack.pop_all()
        # All customers of this process have the same kind of pump, so any of them can say which clock counts.
        self._probe = HealthProbe(self._customers[0].audio.cpu_clock)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all customers."""
        await self._stack.__aexit__(kind, error, trace)

    @property
    def counts(self) -> tuple[int, int]:
        """Return the attempts begun and ended by this process."""
        begun, ended = self._tally[self._share.index].tolist()
        return begun, ended

    def begin(self, zero: float) -> None:
        """Tell plan zero to every customer."""
        self._zero = zero
        for customer in self._customers:
            customer.begin(zero)

    async def place(self) -> None:
        """Place the calls of this share, and wait for the last one to end."""
        firsts = self._plan.first_attempts()
        self._dialler.dial(row for row in firsts if row.direction is Direction.OUTBOUND and self._share.places(row))
        # The health counts while calls are placed. Starting up uses CPU too, and harms no call.
        await self._stack.enter_async_context(self._probe)
        telling = asyncio.create_task(self._tell_health(), name="health")
        self._stack.callback(telling.cancel)
        await self._pacer.run(self._zero)

    def _attempt(self, row: PlanRow, record: Record) -> Attempt:
        return PlannedCall(self._customers[row.trunk].caller, row, record)

    def _began(self, record: Record) -> None:
        self._tally[self._share.index, 0] += 1
        self._observer.attempt_began(record)

    def _ended(self, record: Record) -> None:
        self._tally[self._share.index, 1] += 1
        if self._recorder is not None:
            self._recorder.ended(record)
        self._observer.attempt_ended(record)

    def _answered(self, call: ServedCall) -> None:
        """Take the record of a call to an inbound number."""
        self._answered_records.append(call.record)
        self._began(call.record)
        self._ended(call.record)

    def change_tempo(self, change: TempoChange) -> None:
        """Tell the change to the pacer."""
        late_s = self._pacer.now_s() - change.at_s
        self._pacer.change_tempo(change)
        if late_s > 0:
            logger.warning("a change of the rate was known %.2f s late: calls before that came at the old rate", late_s)

    def stop(self) -> None:
        """Stop the pacer, and end the calls of every customer."""
        # Before the pacer stops: what it leaves undone from now on is no failure of this machine.
        self._stopped = True
        self._pacer.stop()
        for customer in self._customers:
            customer.stop()

    async def lost(self) -> LostWorker:
        """Wait forever: this process has no workers."""
        await asyncio.Event().wait()
        # For the type checker, which cannot know that the wait is endless.
        raise AssertionError("nothing sets this event")

    async def finish(self) -> PlacedCalls:
        """Return the results of this process."""
        await asyncio.gather(*(customer.finish() for customer in self._customers))
        await self._probe.stop()
        self._tell_new_health()
        self._write_capture()
        heard = [customer.audio.heard for customer in self._customers]
        return PlacedCalls(
            # `RECORD_ORDER`, so that the results of any number of workers can be compared row by row.
            records=to_frame(
                sorted(
                    [*self._dialler.records, *self._answered_records],
                    key=lambda record: (record.intended_s, record.row),
                )
            ),
            measured=Measurements(
                lateness_s=[instant.lateness_s for instant in self._pacer.instants],
                loop_lag_s=self._probe.loop_lag_s,
                cpu_share=self._probe.cpu_share,
                # The worst customer's: each has its own pump, and a mean would hide a pump that is late.
                media_lateness_p99_ms=max(customer.audio.lateness_p99_ms for customer in self._customers),
                never_placed=self._never_placed(),
            ),
            heard=heard_together(heard),
            not_placed=self._dialler.numbers.not_placed,
            keys={row: keys for customer in self._customers for row, keys in customer.audio.keys.items()},
        )

    async def _tell_health(self) -> None:
        while True:
            await asyncio.sleep(_HEALTH_EVERY_S)
            self._tell_new_health()

    def _tell_new_health(self) -> None:
        instants, lags = self._told
        self._told = len(self._pacer.instants), len(self._probe.loop_lag_s)
        self._observer.measured(
            Measurements(
                lateness_s=[instant.lateness_s for instant in self._pacer.instants[instants:]],
                loop_lag_s=self._probe.loop_lag_s[lags:],
                cpu_share=self._probe.cpu_share,
                media_lateness_p99_ms=max(customer.audio.lateness_p99_ms for customer in self._customers),
                # Without those that are due now: most of them are about to be placed.
                never_placed=self._failed_here(),
            )
        )

    def _failed_here(self) -> int:
        return sum(customer.caller.local_failures for customer in self._customers) + self._dialler.failed_here

    def _write_capture(self) -> None:
        if self._recorder is None or self._options.capture is None:
            return
        target = f"{self._target.host}:{self._target.port}"
        trunks = [CapturedTrunk(one.name, one.account, one.domain, target) for one in self._plan.study.trunks]
        capture = self._recorder.result(self._zero, tuple(trunks))
        try:
            write_capture(capture, self._options.capture.folder, self._share.index)
        except OSError as error:  # a full disk must not cost the records of the run
            logger.warning("the capture cannot be written: %s", error)

    def _never_placed(self) -> int:
        """Return how many attempts this machine failed to place. Those left by an early end do not count."""
        return self._failed_here() + (0 if self._stopped else self._pacer.overdue)
