"""Meters a trunk while a run lasts: its programs' processes and its pages, into one table and one report.

It reads at plan zero, every second after it, at its end and whenever it is asked to: CPU over a span is the difference
of two readings at its ends, never a sum of samples.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType

import polars as pl

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Guard
from trunkproof.loadgen.meters.deaths import watch_deaths
from trunkproof.loadgen.meters.processes import ProcessMeter, Usage
from trunkproof.loadgen.meters.prometheus import Page, PrometheusPage
from trunkproof.loadgen.meters.reference import ReferenceWorkload
from trunkproof.loadgen.meters.report import SAMPLES, Gap, MeterReport, Sample, make_report
from trunkproof.models.errors import RemoteError, StackError

_NUMBERS = ("cpu_s", "memory_bytes", "sockets", "threads", "wakings", "processes")


class Meter:
    """The meter of the trunk that a card names; an async context manager, read from begin to end of its block.

    The card's `processes` must be of this machine; a card without any (a remote trunk) is metered by its pages alone.
    """

    def __init__(
        self,
        card: TrunkCard,
        *,
        every_s: float = 1.0,
        guard: Guard | None = None,
        on_reading: Callable[[Sequence[Sample]], None] = lambda samples: None,
    ) -> None:
        """Meter `card`, every so many seconds; pages are read where `guard` lets them be (by default on loopback).

        `on_reading` is told of every reading after plan zero is known.


        Raises:
            InputError, GuardError, StackError: a page's address is none, is not allowed, or does not resolve.
        """
        self._pids = dict(card.processes)
        self._processes = ProcessMeter(self._pids)
        self._reference = ReferenceWorkload(card.cores)
        self._pages = {name: PrometheusPage(url, guard) for name, url in card.metrics.items()}
        self._every_s = every_s
        self._on_reading = on_reading
        self._rows: list[Sample] = []
        self._kinds: dict[tuple[str, str], str] = {}
        self._gaps: list[tuple[float, str, str]] = []
        self._ended: dict[str, float] = {}
        self._zero: float | None = None
        self._moved = asyncio.Event()
        self._reading = asyncio.Lock()
        self._stack = contextlib.AsyncExitStack()
        self._started = self._last = 0.0

    async def __aenter__(self) -> Meter:
        self._started = await self.read()
        if self._pids:
            self._stack.enter_context(self._reference)
        self._stack.enter_context(watch_deaths(self._pids, self._ended.__setitem__))
        task = asyncio.create_task(self._sample(), name="meter")
        self._stack.push_async_callback(asyncio.wait, [task])
        self._stack.callback(task.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.read()
        finally:
            async with self._reading:  # A reading that is cut off would go on in its thread.
                await self._stack.aclose()

    def begin(self, zero: float) -> None:
        """Plan zero is at that instant of the loop's clock, now or soon; a reading is taken at it."""
        self._zero = zero
        self._moved.set()

    def follow(self, program: str, pid: int) -> None:
        """A program was started again as that process: it has not ended, and its CPU is added to what it had spent."""
        self._processes.follow(program, pid)
        self._ended.pop(program, None)
        self._stack.enter_context(watch_deaths({program: pid}, self._ended.__setitem__))

    async def read(self) -> float:
        """Take a reading now; the instant at which it began, on the event loop's clock.

        CPU clocks are read within a few milliseconds of it, and their own instants are in the table.
        """
        async with self._reading:
            before, self._last = len(self._rows), asyncio.get_running_loop().time()
            usages, _ = await asyncio.gather(
                asyncio.to_thread(self._processes.read),
                asyncio.gather(*(self._read_page(name, self._last) for name in self._pages)),
            )
            for name, usage in usages.items():
                self._add_usage(name, usage)
            if self._zero is not None:
                zero = self._zero
                self._on_reading([row._replace(at_s=row.at_s - zero) for row in self._rows[before:]])
            return self._last

    @property
    def samples(self) -> pl.DataFrame:
        """All readings so far, as `report.SAMPLES` says; seconds after plan zero, or after the first reading without
        one.
        """
        frame = pl.DataFrame(self._rows, schema=SAMPLES, orient="row")
        return frame.with_columns(pl.col("at_s") - self._origin)

    def report(self, from_s: float = 0.0, to_s: float | None = None) -> MeterReport:
        """What was spent from plan zero (or `from_s` after it) to the last reading (or `to_s`)."""
        origin = self._origin
        to_s = self._last - origin if to_s is None else to_s
        return make_report(
            self.samples,
            self._kinds,
            from_s,
            to_s,
            ended={name: at - origin for name, at in self._ended.items()},
            gaps=[Gap(at_s=at - origin, source=source, why=why) for at, source, why in self._gaps],
            gauge_s=self._reference.mean_s(origin + from_s, origin + to_s),
        )

    @property
    def _origin(self) -> float:
        return self._started if self._zero is None else self._zero

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._every_s
        while True:
            try:
                async with asyncio.timeout_at(due):
                    await self._moved.wait()
                self._moved.clear()
                due = self._origin
            except TimeoutError:
                await self.read()
                # A reading that took longer than its turn leaves out the turns it missed.
                due += self._every_s * max(1, -(-(loop.time() - due) // self._every_s))

    async def _read_page(self, name: str, at: float) -> None:
        try:
            page = await self._pages[name].read()
        except (StackError, RemoteError) as error:
            self._gaps.append((at, name, str(error)))
        else:
            self._add_page(name, at, page)

    def _add_usage(self, source: str, usage: Usage) -> None:
        for name in _NUMBERS:
            value = getattr(usage, name)
            if value is not None:
                self._rows.append(Sample(usage.at_s, source, name, float(value)))

    def _add_page(self, source: str, at: float, page: Page) -> None:
        self._rows.extend(Sample(at, source, name, value) for name, value in page.values.items())
        self._kinds.update({(source, name): kind for name, kind in page.kinds.items()})
