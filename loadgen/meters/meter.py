"""Meter a trunk while a run lasts: read its programs' processes and its pages, into one table and one report.

It reads at plan zero, every second after that, at the end, and whenever it is asked to. The CPU of a span is the
difference of the two readings at its ends, and never a sum of samples.
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
from trunkproof.loadgen.meters.prometheus import PrometheusPage
from trunkproof.loadgen.meters.reference import ReferenceWorkload
from trunkproof.loadgen.meters.report import SAMPLES, Gap, MeterReport, Sample, make_report
from trunkproof.models.errors import RemoteError, StackError

_NUMBERS = ("cpu_s", "memory_bytes", "sockets", "threads", "wakings", "processes")


class Meter:
    """The meter of the trunk that a card names. Use it as an async context manager: it reads while its block runs.

    The card's `processes` must be of this machine. A card without any (a remote trunk) is metered by its pages alone.
    """

    def __init__(
        self,
        card: TrunkCard,
        *,
        every_s: float = 1.0,
        guard: Guard | None = None,
        on_reading: Callable[[Sequence[Sample]], None] = lambda samples: None,
    ) -> None:
        """Meter the trunk of `card` every `every_s` seconds.

        Pages are read only where `guard` allows it, which by default is on loopback. `on_reading` is told of every
        reading after plan zero is known.

        Raises:
            InputError: a page's address is not one of plain HTTP.
            GuardError: a page's host is not allowed.
            StackError: a page's host does not resolve.
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
        # Programs that were called before have spent CPU already. The first reading is what all later ones are
        # compared with.
        self._started = await self.read()
        if self._pids:
            self._stack.enter_context(self._reference)
        self._stack.enter_context(watch_deaths(self._pids, self._ended.__setitem__))
        task = asyncio.create_task(self._sample(), name="meter")
        # The stack is left in reverse: cancel first, then wait until the task is really over.
        self._stack.push_async_callback(asyncio.wait, [task])
        self._stack.callback(task.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.read()
        finally:
            async with self._reading:  # wait for a reading under way: a cancelled one would go on in its thread
                await self._stack.aclose()

    def begin(self, zero: float) -> None:
        """Set plan zero to an instant of the loop's clock, now or soon. A reading is taken then."""
        self._zero = zero
        self._moved.set()

    def follow(self, program: str, pid: int) -> None:
        """Note that a program was started again as another process: its CPU is added to what it had spent before."""
        self._processes.follow(program, pid)
        # It lives again. Its earlier end was planned, or was reported when it happened.
        self._ended.pop(program, None)
        self._stack.enter_context(watch_deaths({program: pid}, self._ended.__setitem__))

    async def read(self) -> float:
        """Take a reading now. Return when it began, on the event loop's clock.

        CPU clocks are read within a few milliseconds after that. The table has the exact instant of each.
        """
        # Two readings at once would mix their rows: `before` says where those of this reading begin.
        async with self._reading:
            before, self._last = len(self._rows), asyncio.get_running_loop().time()
            usages, _ = await asyncio.gather(
                # Reading /proc takes milliseconds, and calls of the same event loop must not wait for it.
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
        """Return all readings so far, with the columns of `report.SAMPLES`.

        Times are seconds after plan zero. Without a plan zero, they are seconds after the first reading.
        """
        frame = pl.DataFrame(self._rows, schema=SAMPLES, orient="row")
        return frame.with_columns(pl.col("at_s") - self._origin)

    def report(self, from_s: float = 0.0, to_s: float | None = None) -> MeterReport:
        """Return what was spent from `from_s` to `to_s`, in seconds after plan zero. By default to the last reading."""
        origin = self._origin
        to_s = self._last - origin if to_s is None else to_s
        return make_report(
            self.samples,
            self._kinds,
            from_s,
            to_s,
            ended={name: at - origin for name, at in self._ended.items()},
            gaps=[Gap(at_s=at - origin, source=source, why=why) for at, source, why in self._gaps],
            reference_s=self._reference.mean_s(origin + from_s, origin + to_s),
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
                # Plan zero was set: take a reading at it, and count the later ones from there.
                self._moved.clear()
                due = self._origin
            except TimeoutError:
                await self.read()
                # After a reading that took too long, skip the readings that it missed.
                due += self._every_s * max(1, -(-(loop.time() - due) // self._every_s))

    async def _read_page(self, name: str, at: float) -> None:
        try:
            page = await self._pages[name].read()
        except (StackError, RemoteError) as error:
            # A page that fails is a gap and no end: the run is about calls, and the next reading may work.
            self._gaps.append((at, name, str(error)))
        else:
            self._rows.extend(Sample(at, name, number, value) for number, value in page.values.items())
            self._kinds.update({(name, number): kind for number, kind in page.kinds.items()})

    def _add_usage(self, source: str, usage: Usage) -> None:
        for name in _NUMBERS:
            value = getattr(usage, name)
            if value is not None:
                self._rows.append(Sample(usage.at_s, source, name, float(value)))
