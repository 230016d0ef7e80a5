"""One worker: a `Placer` that takes its orders from standard input and answers on standard output, a JSON line each.

Where the orders end, their giver is dead or done with us: calls under way are then ended with BYE or CANCEL, and so is
the process. Nobody goes on calling alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from trunkproof.loadgen.guard import Guard
from trunkproof.loadgen.schedule.share import share_of
from trunkproof.loadgen.workers.messages import Task, digest_of, open_tally, write_part
from trunkproof.loadgen.workers.placer import Placer
from trunkproof.models.plan import Plan

Line = dict[str, Any]


async def work(task: Task, plan: Plan, folder: Path, index: int) -> None:
    """Place a share of the plan: say ready, wait for plan zero, place, say placed, wait to finish, leave the results.

    Raises:
        StackError: it cannot get ready; the message says why.
    """
    orders = await _orders()
    placer = Placer(
        plan,
        task.card,
        task.target,
        Guard(frozenset(task.allowed)),
        share=share_of(task.study, index, task.workers),
        tally=open_tally(folder),
        client_certificate=task.client_certificate,
        keylog=task.keylog,
    )
    async with placer:
        _say(ready=digest_of(plan))
        async for order in orders:
            if "begin" in order:
                placer.begin(order["begin"])
                break
        else:
            return
        async with asyncio.TaskGroup() as group:
            wanted = group.create_task(_obey(orders, placer))
            await placer.place()
            _say(placed=True)
        if wanted.result():
            write_part(await placer.finish(), folder, index)
            _say(reported=True)


async def _obey(orders: AsyncIterator[Line], placer: Placer) -> bool:
    """Follow the orders to the last one: whether results are wanted."""
    async for order in orders:
        if "finish" in order:
            return True
        placer.stop()
    placer.stop()
    return False


async def _orders() -> AsyncIterator[Line]:
    """What standard input says, line by line. Ctrl-C is for who gives the orders; to be terminated is their end."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    loop.add_signal_handler(signal.SIGTERM, reader.feed_eof)
    loop.add_signal_handler(signal.SIGINT, lambda: None)

    async def lines() -> AsyncIterator[Line]:
        with contextlib.suppress(ConnectionError):  # Whoever gives the orders was killed.
            while line := await reader.readline():
                yield json.loads(line)

    return lines()


def _say(**words: Any) -> None:
    print(json.dumps(words), flush=True)
