"""The trunk process: serve a `Stack`, write its card, obey its control channel, and end on a signal.

Every validation starts it as `python -m trunkproof.loadgen.stacks STUDY.json FOLDER`. `trunkproof serve` does the same
in the foreground.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trunkproof.loadgen.bugs import Bug, Bugs, collecting_bugs
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.media.warm import pump_compiled
from trunkproof.loadgen.observer import Observer
from trunkproof.loadgen.stack_events import StackEvent
from trunkproof.loadgen.stacks.control import ControlServer, Finished, InboundAttempt
from trunkproof.loadgen.stacks.embedded.trunk import EmbeddedTrunk
from trunkproof.loadgen.stacks.foreign import ForeignTrunk, Tell
from trunkproof.loadgen.stacks.registry import check_playable
from trunkproof.loadgen.stacks.stack import ServeOptions, Stack
from trunkproof.loadgen.system.plain_paths import plainly_named
from trunkproof.loadgen.system.ports import cannot_listen
from trunkproof.loadgen.tls.endpoints import LocalNetworkError
from trunkproof.models.plan import Plan, draw_plan
from trunkproof.models.records import Record, record_to_json, to_frame, write_records
from trunkproof.models.study import Study

CARD = "trunk.json"
CERTIFICATES = "certificates"
"""The folder of the trunk's throw-away keys, in the trunk's folder."""
_INBOUND = "inbound.parquet"
_CONTROL = "control channel: connections without the secret of the card"
_DEFAULTS = ServeOptions()


@dataclass(frozen=True)
class ServeEnd:
    """What is told of a served trunk when it has ended."""

    refused: Mapping[str, int]
    """What -> how often it was refused by the limits that protect the trunk from its peers."""
    bugs: tuple[Bug, ...]
    """Errors of trunkproof itself that it has met."""


def make_stack(plan: Plan, folder: Path, options: ServeOptions, tell: Tell) -> Stack:
    """Return the study's stack. It is not started yet.

    Raises:
        InputError: the stack cannot play this study. Lists everything that it cannot play.
    """
    stack = check_playable(plan.study)
    if stack.foreign is None:
        return EmbeddedTrunk(plan, folder, options)
    return ForeignTrunk(
        plan,
        folder,
        stack.foreign,
        port=options.port,
        keylog=options.keylog,
        trace=options.trace,
        observer=options.observer,
        tell=tell,
    )


class _TellsAttempts(Observer):
    """Tells the watchers of the control channel of each call from the PSTN."""

    def __init__(self, tell: Callable[[InboundAttempt], None]) -> None:
        self._tell = tell

    def attempt_began(self, record: Record) -> None:
        self._tell(InboundAttempt(record_to_json(record), over=False))

    def attempt_ended(self, record: Record) -> None:
        self._tell(InboundAttempt(record_to_json(record), over=True))


class _ControlledStack:
    """The stack for its control channel. The records of inbound calls go into a file in `folder`."""

    def __init__(self, stack: Stack, folder: Path, bugs: Bugs) -> None:
        self._stack, self._bugs = stack, bugs
        self._folder = folder
        self._refused_before: Mapping[str, int] = {}
        self.status = stack.status

    def begin(self, zero: float) -> Mapping[str, float]:
        """Set plan zero. Return the anchors by trunk name."""
        # A served trunk may be called by one run after the other, and each is told of its own time.
        self._refused_before = self._stack.status().refused
        return self._stack.begin(zero)

    async def finish(self, *, stop: bool) -> Finished:
        """Wait for the inbound calls, and write their records."""
        finish = await self._stack.finish(stop=stop)
        path = self._folder / _INBOUND
        write_records(to_frame(finish.records), path)
        refused = Counter(self._stack.status().refused)
        refused.subtract(self._refused_before)
        return Finished(path.resolve(), finish.health, self._bugs.found, dict(+refused), finish.keys)


async def serve(
    study: Study,
    folder: Path,
    *,
    options: ServeOptions = _DEFAULTS,
    plan: Plan | None = None,
    on_ready: Callable[[TrunkCard], None] | None = None,
    on_event: Tell | None = None,
    stop: asyncio.Event | None = None,
) -> ServeEnd:
    """Play the study's trunk until SIGINT, SIGTERM or `stop`.

    `on_event` is called with every event of the trunk's programs. All watchers of the control channel get it too.

    Raises:
        InputError: the stack cannot play this study.
        StackError: the trunk cannot listen on its address and port, or a program does not start.
    """
    stop = stop or asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # All signals lead to the same orderly end, in which every program is told to stop. `nohup` ignores one.
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if not await _compiled(stop):
        return ServeEnd({}, ())
    # `tell` needs it, and the stack needs `tell`. No program can have an event before `start`, when both exist.
    control: ControlServer

    def tell(event: StackEvent) -> None:
        control.tell(event)
        if on_event is not None:
            on_event(event)

    def tell_attempt(attempt: InboundAttempt) -> None:
        control.tell(attempt)

    with collecting_bugs() as bugs, plainly_named(folder) as plain:
        told = replace(options, observer=_TellsAttempts(tell_attempt))
        stack = make_stack(plan or draw_plan(study), plain, told, tell)
        control = ControlServer(_ControlledStack(stack, folder, bugs))
        try:
            card = await stack.start()
            control_port = await control.listen(card.host)
            known = {"control_port": control_port, "control_secret": control.secret, "pid": os.getpid()}
            card = card.model_copy(update=known)
            # Last: whoever started us takes the card as the sign that everything listens.
            card.write(folder / CARD)
            if on_ready is not None:
                on_ready(card)
            await stop.wait()
            refused = {**stack.status().refused, **({_CONTROL: control.refused} if control.refused else {})}
        except (OSError, LocalNetworkError) as error:
            raise cannot_listen("the trunk", str(study.pop.address), options.port, error.__cause__ or error) from error
        finally:
            # Before the stack: nobody shall ask a trunk that is half gone.
            control.close()
            await stack.close()
            # A card that stays behind would lead a later run to a trunk that is gone.
            with contextlib.suppress(FileNotFoundError):
                (folder / CARD).unlink()
    return ServeEnd(refused, bugs.found)


async def _compiled(stop: asyncio.Event) -> bool:
    """Compile the media pump in a process of its own, for up to a minute the first time.

    This process would hear no signal while it compiles. Return whether it is done; False: `stop` was set before.
    """
    compiling, stopping = asyncio.create_task(_compile()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((compiling, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            await compiling  # It may have an error to tell.
        return not stop.is_set()
    finally:
        for task in (compiling, stopping):
            task.cancel()
        await asyncio.gather(compiling, stopping, return_exceptions=True)


async def _compile() -> None:
    async with pump_compiled():
        pass
