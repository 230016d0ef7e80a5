"""The embedded trunk as a process: it listens, writes its card, obeys its control channel, and ends on a signal.

`python -m loadgen.stacks.embedded STUDY.json FOLDER [--port N]` is what `trunkproof serve` and every validation start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from loadgen.sip.trace import Trace
from loadgen.stacks.card import TrunkCard
from loadgen.stacks.control import Answer, serve_control
from loadgen.stacks.embedded.pstn import Pstn
from loadgen.stacks.embedded.trunk import EmbeddedTrunk
from models.errors import StackError
from models.plan import Plan, draw_plan
from models.records import to_frame, write_records
from models.study import Study

CARD = "trunk.json"
_INBOUND = "inbound.parquet"


class TrunkServer:
    """An embedded trunk with its control channel."""

    def __init__(self, trunk: EmbeddedTrunk, folder: Path) -> None:
        self._trunk = trunk
        self._folder = folder
        self._pstn: Pstn | None = None

    async def answer(self, question: Answer) -> Answer:
        """Answer one question of the control channel.

        Raises:
            ValueError: there is no such question; the channel is then closed.
        """
        match question:
            case {"do": "status"}:
                return self._status()
            case {"do": "begin", "zero": float() as zero}:
                self._pstn = Pstn(self._trunk, zero)
                self._pstn.begin()
                self._trunk.schedule_incidents(zero)
                return {"anchors": {trunk.name: self._trunk.started - zero for trunk in self._trunk.study.trunks}}
            case {"do": "finish", "stop": bool() as stop}:
                records = [] if self._pstn is None else await self._pstn.finish(stop=stop)
                path = self._folder / _INBOUND
                write_records(to_frame(records), path)
                return {"records": str(path.resolve()), **self._status()}
            case _:
                raise ValueError(f"no such question: {question}")

    def _status(self) -> Answer:
        gate = self._trunk.gate
        return {
            "started": self._trunk.started,
            "calls": self._trunk.answerer.under_way,
            "channels_used": gate.limits.channels_used,
            "ports_in_use": gate.limits.pool.in_use,
            "handshakes": {kind.value: count for kind, count in self._trunk.edge.handshakes.items()},
        }


async def serve(
    study: Study,
    folder: Path,
    *,
    port: int = 0,
    plan: Plan | None = None,
    on_ready: Callable[[TrunkCard], None] | None = None,
    stop: asyncio.Event | None = None,
    keylog: Path | None = None,
    trace: Trace | None = None,
) -> None:
    """Play the study's trunk until SIGINT, SIGTERM or `stop`.

    Raises:
        StackError: it cannot listen there.
    """
    stop = stop or asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    trunk = EmbeddedTrunk(plan or draw_plan(study), folder, port=port, keylog=keylog, trace=trace)
    try:
        card = await trunk.start()
    except OSError as error:
        raise StackError(f"the trunk cannot listen on {trunk.host}:{port}: {error.strerror}") from error
    control = await serve_control(trunk.host, TrunkServer(trunk, folder).answer)
    card = card.model_copy(update={"control_port": control.sockets[0].getsockname()[1], "pid": os.getpid()})
    card.write(folder / CARD)
    if on_ready is not None:
        on_ready(card)
    await stop.wait()
    control.close()
    await trunk.close()
    with contextlib.suppress(FileNotFoundError):
        (folder / CARD).unlink()
