"""The team of worker processes as their run sees it: started, told when to begin, stop and finish, and never left over.

It is a `Crew`, as a single process is. A worker that dies takes its attempts with it: how many is told, and that voids
the run. Workers keep off the trunk's cores as the run does; which of the others each gets is the kernel's to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trunkproof.loadgen.media.pump import asked_for
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.system.programs import how_ended
from trunkproof.loadgen.verdict import Measurements
from trunkproof.loadgen.workers.merge import merge
from trunkproof.loadgen.workers.messages import Task, digest_of, open_tally, read_part, write_task
from trunkproof.loadgen.workers.placer import Part
from trunkproof.models.errors import StackError
from trunkproof.models.plan import Plan
from trunkproof.models.records import to_frame

_READY_WITHIN_S = 120.0
"""The first worker on a machine compiles the media pump, and the others wait for a core meanwhile."""
_GONE_WITHIN_S = 15.0
"""Calls under way have four seconds to end; connections some more to be closed."""
_OBEYS_WITHIN_S = 60.0
"""To end ten thousand calls, or to write a million records, takes seconds. Who takes so long hangs."""
_LAST_WORDS = 800
"""Characters of a log that an error message quotes."""


@dataclass(eq=False)
class _Worker:
    """One process; its events are set, too, when it dies."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    placed: asyncio.Event = field(default_factory=asyncio.Event)
    reported: asyncio.Event = field(default_factory=asyncio.Event)
    plan: str | None = None
    died: str | None = None
    """How and when, if it did before it had reported."""
    silent: bool = False
    """It was ended because it did not do what it was told."""

    @property
    def words(self) -> str:
        """What it said to people."""
        return self.log.read_text(encoding="utf-8", errors="replace").strip()[-_LAST_WORDS:]

    def tell(self, **order: Any) -> None:
        """Give an order, to one who can hear."""
        if self.process.stdin is not None and self.died is None:
            self.process.stdin.write(json.dumps(order).encode() + b"\n")


class Team:
    """So many worker processes. It is a `Crew`."""

    def __init__(self, plan: Plan, task: Task) -> None:
        self._plan, self._task = plan, task
        self._workers: list[_Worker] = []
        self._zero: float | None = None
        self._loss: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._folder = Path()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """See `Crew`."""
        asked_for()  # A pump that there is not is found here, not by every worker.
        async with contextlib.AsyncExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkproof-workers-")))
            write_task(self._task, self._plan, self._folder)
            self._tally = open_tally(self._folder)
            for index in range(self._task.workers):
                self._workers.append(await self._start(index, stack))
            stack.callback(self._dismiss)
            await self._until_ready()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `Crew`."""
        await self._stack.__aexit__(kind, error, trace)

    async def _start(self, index: int, stack: contextlib.AsyncExitStack) -> _Worker:
        log = self._folder / f"worker-{index}.log"
        with log.open("wb") as words:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "trunkproof.loadgen.workers", str(self._folder), str(index)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=words,
                # Ctrl-C is for the run: it tells us to end our calls.
                start_new_session=True,
            )
        worker = _Worker(f"worker {index + 1}", process, log)
        listening = asyncio.create_task(self._listen(worker), name=worker.name)
        stack.push_async_callback(_end, process, listening)
        return worker

    async def _listen(self, worker: _Worker) -> None:
        """Follow what a worker says until it ends."""
        assert worker.process.stdout is not None
        async for line in worker.process.stdout:
            match json.loads(line):
                case {"ready": str() as plan}:
                    worker.plan = plan
                    worker.ready.set()
                case {"placed": True}:
                    worker.placed.set()
                case {"reported": True}:
                    worker.reported.set()
        at = asyncio.get_running_loop().time()
        code = await worker.process.wait()
        if not worker.reported.is_set():
            when = "before plan zero" if self._zero is None else f"{at - self._zero:.1f} s after plan zero"
            how = f"it had not answered for {_OBEYS_WITHIN_S:g} s and was ended" if worker.silent else how_ended(code)
            worker.died = f"{worker.name} died {when}, {how}"
            if not self._loss.done():
                self._loss.set_result(worker.died)
        for event in (worker.ready, worker.placed, worker.reported):
            event.set()

    async def _until_ready(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_WITHIN_S):
                for worker in self._workers:
                    await worker.ready.wait()
        for worker in self._workers:
            if worker.plan is None:
                raise StackError(f"{worker.name} did not start: {worker.words or 'it said nothing'}")
            if worker.plan != digest_of(self._plan):
                raise RuntimeError(f"{worker.name} has another plan")
        # What all of them remark is said once, as one process would.
        for words in dict.fromkeys(worker.words for worker in self._workers if worker.words):
            print(words, file=sys.stderr)

    @property
    def begun(self) -> int:
        """See `Crew`."""
        return int(self._tally.sum())

    def begin(self, zero: float) -> None:
        """See `Crew`."""
        self._zero = zero
        self._tell_all(begin=zero)

    async def place(self) -> None:
        """See `Crew`."""
        for worker in self._workers:
            await worker.placed.wait()

    def stop(self) -> None:
        """See `Crew`."""
        self._tell_all(stop=True)
        for worker in self._workers:
            _insist(worker, worker.placed)

    async def lost(self) -> str:
        """See `Crew`."""
        return await asyncio.shield(self._loss)

    async def finish(self) -> Part:
        """See `Crew`."""
        self._tell_all(finish=True)
        for worker in self._workers:
            _insist(worker, worker.reported)
        for worker in self._workers:
            await worker.reported.wait()
        parts = [
            read_part(self._folder, index) if worker.died is None else self._left_by(index, worker.died)
            for index, worker in enumerate(self._workers)
        ]
        return merge(parts, cores=len(os.sched_getaffinity(0)))

    def _left_by(self, index: int, died: str) -> Part:
        """What is known of a dead worker's calls: how many they were."""
        begun = int(self._tally[index])
        words = f"{died}: the {begun} attempts that it had begun are in no record"
        return Part(to_frame([]), Measurements(), Heard(), lost=(words,))

    def _dismiss(self) -> None:
        """Give no more orders: whoever still has calls ends them, and itself, at the same time as the others."""
        for worker in self._workers:
            if worker.process.stdin is not None:
                worker.process.stdin.close()

    def _tell_all(self, **order: Any) -> None:
        for worker in self._workers:
            worker.tell(**order)


def _insist(worker: _Worker, done: asyncio.Event) -> None:
    """End a worker that hangs, or was suspended, if it is not done in time: the others' records are not lost by it."""

    def end() -> None:
        if not done.is_set():
            worker.silent = True
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()

    asyncio.get_running_loop().call_later(_OBEYS_WITHIN_S, end)


async def _end(process: asyncio.subprocess.Process, listening: asyncio.Task[None]) -> None:
    """Without orders it ends its calls and itself; or else it is ended."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_GONE_WITHIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
    await listening
