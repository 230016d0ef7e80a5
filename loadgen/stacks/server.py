"""The trunk process: serve a `Stack`, write its card, obey its control channel, and end on a signal.

Every validation starts it as `python -m trunkproof.loadgen.stacks STUDY.json FOLDER`. `trunkproof serve` does the same
in the foreground.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from trunkproof.loadgen.bugs import Bugs, collecting_bugs
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.stack_events import StackEvent
from trunkproof.loadgen.stacks.control import ControlServer, Finished
from trunkproof.loadgen.stacks.embedded.trunk import EmbeddedTrunk
from trunkproof.loadgen.stacks.foreign import ForeignTrunk, Tell
from trunkproof.loadgen.stacks.registry import check_playable
from trunkproof.loadgen.stacks.stack import Stack
from trunkproof.loadgen.system.ports import cannot_listen
from trunkproof.loadgen.tls.endpoints import LocalNetworkError
from trunkproof.models.plan import Plan, draw_plan
from trunkproof.models.records import to_frame, write_records
from trunkproof.models.study import Study

CARD = "trunk.json"
_INBOUND = "inbound.parquet"


def make_stack(
    plan: Plan, folder: Path, *, port: int = 0, keylog: Path | None = None, trace: Trace | None = None, tell: Tell
) -> Stack:
    """Return the study's stack. It is not started yet.

    Raises:
        InputError: the stack cannot play this study. Lists everything that it cannot play.
    """
    stack = check_playable(plan.study)
    if stack.foreign is None:
        return EmbeddedTrunk(plan, folder, port=port, keylog=keylog, trace=trace)
    return ForeignTrunk(plan, folder, stack.foreign, port=port, keylog=keylog, trace=trace, tell=tell)


class _ControlledStack:
    """The stack for its control channel. The records of inbound calls go into a file in `folder`."""

    def __init__(self, stack: Stack, folder: Path, bugs: Bugs) -> None:
        self._stack, self._bugs = stack, bugs
        self._folder = folder
        self.status, self.begin = stack.status, stack.begin

    async def finish(self, *, stop: bool) -> Finished:
        """Wait for the inbound calls, and write their records."""
        finish = await self._stack.finish(stop=stop)
        path = self._folder / _INBOUND
        write_records(to_frame(finish.records), path)
        return Finished(path.resolve(), finish.health, self._bugs.found)


async def serve(
    study: Study,
    folder: Path,
    *,
    port: int = 0,
    plan: Plan | None = None,
    on_ready: Callable[[TrunkCard], None] | None = None,
    on_event: Tell | None = None,
    stop: asyncio.Event | None = None,
    keylog: Path | None = None,
    trace: Trace | None = None,
) -> None:
    """Play the study's trunk until SIGINT, SIGTERM or `stop`.

    `on_event` is called with every event of the trunk's programs. All watchers of the control channel get it too.

    Raises:
        InputError: the stack cannot play this study.
        StackError: the trunk cannot listen on its address and port, or a program does not start.
    """
    stop = stop or asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Both signals lead to the same orderly end, in which every program is told to stop.
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # `tell` needs it, and the stack needs `tell`. No program can have an event before `start`, when both exist.
    control: ControlServer

    def tell(event: StackEvent) -> None:
        control.tell(event)
        if on_event is not None:
            on_event(event)

    stack = make_stack(plan or draw_plan(study), folder, port=port, keylog=keylog, trace=trace, tell=tell)
    control = ControlServer(_ControlledStack(stack, folder))
    try:
        card = await stack.start()
        control_port = await control.listen(card.host)
        card = card.model_copy(update={"control_port": control_port, "pid": os.getpid()})
        # Last: whoever started us takes the card as the sign that everything listens.
        card.write(folder / CARD)
        if on_ready is not None:
            on_ready(card)
        await stop.wait()
    except (OSError, LocalNetworkError) as error:
        raise cannot_listen("the trunk", str(study.pop.address), port, error.__cause__ or error) from error
    finally:
        # Before the stack: nobody shall ask a trunk that is half gone.
        control.close()
        await stack.close()
        # A card that stays behind would lead a later run to a trunk that is gone.
        with contextlib.suppress(FileNotFoundError):
            (folder / CARD).unlink()
