"""Start worker processes, tell them when to begin, stop and finish, and end them.

A `WorkerPool` is a `CallPlacer`, like the `LocalPlacer` of a single process. Each worker keeps a journal. The pool
reads on in all of them, and tells the run's observers. If a worker dies, its records are read from its journal: the
result says how many there are, and the run is VOID. Workers do not run on the trunk's cores. Among the
other cores the kernel chooses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
from asyncio.subprocess import PIPE
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from trunkproof.loadgen.bugs import noting_bugs
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Target
from trunkproof.loadgen.journal.keeper import health_together
from trunkproof.loadgen.journal.lines import Entry, EntryKind, JournalReader
from trunkproof.loadgen.journal.reading import read_journal
from trunkproof.loadgen.journal.writer import FLUSH_EVERY_S
from trunkproof.loadgen.media.pump import asked_for
from trunkproof.loadgen.observer import Observers
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.schedule.tempo import TempoChange
from trunkproof.loadgen.system.programs import gone_within, how_ended, start_process
from trunkproof.loadgen.workers.merge import merge
from trunkproof.loadgen.workers.messages import (
    ORDERS,
    REPORTS,
    Begin,
    Finish,
    Left,
    Order,
    Placed,
    Ready,
    Stop,
    Task,
    digest_of,
    journal_of,
    open_tally,
    read_placed,
    write_task,
)
from trunkproof.loadgen.workers.placer import RECORD_ORDER, CallPlacer, LostWorker, PlacedCalls
from trunkproof.models.errors import StackError
from trunkproof.models.plan import Plan
from trunkproof.models.records import record_from_json, to_frame

logger = logging.getLogger(__name__)

_READY_WITHIN_S = 120.0
"""The first worker on a machine compiles the media pump. Meanwhile the others wait for a core."""
_GONE_WITHIN_S = 15.0
"""Calls under way have four seconds to end. Then the connections are closed."""
_OBEYS_WITHIN_S = 60.0
"""To end ten thousand calls, or to write a million records, takes seconds. A worker that takes this long hangs."""
_LAST_WORDS = 800
"""How many characters of a worker's log an error message quotes."""


@dataclass(eq=False)
class _Worker:
    """One worker process. When it dies, all its events are set, so that nobody waits for it."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    journal: Path
    reader: JournalReader
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    placed: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    plan: str | None = None
    died: LostWorker | None = None
    """How and when it died, if it died before it had written its results."""
    silent: bool = False
    """Whether we killed it because it did not obey an order in time."""

    @property
    def words(self) -> str:
        """Return the end of what it wrote to standard error."""
        return self.log.read_text(encoding="utf-8", errors="replace").strip()[-_LAST_WORDS:]

    def tell(self, order: Order) -> None:
        """Send an order, unless the worker is dead."""
        if self.process.stdin is not None and self.died is None:
            self.process.stdin.write(ORDERS.encode(order))


class WorkerPool(CallPlacer):
    """Places calls with as many worker processes as the options say."""

    def __init__(self, plan: Plan, card: TrunkCard, target: Target, options: RunOptions) -> None:
        self._plan = plan
        self._task = Task(study=plan.study, card=card, target=target, options=options)
        self._observer = Observers(options.observers)
        self._workers: list[_Worker] = []
        self._zero: float | None = None
        self._loss: asyncio.Future[LostWorker] = asyncio.get_running_loop().create_future()
        self._folder = Path()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start the workers, and wait until all are ready."""
        asked_for()  # Fail early on an unknown pump, before each worker does.
        async with contextlib.AsyncExitStack() as stack:
            # Entered first, so it is removed last, when no worker can write into it any more.
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkproof-workers-")))
            write_task(self._task, self._plan, self._folder)
            self._tally = open_tally(self._folder, self._task.options.workers)
            for index in range(self._task.options.workers):
                self._workers.append(await self._start(index, stack))
            stack.callback(self._dismiss)
            await self._until_ready()
            reading = asyncio.create_task(self._read_on(), name="journals of the workers")
            stack.callback(reading.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers that still run."""
        await self._stack.__aexit__(kind, error, trace)

    async def _start(self, index: int, stack: contextlib.AsyncExitStack) -> _Worker:
        log = self._folder / f"worker-{index}.log"
        # A file and not a pipe, because nobody reads it before the end: a full pipe would stop the worker.
        with log.open("wb") as words:
            process = await start_process(
                (sys.executable, "-m", "trunkproof.loadgen.workers", str(self._folder), str(index)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=words,
            )
        journal = journal_of(self._task.options, self._folder, index)
        worker = _Worker(f"worker {index + 1}", process, log, journal, JournalReader(journal))
        listening = asyncio.create_task(self._listen(worker), name=worker.name)
        # The stack is left in reverse: `_dismiss`, which is added after all of these, tells every worker before the
        # first is awaited. Otherwise each would end its calls only after the one before it.
        stack.push_async_callback(_end, process, listening)
        return worker

    async def _listen(self, worker: _Worker) -> None:
        """Read a worker's reports until it ends."""
        assert worker.process.stdout is not None
        async for line in worker.process.stdout:
            match REPORTS.decode(line):
                case Ready(plan_digest):
                    worker.plan = plan_digest
                    worker.ready.set()
                case Placed():
                    worker.placed.set()
                case Left():
                    worker.left.set()
        # Before `wait`, which may return later than the pipe was closed.
        at = asyncio.get_running_loop().time()
        code = await worker.process.wait()
        if not worker.left.is_set():
            at_s = None if self._zero is None else at - self._zero
            # "Killed by SIGKILL" would be true, but the killer was this pool.
            how = f"it had not answered for {_OBEYS_WITHIN_S:g} s and was ended" if worker.silent else how_ended(code)
            worker.died = LostWorker(worker.name, at_s, how)
            if not self._loss.done():
                self._loss.set_result(worker.died)
        # For a dead worker too: nobody must wait for what it can no longer do.
        for event in (worker.ready, worker.placed, worker.left):
            event.set()

    async def _until_ready(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_WITHIN_S):
                for worker in self._workers:
                    await worker.ready.wait()
        for worker in self._workers:
            # It died, or it needs too long: either way its `Ready` never came.
            if worker.plan is None:
                raise StackError(f"{worker.name} did not start: {worker.words or 'it said nothing'}")
            # Two plans would be two runs, and the comparison with the prediction would mean nothing.
            if worker.plan != digest_of(self._plan):
                raise RuntimeError(f"{worker.name} has another plan")
        # A remark that all of them make is logged once, as one process would.
        for words in dict.fromkeys(worker.words for worker in self._workers if worker.words):
            logger.warning("%s", words)

    async def _read_on(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            self._tell_news()

    def _tell_news(self) -> None:
        """Tell the observers what the workers have written down since the last time."""
        for worker in self._workers:
            with noting_bugs(f"the journal of {worker.name}"):
                for entry in worker.reader.read_new():
                    self._tell_of(entry)

    def _tell_of(self, entry: Entry) -> None:
        match entry.kind:
            case EntryKind.BEGAN:
                self._observer.attempt_began(record_from_json(entry.value))
            case EntryKind.ENDED:
                self._observer.attempt_ended(record_from_json(entry.value))
            case EntryKind.HEALTH:
                self._observer.measured(health_together([entry.value]))

    @property
    def counts(self) -> tuple[int, int]:
        """Return the attempts begun and ended by all workers together."""
        begun, ended = self._tally.sum(axis=0).tolist()
        return begun, ended

    def begin(self, zero: float) -> None:
        """Tell plan zero to every worker."""
        self._zero = zero
        self._tell_all(Begin(zero))

    async def place(self) -> None:
        """Wait until every worker has placed its share or is dead."""
        for worker in self._workers:
            await worker.placed.wait()

    def change_tempo(self, change: TempoChange) -> None:
        """Tell every worker the change."""
        self._tell_all(change)

    def stop(self) -> None:
        """Tell every worker to end its calls. Kill a worker that does not obey in time."""
        self._tell_all(Stop())
        for worker in self._workers:
            _insist(worker, worker.placed)

    async def lost(self) -> LostWorker:
        """Wait for a worker to die."""
        # The run cancels this wait at its end. The future itself is shared and must not be cancelled with it.
        return await asyncio.shield(self._loss)

    async def finish(self) -> PlacedCalls:
        """Merge the results of the workers. Those of a dead worker are read from its journal."""
        self._tell_all(Finish())
        for worker in self._workers:
            _insist(worker, worker.left)
        for worker in self._workers:
            await worker.left.wait()
        self._tell_news()
        # In the order of the workers, so that the merged result is the same whoever finishes first.
        parts = [
            read_placed(self._folder, index) if worker.died is None else self._left_by(index, worker.died)
            for index, worker in enumerate(self._workers)
        ]
        return merge(parts, cores=len(os.sched_getaffinity(0)))

    def _left_by(self, index: int, died: LostWorker) -> PlacedCalls:
        """Return the results of a dead worker, from its journal."""
        found = read_journal(self._workers[index].journal)
        # The tally is shared memory in a file, so it outlives the worker, and counts to the last attempt.
        begun = int(self._tally[index, 0])
        died = replace(died, begun=begun, journalled=len(found.records), under_way=len(found.under_way))
        records = to_frame(found.records.values()).sort(RECORD_ORDER)
        return PlacedCalls(records, found.measured, found.heard, lost=(died,))

    def _dismiss(self) -> None:
        """Close the orders of all workers, so that they end their calls and themselves at the same time."""
        for worker in self._workers:
            if worker.process.stdin is not None:
                # The end of its orders is the one sign that a worker cannot miss, even if it is busy.
                worker.process.stdin.close()

    def _tell_all(self, order: Order) -> None:
        for worker in self._workers:
            worker.tell(order)


def _insist(worker: _Worker, done: asyncio.Event) -> None:
    """Kill a worker that is not done in time. Otherwise a hanging one would block the records of the others."""

    def end() -> None:
        if not done.is_set():
            # Before the kill, because `_listen` says with it how the worker ended.
            worker.silent = True
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()

    asyncio.get_running_loop().call_later(_OBEYS_WITHIN_S, end)


async def _end(process: asyncio.subprocess.Process, listening: asyncio.Task[None]) -> None:
    """Close the orders of a worker. It then ends its calls and itself, or is ended after `_GONE_WITHIN_S`."""
    if process.stdin is not None:
        process.stdin.close()
    await gone_within(process, _GONE_WITHIN_S)
    await listening
