"""One worker: a `LocalPlacer` that takes orders from standard input and reports on standard output.

When standard input ends, the pool is dead or does not need us any more. The worker then ends its calls with BYE or
CANCEL, and exits. So no worker goes on calling after its run.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from trunkproof.loadgen.bugs import collecting_bugs, noting_bugs
from trunkproof.loadgen.journal.keeper import JournalKeeper, keeping_journal
from trunkproof.loadgen.schedule.share import share_of
from trunkproof.loadgen.schedule.tempo import TempoChange
from trunkproof.loadgen.workers.messages import (
    ORDERS,
    REPORTS,
    Begin,
    Finish,
    Left,
    Order,
    Placed,
    Ready,
    Report,
    Task,
    digest_of,
    journal_of,
    open_tally,
    write_placed,
)
from trunkproof.loadgen.workers.placer import LocalPlacer
from trunkproof.models.plan import Plan


async def work(task: Task, plan: Plan, folder: Path, index: int) -> None:
    """Place one worker's share of the plan.

    Report `Ready`, wait for `Begin`, place the calls, report `Placed`, wait for `Finish`, write the results and report
    `Left`.

    Raises:
        StackError: it cannot get ready. The message says why.
    """
    orders, workers = await _orders(), task.options.workers
    # Every worker has the whole plan, and places only its share: redials look up rows of their own call.
    share, tally = share_of(task.study, index, workers), open_tally(folder, workers)
    journal = journal_of(task.options, folder, index)
    with collecting_bugs() as bugs, keeping_journal(journal, f"worker {index + 1}") as keeper:
        async with LocalPlacer(
            plan, task.card, task.target, task.options, share=share, tally=tally, observer=keeper
        ) as placer:
            # Everything that takes long is done: from here on only plan zero is missing.
            _report(Ready(digest_of(plan)))
            async for order in orders:
                if isinstance(order, Begin):
                    placer.begin(order.zero)
                    break
            else:
                return
            # An order to stop has to be heard while the calls are placed.
            async with asyncio.TaskGroup() as group:
                wanted = group.create_task(_obey(orders, placer, keeper))
                # A worker that dies of it takes the records of all its calls along.
                with noting_bugs("the placing of the calls"):
                    await placer.place()
                _report(Placed())
            # Without `Finish` the folder may be gone already.
            if wanted.result():
                placed = await placer.finish()
                # First: the pool has to find all of it there.
                keeper.flush()
                write_placed(replace(placed, bugs=bugs.found), folder, index)
                _report(Left())


async def _obey(orders: AsyncIterator[Order], placer: LocalPlacer, keeper: JournalKeeper) -> bool:
    """Obey the orders until the last one. Return whether the pool wants results."""
    async for order in orders:
        if isinstance(order, Finish):
            return True
        if isinstance(order, TempoChange):
            placer.change_tempo(order)
        else:
            placer.stop()
    # The orders ended without `Finish`: the pool is gone, and nobody will read results. The journal will be read, and a
    # trunk that goes down with its run must not look like one that loses calls.
    keeper.orphaned()
    placer.stop()
    return False


async def _orders() -> AsyncIterator[Order]:
    """Yield the orders from standard input. SIGTERM ends them. Ctrl-C is ignored: the run handles it."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    # The same way out as for a pool that is gone, with BYE for every call.
    loop.add_signal_handler(signal.SIGTERM, reader.feed_eof)
    # Only the run may end a worker, in the right order. A Ctrl-C that reaches this process as well must not.
    loop.add_signal_handler(signal.SIGINT, lambda: None)

    async def lines() -> AsyncIterator[Order]:
        with contextlib.suppress(ConnectionError):  # The pool was killed.
            while line := await reader.readline():
                yield ORDERS.decode(line)

    return lines()


def _report(report: Report) -> None:
    sys.stdout.buffer.write(REPORTS.encode(report))
    # The pool waits for this line, and a pipe is buffered by blocks.
    sys.stdout.buffer.flush()
