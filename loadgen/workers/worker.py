"""One worker: a `LocalPlacer` that takes its orders from standard input and reports on standard output.

Where the orders end, their giver is dead or done with us: calls under way are then ended with BYE or CANCEL, and so is
the process. Nobody goes on calling alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from trunkproof.loadgen.schedule.share import share_of
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
    open_tally,
    write_placed,
)
from trunkproof.loadgen.workers.placer import LocalPlacer
from trunkproof.models.plan import Plan


async def work(task: Task, plan: Plan, folder: Path, index: int) -> None:
    """Place a share of the plan: say ready, wait for plan zero, place, say placed, wait to finish, leave the results.

    Raises:
        StackError: it cannot get ready; the message says why.
    """
    orders, workers = await _orders(), task.options.workers
    share, tally = share_of(task.study, index, workers), open_tally(folder, workers)
    async with LocalPlacer(plan, task.card, task.target, task.options, share=share, tally=tally) as placer:
        _report(Ready(digest_of(plan)))
        async for order in orders:
            if isinstance(order, Begin):
                placer.begin(order.zero)
                break
        else:
            return
        async with asyncio.TaskGroup() as group:
            wanted = group.create_task(_obey(orders, placer))
            await placer.place()
            _report(Placed())
        if wanted.result():
            write_placed(await placer.finish(), folder, index)
            _report(Left())


async def _obey(orders: AsyncIterator[Order], placer: LocalPlacer) -> bool:
    """Follow the orders to the last one, and return whether results are wanted."""
    async for order in orders:
        if isinstance(order, Finish):
            return True
        placer.stop()
    placer.stop()
    return False


async def _orders() -> AsyncIterator[Order]:
    """What standard input says, line by line. Ctrl-C is for who gives the orders; to be terminated is their end."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    loop.add_signal_handler(signal.SIGTERM, reader.feed_eof)
    loop.add_signal_handler(signal.SIGINT, lambda: None)

    async def lines() -> AsyncIterator[Order]:
        with contextlib.suppress(ConnectionError):  # Whoever gives the orders was killed.
            while line := await reader.readline():
                yield ORDERS.decode(line)

    return lines()


def _report(report: Report) -> None:
    sys.stdout.buffer.write(REPORTS.encode(report))
    sys.stdout.buffer.flush()
